package redisstore

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"testing"
	"time"

	"cloakroom/session"
)

func newKey() (k session.Key) {
	_, _ = rand.Read(k[:])
	return k
}

// life is a session's from its beginning to its end, with every operation at least once and each seen to work.
func life(ctx context.Context, s *Store) error {
	key := newKey()
	index, me := session.Index(key.String()), key[:8]
	r := record(time.Hour)
	r.Info = bytes.Clone(key[:])
	var failed error
	step := func(what string, ok bool, err error) {
		if failed == nil && (err != nil || !ok) {
			failed = fmt.Errorf("%s: %t, %w", what, ok, err)
		}
	}
	step("ping", true, s.Ping(ctx))
	mine, err := s.Claim(ctx, key.String(), me, time.Minute)
	step("claim", mine, err)
	at, err := s.Buried(ctx, []session.Index{index, "nobody"})
	step("not buried", at.IsZero(), err)
	step("create", true, s.Create(ctx, key, r, []session.Index{index}))
	for range 2 {
		mine, err = s.Acquire(ctx, key, me, time.Minute)
		step("acquire", mine, err)
	}
	r.Generation = 2
	step("replace", true, s.Replace(ctx, key, 1, r))
	step("release", true, s.Release(ctx, key, me))
	step("slide", true, s.Slide(ctx, key, time.Now().Add(2*time.Hour)))
	got, err := s.Load(ctx, key)
	step("load", got.Generation == 2 && bytes.Equal(got.Info, key[:]), err)
	keys, err := s.Members(ctx, index)
	step("members", len(keys) == 1 && keys[0] == key, err)
	for range 2 {
		step("bury", true, s.Bury(ctx, index, time.Now(), time.Minute))
	}
	last, err := s.Delete(ctx, key)
	step("delete", last.Generation == 2, err)
	at, err = s.Buried(ctx, []session.Index{"nobody", index})
	step("buried", !at.IsZero(), err)
	step("publish", true, s.Publish(ctx, key[:]))
	return failed
}

// ear is a subscription.
type ear struct {
	heard chan string
	ended chan error
}

// listen returns once the store has joined, or failed to.
func listen(t *testing.T, s *Store) (*ear, error) {
	t.Helper()
	e := &ear{heard: make(chan string, 1000), ended: make(chan error, 1)}
	joined := make(chan struct{})
	go func() {
		e.ended <- s.Subscribe(t.Context(), func() { close(joined) }, func(message []byte) { e.heard <- string(message) })
	}()
	select {
	case <-joined:
		return e, nil
	case err := <-e.ended:
		return nil, err
	}
}

// wantLost waits for the subscription's end.
func (e *ear) wantLost(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case err := <-e.ended:
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("subscription ended with %v, want ErrUnavailable", err)
		}
	case <-time.After(within):
		t.Errorf("subscription is not known to be lost after %v", within)
	}
}

func (e *ear) wantHeard(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-e.heard:
		if got != want {
			t.Errorf("heard %q, want %q", got, want)
		}
	case err := <-e.ended:
		t.Fatalf("subscription ended: %v", err)
	case <-time.After(10 * time.Second):
		t.Errorf("did not hear %q", want)
	}
}
