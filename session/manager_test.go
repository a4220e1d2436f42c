package session_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/sessiontest"
	"cloakroom/token"
)

func TestNewManagerRefuses(t *testing.T) {
	good := session.Config{
		Store: sessiontest.NewFrail(nil), Secrets: ring(t, secret.NewKey()), Refresh: (&provider{}).refresh,
		Limits: session.Limits{Idle: time.Minute, Absolute: time.Hour},
	}
	for name, spoil := range map[string]func(*session.Config){
		"no store":                func(c *session.Config) { c.Store = nil },
		"no secrets":              func(c *session.Config) { c.Secrets = nil },
		"no refresh":              func(c *session.Config) { c.Refresh = nil },
		"no idle limit":           func(c *session.Config) { c.Limits.Idle = 0 },
		"no absolute limit":       func(c *session.Config) { c.Limits.Absolute = 0 },
		"a refresh after the end": func(c *session.Config) { c.RefreshBefore = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := session.NewManager(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestASessionComesBackAsItStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, started := h.start()
		want := &session.Session{
			ID: ticket.ID(), Generation: 1, Provider: "main", Issuer: issuer, Subject: subject, ProviderSID: "provider-sid-7",
			Created: time.Now(), Seen: time.Now(), Expires: time.Now().Add(12 * time.Hour), IdleExpires: time.Now().Add(30 * time.Minute),
			AuthTime: h.login().AuthTime, Scope: token.Scope{"openid", "orders/read"}, AccessExpiry: time.Now().Add(10 * time.Minute), Refreshable: true,
			Access:    token.Claims{"sub": subject, "scope": "orders/read", "n": int64(7)},
			Identity:  token.Claims{"sub": subject, "email": email, "groups": []any{"a", "b"}},
			UserAgent: "Browser/1.0", Address: "192.0.2.7", Tokens: h.login().Tokens,
		}
		want.Tokens.Refresh, want.Tokens.ID = "", ""
		same(t, "started", started, want)
		same(t, "loaded", h.load(ticket), want)
		found, err := h.Find(t.Context(), ticket.ID())
		if err != nil {
			t.Fatal(err)
		}
		want.Tokens = session.Tokens{}
		same(t, "found by its handle", found, want)
		all, err := h.SignOut(t.Context(), ticket, "logout")
		if err != nil || !all.Expiry.Equal(h.login().Tokens.Expiry) {
			t.Errorf("the tokens expire at %v, %v", all.Expiry, err)
		}
		all.Expiry = h.login().Tokens.Expiry
		if !reflect.DeepEqual(all, h.login().Tokens) {
			t.Error("the tokens are not those that it started with")
		}
	})
}

// same compares what others can see of sessions; times as points in time.
func same(t *testing.T, name string, got, want *session.Session) {
	t.Helper()
	g, w := reflect.ValueOf(*got), reflect.ValueOf(*want)
	var compare func(path string, g, w reflect.Value)
	compare = func(path string, g, w reflect.Value) {
		for i := range g.NumField() {
			field := g.Type().Field(i)
			if !field.IsExported() {
				continue
			}
			a, b := g.Field(i), w.Field(i)
			if field.Type == reflect.TypeFor[session.Tokens]() {
				compare(path+field.Name+".", a, b)
				continue
			}
			if at, ok := reflect.TypeAssert[time.Time](a); ok {
				if !at.Equal(b.Interface().(time.Time)) {
					t.Errorf("%s: %s%s is %v, want %v", name, path, field.Name, a, b)
				}
				continue
			}
			if !reflect.DeepEqual(a.Interface(), b.Interface()) {
				t.Errorf("%s: %s%s is %#v, want %#v", name, path, field.Name, a, b)
			}
		}
	}
	compare("", g, w)
}

func TestASessionOfNobodyDoesNotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		for name, spoil := range map[string]func(*session.Login){
			"no issuer":       func(l *session.Login) { l.Issuer = "" },
			"no subject":      func(l *session.Login) { l.Subject = "" },
			"no access token": func(l *session.Login) { l.Tokens.Access = "" },
		} {
			l := h.login()
			spoil(&l)
			if _, _, err := h.Start(t.Context(), l); err == nil {
				t.Errorf("%s: started", name)
			}
		}
	})
}

func TestATicketThatWeDidNotIssueIsNobodys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		forged := ticket
		forged[31] ^= 1
		h.wantGone(forged)
		h.wantGone(session.Ticket{})
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		respelled := s.ID[:42] + string(alphabet[strings.IndexByte(alphabet, s.ID[42])^1]) // the same bytes to a lenient decoder
		for _, id := range []string{"", "x", s.ID + "A", s.ID[1:], strings.Repeat("!", 43), forged.ID(), respelled} {
			if _, err := h.Find(t.Context(), id); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("find %q: %v, want ErrNotFound", id, err)
			}
			if err := h.End(t.Context(), id, "logout"); err != nil {
				t.Errorf("end %q: %v", id, err)
			}
		}
		h.load(ticket)
		h.wantEnded()
	})
}

// The provider may say when its own session ends, and say otherwise when tokens are renewed.
func TestASessionDoesNotOutliveTheProviders(t *testing.T) {
	says := func(d time.Duration) token.Claims {
		return token.Claims{"sub": subject, "session_expiry": time.Now().Add(d).Unix()}
	}
	for name, tt := range map[string]struct{ first, later, want time.Duration }{
		"sooner than ours":                  {2 * time.Hour, 0, 2 * time.Hour},
		"later than ours":                   {20 * time.Hour, 0, 12 * time.Hour},
		"sooner, as is said at a renewal":   {2 * time.Hour, time.Hour, time.Hour},
		"a renewal gives no more":           {2 * time.Hour, 5 * time.Hour, 2 * time.Hour},
		"the past, as is said at a renewal": {2 * time.Hour, -time.Minute, 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				began := time.Now()
				later := says(tt.later)
				h.provider.answer = func(r session.Renewal) session.Renewal {
					if tt.later != 0 {
						r.Identity = later
					}
					return r
				}
				ticket, _ := h.start(func(l *session.Login) { l.Identity = says(tt.first) })
				over := time.Duration(0)
				for over == 0 {
					time.Sleep(time.Minute)
					s, err := h.Load(t.Context(), ticket)
					if err == nil {
						s, err = h.Fresh(t.Context(), ticket, s, needed)
					}
					if err == nil {
						_, err = h.Slide(t.Context(), s)
					}
					if errors.Is(err, session.ErrNotFound) {
						over = time.Since(began)
					} else if err != nil {
						t.Fatal(err)
					}
				}
				if (over - tt.want).Abs() > time.Minute {
					t.Errorf("over after %v, want %v", over, tt.want)
				}
				if tt.later < 0 {
					h.wantEnded("expired " + subject)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		l := h.login()
		l.Identity = says(-time.Second)
		if _, _, err := h.Start(t.Context(), l); !errors.Is(err, session.ErrEnded) {
			t.Errorf("start: %v, want ErrEnded", err)
		}
	})
}

func TestASessionEndsByItself(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*session.Login)
		every  time.Duration // activity
		want   time.Duration
	}{
		{"without activity at the idle limit", nil, 0, 30 * time.Minute},
		{"with activity at the absolute limit", nil, 10 * time.Minute, 12 * time.Hour},
		{"without a refresh token when its access token does", func(l *session.Login) { l.Tokens.Refresh = "" }, 5 * time.Minute, 10 * time.Minute},
		{"without a refresh token, and an access token of unknown life, at the absolute limit",
			func(l *session.Login) { l.Tokens.Refresh, l.Tokens.Expiry = "", time.Time{} }, 10 * time.Minute, 12 * time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				if tt.change == nil {
					tt.change = func(*session.Login) {}
				}
				ticket, s := h.start(tt.change)
				began := time.Now()
				for tt.every > 0 && time.Since(began)+tt.every < tt.want {
					time.Sleep(tt.every)
					var err error
					if s, err = h.Slide(t.Context(), h.load(ticket)); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(tt.want - time.Since(began) - time.Second)
				h.load(ticket) // which is no activity
				if got := s.IdleExpires.Sub(began); got != tt.want {
					t.Errorf("said to end after %v, want %v", got, tt.want)
				}
				time.Sleep(time.Second)
				h.wantGone(ticket)
				if _, err := h.Slide(t.Context(), s); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("slide: %v, want ErrNotFound", err)
				}
				h.wantGone(ticket)
			})
		})
	}
}

func TestSlidingWritesOnlySoOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		for range 10 * 60 { // 10 minutes at a request a second, each of which loads
			time.Sleep(time.Second)
			s, err := h.Slide(t.Context(), h.load(ticket))
			if err != nil {
				t.Fatal(err)
			}
			if idle := time.Until(s.IdleExpires); idle < 28*time.Minute || idle > 30*time.Minute {
				t.Fatalf("idle time left is %v", idle)
			}
		}
		if got := h.store.Calls(sessiontest.Slide); got != 6 { // every 90 s
			t.Errorf("%d writes, want 6", got)
		}
		if s := h.load(ticket); time.Since(s.Seen) != time.Minute {
			t.Errorf("seen %v ago", time.Since(s.Seen))
		}
	})
}

func TestAnEndedSessionStaysEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		time.Sleep(5 * time.Minute)
		for range 2 { // the second time, it is gone already
			if err := h.End(t.Context(), s.ID, "logout"); err != nil {
				t.Fatal(err)
			}
		}
		h.wantGone(ticket)
		if _, err := h.Slide(t.Context(), s); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("slide: %v, want ErrNotFound", err)
		}
		if _, err := h.Fresh(t.Context(), ticket, s, time.Hour); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("fresh: %v, want ErrNotFound", err)
		}
		h.wantGone(ticket)
		h.wantEnded("logout " + subject)
		if h.provider.asked() != 0 {
			t.Error("an ended session was refreshed")
		}
	})
}

func TestAStoreInTroubleIsNotAnEndedSession(t *testing.T) {
	for _, fault := range []sessiontest.Fault{sessiontest.FailsBefore, sessiontest.LosesAnswer, sessiontest.Hangs} {
		t.Run(fmt.Sprintf("fault %d", fault), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				ticket, s := h.start()
				time.Sleep(9*time.Minute + 30*time.Second)
				request := func() context.Context {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					t.Cleanup(cancel)
					return ctx
				}
				h.store.Break(fault)
				_, _, err := h.Start(request(), h.login())
				wantUnavailable(t, "start", err)
				_, err = h.Load(request(), ticket)
				wantUnavailable(t, "load", err)
				_, err = h.Find(request(), s.ID)
				wantUnavailable(t, "find", err)
				_, err = h.Slide(request(), s)
				wantUnavailable(t, "slide", err)
				_, err = h.Fresh(request(), ticket, s, time.Hour)
				wantUnavailable(t, "fresh", err)
				_, err = h.Select(request(), session.Selector{Issuer: issuer, Subject: subject})
				wantUnavailable(t, "of subject", err)
				_, err = h.Select(request(), session.Selector{Issuer: issuer, ProviderSID: "provider-sid-7"})
				wantUnavailable(t, "of provider's session", err)
				synctest.Wait()
				if fault == sessiontest.FailsBefore {
					wantUnavailable(t, "end", h.End(request(), s.ID, "logout"))
				}
				h.store.Mend()
				h.load(ticket)
				h.wantEnded()
				if h.provider.asked() != 0 {
					t.Error("a refresh token was used without knowing that it is still the right one")
				}
			})
		})
	}
}

func TestEndingWithoutAnAnswerIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		h.store.Next(sessiontest.Delete, sessiontest.LosesAnswer)
		wantUnavailable(t, "end", h.End(t.Context(), s.ID, "logout"))
		if err := h.End(t.Context(), s.ID, "logout"); err != nil {
			t.Error(err)
		}
		h.wantGone(ticket)
	})
}

func TestSessionsAreFoundByWhoseTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		_, one := h.start()
		_, two := h.start(func(l *session.Login) { l.ProviderSID = "provider-sid-8" })
		h.start(func(l *session.Login) { l.Subject = "another" })
		h.start(func(l *session.Login) { l.Issuer, l.ProviderSID = "https://other.test", "" })
		_, ended := h.start()
		if err := h.End(t.Context(), ended.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		wantSessions(t, h, issuer, subject, one, two)
		found, err := h.Select(t.Context(), session.Selector{Issuer: issuer, ProviderSID: "provider-sid-8"})
		if err != nil || len(found) != 1 || found[0].ID != two.ID {
			t.Errorf("of provider-sid-8: %v, %v", found, err)
		}
		for _, nobody := range [][2]string{{issuer, "nobody"}, {"https://nowhere.test", subject}, {issuer, "provider-sid-7"}, {issuer + subject, subject}} {
			wantSessions(t, h, nobody[0], nobody[1])
		}
	})
}

// muddled is a store whose indexes hold anyone's sessions.
type muddled struct {
	session.Store
	keys []session.Key
}

func (m muddled) Members(context.Context, session.Index) ([]session.Key, error) { return m.keys, nil }

func TestAnIndexEntryIsBelievedOnlyIfTheSessionAgrees(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		_, alice := h.start()
		_, bob := h.start(func(l *session.Login) { l.Subject, l.ProviderSID = "bob", "provider-sid-8" })
		_, elsewhere := h.start(func(l *session.Login) { l.Issuer = "https://other.test" })
		all := []session.Key{keyOf(t, alice), keyOf(t, bob), keyOf(t, elsewhere), keyOf(t, alice), {}}
		other := houseOver(t, h.store, h.ring, h.provider, func(cfg *session.Config) { cfg.Store = muddled{h.store, all} })
		wantSessions(t, other, issuer, subject, alice)
		found, err := other.Select(t.Context(), session.Selector{Issuer: issuer, ProviderSID: "provider-sid-8"})
		if err != nil || len(found) != 1 || found[0].ID != bob.ID {
			t.Errorf("of provider-sid-8: %v, %v", found, err)
		}
	})
}

func wantSessions(t *testing.T, h *house, issuer, subject string, want ...*session.Session) {
	t.Helper()
	found, err := h.Select(t.Context(), session.Selector{Issuer: issuer, Subject: subject})
	if err != nil {
		t.Fatal(err)
	}
	got, wanted := map[string]bool{}, map[string]bool{}
	for _, s := range found {
		got[s.ID] = true
		if s.Tokens.Access != "" {
			t.Error("found with its tokens")
		}
	}
	for _, s := range want {
		wanted[s.ID] = true
	}
	if !reflect.DeepEqual(got, wanted) || len(found) != len(want) {
		t.Errorf("sessions of %q at %q: %v, want %v", subject, issuer, got, wanted)
	}
}

func TestWhatABrowserTellsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start(func(l *session.Login) {
			l.UserAgent = strings.Repeat("é", 5000)
			l.Address = strings.Repeat("1", 5000)
		})
		if s := h.load(ticket); s.UserAgent != strings.Repeat("é", 128) || len(s.Address) != 64 {
			t.Errorf("%d bytes of user agent, %d of address", len(s.UserAgent), len(s.Address))
		}
		ticket, _ = h.start(func(l *session.Login) { l.UserAgent = "x" + strings.Repeat("é", 5000) })
		if s := h.load(ticket); s.UserAgent != "x"+strings.Repeat("é", 127) {
			t.Errorf("user agent %q is cut within a character", s.UserAgent)
		}
	})
}

func TestSessionsAndTicketsAreNotPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		var printed strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&printed, verb+verb+verb+verb+"\n", ticket, &ticket, s, *s)
		}
		log := slog.New(slog.NewJSONHandler(&printed, nil))
		log.Info("m", "ticket", ticket, "tokens", s.Tokens)
		slog.New(slog.NewTextHandler(&printed, nil)).Info("m", "ticket", ticket, "session", s)
		for _, leak := range []string{email, subject, "canary", fmt.Sprint(ticket[0], " ", ticket[1]), fmt.Sprintf("%x", ticket[:4])} {
			if strings.Contains(printed.String(), leak) {
				t.Errorf("%q was printed:\n%s", leak, printed.String())
			}
		}
		if !strings.Contains(printed.String(), s.ID) {
			t.Error("a session does not say which one it is")
		}
	})
}
