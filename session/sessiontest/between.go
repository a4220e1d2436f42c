package sessiontest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/session"
)

// The cases of what replicas tell each other: leases, burials and messages.

func (b *bench) wantAcquired(key session.Key, holder string, want bool) {
	b.Helper()
	mine, err := b.Acquire(b.Context(), key, []byte(holder), time.Minute)
	if err != nil || mine != want {
		b.Errorf("acquired by %s: %t, %v; want %t", holder, mine, err, want)
	}
}

func leased(b *bench) {
	key, other := newKey(), newKey()
	b.wantAcquired(key, "first", true)
	b.wantAcquired(key, "second", false)
	b.wantAcquired(other, "second", true)
	for range 5 {
		b.advance(30 * time.Second)
		b.wantAcquired(key, "first", true)
		b.wantAcquired(key, "second", false)
	}
	b.wantGone(key) // a lease is no record
}

func leaseEnds(b *bench) {
	key := newKey()
	b.wantAcquired(key, "first", true)
	b.advance(59 * time.Second)
	b.wantAcquired(key, "second", false)
	b.advance(time.Second)
	b.wantAcquired(key, "second", true)
	b.wantAcquired(key, "first", false)
}

func leaseReleased(b *bench) {
	key := newKey()
	release := func(holder string) {
		b.Helper()
		if err := b.Release(b.Context(), key, []byte(holder)); err != nil {
			b.Error(err)
		}
	}
	release("nobody")
	b.wantAcquired(key, "first", true)
	release("second")
	b.wantAcquired(key, "second", false)
	release("first")
	b.wantAcquired(key, "second", true)
	release("first")
	b.wantAcquired(key, "first", false)
}

func leasedOnce(b *bench) {
	key := newKey()
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			mine, err := b.Acquire(b.Context(), key, []byte{0, byte(i)}, time.Minute)
			if err != nil {
				b.Error(err)
			}
			if mine {
				won.Add(1)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 {
		b.Errorf("%d have the lease", won.Load())
	}
}

func (b *bench) bury(index session.Index, at time.Time, ttl time.Duration) {
	b.Helper()
	if err := b.Bury(b.Context(), index, at, ttl); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) wantBuried(want time.Time, indexes ...session.Index) {
	b.Helper()
	at, err := b.Buried(b.Context(), indexes)
	if err != nil || !at.Equal(want) || at.IsZero() != want.IsZero() {
		b.Errorf("%v buried at %v, %v; want %v", indexes, at, err, want)
	}
}

func buried(b *bench) {
	at := b.clock.Now().Add(-time.Hour)
	b.wantBuried(time.Time{}, "alice")
	b.wantBuried(time.Time{})
	b.bury("alice", at, time.Minute)
	b.wantBuried(at, "alice")
	b.wantBuried(time.Time{}, "bob")
	b.wantMembers("alice")
	b.advance(59 * time.Second)
	b.wantBuried(at, "alice")
	b.advance(time.Second)
	b.wantBuried(time.Time{}, "alice")
}

func buriedTwice(b *bench) {
	first, second := b.clock.Now(), b.clock.Now().Add(time.Second)
	b.bury("alice", second, time.Minute)
	b.bury("alice", first, time.Hour)
	b.bury("alice", first, time.Second)
	b.wantBuried(second, "alice")
	b.advance(30 * time.Minute)
	b.wantBuried(second, "alice")
	third := b.clock.Now()
	b.bury("alice", third, time.Second)
	b.wantBuried(third, "alice")
	b.advance(29 * time.Minute)
	b.wantBuried(third, "alice")
	b.advance(time.Minute)
	b.wantBuried(time.Time{}, "alice")
}

// buriedFinely: a sign-in that began before the burial, in the same millisecond, must not seem to have begun after it.
func buriedFinely(b *bench) {
	for i, past := range []time.Duration{1, 300 * time.Microsecond, 999_999} {
		index := session.Index(fmt.Sprint("alice ", i))
		at := b.clock.Now().Truncate(time.Millisecond).Add(past)
		b.bury(index, at, time.Minute)
		if got, err := b.Buried(b.Context(), []session.Index{index}); err != nil || got.Before(at) || got.Sub(at) >= time.Millisecond {
			b.Errorf("buried at %v, %v; want %v", got, err, at)
		}
	}
}

func buriedLatest(b *bench) {
	now := b.clock.Now()
	for i, index := range []session.Index{"one", "two", "three"} {
		b.bury(index, now.Add(time.Duration(i%2)*time.Second), time.Minute)
	}
	b.wantBuried(now.Add(time.Second), "one", "two", "three", "four")
	b.wantBuried(now, "three", "one")
}

// ear is one subscription of a test.
type ear struct {
	stop  context.CancelFunc
	ended chan error

	mu    sync.Mutex
	heard []string
}

const hearTime = 10 * time.Second // on a busy machine

func (b *bench) subscribe() *ear {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	e := &ear{stop: cancel, ended: make(chan error, 1)}
	joined := make(chan struct{})
	go func() {
		e.ended <- b.Subscribe(ctx, func() { close(joined) }, func(message []byte) {
			e.mu.Lock()
			defer e.mu.Unlock()
			e.heard = append(e.heard, string(message))
		})
	}()
	select {
	case <-joined:
	case err := <-e.ended:
		b.Fatalf("subscribe: %v", err)
	case <-time.After(hearTime):
		b.Fatal("did not join")
	}
	return e
}

func (e *ear) messages() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.heard)
}

func (b *bench) wantEnd(e *ear) {
	b.Helper()
	e.stop()
	select {
	case err := <-e.ended:
		if err == nil {
			b.Error("subscription ended without an error")
		}
	case <-time.After(hearTime):
		b.Error("subscription did not end with its context")
	}
}

func published(b *bench) {
	publish := func(message string) {
		b.Helper()
		if err := b.Publish(b.Context(), []byte(message)); err != nil {
			b.Fatal(err)
		}
	}
	publish("before anyone listens")
	ears := []*ear{b.subscribe(), b.subscribe()}
	want := []string{"\x00\xff binary\r\n", "", strings.Repeat("long ", 1000)}
	for i := range 100 {
		want = append(want, strings.Repeat("x", i+1))
	}
	for _, message := range want {
		publish(message)
	}
	for _, e := range ears {
		for late := time.Now().Add(hearTime); len(e.messages()) < len(want) && time.Now().Before(late); {
			<-time.After(time.Millisecond)
		}
		if got := e.messages(); !slices.Equal(got, want) {
			b.Errorf("heard %d messages, want %d in order: %.200q", len(got), len(want), got)
		}
		b.wantEnd(e)
	}
	publish("after everyone left")
}

func subscriptionEnds(b *bench) {
	b.wantEnd(b.subscribe())
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	joined := func() { b.Error("joined") }
	if err := b.Subscribe(ctx, joined, func([]byte) {}); err == nil {
		b.Error("subscribed with an ended context")
	}
}
