package redisstore

import (
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// slack is what a busy machine may add to the time that an operation is given.
const slack = 3 * time.Second

func wantUnavailable(t *testing.T, s *Store, key session.Key) {
	t.Helper()
	for name, err := range everyOperation(t.Context(), s, key) {
		if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

// soon asks until the store answers.
func soon(t *testing.T, s *Store) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := s.Ping(t.Context())
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("does not recover: %v", err)
		}
	}
}

func TestRedisMayComeLaterAndGoAndComeBack(t *testing.T) {
	server := sessiontest.StartRedis(t)
	server.Kill()
	s := open(t, Config{URL: "redis://" + server.Addr, Timeout: 250 * time.Millisecond})
	key := session.Key{1}
	wantUnavailable(t, s, key)
	server.Restart(t)
	soon(t, s)
	if err := s.Create(t.Context(), key, record(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	wantUnavailable(t, s, key)
	server.Restart(t)
	soon(t, s)
	if _, err := s.Load(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("load after Redis lost everything: %v, want ErrNotFound", err)
	}
}

func TestARedisThatHangsCostsOneTimeoutAnOperation(t *testing.T) {
	server := sessiontest.StartRedis(t)
	const timeout = 100 * time.Millisecond
	s := open(t, Config{URL: "redis://" + server.Addr, Timeout: timeout})
	soon(t, s)
	key := session.Key{1}
	server.Suspend(t)
	began := time.Now()
	operations := everyOperation(t.Context(), s, key)
	took := time.Since(began)
	server.Resume(t)
	for name, err := range operations {
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	if limit := time.Duration(len(operations))*timeout + slack; took > limit {
		t.Errorf("%d operations took %v, more than %v", len(operations), took, limit)
	}
	soon(t, s)
}

// What a connection still owes after its operation was given up must never be taken for the answer to the next one.
func TestALateAnswerIsNeverAnothers(t *testing.T) {
	server := sessiontest.StartRedis(t)
	s := open(t, Config{URL: "redis://" + server.Addr, Timeout: 50 * time.Millisecond})
	soon(t, s)
	keys := []session.Key{{1}, {2}, {3}, {4}}
	for i, key := range keys {
		r := record(time.Hour)
		r.Info = []byte{byte(i)}
		for s.Create(t.Context(), key, r, nil) != nil {
			_, _ = s.Delete(t.Context(), key)
		}
	}
	for round := range 5 {
		server.Suspend(t)
		for _, key := range keys {
			if _, err := s.Load(t.Context(), key); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("round %d: load from a Redis that hangs: %v", round, err)
			}
		}
		server.Resume(t)
		soon(t, s)
		for i, key := range keys {
			r, err := s.Load(t.Context(), key)
			if err == nil && (len(r.Info) != 1 || r.Info[0] != byte(i)) {
				t.Fatalf("round %d: session %d got the record of another one: %v", round, i, r.Info)
			}
		}
	}
}

func TestAFullRedisRefusesWritesAndStillReads(t *testing.T) {
	server := sessiontest.StartRedis(t, "--maxmemory-policy", "noeviction")
	s := open(t, Config{URL: "redis://" + server.Addr})
	key := session.Key{1}
	if err := s.Create(t.Context(), key, record(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	if err := admin.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), session.Key{2}, record(time.Hour), nil); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("create: %v, want ErrUnavailable", err)
	}
	if _, err := s.Load(t.Context(), key); err != nil {
		t.Errorf("load: %v", err)
	}
}
