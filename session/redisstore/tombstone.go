package redisstore

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/session"
)

func (s *Store) tombstone(index session.Index) string {
	return s.prefix + "tombstone:{" + string(index) + "}"
}

// Bury implements session.Store. It keeps microseconds, rounded up: what came before the burial must not seem to come after.
func (s *Store) Bury(ctx context.Context, index session.Index, at time.Time, ttl time.Duration) error {
	return s.do(ctx, "bury", func(ctx context.Context) error {
		micros := at.Add(time.Microsecond - 1).UnixMicro()
		return buryScript.Run(ctx, s.client, []string{s.tombstone(index)}, micros, max(ttl.Milliseconds(), 1)).Err()
	})
}

// Buried implements session.Store.
func (s *Store) Buried(ctx context.Context, indexes []session.Index) (at time.Time, err error) {
	if len(indexes) == 0 {
		return time.Time{}, nil
	}
	err = s.do(ctx, "buried", func(ctx context.Context) error {
		pipeline := s.client.Pipeline()
		answers := make([]*redis.StringCmd, len(indexes))
		for i, index := range indexes {
			answers[i] = pipeline.Get(ctx, s.tombstone(index))
		}
		if _, err := pipeline.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, answer := range answers {
			micros, err := answer.Int64()
			if errors.Is(err, redis.Nil) {
				continue
			}
			if err != nil {
				return err
			}
			if t := time.UnixMicro(micros); t.After(at) {
				at = t
			}
		}
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	return at, nil
}
