package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/sessiontest"
	"cloakroom/token"
)

func TestASelectorMeansWhatItSays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		names := map[string]string{}
		open := func(name string, change func(*session.Login)) *session.Session {
			_, s := h.start(change)
			names[s.ID] = name
			return s
		}
		open("old", func(*session.Login) {})
		time.Sleep(time.Minute)
		middle := time.Now()
		time.Sleep(time.Minute)
		young := open("young", func(*session.Login) {})
		open("other sid", func(l *session.Login) { l.ProviderSID = "sid-8" })
		open("bob", func(l *session.Login) { l.Subject, l.ProviderSID = "bob", "sid-9" })
		open("elsewhere", func(l *session.Login) { l.Issuer = "https://other.test" })
		for _, tt := range []struct {
			name string
			sel  session.Selector
			want []string
		}{
			{"a handle", session.Selector{ID: young.ID}, []string{"young"}},
			{"a handle of somebody else's", session.Selector{ID: young.ID, Issuer: issuer, Subject: "bob"}, nil},
			{"a handle that is none", session.Selector{ID: "x"}, nil},
			{"a person", session.Selector{Issuer: issuer, Subject: subject}, []string{"old", "other sid", "young"}},
			{"a person but one", session.Selector{Issuer: issuer, Subject: subject, Except: young.ID}, []string{"old", "other sid"}},
			{"a person before", session.Selector{Issuer: issuer, Subject: subject, Before: middle}, []string{"old"}},
			{"a provider's session", session.Selector{Issuer: issuer, ProviderSID: "sid-8"}, []string{"other sid"}},
			{"a provider's session of a person", session.Selector{Issuer: issuer, Subject: subject, ProviderSID: "sid-9"}, nil},
			{"everyone before now", session.Selector{Before: time.Now().Add(time.Second)}, []string{"bob", "elsewhere", "old", "other sid", "young"}},
			{"everyone before", session.Selector{Before: middle}, []string{"old"}},
		} {
			found, err := h.Select(t.Context(), tt.sel)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
			}
			var got []string
			for _, s := range found {
				got = append(got, names[s.ID])
				if s.Tokens.Access != "" {
					t.Errorf("%s: with tokens", tt.name)
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, tt.want) {
				t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			}
		}
		for name, sel := range map[string]session.Selector{
			"nothing": {}, "an issuer alone": {Issuer: issuer}, "a subject of no issuer": {Subject: subject}, "all but one": {Except: young.ID},
			"a provider's session of no issuer": {ProviderSID: "sid-8"}, "an issuer before": {Issuer: issuer, Before: middle},
		} {
			if _, err := h.Select(t.Context(), sel); err == nil || errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%s: selected, %v", name, err)
			}
			if n, err := h.EndAll(t.Context(), sel, "revoked"); err == nil || n != 0 {
				t.Errorf("%s: ended %d, %v", name, n, err)
			}
		}
		h.wantEnded()
	})
}

func TestEndingAllEndsThemAndNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		one, _ := h.start()
		two, this := h.start()
		bob, _ := h.start(func(l *session.Login) { l.Subject = "bob" })
		sel := session.Selector{Issuer: issuer, Subject: subject, Except: this.ID}
		for _, want := range []int{1, 0} {
			if n, err := h.EndAll(t.Context(), sel, "revoked"); err != nil || n != want {
				t.Errorf("ended %d, %v; want %d", n, err, want)
			}
		}
		h.wantGone(one)
		h.load(two)
		h.load(bob)
		h.wantEnded("revoked " + subject)
	})
}

func TestEndingAllWithoutAnAnswerIsTriedAgain(t *testing.T) {
	for _, op := range []sessiontest.Op{sessiontest.Bury, sessiontest.Members, sessiontest.Load, sessiontest.Delete, sessiontest.Publish} {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				ticket, _ := h.start()
				h.store.Next(op, sessiontest.FailsBefore)
				sel := session.Selector{Issuer: issuer, Subject: subject}
				_, err := h.EndAll(t.Context(), sel, "backchannel")
				wantUnavailable(t, "end all", err)
				if _, err := h.EndAll(t.Context(), sel, "backchannel"); err != nil {
					t.Error(err)
				}
				h.wantGone(ticket)
				h.wantEnded("backchannel " + subject)
			})
		})
	}
}

// In a rolling upgrade, a replica of the old release may be told to end what the new one wrote.
func TestWhatTheNextReleaseWroteIsEndedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		h.store.Rewrite(func(_ session.Key, r session.Record) session.Record {
			r.Info = slices.Concat([]byte{2}, r.Info[1:])
			return r
		})
		if n, err := h.EndAll(t.Context(), session.Selector{Issuer: issuer, Subject: subject}, "backchannel"); err != nil || n != 1 {
			t.Errorf("ended %d, %v", n, err)
		}
		h.store.Rewrite(nil)
		h.wantGone(ticket)
	})
}

// Back-channel logout may arrive while the person is on the way back from the provider (security.md C20).
func TestC20_ASignInThatBeganBeforeItWasEndedDoesNotStart(t *testing.T) {
	everyone := func() session.Selector { return session.Selector{Before: time.Now()} }
	for _, tt := range []struct {
		name  string
		sel   func() session.Selector
		begun time.Duration // after the end
		waits time.Duration // after the end
		want  error
	}{
		{"of the person, before", func() session.Selector { return session.Selector{Issuer: issuer, Subject: subject} }, -time.Second, time.Second, session.ErrEnded},
		{"of the person, at once", func() session.Selector { return session.Selector{Issuer: issuer, Subject: subject} }, 0, time.Second, session.ErrEnded},
		{"of the person, after", func() session.Selector { return session.Selector{Issuer: issuer, Subject: subject} }, time.Millisecond, time.Second, nil},
		{"of the person, when it is not known", func() session.Selector { return session.Selector{Issuer: issuer, Subject: subject} }, -1 << 62, time.Second, session.ErrEnded},
		{"of the provider's session, before", func() session.Selector { return session.Selector{Issuer: issuer, ProviderSID: "provider-sid-7"} }, -time.Second, time.Second, session.ErrEnded},
		{"of another of the provider's sessions", func() session.Selector { return session.Selector{Issuer: issuer, ProviderSID: "provider-sid-8"} }, -time.Second, time.Second, nil},
		{"of the same name at another issuer", func() session.Selector { return session.Selector{Issuer: "https://other.test", Subject: subject} }, -time.Second, time.Second, nil},
		{"of somebody else", func() session.Selector { return session.Selector{Issuer: issuer, Subject: "bob"} }, -time.Second, time.Second, nil},
		{"of everyone, before", everyone, -time.Second, time.Second, session.ErrEnded},
		{"of everyone, after", everyone, time.Second, 2 * time.Second, nil},
		{"of the person before yesterday", func() session.Selector {
			return session.Selector{Issuer: issuer, Subject: subject, Before: time.Now().Add(-24 * time.Hour)}
		}, -time.Second, time.Second, nil},
		{"of the person, and everyone of tomorrow is to end", func() session.Selector { return session.Selector{Before: time.Now().Add(24 * time.Hour)} }, time.Millisecond, time.Second, nil},
		{"ten minutes later", func() session.Selector { return session.Selector{Issuer: issuer, Subject: subject} }, -time.Second, 10 * time.Minute, session.ErrEnded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				older, newer := secret.NewKey(), secret.NewKey()
				a := newHouse(t)
				a = houseOver(t, a.store, ring(t, older, newer), a.provider)
				b := houseOver(t, a.store, ring(t, newer, older), a.provider) // in the middle of a change of secrets
				ended := time.Now()
				if _, err := a.EndAll(t.Context(), tt.sel(), "backchannel"); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tt.waits)
				l := b.login()
				if l.Begun = ended.Add(tt.begun); tt.begun < -time.Hour {
					l.Begun = time.Time{}
				}
				ticket, _, err := b.Start(t.Context(), l)
				if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
					t.Errorf("start: %v, want %v", err, tt.want)
				}
				if tt.want == nil {
					b.load(ticket)
				} else if found, err := b.Select(t.Context(), session.Selector{Issuer: issuer, Subject: subject}); err != nil || len(found) > 0 {
					t.Errorf("left behind: %v, %v", found, err)
				}
			})
		})
	}
}

func TestASignInThatCannotBeCheckedDoesNotStart(t *testing.T) {
	for _, op := range []sessiontest.Op{sessiontest.Buried, sessiontest.Members} {
		t.Run(string(op), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t, func(cfg *session.Config) { cfg.MaxPerUser = 3 })
				h.store.Next(op, sessiontest.FailsBefore)
				_, _, err := h.Start(t.Context(), h.login())
				wantUnavailable(t, "start", err)
				if found, err := h.Select(t.Context(), session.Selector{Issuer: issuer, Subject: subject}); err != nil || len(found) > 0 {
					t.Errorf("left behind: %v, %v", found, err)
				}
			})
		})
	}
}

func TestOfTooManySessionsTheOldestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(cfg *session.Config) { cfg.MaxPerUser = 2 })
		before := h.another() // which has no limit
		var tickets []session.Ticket
		for range 3 {
			time.Sleep(time.Second)
			ticket, _ := before.start()
			tickets = append(tickets, ticket)
		}
		bob, _ := h.start(func(l *session.Login) { l.Subject = "bob" })
		time.Sleep(time.Second)
		last, _ := h.start()
		h.wantGone(tickets[0])
		h.wantGone(tickets[1])
		h.load(tickets[2])
		h.load(last)
		h.load(bob)
		h.wantEnded("revoked "+subject, "revoked "+subject)
	})
}

// meeting has two sign-ins wait for each other once both are in the store.
type meeting struct {
	*sessiontest.Frail
	both sync.WaitGroup
}

func (m *meeting) Buried(ctx context.Context, indexes []session.Index) (time.Time, error) {
	m.both.Done()
	m.both.Wait()
	return m.Frail.Buried(ctx, indexes)
}

func TestOfTwoSignInsAtOnceTheYoungerStays(t *testing.T) {
	for _, apart := range []time.Duration{time.Millisecond, 0} {
		t.Run(fmt.Sprint(apart), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				m := &meeting{Frail: h.store}
				h = houseOver(t, h.store, h.ring, h.provider, func(cfg *session.Config) { cfg.Store, cfg.MaxPerUser = m, 1 })
				m.both.Add(2)
				tickets := make([]session.Ticket, 2)
				var all sync.WaitGroup
				for i := range tickets {
					all.Go(func() {
						time.Sleep(time.Duration(i) * apart)
						tickets[i], _ = h.start()
					})
				}
				all.Wait()
				left, err := h.Select(t.Context(), session.Selector{Issuer: issuer, Subject: subject})
				if err != nil || len(left) != 1 {
					t.Fatalf("%d are left, %v", len(left), err)
				}
				if apart > 0 && left[0].ID != tickets[1].ID() {
					t.Error("the older one is left")
				}
			})
		})
	}
}

func TestTheRefreshTokenIsRevokedWithoutTheTicket(t *testing.T) {
	person := session.Selector{Issuer: issuer, Subject: subject}
	for _, tt := range []struct {
		name   string
		always bool
		end    func(*house, *session.Session) error
		want   []secret.Text
	}{
		{"when all are ended", true, func(h *house, _ *session.Session) error {
			_, err := h.EndAll(h.t.Context(), person, "backchannel")
			return err
		}, []secret.Text{"refresh-canary-1"}},
		{"not when it is ended by whoever has it", true, func(h *house, s *session.Session) error { return h.End(h.t.Context(), s.ID, "logout") }, nil},
		{"not when that is not asked for", false, func(h *house, _ *session.Session) error {
			_, err := h.EndAll(h.t.Context(), person, "backchannel")
			return err
		}, nil},
		{"when there are too many", true, func(h *house, _ *session.Session) error {
			l := h.login()
			l.ProviderSID = "another"
			_, _, err := h.Start(h.t.Context(), l)
			return err
		}, []secret.Text{"refresh-canary-1"}},
		{"not when the new session hangs on the same one of the provider", true, func(h *house, _ *session.Session) error {
			_, _, err := h.Start(h.t.Context(), h.login())
			return err
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var revoked []secret.Text
				h := newHouse(t, func(cfg *session.Config) {
					cfg.MaxPerUser, cfg.RevokeOnEnd = 1, tt.always
					cfg.Revoke = func(_ context.Context, provider string, refresh secret.Text) { revoked = append(revoked, refresh) }
				})
				ticket, s := h.start()
				time.Sleep(20 * time.Minute)
				h.fresh(ticket)
				if err := tt.end(h, s); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				h.wantGone(ticket)
				if !slices.Equal(revoked, tt.want) {
					t.Errorf("%d revoked, want %d", len(revoked), len(tt.want))
				}
			})
		})
	}
}

func TestTheThirdEnvelopeIsThereOnlyWhenAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		without := newHouse(t)
		with := without.another(func(cfg *session.Config) {
			cfg.RevokeOnEnd, cfg.Revoke = true, func(context.Context, string, secret.Text) {}
		})
		for h, want := range map[*house]bool{without: false, with: true} {
			_, s := h.start()
			r, err := h.store.Load(t.Context(), keyOf(t, s))
			if err != nil {
				t.Fatal(err)
			}
			if there := r.Info[1] != 0; there != want {
				t.Errorf("there: %t, want %t", there, want)
			}
			wantNoTrace(t, r.Info, session.Ticket{1})
		}
	})
}

// A renewal may have brought other tokens than whoever signs out has seen.
func TestWhoSignsOutGetsTheTokensOfTheEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(h, b *house, ticket session.Ticket)
		want   secret.Text
	}{
		"as they were":            {func(*house, *house, session.Ticket) {}, "refresh-canary-0"},
		"renewed a moment before": {func(_, b *house, ticket session.Ticket) { b.fresh(ticket) }, "refresh-canary-1"},
		"renewed, and in memory alone": {func(h, _ *house, ticket session.Ticket) {
			h.breakAtAnswer(sessiontest.FailsBefore)
			h.fresh(ticket)
		}, "refresh-canary-1"},
		"gone already": {func(h, _ *house, ticket session.Ticket) { _ = h.End(h.t.Context(), ticket.ID(), "logout") }, ""},
		"not to be opened": {func(h, _ *house, ticket session.Ticket) {
			h.store.Rewrite(func(_ session.Key, r session.Record) session.Record { r.Tokens = flipped(r.Tokens, 40); return r })
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				b := h.another()
				ticket, _ := h.start()
				time.Sleep(20 * time.Minute)
				tt.before(h, b, ticket)
				last, err := h.SignOut(t.Context(), ticket, "logout")
				if err != nil || last.Refresh != tt.want {
					t.Errorf("the refresh token is %s, want %s; %v", last.Refresh.Reveal(), tt.want.Reveal(), err)
				}
				h.wantGone(ticket)
				h.wantEnded("logout " + subject)
			})
		})
	}
}

func TestWhoSignsOutGetsTheTokensThoughOthersWereNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		h.store.Next(sessiontest.Publish, sessiontest.FailsBefore)
		last, err := h.SignOut(t.Context(), ticket, "logout")
		wantUnavailable(t, "sign out", err)
		if !errors.Is(err, session.ErrNotAllTold) {
			t.Errorf("sign out: %v, want ErrNotAllTold", err)
		}
		if last.Refresh != "refresh-canary-0" {
			t.Error("nobody will ever have that refresh token again")
		}
		h.store.Next(sessiontest.Delete, sessiontest.FailsBefore)
		other, _ := h.start()
		last, err = h.SignOut(t.Context(), other, "logout")
		wantUnavailable(t, "sign out", err)
		if last.Refresh != "" || errors.Is(err, session.ErrNotAllTold) {
			t.Errorf("the session may live on: %v", err)
		}
		h.load(other)
	})
}

func TestEndingAllTellsWhatMayLiveOnFromWhatOthersWereNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.start()
		h.start()
		person := session.Selector{Issuer: issuer, Subject: subject}
		h.store.Break(sessiontest.FailsBefore, sessiontest.Publish)
		h.store.Next(sessiontest.Delete, sessiontest.None, sessiontest.FailsBefore)
		n, err := h.EndAll(t.Context(), person, "backchannel")
		if wantUnavailable(t, "one lives on", err); n != 1 || errors.Is(err, session.ErrNotAllTold) {
			t.Errorf("one lives on: %d, %v", n, err)
		}
		if n, err = h.EndAll(t.Context(), person, "backchannel"); n != 1 || !errors.Is(err, session.ErrNotAllTold) {
			t.Errorf("all have ended: %d, %v", n, err)
		}
		h.wantEnded("backchannel "+subject, "backchannel "+subject)
	})
}

// What may have ended without an answer is looked after by everyone, and told of by whoever tries again.
func TestAnEndWhoseAnswerGotLostIsNoticedEverywhere(t *testing.T) {
	person := session.Selector{Issuer: issuer, Subject: subject}
	for name, again := range map[string]bool{"tried again": true, "left at that": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newHouse(t)
				b := houseOver(t, sessiontest.NewFrail(a.store.Store), a.ring, a.provider)
				a.run()
				b.run()
				ticket, s := a.start()
				b.load(ticket)
				changes, stop := b.Watch(s.ID)
				defer stop()
				own, stop := a.Watch(s.ID)
				defer stop()
				a.store.Next(sessiontest.Delete, sessiontest.LosesAnswer)
				_, err := a.EndAll(t.Context(), person, "backchannel")
				wantUnavailable(t, "end all", err)
				if c := <-own; c.Kind != session.Renewed {
					t.Errorf("who did it tells its own of %+v", c)
				}
				want := session.Renewed // have a look
				if again {
					want = session.Ended
					if n, err := a.EndAll(t.Context(), person, "backchannel"); n != 0 || err != nil {
						t.Errorf("again: %d, %v", n, err)
					}
				}
				time.Sleep(500 * time.Millisecond)
				b.wantGone(ticket)
				select {
				case c := <-changes:
					if c.Kind != want || want == session.Ended && c.Reason != "backchannel" {
						t.Errorf("told of %+v", c)
					}
				default:
					t.Error("nobody was told")
				}
			})
		})
	}
}

// A sign-in that is on its way into the store is no session that ended.
func TestEndingOlderOnesSparesASignInThatIsNotARecordYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		key := keyOf(t, s)
		r, err := h.store.Delete(t.Context(), key) // as if only the index had it
		if err != nil {
			t.Fatal(err)
		}
		for _, sel := range []session.Selector{{ID: s.ID}, {Before: time.Now()}, {Issuer: issuer, Subject: subject, Before: time.Now().Add(-time.Hour)}} {
			if _, err := h.EndAll(t.Context(), sel, "revoked"); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.store.Create(t.Context(), key, r, nil); err != nil {
			t.Fatal(err)
		}
		h.load(ticket)
	})
}

func TestASignInGoesOnThoughOthersWereNotToldOfTheOlderOnesEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(cfg *session.Config) { cfg.MaxPerUser = 1 })
		old, _ := h.start()
		time.Sleep(time.Minute)
		h.store.Break(sessiontest.FailsBefore, sessiontest.Publish)
		ticket, _, err := h.Start(t.Context(), h.login())
		if err != nil {
			t.Fatal(err)
		}
		h.wantGone(old)
		h.load(ticket)
	})
}

func TestASignInWithoutAnAnswerLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.store.Next(sessiontest.Create, sessiontest.LosesAnswer)
		_, _, err := h.Start(t.Context(), h.login())
		wantUnavailable(t, "start", err)
		if left, err := h.Select(t.Context(), session.Selector{Issuer: issuer, Subject: subject}); err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

// What a provider's answer ends is gone, whoever could be told of it.
func TestAnAnswerThatEndsTheSessionDoesSoThoughOthersWereNotTold(t *testing.T) {
	for name, answers := range map[string]func(*provider){
		"a refusal": func(p *provider) { p.err = session.ErrRefused },
		"that its own session is over": func(p *provider) {
			p.answer = func(r session.Renewal) session.Renewal {
				r.Identity = token.Claims{"sub": subject, "session_expiry": time.Now().Add(-time.Second).Unix()}
				return r
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				ticket, _ := h.start()
				time.Sleep(20 * time.Minute)
				answers(h.provider)
				h.store.Break(sessiontest.FailsBefore, sessiontest.Publish)
				if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("fresh: %v, want ErrNotFound", err)
				}
			})
		})
	}
}

// A store that fails over may bring back what it had acknowledged as deleted.
func TestWhatAFailOverBringsBackStaysEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.run()
		ticket, s := h.start()
		begun := time.Now()
		key := keyOf(t, s)
		r, err := h.store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if n, err := h.EndAll(t.Context(), session.Selector{Issuer: issuer, Subject: subject}, "backchannel"); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		comesBack := func() {
			if err := h.store.Create(t.Context(), key, r, nil); err != nil {
				t.Fatal(err)
			}
		}
		comesBack()
		h.wantGone(ticket)
		if _, err := h.store.Load(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("it was seen to be back, and is still there: %v", err)
		}
		comesBack()
		goneAgain := func(what string, within time.Duration) {
			t.Helper()
			before := h.store.Calls(sessiontest.Bury)
			time.Sleep(within)
			if _, err := h.store.Load(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s, and it is still there: %v", what, err)
			}
			if h.store.Calls(sessiontest.Bury) == before {
				t.Errorf("%s, and the burial was not repeated", what)
			}
		}
		goneAgain("one node of a cluster failed over", time.Minute)
		comesBack()
		h.store.Next(sessiontest.Bury, sessiontest.FailsBefore, sessiontest.LosesAnswer)
		h.store.Next(sessiontest.Delete, sessiontest.FailsBefore, sessiontest.FailsBefore)
		h.store.Cut()
		goneAgain("the connection was lost", time.Second)
		if h.store.Calls(sessiontest.Bury) != 1+1+3 {
			t.Errorf("buried %d times", h.store.Calls(sessiontest.Bury))
		}
		l := h.login()
		l.Begun = begun
		if _, _, err := h.Start(t.Context(), l); !errors.Is(err, session.ErrEnded) {
			t.Errorf("start: %v", err)
		}
		h.wantEnded(fmt.Sprint("backchannel ", subject))
	})
}

// A store that has just failed over may not be well yet, and a replica that was away when the session ended may have seen it
// since.
func TestWhatAFailOverBringsBackIsRemovedWhenTheStoreIsWellAndAllAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		late := h.another() // whose graves are empty
		h.run()
		tickets := map[string]session.Ticket{}
		var all []*session.Session
		for range 4 {
			ticket, s := h.start()
			tickets[s.ID], all = ticket, append(all, s)
		}
		slices.SortFunc(all, func(a, b *session.Session) int {
			x, y := keyOf(t, a), keyOf(t, b)
			return bytes.Compare(x[:], y[:])
		})
		back := all[len(all)-1] // the last one that is seen to: what did not come back must not hold it up
		ticket, key := tickets[back.ID], keyOf(t, back)
		r, err := h.store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if err := h.End(t.Context(), one.ID, "logout"); err != nil {
				t.Fatal(err)
			}
		}
		late.run()
		if err := h.store.Create(t.Context(), key, r, nil); err != nil {
			t.Fatal(err)
		}
		late.load(ticket)
		changes, stop := late.Watch(back.ID)
		defer stop()
		h.store.Break(sessiontest.FailsBefore, sessiontest.Delete)
		h.store.Cut()
		time.Sleep(5 * time.Second)
		h.store.Mend()
		time.Sleep(3 * time.Second)
		if _, err := h.store.Load(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("it is still there: %v", err)
		}
		select {
		case got := <-changes:
			if got.Kind != session.Ended || got.Reason != "logout" {
				t.Errorf("told of %v", got)
			}
		default:
			t.Error("whoever has seen it since was not told")
		}
		late.wantGone(ticket)
	})
}

// It ends while its tokens are renewed, and the store fails over and loses that before the provider has answered.
func TestWhatAFailOverBringsBackIsNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var revoked []secret.Text
		h := newHouse(t, func(cfg *session.Config) {
			cfg.Revoke = func(_ context.Context, _ string, refresh secret.Text) {
				mu.Lock()
				defer mu.Unlock()
				revoked = append(revoked, refresh)
			}
		})
		h.provider.slow = 4 * time.Second
		ticket, s := h.start()
		time.Sleep(9*time.Minute + 30*time.Second)
		h.fresh(ticket)
		time.Sleep(time.Second)
		r, err := h.store.Load(t.Context(), keyOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.End(t.Context(), s.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		if err := h.store.Create(t.Context(), keyOf(t, s), r, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		h.wantAsked(1)
		if r, err = h.store.Load(t.Context(), keyOf(t, s)); err != nil || r.Generation != 1 {
			t.Errorf("the store has generation %d, %v", r.Generation, err)
		}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(revoked, []secret.Text{"refresh-canary-1"}) {
			t.Errorf("%d revoked, want the one that the renewal brought", len(revoked))
		}
		h.wantGone(ticket)
	})
}
