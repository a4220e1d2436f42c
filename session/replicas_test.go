package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// another is one more replica over the same store and provider.
func (h *house) another(change ...func(*session.Config)) *house {
	return houseOver(h.t, h.store, h.ring, h.provider, change...)
}

func TestManyRequestsAtExpiryOnTwoReplicasAreOneRefresh(t *testing.T) {
	for name, slow := range map[string]time.Duration{
		"a provider that is quick": 50 * time.Millisecond, "a provider that takes longer than the lease": 20 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newHouse(t)
				b := houseOver(t, sessiontest.NewFrail(a.store.Store), a.ring, a.provider)
				a.provider.slow = slow
				ticket, _ := a.start()
				time.Sleep(20 * time.Minute)
				stale := a.load(ticket)
				var all sync.WaitGroup
				for i := range 200 {
					all.Go(func() {
						time.Sleep(time.Duration(i) * time.Millisecond)
						s, err := []*house{a, b}[i%2].Fresh(t.Context(), ticket, stale, needed)
						if err != nil {
							t.Error(err)
							return
						}
						wantAccess(t, s, "access-canary-1")
					})
				}
				all.Wait()
				a.wantAsked(1)
				if got := a.store.Calls(sessiontest.Acquire) + b.store.Calls(sessiontest.Acquire); slow > 15*time.Second && got < 50 {
					t.Errorf("the lease was asked for %d times", got)
				}
				if got := a.store.Calls(sessiontest.Acquire); slow > 15*time.Second && got != 1+4 { // a was first
					t.Errorf("its holder acquired the lease %d times in 20 s, want once, and then every 5 s", got)
				}
			})
		})
	}
}

func TestAReplicaThatWaitsForAnotherServesTheOldTokenMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		a.provider.slow = 4 * time.Second
		ticket, _ := a.start()
		time.Sleep(9*time.Minute + 30*time.Second)
		a.fresh(ticket)
		synctest.Wait()
		began := time.Now()
		wantAccess(t, b.fresh(ticket), "access-canary-0")
		if time.Since(began) != 0 {
			t.Errorf("it waited %v", time.Since(began))
		}
		time.Sleep(5 * time.Second)
		wantAccess(t, b.fresh(ticket), "access-canary-1")
		a.wantAsked(1)
	})
}

func TestWhatWasRenewedElsewhereIsTakenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		b.run()
		a.provider.slow = 4 * time.Second
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		stale := b.load(ticket)
		go func() { _, _ = a.Fresh(t.Context(), ticket, stale, needed) }()
		time.Sleep(time.Second)
		began := time.Now()
		s, err := b.Fresh(t.Context(), ticket, stale, needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %v, and the other replica had it after 3s", took)
		}
	})
}

// crash makes a replica vanish: whatever it still does reaches nobody.
func (h *house) crash() {
	h.store.Break(sessiontest.FailsBefore)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = h.Close(ctx)
}

func TestWhatACrashedReplicaBeganIsTriedOnce(t *testing.T) {
	for _, tt := range []struct {
		name    string
		rotated bool // whether the provider had taken the refresh token
		want    error
		ended   []string
	}{
		{"before the provider took the refresh token", false, nil, nil},
		{"between the provider's answer and the write", true, session.ErrNotFound, []string{"refused " + subject}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newHouse(t)
				a := houseOver(t, sessiontest.NewFrail(b.store.Store), b.ring, b.provider)
				ticket, _ := b.start()
				time.Sleep(20 * time.Minute)
				stale := b.load(ticket)
				if tt.rotated {
					b.provider.answer = func(r session.Renewal) session.Renewal { a.crash(); return r }
				} else {
					b.provider.slow = time.Second
					time.AfterFunc(500*time.Millisecond, a.crash)
				}
				_, err := a.Fresh(t.Context(), ticket, stale, needed)
				if tt.rotated {
					err = errSimulated // it is served from where nobody asks any more
				}
				if err == nil {
					t.Error("renewed by a crashed replica")
				}
				b.provider.answer, b.provider.slow = nil, 0
				asked := b.provider.asked()
				began := time.Now()
				_, err = b.Fresh(t.Context(), ticket, stale, needed)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("fresh: %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took > time.Minute {
					t.Errorf("it took %v", took)
				}
				b.wantAsked(asked + 1)
				b.wantEnded(tt.ended...)
				if tt.rotated {
					if failed := b.failures(); len(failed) != 1 || !strings.Contains(failed[0].Error(), "answer got lost") {
						t.Errorf("told of %v", failed)
					}
					return
				}
				wantAccess(t, b.load(ticket), "access-canary-1")
			})
		})
	}
}

// The store was away from this replica for longer than its lease lasts; the other one must not use the refresh token up
// while the answer is on its way.
func TestAnAnswerOnItsWayIsWaitedForWhenTheLeaseIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHouse(t)
		a := houseOver(t, sessiontest.NewFrail(b.store.Store), b.ring, b.provider)
		b.provider.slow = 20 * time.Second
		ticket, _ := b.start()
		time.Sleep(20 * time.Minute)
		stale := b.load(ticket)
		go func() { _, _ = a.Fresh(t.Context(), ticket, stale, needed) }()
		time.Sleep(time.Second)
		a.store.Break(sessiontest.FailsBefore)
		time.AfterFunc(24*time.Second, a.store.Mend) // 5 s after the provider answered
		s, err := b.Fresh(t.Context(), ticket, stale, needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		b.wantAsked(1)
		b.wantEnded()
	})
}

func TestAnAnswerThatGotLostIsAskedForOnceMore(t *testing.T) {
	for _, tt := range []struct {
		name  string
		err   error
		asked int
	}{
		{"an answer that did not arrive whole", errors.Join(errors.New("unexpected EOF"), session.ErrUncertain), 2},
		{"an answer that did not come in time", context.DeadlineExceeded, 2},
		{"an answer", errors.New("429"), 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.provider.fail(tt.err)
				ticket, _ := h.start()
				time.Sleep(15 * time.Minute)
				if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); !errors.Is(err, tt.err) {
					t.Errorf("fresh: %v, want %v", err, tt.err)
				}
				h.wantAsked(tt.asked)
				if n := len(h.failures()); n != 1 {
					t.Errorf("told of %d failures", n)
				}
				time.Sleep(2 * time.Second)
				again := time.Now()
				if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); !errors.Is(err, tt.err) {
					t.Errorf("fresh: %v, want %v", err, tt.err)
				}
				if took := time.Since(again); took != 0 {
					t.Errorf("it waited %v for itself", took)
				}
				h.wantAsked(tt.asked + 1) // it is not new any more that an answer got lost
				h.wantEnded()
				time.Sleep(2 * time.Second)
				h.provider.fail(nil)
				wantAccess(t, h.fresh(ticket), "access-canary-1")
				time.Sleep(11 * time.Minute)
				again = time.Now()
				wantAccess(t, h.another().fresh(ticket), "access-canary-2")
				if took := time.Since(again); took != 0 {
					t.Errorf("another replica waited %v for what is settled", took)
				}
			})
		})
	}
}

func TestASecondTryIsLeftToWhoHasTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newHouse(t)
		a := houseOver(t, sessiontest.NewFrail(b.store.Store), b.ring, b.provider)
		b.provider.slow = 20 * time.Second
		b.provider.fail(session.ErrUncertain)
		ticket, _ := b.start()
		time.Sleep(20 * time.Minute)
		stale := b.load(ticket)
		failed := make(chan error, 1)
		go func() {
			_, err := a.Fresh(t.Context(), ticket, stale, needed)
			failed <- err
		}()
		time.Sleep(time.Second)
		a.store.Break(sessiontest.FailsBefore, sessiontest.Acquire)
		time.AfterFunc(18500*time.Millisecond, a.store.Mend) // when b has the lease, and waits for what a began
		time.AfterFunc(20*time.Second, func() { b.provider.fail(nil) })
		s, err := b.Fresh(t.Context(), ticket, stale, needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		wantUnavailable(t, "fresh by who lost the lease", <-failed)
		b.wantAsked(2)
	})
}

func TestASecondTryMayFindThatSomebodyElseSucceeded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		var hasty *house
		var ticket session.Ticket
		b := a.another(func(cfg *session.Config) {
			cfg.Refresh = func(context.Context, *session.Session) (session.Renewal, error) {
				hasty.fresh(ticket)
				return session.Renewal{}, session.ErrUncertain
			}
		})
		hasty = overtaking(a)
		ticket, _ = a.start()
		time.Sleep(20 * time.Minute)
		s, err := b.Fresh(t.Context(), ticket, b.load(ticket), needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		a.wantAsked(1)
	})
}

func TestAnAnswerThatSaysNoLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		a.provider.fail(errors.New("503"))
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		stale := a.load(ticket)
		if _, err := a.Fresh(t.Context(), ticket, stale, needed); err == nil {
			t.Fatal("renewed by a provider that is down")
		}
		a.provider.fail(nil)
		began := time.Now()
		wantAccess(t, b.fresh(ticket), "access-canary-1")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatIsSettledLeavesNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		ticket, _ := a.start()
		for i, h := range []*house{a, b, a} {
			time.Sleep(11 * time.Minute)
			began := time.Now()
			if s := h.fresh(ticket); s.Generation != uint64(i+2) {
				t.Errorf("generation %d", s.Generation)
			}
			if took := time.Since(began); took != 0 {
				t.Errorf("it took %v", took)
			}
			if _, err := h.Slide(t.Context(), h.load(ticket)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestALeaseWhoseAnswerGotLostKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := a.another()
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		a.store.Next(sessiontest.Acquire, sessiontest.LosesAnswer)
		_, err := a.Fresh(t.Context(), ticket, a.load(ticket), needed)
		wantUnavailable(t, "fresh", err)
		began := time.Now()
		wantAccess(t, b.fresh(ticket), "access-canary-1")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestAnIntentThatIsNotWrittenAsksNobody(t *testing.T) {
	for name, fault := range map[string]sessiontest.Fault{"fails": sessiontest.FailsBefore, "loses the answer": sessiontest.LosesAnswer} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				ticket, _ := h.start()
				time.Sleep(20 * time.Minute)
				h.store.Next(sessiontest.Replace, fault)
				_, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed)
				wantUnavailable(t, "fresh", err)
				h.wantAsked(0)
				wantAccess(t, h.fresh(ticket), "access-canary-1")
			})
		})
	}
}

func TestTokensAreRenewedSoOftenWhileInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(cfg *session.Config) { cfg.RefreshEvery = 5 * time.Minute })
		h.provider.life = 24 * time.Hour
		ticket, _ := h.start(func(l *session.Login) { l.Tokens.Expiry = time.Now().Add(24 * time.Hour) })
		began := time.Now()
		for time.Since(began) < time.Hour {
			time.Sleep(10 * time.Second)
			if _, err := h.Slide(t.Context(), h.fresh(ticket)); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.provider.asked(); got < 11 || got > 16 {
			t.Errorf("asked %d times in an hour", got)
		}
		synctest.Wait()                     // a renewal that began before is over
		h.provider.fail(session.ErrRefused) // the user was disabled
		time.Sleep(5 * time.Minute)
		h.fresh(ticket)
		synctest.Wait()
		h.wantGone(ticket)
		h.wantEnded("refused " + subject)
	})
}

// busy is a provider's answer that tells when to come back.
type busy struct{ time.Duration }

func (b busy) Error() string             { return "429" }
func (b busy) RetryAfter() time.Duration { return b.Duration }

func TestAProviderThatSaysWhenToComeBackIsHeeded(t *testing.T) {
	for name, tt := range map[string]struct{ says, want time.Duration }{
		"in ten seconds": {10 * time.Second, 10 * time.Second}, "in a day": {24 * time.Hour, 30 * time.Second}, "at once": {0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.provider.fail(busy{tt.says})
				ticket, _ := h.start()
				time.Sleep(20 * time.Minute)
				for began := time.Now(); time.Since(began) < tt.want; time.Sleep(500 * time.Millisecond) {
					if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); !errors.Is(err, busy{tt.says}) {
						t.Fatalf("fresh: %v", err)
					}
				}
				h.wantAsked(1)
				h.provider.fail(nil)
				wantAccess(t, h.fresh(ticket), "access-canary-1")
			})
		})
	}
}

func TestTokensOfASessionThatEndedMeanwhileAreHandedBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		revoked := make(chan secret.Text, 1)
		h := newHouse(t, func(cfg *session.Config) {
			cfg.Revoke = func(_ context.Context, provider string, refresh secret.Text) {
				if provider != "main" {
					t.Errorf("provider %q", provider)
				}
				revoked <- refresh
			}
		})
		h.provider.slow = 4 * time.Second
		ticket, s := h.start()
		time.Sleep(9*time.Minute + 30*time.Second)
		h.fresh(ticket)
		time.Sleep(time.Second)
		if err := h.End(t.Context(), s.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		select {
		case refresh := <-revoked:
			if refresh != "refresh-canary-1" {
				t.Errorf("revoked %s", refresh.Reveal())
			}
		default:
			t.Error("nothing was revoked")
		}
	})
}
