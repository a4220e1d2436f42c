package session_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/session"
)

// crowd is a provider of many sessions, and what it saw.
type crowd struct {
	mu        sync.Mutex
	now, most int // asked at once
	all       int
	err       error // instead of an answer
}

func (c *crowd) option(cfg *session.Config) { cfg.Refresh = c.refresh }

func (c *crowd) refresh(context.Context, *session.Session) (session.Renewal, error) {
	c.mu.Lock()
	c.now++
	c.most, c.all = max(c.most, c.now), c.all+1
	c.mu.Unlock()
	time.Sleep(100 * time.Millisecond)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now--
	if c.err != nil {
		return session.Renewal{}, c.err
	}
	return session.Renewal{Tokens: session.Tokens{Access: "new", Expiry: time.Now().Add(time.Hour)}}, nil
}

func (c *crowd) asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

func (c *crowd) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

func (h *house) startMany(n int) []session.Ticket {
	var tickets []session.Ticket
	for i := range n {
		ticket, _ := h.start(func(l *session.Login) { l.Subject = fmt.Sprint("person ", i) })
		tickets = append(tickets, ticket)
	}
	return tickets
}

// F4 "Thundering herd": a thousand sessions whose tokens expire in the same second.
func TestAThousandSessionsThatExpireTogetherDoNotRushTheProvider(t *testing.T) {
	const many, atOnce = 1000, 32
	t.Run("in use all the time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var c crowd
			a := newHouse(t, c.option)
			b := a.another(c.option)
			tickets := a.startMany(many)
			time.Sleep(8*time.Minute + 46*time.Second) // RefreshBefore and its spread begin in 2 s
			var bySecond []int
			for range 8 {
				before := c.asked()
				for i, ticket := range tickets {
					wantServed(t, []*house{a, b}[i%2], ticket)
				}
				time.Sleep(2 * time.Second)
				bySecond = append(bySecond, (c.asked()-before)/2)
			}
			for _, n := range bySecond {
				if n > many/6 { // 84 a second were even
					t.Errorf("asked so often by the second: %v", bySecond)
				}
			}
			if c.all != many || c.most > 2*atOnce {
				t.Errorf("asked %d times for %d sessions, %d at once", c.all, many, c.most)
			}
		})
	})
	t.Run("woken up after they expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var c crowd
			h := newHouse(t, c.option)
			tickets := h.startMany(many)
			time.Sleep(20 * time.Minute)
			var all sync.WaitGroup
			for _, ticket := range tickets {
				all.Go(func() { wantAccess(t, h.fresh(ticket), "new") })
			}
			all.Wait()
			if c.all != many || c.most != atOnce {
				t.Errorf("asked %d times for %d sessions, %d at once", c.all, many, c.most)
			}
		})
	})
}

// wantServed is a request that has a token, old or new.
func wantServed(t *testing.T, h *house, ticket session.Ticket) {
	t.Helper()
	if s := h.fresh(ticket); time.Until(s.AccessExpiry) < needed {
		t.Errorf("token lives for %v", time.Until(s.AccessExpiry))
	}
}

// F4 "IdP down", "IdP 429/503": what a provider says about itself, all sessions heed.
func TestAProviderThatAnswersNobodyIsProbed(t *testing.T) {
	for name, tt := range map[string]struct {
		err   error
		asked int // in ten seconds, at most
	}{
		"it is down":                       {session.ErrAway, 32 + 10},
		"it asks for four seconds":         {fmt.Errorf("%w: %w", session.ErrAway, busy{4 * time.Second}), 32 + 3},
		"it asks for a day":                {fmt.Errorf("%w: %w", session.ErrAway, busy{24 * time.Hour}), 32},
		"it takes longer than it may have": {context.DeadlineExceeded, 2 * (32 + 10)}, // each is tried once more
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := crowd{err: tt.err}
				h := newHouse(t, c.option)
				tickets := h.startMany(100)
				other, _ := h.start(func(l *session.Login) { l.Provider = "other" })
				time.Sleep(15 * time.Minute)
				for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(100 * time.Millisecond) {
					var all sync.WaitGroup
					for _, ticket := range tickets {
						all.Go(func() {
							_, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed)
							if !errors.Is(err, tt.err) || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrUnavailable) {
								t.Errorf("fresh: %v, want what the provider said", err)
							}
						})
					}
					all.Wait()
				}
				if c.all > tt.asked {
					t.Errorf("asked %d times, want at most %d", c.all, tt.asked)
				}
				c.fail(nil)
				wantAccess(t, h.fresh(other), "new") // of another provider
				time.Sleep(30 * time.Second)
				for _, ticket := range tickets {
					wantAccess(t, h.fresh(ticket), "new")
				}
				h.wantEnded()
			})
		})
	}
}

func TestAProviderIsBackWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := crowd{err: session.ErrAway}
		h := newHouse(t, c.option)
		tickets := h.startMany(10)
		time.Sleep(15 * time.Minute)
		ask := func() (served int) {
			for _, ticket := range tickets {
				if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); err == nil {
					served++
				}
			}
			return served
		}
		for began := time.Now(); time.Since(began) < 20*time.Second; time.Sleep(100 * time.Millisecond) {
			ask()
		}
		c.fail(nil)
		began := time.Now()
		for ask() < len(tickets) {
			time.Sleep(10 * time.Millisecond)
			if time.Since(began) > 4*time.Second {
				t.Fatalf("%d served after %v", ask(), time.Since(began))
			}
		}
		if took := time.Since(began); took > time.Second+11*200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// One session's trouble, or ours, is nobody else's.
func TestWhatOneSessionIsToldShutsNobodyOut(t *testing.T) {
	for name, err := range map[string]error{"nonsense": errors.New("nonsense"), "we went away": context.Canceled} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := crowd{err: err}
				h := newHouse(t, c.option)
				tickets := h.startMany(20)
				time.Sleep(15 * time.Minute)
				for _, ticket := range tickets[1:] {
					if _, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed); err == nil {
						t.Fatal("renewed")
					}
				}
				c.fail(nil)
				wantAccess(t, h.fresh(tickets[0]), "new")
			})
		})
	}
}

// A replica that has no way to the provider leaves sessions behind that others must wait for, and keeps nobody else waiting.
func TestSessionsThatWaitForAnotherReplicaKeepNobodyFromTheProvider(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lost, c := crowd{err: fmt.Errorf("%w: timeout", session.ErrUncertain)}, crowd{}
		a := newHouse(t, lost.option)
		b := a.another(c.option)
		tickets := a.startMany(40)
		free, _ := a.start()
		time.Sleep(20 * time.Minute)
		var all sync.WaitGroup
		for _, ticket := range tickets {
			all.Go(func() { _, _ = a.Fresh(t.Context(), ticket, a.load(ticket), needed) })
		}
		all.Wait()
		for _, ticket := range tickets {
			all.Go(func() { wantAccess(t, b.fresh(ticket), "new") })
		}
		time.Sleep(time.Second)
		began := time.Now()
		wantAccess(t, b.fresh(free), "new")
		if took := time.Since(began); took > time.Second {
			t.Errorf("who need not wait for the other replica waited %v", took)
		}
		all.Wait()
		if c.most > 32 {
			t.Errorf("%d asked at once", c.most)
		}
	})
}

// The lease may get lost while a session waits for a place.
func TestWhoWaitedForAPlaceAsksNothingThatAnotherAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		slow := func(cfg *session.Config) {
			cfg.Refresh = func(_ context.Context, s *session.Session) (session.Renewal, error) {
				if s.Subject == subject {
					asked.Add(1)
				}
				time.Sleep(10 * time.Second)
				return session.Renewal{Tokens: session.Tokens{Access: "new", Expiry: time.Now().Add(time.Hour)}}, nil
			}
		}
		b := newHouse(t, slow)
		a := b.another(slow, func(cfg *session.Config) { cfg.Store = leaseless{b.store} })
		tickets := a.startMany(32)
		ticket, _ := a.start()
		time.Sleep(20 * time.Minute)
		var all sync.WaitGroup
		for _, ticket := range tickets {
			all.Go(func() { wantAccess(t, a.fresh(ticket), "new") })
		}
		synctest.Wait()
		all.Go(func() {
			_, err := a.Fresh(t.Context(), ticket, a.load(ticket), needed)
			wantUnavailable(t, "it is another's turn", err)
		})
		time.Sleep(5 * time.Second)
		wantAccess(t, b.fresh(ticket), "new")
		all.Wait()
		if asked.Load() != 1 {
			t.Errorf("asked %d times", asked.Load())
		}
		wantAccess(t, a.fresh(ticket), "new")
	})
}
