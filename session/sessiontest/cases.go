package sessiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom/session"
)

func comesBack(b *bench) {
	r := b.newRecord(1, time.Hour, 12*time.Hour)
	b.want(b.create(r), r)
	r.Generation, r.Tokens, r.Info = 1<<52, bytes.Repeat([]byte{0, 1, 2, 255}, 64<<10), nil
	b.want(b.create(r), r)
}

func neverThere(b *bench) {
	ctx, key := b.Context(), newKey()
	b.wantGone(key)
	b.wantError(b.Replace(ctx, key, 1, b.newRecord(2, time.Hour, time.Hour)), session.ErrNotFound)
	b.wantError(b.Slide(ctx, key, b.clock.Now().Add(time.Hour)), session.ErrNotFound)
	b.wantGone(key)
	b.wantMembers("nobody")
	if err := b.Ping(ctx); err != nil {
		b.Errorf("ping: %v", err)
	}
}

func takenKey(b *bench) {
	r := b.newRecord(1, time.Hour, time.Hour)
	key := b.create(r)
	b.wantError(b.Create(b.Context(), key, b.newRecord(9, time.Minute, time.Minute), nil), session.ErrConflict)
	b.want(key, r)
}

func inIndexes(b *bench) {
	r := b.newRecord(1, time.Hour, time.Hour)
	one := b.create(r, "alice", "sid-1")
	two := b.create(r, "alice", "sid-2")
	none := b.create(r)
	b.wantMembers("alice", one, two)
	b.wantMembers("sid-1", one)
	b.wantMembers("sid-2", two)
	b.wantMembers("bob")
	b.want(none, r)
}

func indexedFirst(b *bench) {
	for i := range 20 {
		key, index := newKey(), session.Index(fmt.Sprintf("index-%d", i))
		done := make(chan error, 1)
		go func() {
			done <- b.Create(b.Context(), key, b.newRecord(1, time.Hour, time.Hour), []session.Index{index})
		}()
		for {
			_, err := b.Load(b.Context(), key)
			if err == nil {
				break
			}
			if !errors.Is(err, session.ErrNotFound) {
				b.Fatal(err)
			}
			runtime.Gosched()
		}
		b.wantMembers(index, key)
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
}

func replaced(b *bench) {
	ctx := b.Context()
	key := b.create(b.newRecord(1, time.Hour, 2*time.Hour))
	second := b.newRecord(2, time.Hour, 2*time.Hour)
	second.Tokens, second.Info = []byte("other tokens, longer than the first"), []byte("x")
	if err := b.Replace(ctx, key, 1, second); err != nil {
		b.Fatal(err)
	}
	b.want(key, second)
	for _, was := range []uint64{0, 1, 3, 2 + 1<<32} {
		b.wantError(b.Replace(ctx, key, was, b.newRecord(was+1, time.Hour, time.Hour)), session.ErrConflict)
	}
	b.want(key, second)
	b.advance(59 * time.Minute)
	b.want(key, second)
	b.advance(time.Minute)
	b.wantGone(key)
}

func replacedOnce(b *bench) {
	const many = 50
	key := b.create(b.newRecord(7, time.Hour, time.Hour))
	var won, lost atomic.Int32
	var all sync.WaitGroup
	for i := range many {
		r := b.newRecord(8, time.Hour, time.Hour)
		r.Tokens = []byte{byte(i)}
		all.Go(func() {
			switch err := b.Replace(b.Context(), key, 7, r); {
			case err == nil:
				won.Add(1)
			case errors.Is(err, session.ErrConflict):
				lost.Add(1)
			default:
				b.Error(err)
			}
		})
	}
	all.Wait()
	if won.Load() != 1 || lost.Load() != many-1 {
		b.Errorf("%d succeeded, %d had a conflict", won.Load(), lost.Load())
	}
}

func idleStays(b *bench) {
	ctx := b.Context()
	r := b.newRecord(1, time.Hour, 12*time.Hour)
	key := b.create(r)
	if err := b.Slide(ctx, key, b.clock.Now().Add(time.Minute)); err != nil {
		b.Fatal(err)
	}
	b.want(key, r)
	next := b.newRecord(2, time.Minute, 12*time.Hour)
	if err := b.Replace(ctx, key, 1, next); err != nil {
		b.Fatal(err)
	}
	next.Idle = r.Idle
	b.want(key, next)
	b.advance(30 * time.Minute)
	b.want(key, next)
}

func notBroughtBack(b *bench) {
	ctx := b.Context()
	key := b.create(b.newRecord(1, time.Hour, 2*time.Hour))
	if _, err := b.Delete(ctx, key); err != nil {
		b.Fatal(err)
	}
	over := b.create(b.newRecord(1, time.Minute, 2*time.Hour))
	b.advance(time.Minute)
	for _, gone := range []session.Key{key, over} {
		b.wantError(b.Slide(ctx, gone, b.clock.Now().Add(time.Hour)), session.ErrNotFound)
		b.wantError(b.Replace(ctx, gone, 1, b.newRecord(2, time.Hour, time.Hour)), session.ErrNotFound)
		b.wantGone(gone)
	}
}

func endsIdle(b *bench) {
	r := b.newRecord(1, time.Hour, 12*time.Hour)
	key := b.create(r)
	b.advance(time.Hour - time.Second)
	b.want(key, r)
	b.advance(time.Second)
	b.wantGone(key)
	_, err := b.Delete(b.Context(), key)
	b.wantError(err, session.ErrNotFound)
}

func endsAbsolutely(b *bench) {
	r := b.newRecord(1, time.Hour, 10*time.Minute)
	key := b.create(r)
	b.advance(10*time.Minute - time.Second)
	b.want(key, r)
	b.advance(time.Second)
	b.wantGone(key)
}

func slideExtends(b *bench) {
	r := b.newRecord(1, time.Hour, 12*time.Hour)
	key := b.create(r)
	b.advance(59 * time.Minute)
	r.Idle = b.clock.Now().Add(time.Hour)
	if err := b.Slide(b.Context(), key, r.Idle); err != nil {
		b.Fatal(err)
	}
	b.want(key, r)
	b.advance(59 * time.Minute)
	b.want(key, r)
	b.advance(time.Minute)
	b.wantGone(key)
}

func slideBounded(b *bench) {
	key := b.create(b.newRecord(1, time.Hour, 90*time.Minute))
	b.advance(50 * time.Minute)
	if err := b.Slide(b.Context(), key, b.clock.Now().Add(time.Hour)); err != nil {
		b.Fatal(err)
	}
	b.advance(39 * time.Minute)
	if _, err := b.Load(b.Context(), key); err != nil {
		b.Error(err)
	}
	b.advance(time.Minute)
	b.wantGone(key)
}

func indexOutlives(b *bench) {
	long := b.create(b.newRecord(1, time.Hour, 10*time.Hour), "alice")
	short := b.create(b.newRecord(1, time.Hour, time.Hour), "alice")
	b.wantMembers("alice", long, short)
	b.advance(2 * time.Hour)
	members, err := b.Members(b.Context(), "alice")
	if err != nil || !slices.Contains(members, long) {
		b.Errorf("members after the shorter one ended: %v, %v", members, err)
	}
	b.advance(8 * time.Hour)
	b.wantMembers("alice")
}

func deleted(b *bench) {
	ctx := b.Context()
	key := b.create(b.newRecord(1, time.Hour, time.Hour))
	r := b.newRecord(2, time.Hour, time.Hour)
	if err := b.Replace(ctx, key, 1, r); err != nil {
		b.Fatal(err)
	}
	last, err := b.Delete(ctx, key)
	if err != nil {
		b.Fatal(err)
	}
	b.same(last, r)
	b.wantGone(key)
	_, err = b.Delete(ctx, key)
	b.wantError(err, session.ErrNotFound)
	b.wantGone(key)
}

func claimed(b *bench) {
	ctx := b.Context()
	name := "sign-in " + strings.Repeat("long {name}\x00", 500)
	claim := func(name, attempt string, want bool) {
		b.Helper()
		mine, err := b.Claim(ctx, name, []byte(attempt), time.Minute)
		if err != nil || mine != want {
			b.Errorf("claim by %s: %t, %v; want %t", attempt, mine, err, want)
		}
	}
	claim(name, "first", true)
	claim(name, "second", false)
	claim(name, "first", true)
	claim(name+"x", "second", true)
	b.advance(59 * time.Second)
	claim(name, "second", false)
	b.advance(time.Second)
	claim(name, "second", true)
	claim(name, "first", false)
}

func claimedOnce(b *bench) {
	var won atomic.Int32
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			mine, err := b.Claim(b.Context(), "once", []byte{byte(i)}, time.Minute)
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
		b.Errorf("%d attempts have the mark", won.Load())
	}
}

func endedContext(b *bench) {
	key := b.create(b.newRecord(1, time.Hour, time.Hour))
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	_, loading := b.Load(ctx, key)
	_, deleting := b.Delete(ctx, key)
	_, listing := b.Members(ctx, "alice")
	_, claiming := b.Claim(ctx, "name", []byte("me"), time.Minute)
	_, acquiring := b.Acquire(ctx, key, []byte("me"), time.Minute)
	_, asking := b.Buried(ctx, []session.Index{"alice"})
	for name, err := range map[string]error{
		"load": loading, "delete": deleting, "members": listing, "claim": claiming, "acquire": acquiring, "buried": asking, "ping": b.Ping(ctx),
		"create":  b.Create(ctx, newKey(), b.newRecord(1, time.Hour, time.Hour), nil),
		"replace": b.Replace(ctx, key, 1, b.newRecord(2, time.Hour, time.Hour)),
		"slide":   b.Slide(ctx, key, b.clock.Now().Add(2*time.Hour)),
		"release": b.Release(ctx, key, []byte("me")),
		"bury":    b.Bury(ctx, "alice", b.clock.Now(), time.Minute),
		"publish": b.Publish(ctx, []byte("message")),
	} {
		if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrConflict) {
			b.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}
