package redisstore

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/internal/span"
	"cloakroom/session"
)

// Store keeps the contract of session.Store in Redis. Nothing is sent twice: what had no answer may have happened, and is
// for the caller to decide.
type Store struct {
	client  redis.UniversalClient
	prefix  string
	timeout time.Duration
	now     func() time.Time
	observe func(op, outcome string, took time.Duration)
}

// Keys are named by the prefix, the kind, and a hash tag, so that a cluster keeps all of one session in one place.
func (s *Store) record(key session.Key) string   { return s.prefix + "session:{" + key.String() + "}" }
func (s *Store) index(name session.Index) string { return s.prefix + "index:{" + string(name) + "}" }

// mark hashes the name, which may be long, and may tell something.
func (s *Store) mark(name string) string {
	sum := sha256.Sum256([]byte(name))
	return s.prefix + "mark:{" + base64.RawURLEncoding.EncodeToString(sum[:]) + "}"
}

// Create implements session.Store.
func (s *Store) Create(ctx context.Context, key session.Key, r session.Record, indexes []session.Index) error {
	return s.do(ctx, "create", func(ctx context.Context) error {
		now := s.now()
		left := r.End().Sub(now).Milliseconds()
		if left < 1 {
			return nil // over before it began; a life of 0 is no life at all to Redis, but an error
		}
		for _, name := range indexes {
			args := []any{key[:], r.Expires.UnixMilli(), now.UnixMilli()}
			if err := enterScript.Run(ctx, s.client, []string{s.index(name)}, args...).Err(); err != nil {
				return err
			}
		}
		err := s.client.SetArgs(ctx, s.record(key), encode(r), redis.SetArgs{Mode: "NX", TTL: time.Duration(left) * time.Millisecond}).Err()
		if errors.Is(err, redis.Nil) {
			return session.ErrConflict
		}
		return err
	})
}

// Load implements session.Store.
func (s *Store) Load(ctx context.Context, key session.Key) (r session.Record, err error) {
	err = s.do(ctx, "load", func(ctx context.Context) error {
		r, err = read(s.client.Get(ctx, s.record(key)))
		return err
	})
	return r, err
}

// read makes a record of an answer.
func read(answer *redis.StringCmd) (session.Record, error) {
	raw, err := answer.Bytes()
	switch {
	case errors.Is(err, redis.Nil):
		return session.Record{}, session.ErrNotFound
	case redis.HasErrorPrefix(err, "WRONGTYPE"):
		return session.Record{}, session.ErrBroken
	case err != nil:
		return session.Record{}, err
	}
	return decode(raw)
}

// Replace implements session.Store.
func (s *Store) Replace(ctx context.Context, key session.Key, was uint64, r session.Record) error {
	return s.do(ctx, "replace", func(ctx context.Context) error {
		args := []any{generation(was), encode(r), s.now().UnixMilli()}
		answer, err := replaceScript.Run(ctx, s.client, []string{s.record(key)}, args...).Int()
		switch {
		case err != nil:
			return err
		case answer < 0:
			return session.ErrNotFound
		case answer == 0:
			return session.ErrConflict
		}
		return nil
	})
}

// Slide implements session.Store.
func (s *Store) Slide(ctx context.Context, key session.Key, idle time.Time) error {
	return s.do(ctx, "slide", func(ctx context.Context) error {
		answer, err := slideScript.Run(ctx, s.client, []string{s.record(key)}, milliseconds(idle), s.now().UnixMilli()).Int()
		if err == nil && answer < 0 {
			return session.ErrNotFound
		}
		return err
	})
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, key session.Key) (r session.Record, err error) {
	err = s.do(ctx, "delete", func(ctx context.Context) error {
		answer := s.client.GetDel(ctx, s.record(key))
		if redis.HasErrorPrefix(answer.Err(), "WRONGTYPE") { // then it is still there
			if err := s.client.Del(ctx, s.record(key)).Err(); err != nil {
				return err
			}
			return session.ErrBroken
		}
		r, err = read(answer)
		if errors.Is(err, session.ErrNextRelease) {
			return session.ErrBroken
		}
		return err
	})
	return r, err
}

// Members implements session.Store.
func (s *Store) Members(ctx context.Context, index session.Index) (keys []session.Key, err error) {
	err = s.do(ctx, "members", func(ctx context.Context) error {
		after := "(" + strconv.FormatInt(s.now().UnixMilli(), 10)
		entries, err := s.client.ZRangeArgs(ctx, redis.ZRangeArgs{Key: s.index(index), Start: after, Stop: "+inf", ByScore: true}).Result()
		for _, entry := range entries {
			if len(entry) == len(session.Key{}) {
				keys = append(keys, session.Key([]byte(entry)))
			}
		}
		return err
	})
	return keys, err
}

// Claim implements session.Store.
func (s *Store) Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (mine bool, err error) {
	err = s.do(ctx, "claim", func(ctx context.Context) error {
		answer, err := claimScript.Run(ctx, s.client, []string{s.mark(name)}, attempt, max(ttl.Milliseconds(), 1)).Int()
		mine = answer == 1
		return err
	})
	return mine, err
}

// Ping implements session.Store. In a cluster it asks the node that carries the messages.
func (s *Store) Ping(ctx context.Context) error {
	return s.do(ctx, "ping", func(ctx context.Context) error {
		node, err := s.node(ctx)
		if err != nil {
			return err
		}
		return node.Ping(ctx).Err()
	})
}

// Close closes the connections.
func (s *Store) Close() error { return s.client.Close() }

// do bounds one operation, tells how it went, and makes every error that is not an answer one that cannot tell.
func (s *Store) do(ctx context.Context, op string, f func(context.Context) error) error {
	began := time.Now()
	if end, ok := ctx.Deadline(); ok && end.Before(began.Add(s.timeout)) {
		ctx = context.WithValue(ctx, impatient{}, true)
	}
	ctx, step := span.Begin(ctx, "store", op)
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	err := f(ctx)
	outcome := "ok"
	switch {
	case err == nil:
	case errors.Is(err, session.ErrNotFound):
		outcome = "not-found"
	case errors.Is(err, session.ErrConflict):
		outcome = "conflict"
	case errors.Is(err, session.ErrBroken):
		outcome = "broken"
	case errors.Is(err, session.ErrUnavailable):
		outcome = "unavailable"
	default:
		outcome = "unavailable"
		err = fmt.Errorf("redis %s: %w: %w", op, session.ErrUnavailable, err)
	}
	step.End(outcome, outcome == "unavailable" || outcome == "broken")
	if s.observe != nil {
		s.observe(op, outcome, time.Since(began))
	}
	return err
}
