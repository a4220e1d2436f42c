package sessiontest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"cloakroom/session"
	"cloakroom/session/memstore"
	"cloakroom/session/sessiontest"
)

func TestFrailKeepsTheContractUntilToldToBreakDown(t *testing.T) {
	sessiontest.Run(t, sessiontest.Engine{Open: func(t *testing.T, now func() time.Time) session.Store {
		return frail(t, now)
	}})
}

func frail(t *testing.T, now func() time.Time) *sessiontest.Frail {
	f := sessiontest.NewFrail(memstore.New(now))
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestFrailBreaksDownAsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		fault    sessiontest.Fault
		happened bool
		err      error
	}{
		"fails before":     {sessiontest.FailsBefore, false, sessiontest.ErrOutOfOrder},
		"loses the answer": {sessiontest.LosesAnswer, true, sessiontest.ErrOutOfOrder},
		"hangs":            {sessiontest.Hangs, false, context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			clock := sessiontest.NewClock()
			f := frail(t, clock.Now)
			r := session.Record{Generation: 1, Idle: clock.Now().Add(time.Hour), Expires: clock.Now().Add(time.Hour)}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			defer cancel()
			f.Next(sessiontest.Create, tt.fault)
			if err := f.Create(ctx, session.Key{1}, r, nil); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			_, err := f.Load(t.Context(), session.Key{1})
			if happened := err == nil; happened != tt.happened {
				t.Errorf("happened: %t, %v", happened, err)
			}
			if got := f.Calls(sessiontest.Create); got != 1 {
				t.Errorf("%d calls", got)
			}
		})
	}
}
