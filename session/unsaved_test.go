package session_test

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// breakAtAnswer makes the store take nothing from when the provider has answered.
func (h *house) breakAtAnswer(with sessiontest.Fault) {
	once := sync.OnceFunc(func() { h.store.Break(with, sessiontest.Replace) })
	h.provider.answer = func(r session.Renewal) session.Renewal { once(); return r }
}

func TestRenewedTokensSurviveAStoreThatDoesNotTakeThem(t *testing.T) {
	for name, fault := range map[string]sessiontest.Fault{
		"fails": sessiontest.FailsBefore, "hangs": sessiontest.Hangs, "writes and loses the answer": sessiontest.LosesAnswer,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse(t)
				ticket, _ := h.start()
				time.Sleep(20 * time.Minute)
				h.breakAtAnswer(fault)
				wantAccess(t, h.fresh(ticket), "access-canary-1")
				time.Sleep(20 * time.Second)
				s := h.fresh(ticket)
				wantAccess(t, s, "access-canary-1")
				if s.Generation != 2 {
					t.Errorf("generation %d while the store does not take it", s.Generation)
				}
				if found, err := h.Find(t.Context(), s.ID); err != nil || found.Generation != 2 || found.Tokens.Access != "" {
					t.Errorf("found: %v, %v", found, err)
				}
				h.wantAsked(1)
				h.store.Mend()
				time.Sleep(10 * time.Second)
				if err := h.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				next := houseOver(t, h.store, h.ring, h.provider) // after a restart, only what the store has
				wantAccess(t, next.load(ticket), "access-canary-1")
				if n := len(h.failures()); n != 0 {
					t.Errorf("told of %d failures", n)
				}
				if len(h.unsaved) != 1 || h.unsaved[0] == nil {
					t.Errorf("told of tokens that are in memory alone: %v", h.unsaved)
				}
			})
		})
	}
}

func TestTokensThatAreNeverTakenAreGivenUpAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		time.Sleep(15 * time.Minute)
		h.breakAtAnswer(sessiontest.FailsBefore)
		wantAccess(t, h.fresh(ticket), "access-canary-1")
		time.Sleep(11 * time.Minute)
		if got := h.store.Calls(sessiontest.Replace); got < 250 || got > 350 {
			t.Errorf("tried %d times in ten minutes", got)
		}
		wantAccess(t, h.load(ticket), "access-canary-0")
		if failed := h.failures(); len(failed) != 1 || !errors.Is(failed[0], session.ErrUnavailable) {
			t.Errorf("told of %v", failed)
		}
	})
}

func TestASessionEndedWhileItsTokensAreNotTakenStaysEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		time.Sleep(20 * time.Minute)
		h.breakAtAnswer(sessiontest.FailsBefore)
		h.fresh(ticket)
		if err := h.End(t.Context(), s.ID, "logout"); err != nil {
			t.Fatal(err)
		}
		h.wantGone(ticket)
		h.store.Mend()
		time.Sleep(2 * time.Minute)
		h.wantGone(ticket)
		if n := len(h.failures()); n != 0 {
			t.Errorf("told of %d failures", n)
		}
	})
}

func TestCloseWaitsUntilTheStoreTakesTheTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		time.Sleep(20 * time.Minute)
		h.breakAtAnswer(sessiontest.FailsBefore)
		h.fresh(ticket)
		time.AfterFunc(10*time.Second, h.store.Mend)
		if err := h.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantAccess(t, houseOver(t, h.store, h.ring, h.provider).load(ticket), "access-canary-1")
	})
}

func TestTokensThatAreNotTakenYetAreNotRenewedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		h.provider.life = 10 * time.Second
		ticket, _ := h.start()
		time.Sleep(20 * time.Minute)
		h.breakAtAnswer(sessiontest.FailsBefore)
		h.fresh(ticket)
		time.Sleep(20 * time.Second)
		if s := h.fresh(ticket); s.Generation != 2 {
			t.Errorf("generation %d", s.Generation)
		}
		h.wantAsked(1)
		h.store.Mend()
		time.Sleep(5 * time.Second)
		wantAccess(t, h.fresh(ticket), "access-canary-2")
		h.wantAsked(2)
	})
}
