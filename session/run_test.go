package session_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// told counts how looking up sessions was answered.
type told struct {
	mu sync.Mutex
	by map[string]int
}

func (c *told) option(cfg *session.Config) {
	c.by = map[string]int{}
	cfg.Cached = func(result string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.by[result]++
	}
}

func (h *house) wantLoads(what string, want int, do func()) {
	h.t.Helper()
	before := h.store.Calls(sessiontest.Load)
	do()
	if got := h.store.Calls(sessiontest.Load) - before; got != want {
		h.t.Errorf("%s: the store was asked %d times, want %d", what, got, want)
	}
}

func TestASessionInUseCostsTheStoreNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c told
		h := newHouse(t, c.option)
		ticket, s := h.start()
		h.wantLoads("before it is known that others are heard", 3, func() {
			for range 3 {
				h.load(ticket)
			}
		})
		h.run()
		first := h.load(ticket)
		h.wantLoads("afterwards", 0, func() {
			for range 100 {
				if again := h.load(ticket); again != first {
					t.Fatal("it was decoded twice")
				}
				if found, err := h.Find(t.Context(), s.ID); err != nil || found.Tokens.Access != "" {
					t.Fatalf("found: %v", err)
				}
			}
		})
		time.Sleep(5*time.Second + time.Millisecond)
		h.wantLoads("five seconds later", 1, func() { h.load(ticket); h.load(ticket) })
		if c.by["bypass"] != 3 || c.by["miss"] != 2 || c.by["hit"] != 201 {
			t.Errorf("told of %v", c.by)
		}
		_, other := h.start()
		h.wantLoads("a session that is only looked up by its handle", 1, func() {
			for range 5 {
				if _, err := h.Find(t.Context(), other.ID); err != nil {
					t.Fatal(err)
				}
			}
		})
	})
}

func TestWhatIsFoundByItsHandleIsNoSessionForATicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.run()
		ticket, s := h.start()
		if _, err := h.Find(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		wantAccess(t, h.load(ticket), "access-canary-0")
		if _, err := h.Find(t.Context(), s.ID); err != nil {
			t.Fatal(err)
		}
		h.wantLoads("after both", 0, func() { wantAccess(t, h.load(ticket), "access-canary-0") })
	})
}

func TestWhatOneReplicaEndsIsGoneOnAll(t *testing.T) {
	for name, end := range map[string]func(*house, *session.Session) error{
		"one": func(h *house, s *session.Session) error { return h.End(h.t.Context(), s.ID, "revoked") },
		"all": func(h *house, s *session.Session) error {
			_, err := h.EndAll(h.t.Context(), session.Selector{Issuer: issuer, Subject: subject}, "revoked")
			return err
		},
		"ours": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newHouse(t)
				b := a.another()
				a.run()
				b.run()
				ticket, s := a.start()
				b.load(ticket)
				changes, stop := b.Watch(s.ID)
				defer stop()
				by := a
				if end == nil {
					by, end = b, func(h *house, s *session.Session) error { return h.End(h.t.Context(), s.ID, "revoked") }
				}
				if err := end(by, s); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				b.wantLoads("after the end", 1, func() { b.wantGone(ticket) })
				want := session.Change{ID: s.ID, Kind: session.Ended, Reason: "revoked"}
				if got := <-changes; got != want {
					t.Errorf("told of %v, want %v", got, want)
				}
				if got, open := <-changes; open {
					t.Errorf("told of %v after the end", got)
				}
			})
		})
	}
}

func TestARenewalIsHeardOnAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		a.run()
		b.run()
		ticket, s := a.start()
		time.Sleep(20 * time.Minute)
		b.load(ticket)
		for _, h := range []*house{a, b} {
			changes, stop := h.Watch(s.ID)
			defer stop()
			defer func() {
				if got, want := <-changes, (session.Change{ID: s.ID, Kind: session.Renewed}); got != want {
					t.Errorf("told of %v, want %v", got, want)
				}
				select {
				case got := <-changes:
					t.Errorf("told of %v as well", got)
				default:
				}
			}()
		}
		a.fresh(ticket)
		synctest.Wait()
		wantAccess(t, b.load(ticket), "access-canary-1")
	})
}

// Whoever does not hear the others must not go on believing what it read.
func TestADeafReplicaAsksTheStore(t *testing.T) {
	for name, deafen := range map[string]func(*house){
		"nothing is heard any more":         func(h *house) { h.store.Deafen(true) },
		"nothing can be published any more": func(h *house) { h.store.Break(sessiontest.FailsBefore, sessiontest.Publish) },
		"publishing hangs":                  func(h *house) { h.store.Break(sessiontest.Hangs, sessiontest.Publish) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.run()
				ticket, _ := h.start()
				h.load(ticket)
				deafen(h)
				time.Sleep(300 * time.Millisecond)
				h.wantLoads("at first", 0, func() { h.load(ticket) })
				time.Sleep(300 * time.Millisecond)
				h.wantLoads("600 ms later", 2, func() { h.load(ticket); h.load(ticket) })
				time.Sleep(10 * time.Second)
				h.store.Mend()
				h.store.Deafen(false)
				time.Sleep(1500 * time.Millisecond)
				h.wantLoads("when all is well again", 1, func() { h.load(ticket); h.load(ticket) })
			})
		})
	}
}

func TestALostSubscriptionEmptiesTheCacheAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.run()
		ticket, _ := h.start()
		h.load(ticket)
		h.store.Cut()
		synctest.Wait()
		h.wantLoads("at once", 2, func() { h.load(ticket); h.load(ticket) })
		time.Sleep(time.Second)
		h.wantLoads("joined again", 1, func() { h.load(ticket); h.load(ticket) })
	})
}

// numb is a store whose first subscription stays, and hears nothing.
type numb struct {
	session.Store
	first *sync.Once
}

func (n numb) Subscribe(ctx context.Context, joined func(), heard func([]byte)) error {
	n.first.Do(func() { heard = func([]byte) {} })
	return n.Store.Subscribe(ctx, joined, heard)
}

func TestASubscriptionThatHearsNothingIsMadeAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		h := a.another(func(cfg *session.Config) { cfg.Store = numb{a.store, new(sync.Once)} })
		h.run()
		ticket, _ := h.start()
		h.wantLoads("at first", 2, func() { h.load(ticket); h.load(ticket) })
		time.Sleep(3 * time.Second)
		h.wantLoads("three seconds later", 1, func() { h.load(ticket); h.load(ticket) })
	})
}

// slowLoad is a store whose answers to Load are held up.
type slowLoad struct {
	session.Store
	held chan struct{}
}

func (s slowLoad) Load(ctx context.Context, key session.Key) (session.Record, error) {
	r, err := s.Store.Load(ctx, key)
	<-s.held
	return r, err
}

func TestALoadThatAChangeOvertookIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		held := make(chan struct{})
		b := a.another(func(cfg *session.Config) { cfg.Store = slowLoad{a.store, held} })
		b.run()
		ended, one := a.start()
		renewed, _ := a.start()
		time.Sleep(20 * time.Minute)
		for _, ticket := range []session.Ticket{ended, renewed} {
			go func() { _, _ = b.Load(context.Background(), ticket) }() // it began before, and may find the old one
		}
		synctest.Wait()
		if err := a.End(t.Context(), one.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		a.fresh(renewed)
		synctest.Wait()
		close(held)
		synctest.Wait()
		b.wantGone(ended)
		wantAccess(t, b.load(renewed), "access-canary-1")
	})
}

// A gap in the proofs may end before anyone has looked.
func TestAGapThatIsJustOverEmptiesTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.run()
		ticket, _ := h.start()
		h.load(ticket)
		time.Sleep(10 * time.Millisecond)
		h.store.Deafen(true)
		time.Sleep(580 * time.Millisecond)
		h.store.Deafen(false)
		time.Sleep(20 * time.Millisecond)
		h.wantLoads("right after the gap", 1, func() { h.load(ticket); h.load(ticket) })
	})
}

func TestASlideIsSeenInWhatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.run()
		ticket, _ := h.start()
		time.Sleep(5 * time.Minute)
		s := h.load(ticket)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				if next, err := h.Slide(t.Context(), s); err != nil || time.Until(next.IdleExpires) != 30*time.Minute {
					t.Errorf("slide: %v", err)
				}
			})
		}
		all.Wait()
		before := h.store.Calls(sessiontest.Slide) // those that were under way at once may each have written
		for range 50 {
			for _, read := range []*session.Session{s, h.load(ticket)} { // before, and after
				if _, err := h.Slide(t.Context(), read); err != nil {
					t.Fatal(err)
				}
			}
		}
		if got := h.store.Calls(sessiontest.Slide) - before; got > 0 {
			t.Errorf("%d writes for what was written before", got)
		}
		if left := time.Until(h.load(ticket).IdleExpires); left != 30*time.Minute {
			t.Errorf("idle for another %v", left)
		}
	})
}

func TestWhatIsKeptAndOverIsLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		b.run()
		ticket, _ := a.start()
		time.Sleep(29*time.Minute + 58*time.Second - time.Second)
		b.load(ticket)
		if _, err := a.Slide(t.Context(), a.load(ticket)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(4 * time.Second)
		if s := b.load(ticket); time.Until(s.IdleExpires) < 20*time.Minute {
			t.Errorf("idle for another %v", time.Until(s.IdleExpires))
		}
	})
}

func TestWhoWatchesIsToldOfAnEndThatNobodyHeard(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(a *house, s *session.Session)
		want string
		soon time.Duration
	}{
		"that came before": {func(a *house, s *session.Session) {}, "revoked", 0},
		"while the subscription was lost": {func(a *house, s *session.Session) {
			a.store.Deafen(true)
			_ = a.End(context.Background(), s.ID, "revoked")
			synctest.Wait()
			a.store.Deafen(false)
			a.store.Cut()
		}, "expired", time.Second},
		"by time": {func(a *house, s *session.Session) { time.Sleep(30 * time.Minute) }, "expired", 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newHouse(t)
				b := a.another()
				b.run()
				_, s := a.start()
				if name == "that came before" {
					if err := b.End(t.Context(), s.ID, "revoked"); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
				}
				changes, stop := b.Watch(s.ID)
				defer stop()
				tt.end(a, s)
				began := time.Now()
				if got := <-changes; got.Kind != session.Ended || got.Reason != tt.want || got.ID != s.ID {
					t.Errorf("told of %v", got)
				}
				if took := time.Since(began); took > tt.soon {
					t.Errorf("told after %v", took)
				}
			})
		})
	}
}

func TestAWatcherWhoDoesNotReadMissesRenewalsAndNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		changes, stop := h.Watch(s.ID)
		for range 10 {
			time.Sleep(9*time.Minute + 55*time.Second)
			h.fresh(ticket)
			if _, err := h.Slide(t.Context(), h.load(ticket)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
		}
		if err := h.End(t.Context(), s.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		var kinds []session.ChangeKind
		for c := range changes {
			kinds = append(kinds, c.Kind)
		}
		if want := []session.ChangeKind{session.Renewed, session.Renewed, session.Renewed, session.Ended}; !slices.Equal(kinds, want) {
			t.Errorf("told of %v, want %v", kinds, want)
		}
		stop() // after the end, and twice
		stop()
		early, stop := h.Watch(s.ID + "x")
		if _, open := <-early; open {
			t.Error("what is no handle is watched")
		}
		stop()
		unread, stop := h.Watch(session.Ticket{1}.ID())
		stop()
		if _, open := <-unread; open {
			t.Error("the channel is not closed by stop")
		}
	})
}

// Whoever can write to the store can say anything; nothing of it may be worse than what that can do anyway.
func TestMessagesThatAreNotOursAreHeardInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.run()
		ticket, s := h.start()
		h.load(ticket)
		key := keyOf(t, s)
		for _, message := range [][]byte{
			nil, {1}, {2, 'e'}, slices.Concat([]byte{2, 'e'}, make([]byte, 8), key[:]), slices.Concat([]byte{1, 'e'}, make([]byte, 8), key[:31]),
			slices.Concat([]byte{1, 'e'}, make([]byte, 8), key[:], []byte("<script>")), slices.Concat([]byte{1, 'e'}, make([]byte, 8), key[:], make([]byte, 100)),
			slices.Concat([]byte{1, 'p'}, make([]byte, 24)), slices.Concat([]byte{1, 'p'}, make([]byte, 23)), slices.Concat([]byte{1, 'x'}, make([]byte, 8), key[:]),
		} {
			if err := h.store.Publish(t.Context(), message); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		h.wantLoads("after all of it", 0, func() { h.load(ticket) })
	})
}

func TestAnEndThatCouldNotBePublishedIsPublishedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := houseOver(t, sessiontest.NewFrail(a.store.Store), a.ring, a.provider)
		b.run()
		ticket, s := a.start()
		a.store.Next(sessiontest.Publish, sessiontest.FailsBefore, sessiontest.FailsBefore)
		changes, stop := b.Watch(s.ID)
		defer stop()
		wantUnavailable(t, "end", a.End(t.Context(), s.ID, "logout"))
		time.Sleep(500 * time.Millisecond)
		select {
		case <-changes:
		default:
			t.Error("it was not published")
		}
		b.wantGone(ticket)
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, broken := range []bool{false, true} {
			h := newHouse(t)
			if broken {
				h.store.Break(sessiontest.Hangs)
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); h.Run(ctx) }()
			time.Sleep(10 * time.Second)
			cancel()
			synctest.Wait()
			select {
			case <-done:
			default:
				t.Errorf("it goes on; store broken: %t", broken)
			}
			if h.store.Mend(); broken {
				continue
			}
			ticket, _ := h.start()
			h.wantLoads("without Run", 2, func() { h.load(ticket); h.load(ticket) })
		}
	})
}
