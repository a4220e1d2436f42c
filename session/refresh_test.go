package session_test

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/sessiontest"
	"cloakroom/token"
)

const needed = 5 * time.Second // how long an access token must live for a request

func (h *house) fresh(ticket session.Ticket) *session.Session {
	h.t.Helper()
	s, err := h.Fresh(h.t.Context(), ticket, h.load(ticket), needed)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) wantAsked(want int) {
	h.t.Helper()
	if got := h.provider.asked(); got != want {
		h.t.Errorf("the provider was asked %d times, want %d", got, want)
	}
}

func wantAccess(t *testing.T, s *session.Session, want secret.Text) {
	t.Helper()
	if s.Tokens.Access != want {
		t.Errorf("access token %s, want %s", s.Tokens.Access.Reveal(), want.Reveal())
	}
}

func TestManyRequestsAtExpiryAreOneRefresh(t *testing.T) {
	for name, after := range map[string]time.Duration{"just before": 9*time.Minute + 56*time.Second, "long after": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				h.provider.slow = 3 * time.Second
				ticket, _ := h.start()
				time.Sleep(after)
				stale := h.load(ticket)
				var all sync.WaitGroup
				for i := range 200 {
					all.Go(func() {
						time.Sleep(time.Duration(i) * 50 * time.Millisecond) // some come long after it is done, and read before
						s, err := h.Fresh(t.Context(), ticket, stale, needed)
						if err != nil {
							t.Error(err)
							return
						}
						wantAccess(t, s, "access-canary-1")
						if s.Generation != 2 {
							t.Errorf("generation %d", s.Generation)
						}
					})
				}
				all.Wait()
				h.wantAsked(1)
			})
		})
	}
}

func TestATokenThatStillServesIsRenewedWithoutWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = 3 * time.Second
		ticket, _ := h.start()
		time.Sleep(8*time.Minute + 45*time.Second) // 75 s left: beyond the 60 s and their spread of 12
		wantAccess(t, h.fresh(ticket), "access-canary-0")
		synctest.Wait()
		h.wantAsked(0)
		time.Sleep(16 * time.Second)
		began := time.Now()
		wantAccess(t, h.fresh(ticket), "access-canary-0")
		if time.Since(began) != 0 {
			t.Errorf("waited %v", time.Since(began))
		}
		time.Sleep(4 * time.Second)
		wantAccess(t, h.fresh(ticket), "access-canary-1")
		h.wantAsked(1)
	})
}

func TestSessionsThatExpireTogetherDoNotRenewTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.fail(errors.New("down"))
		var tickets []session.Ticket
		for range 100 {
			ticket, _ := h.start()
			tickets = append(tickets, ticket)
		}
		time.Sleep(8*time.Minute + 48*time.Second)
		times := map[int]int{}
		for second := range 13 {
			before := h.provider.asked()
			for _, ticket := range tickets {
				h.fresh(ticket)
			}
			synctest.Wait()
			times[second] = h.provider.asked() - before
			time.Sleep(time.Second)
		}
		if times[0] > 30 || times[6] < 25 || times[6] > 75 || times[12] != 100 {
			t.Errorf("asked by the second: %v", times)
		}
	})
}

func TestAShortLivedTokenIsNotRenewedAtEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.life = 40 * time.Second // less than the minute of RefreshBefore
		ticket, _ := h.start(func(l *session.Login) { l.Tokens.Expiry = time.Now().Add(40 * time.Second) })
		for range 10 * 60 {
			time.Sleep(time.Second)
			if s := h.fresh(ticket); time.Until(s.AccessExpiry) < needed {
				t.Fatalf("token lives for %v", time.Until(s.AccessExpiry))
			}
			if _, err := h.Slide(t.Context(), h.load(ticket)); err != nil {
				t.Fatal(err)
			}
		}
		if got := h.provider.asked(); got < 15 || got > 31 {
			t.Errorf("asked %d times in 10 minutes", got)
		}
	})
}

func TestWhatARenewalLeavesOutStaysAsItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.answer = func(r session.Renewal) session.Renewal { r.Tokens.Refresh = ""; return r }
		ticket, first := h.start()
		time.Sleep(20 * time.Minute)
		h.fresh(ticket)
		want := *first
		want.Generation, want.AccessExpiry = 2, time.Now().Add(10*time.Minute)
		want.Access = token.Claims{"sub": subject, "rotation": int64(1)}
		want.Tokens.Access, want.Tokens.Expiry = "access-canary-1", want.AccessExpiry
		same(t, "loaded", h.load(ticket), &want)

		h.provider.answer = func(r session.Renewal) session.Renewal {
			r.Tokens.ID, r.Tokens.Scope, r.Access = "id-canary-2", token.Scope{"openid"}, nil
			r.Identity = token.Claims{"sub": subject, "email": "new@example.test", "at_hash": "h"}
			return r
		}
		h.provider.rotation = 0 // the old refresh token serves on
		time.Sleep(20 * time.Minute)
		h.wantGone(ticket) // idle since its start: renewing is no activity
		ticket, _ = h.start()
		time.Sleep(20 * time.Minute)
		s := h.fresh(ticket)
		same(t, "loaded", h.load(ticket), s)
		all, err := h.SignOut(t.Context(), ticket, "logout")
		if err != nil {
			t.Fatal(err)
		}
		if all.ID != "id-canary-2" || all.Refresh != "refresh-canary-1" || s.Scope.String() != "openid" || s.Access != nil || s.Identity["email"] != "new@example.test" || s.Identity["at_hash"] != nil {
			t.Errorf("renewed: %q %v %v", s.Scope, s.Access, s.Identity)
		}
	})
}

// A provider that tells the e-mail in userinfo only sends a new ID token without it; a group that was taken away must not
// stay because userinfo once said so much else.
func TestANewIDTokenKeepsWhatOnlyUserInfoSaidAndNothingElseOfTheOldOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.answer = func(r session.Renewal) session.Renewal {
			r.Identity = token.Claims{"sub": subject, "name": "New Name"}
			return r
		}
		ticket, _ := h.start(func(l *session.Login) {
			l.Identity = token.Claims{"sub": subject, "name": "Old Name", "groups": []any{"admin"}, "email": "from@userinfo.test"}
			l.FromUserInfo = []string{"email", "name"}
		})
		time.Sleep(20 * time.Minute)
		h.fresh(ticket)
		want := token.Claims{"sub": subject, "name": "New Name", "email": "from@userinfo.test"}
		if got := h.load(ticket).Identity; !reflect.DeepEqual(got, want) {
			t.Errorf("identity %v, want %v", got, want)
		}
	})
}

func TestARefusedRefreshTokenEndsTheSessionOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = time.Second
		h.provider.fail(errors.Join(errors.New("invalid_grant"), session.ErrRefused))
		ticket, _ := h.start()
		time.Sleep(20 * time.Minute)
		stale := h.load(ticket)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if _, err := h.Fresh(t.Context(), ticket, stale, needed); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("fresh: %v, want ErrNotFound", err)
				}
			})
		}
		all.Wait()
		h.wantAsked(1)
		h.wantEnded("refused " + subject)
		h.wantGone(ticket)
		if n := len(h.failures()); n != 1 {
			t.Errorf("told of %d failures", n)
		}
	})
}

func TestAnyOtherFailureKeepsTheSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		trouble := errors.New("invalid_client")
		h.provider.fail(trouble)
		ticket, _ := h.start()
		time.Sleep(9*time.Minute + 50*time.Second)
		wantAccess(t, h.fresh(ticket), "access-canary-0") // it still serves
		time.Sleep(8 * time.Second)
		for range 3 {
			time.Sleep(time.Second)
			_, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed)
			if !errors.Is(err, trouble) || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrUnavailable) {
				t.Errorf("fresh with a dead token: %v, want what the provider said", err)
			}
		}
		h.wantEnded()
		if n := len(h.failures()); n != 4 {
			t.Errorf("told of %d failures, want 4", n)
		}
		h.provider.fail(nil)
		h.provider.answer = func(r session.Renewal) session.Renewal { r.Tokens.Access = ""; return r }
		time.Sleep(time.Second)
		if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); err == nil || errors.Is(err, session.ErrNotFound) {
			t.Errorf("fresh by an answer without a token: %v", err)
		}
		h.provider.answer, h.provider.rotation = nil, 0
		time.Sleep(time.Second)
		wantAccess(t, h.fresh(ticket), "access-canary-1")
	})
}

func TestAProviderInTroubleIsNotAskedAtEveryRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.fail(errors.New("down"))
		ticket, _ := h.start()
		time.Sleep(9 * time.Minute)
		for range 200 { // 20 s at 10 requests a second, with a token that still serves
			wantAccess(t, h.fresh(ticket), "access-canary-0")
			time.Sleep(100 * time.Millisecond)
		}
		if got := h.provider.asked(); got > 20 {
			t.Errorf("asked %d times in 20 s", got)
		}
		h.provider.fail(nil)
		h.fresh(ticket)
		time.Sleep(time.Second)
		wantAccess(t, h.fresh(ticket), "access-canary-1")
	})
}

func TestARefreshOutlivesTheRequestThatBeganIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = 4 * time.Second
		ticket, _ := h.start()
		time.Sleep(20 * time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := h.Fresh(ctx, ticket, h.load(ticket), needed)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, session.ErrNotFound) {
			t.Errorf("fresh: %v, want the request's end", err)
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		wantAccess(t, h.load(ticket), "access-canary-1")
		h.wantAsked(1)
	})
}

func TestCloseWaitsForRefreshesAndTakesOnNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = 4 * time.Second
		ticket, _ := h.start()
		time.Sleep(9*time.Minute + 30*time.Second)
		wantAccess(t, h.fresh(ticket), "access-canary-0")
		synctest.Wait()
		began := time.Now()
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("close took %v", took)
		}
		s := h.load(ticket)
		wantAccess(t, s, "access-canary-1")
		time.Sleep(time.Hour / 4)
		_, err := h.Fresh(t.Context(), ticket, s, needed)
		wantUnavailable(t, "fresh after close", err)
		h.wantAsked(1)
	})
}

func TestCloseCutsOffWhatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = 25 * time.Second
		ticket, _ := h.start()
		time.Sleep(9*time.Minute + 30*time.Second)
		h.fresh(ticket)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		if err := h.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("close: %v", err)
		}
		synctest.Wait()
		if failed := h.failures(); len(failed) != 1 || !errors.Is(failed[0], context.Canceled) {
			t.Errorf("what was under way ended with %v, want that it was cut off", failed)
		}
		h.load(ticket)
	})
}

func TestAProviderThatNeverAnswersIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = time.Hour
		ticket, _ := h.start()
		time.Sleep(20 * time.Minute)
		_, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, session.ErrNotFound) {
			t.Errorf("fresh: %v", err)
		}
		h.load(ticket)
		h.wantEnded()
	})
}

func TestAnAnswerThatComesVeryLateIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		time.Sleep(20 * time.Minute)
		h.provider.answer = func(r session.Renewal) session.Renewal {
			time.Sleep(time.Minute) // whatever the context says
			return r
		}
		h.fresh(ticket)
		time.Sleep(time.Second)
		if got := h.store.Calls(sessiontest.Replace); got != 2 {
			t.Errorf("%d writes, want that of the intent and one", got)
		}
		wantAccess(t, h.load(ticket), "access-canary-1")
	})
}

func TestASessionEndedDuringItsRefreshStaysEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.slow = 4 * time.Second
		ticket, s := h.start()
		time.Sleep(9*time.Minute + 30*time.Second)
		h.fresh(ticket)
		time.Sleep(time.Second)
		if err := h.End(t.Context(), s.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Fresh(t.Context(), ticket, s, time.Minute); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("fresh: %v, want ErrNotFound", err)
		}
		time.Sleep(time.Minute)
		h.wantGone(ticket)
		h.wantEnded("logout " + subject)
		h.wantAsked(1)
	})
}

func TestWhatAnotherReplicaRenewedIsTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newHouse(t)
		b := houseOver(t, a.store, a.ring, a.provider)
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		stale := b.load(ticket)
		wantAccess(t, a.fresh(ticket), "access-canary-1")
		s, err := b.Fresh(t.Context(), ticket, stale, needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		a.wantAsked(1)
	})
}

// leaseless is a store that gives everyone the lease, as one may that failed over.
type leaseless struct{ session.Store }

func (leaseless) Acquire(context.Context, session.Key, []byte, time.Duration) (bool, error) {
	return true, nil
}

// overtaking is a replica that finds itself with the lease while another one has not finished, and whose clock is so far
// ahead that it thinks that one must have.
func overtaking(a *house) *house {
	return houseOver(a.t, a.store, a.ring, a.provider, func(cfg *session.Config) {
		cfg.Store = leaseless{a.store}
		cfg.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	})
}

func TestARefusalOfATokenThatSomebodyElseUsedUpEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &provider{t: t, slow: 10 * time.Second, err: session.ErrRefused}
		a := newHouse(t)
		b := houseOver(t, a.store, a.ring, late)
		hasty := overtaking(a)
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		stale := b.load(ticket)
		time.AfterFunc(time.Second, func() { hasty.fresh(ticket) })
		s, err := b.Fresh(t.Context(), ticket, stale, needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		b.wantEnded()
	})
}

func TestARenewalThatAnotherOvertookDoesNotOverwriteIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := &provider{t: t, slow: 10 * time.Second, life: time.Minute}
		late.answer = func(r session.Renewal) session.Renewal { r.Tokens.Access = "access-of-the-late"; return r }
		a := newHouse(t)
		b := houseOver(t, a.store, a.ring, late)
		hasty := overtaking(a)
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		stale := b.load(ticket)
		time.AfterFunc(time.Second, func() { hasty.fresh(ticket) })
		s, err := b.Fresh(t.Context(), ticket, stale, needed)
		if err != nil {
			t.Fatal(err)
		}
		wantAccess(t, s, "access-canary-1")
		wantAccess(t, b.load(ticket), "access-canary-1")
	})
}

func TestASessionWithoutARefreshTokenComesBackAsItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for name, change := range map[string]func(*session.Login){
			"no refresh token":                func(l *session.Login) { l.Tokens.Refresh = "" },
			"an access token of unknown life": func(l *session.Login) { l.Tokens.Expiry = time.Time{} },
		} {
			ticket, _ := h.start(change)
			time.Sleep(9*time.Minute + 59*time.Second)
			if s := h.fresh(ticket); s.Generation != 1 {
				t.Errorf("%s: generation %d", name, s.Generation)
			}
		}
		h.wantAsked(0)
	})
}

// Idle is judged by what the store knows when the answer is there, not by what it said before the provider was asked.
func TestActivityDuringARefreshKeepsTheSession(t *testing.T) {
	for name, tt := range map[string]struct {
		clicks bool
		want   error
	}{
		"with a click after it began": {true, nil},
		"with none":                   {false, session.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				ticket, _ := h.start()
				time.Sleep(30*time.Minute - 5*time.Second)
				h.provider.slow = 6 * time.Second // across the idle end
				answer := make(chan error, 1)
				go func() {
					_, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed) // as an event stream does, which is no activity
					answer <- err
				}()
				time.Sleep(2 * time.Second)
				if s := h.load(ticket); tt.clicks {
					if _, err := h.Slide(t.Context(), s); err != nil {
						t.Fatal(err)
					}
				}
				if err := <-answer; !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("fresh: %v, want %v", err, tt.want)
				}
				if tt.want != nil {
					h.wantGone(ticket)
					return
				}
				wantAccess(t, h.load(ticket), "access-canary-1")
				h.wantEnded()
			})
		})
	}
}
