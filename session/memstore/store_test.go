package memstore

import (
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	sessiontest.Run(t, sessiontest.Engine{Open: func(t *testing.T, now func() time.Time) session.Store {
		s := New(now)
		t.Cleanup(func() { _ = s.Close() })
		return s
	}})
}

func TestWhatExpiredIsSweptAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(time.Now)
		defer func() {
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			select {
			case <-s.stopped:
			default:
				t.Error("Close did not wait for the sweeper")
			}
		}()
		ctx, now := t.Context(), time.Now()
		for key, life := range map[session.Key]time.Duration{{1}: 90 * time.Second, {2}: time.Hour} {
			r := session.Record{Generation: 1, Idle: now.Add(life), Expires: now.Add(life)}
			if err := s.Create(ctx, key, r, []session.Index{session.Index(key[:1])}); err != nil {
				t.Fatal(err)
			}
		}
		for name, life := range map[string]time.Duration{"short": 90 * time.Second, "long": time.Hour} {
			if _, err := s.Claim(ctx, name, []byte("me"), life); err != nil {
				t.Fatal(err)
			}
		}
		size := func() [3]int {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return [3]int{len(s.records), len(s.indexes), len(s.marks)}
		}
		if got := size(); got != [3]int{2, 2, 2} {
			t.Errorf("records, indexes, marks at first: %v", got)
		}
		time.Sleep(2 * sweepEvery)
		if got := size(); got != [3]int{1, 1, 1} {
			t.Errorf("after the short ones ended: %v", got)
		}
		time.Sleep(time.Hour)
		if got := size(); got != [3]int{} {
			t.Errorf("after all ended: %v", got)
		}
	})
}
