package session_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// wrongClock is a replica's wall clock that does not agree with the others', and may be set. It has no monotonic reading.
type wrongClock struct{ off atomic.Int64 }

func (c *wrongClock) set(off time.Duration) { c.off.Store(int64(off)) }

func (c *wrongClock) option(cfg *session.Config) {
	cfg.Now = func() time.Time { return time.Now().Add(time.Duration(c.off.Load())).Round(0) }
}

// F4 "Clock skew ±90 s, jump": what one replica's clock is off by costs nobody a session, and gives nobody a longer one.
func TestAReplicaWhoseClockIsWrongKeepsSessionsAsTheOthersDo(t *testing.T) {
	for _, off := range []time.Duration{90 * time.Second, -90 * time.Second} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var clock wrongClock
				clock.set(off)
				right := newHouse(t)
				wrong := houseOver(t, sessiontest.NewFrail(right.store.Store), right.ring, right.provider, clock.option)
				right.run()
				wrong.run()
				right.provider.slow = 300 * time.Millisecond
				for name, begins := range map[string]*house{"begun at the right one": right, "begun at the wrong one": wrong} {
					right.provider.mu.Lock()
					right.provider.rotation, right.provider.calls = 0, 0
					right.provider.mu.Unlock()
					ticket, s := begins.start()
					began := time.Now()
					for time.Since(began) < 25*time.Minute { // two and a half lives of an access token
						var both sync.WaitGroup
						for _, h := range []*house{right, wrong} {
							both.Go(func() {
								found, err := h.Fresh(t.Context(), ticket, h.load(ticket), needed)
								if err == nil {
									_, err = h.Slide(t.Context(), found)
								}
								if err != nil {
									t.Errorf("%s: after %v: %v", name, time.Since(began), err)
								}
							})
						}
						both.Wait()
						time.Sleep(10 * time.Second)
					}
					if got := right.provider.asked(); got != 2 && got != 3 { // sooner or later by the clock of whoever notices
						t.Errorf("%s: the provider was asked %d times", name, got)
					}
					last := time.Now()
					time.Sleep(30*time.Minute - 91*time.Second)
					right.load(ticket)
					time.Sleep(3*time.Minute + 2*time.Second)
					right.wantGone(ticket)
					wrong.wantGone(ticket)
					if time.Since(last) > 32*time.Minute || s.Expires.Sub(began).Abs() > 12*time.Hour+90*time.Second {
						t.Errorf("%s: it lasts until %v", name, s.Expires.Sub(began))
					}
				}
				right.wantEnded()
				wrong.wantEnded()
			})
		})
	}
}

// Durations inside a process are measured by the clock that nobody sets.
func TestAClockThatJumpsChangesNoDuration(t *testing.T) {
	for _, jump := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(fmt.Sprint(jump), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var clock wrongClock
				h := newHouse(t, clock.option, func(cfg *session.Config) { cfg.Limits.Idle = 5 * time.Hour })
				h.run()
				h.provider.life = 10 * time.Hour
				ticket, _ := h.start(func(l *session.Login) { l.Tokens.Expiry = time.Now().Add(10 * time.Hour) })
				first := h.load(ticket)
				clock.set(jump)
				h.wantLoads("right after the jump", 0, func() {
					if h.load(ticket) != first {
						t.Error("it was read again")
					}
				})
				time.Sleep(5*time.Second + time.Millisecond)
				h.wantLoads("what is kept grows old all the same", 1, func() { h.load(ticket); h.load(ticket) })

				clock.set(0)
				failing, _ := h.start()
				time.Sleep(15 * time.Minute)
				h.provider.fail(fmt.Errorf("%w: %w", session.ErrAway, busy{10 * time.Second}))
				_, err := h.Fresh(t.Context(), failing, h.load(failing), needed)
				if !errors.Is(err, session.ErrAway) {
					t.Fatal(err)
				}
				h.provider.fail(nil)
				clock.set(min(jump, 0)) // what the token has left, a clock that is set forth does not tell
				time.Sleep(9 * time.Second)
				asked := h.provider.asked()
				clock.set(max(jump, 0))
				if _, err := h.Fresh(t.Context(), failing, h.load(failing), needed); !errors.Is(err, session.ErrAway) {
					t.Errorf("the pause was over too soon: %v", err)
				}
				h.wantAsked(asked)
				time.Sleep(time.Second)
				h.fresh(failing)
				h.wantAsked(asked + 1)
				clock.set(0)
				h.load(ticket) // and nothing was lost by it
				h.wantEnded()
			})
		})
	}
}

// A clock that is set back brings nobody back, and gives nobody more time than the store does.
func TestAClockThatIsSetBackProlongsNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var clock wrongClock
		right := newHouse(t)
		h := right.another(clock.option)
		idle, _ := right.start()
		ended, s := right.start()
		if err := right.End(t.Context(), s.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		clock.set(-time.Hour)
		h.wantGone(ended)
		found := h.load(idle)
		if _, err := h.Slide(t.Context(), found); err != nil {
			t.Fatal(err)
		}
		if left := time.Until(right.load(idle).IdleExpires); left > 30*time.Minute || left < 10*time.Minute {
			t.Errorf("idle for another %v", left)
		}
		time.Sleep(31 * time.Minute)
		h.wantGone(idle)
		right.wantGone(idle)
	})
}
