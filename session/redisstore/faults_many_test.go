package redisstore

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

func TestFaultSentinelFailover(t *testing.T) {
	t.Parallel()
	g := sessiontest.Security{}.StartReplicated(t)
	s := open(t, Config{URL: g.URL, Timeout: 500 * time.Millisecond})
	soon(t, s)
	sessions := people(t, s, 50)
	// What is under way at the old master when it is noticed is cut off, so there may be errors for a while yet.
	persist := func(do func() error) {
		t.Helper()
		began := time.Now()
		for err := do(); err != nil; err = do() {
			if !errors.Is(err, session.ErrUnavailable) || time.Since(began) > 20*time.Second {
				t.Fatalf("after %v: %v", time.Since(began), err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	whole := func() {
		t.Helper()
		for key, want := range sessions {
			persist(func() error {
				got, err := s.Load(t.Context(), key)
				if err == nil && !same(got, want) {
					t.Error("a session got the record of another one")
				}
				return err
			})
		}
		// It is a master, not one that was; and what the old one still took while it gave way is lost, which Redis allows.
		persist(func() error {
			if err := life(t.Context(), s); err != nil {
				return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
			}
			return nil
		})
	}
	replicated := func(many int, on ...*sessiontest.Redis) {
		t.Helper()
		for _, server := range on {
			for server.Do(t, "DBSIZE") != strconv.Itoa(many) {
				time.Sleep(10 * time.Millisecond)
			}
		}
	}
	replicated(len(sessions)+1, g.Servers...)
	follow := func() {
		t.Helper()
		chosen := time.Now()
		persist(func() error { return s.Bury(t.Context(), "a write", time.Now(), time.Hour) })
		t.Logf("followed after %v", time.Since(chosen))
	}
	stop := make(chan struct{})
	c := gather(t, s, sessions, 10, stop)
	g.KillMaster(t)
	follow()
	close(stop)
	c.all.Wait()
	if len(c.errs) == 0 {
		t.Error("nothing went wrong: the test did not test")
	}
	whole()

	// The next one gives way without dying: it goes on as a replica, and refuses writes.
	g.Failover(t)
	follow()
	whole()
}

func TestFaultClusterResharding(t *testing.T) {
	t.Parallel()
	cluster := sessiontest.Security{}.StartCluster(t, 3, 0)
	s := open(t, Config{URL: cluster.URL})
	sessions := people(t, s, 100)
	stop := make(chan struct{})
	c := gather(t, s, sessions, 4, stop)
	var lives atomic.Int32
	for range 4 {
		c.all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := life(t.Context(), s); err != nil {
					t.Errorf("while slots move: %v", err)
					return
				}
				lives.Add(1)
			}
		})
	}
	cluster.Reshard(t, 0, 1, 400)
	cluster.Reshard(t, 2, 0, 400)
	close(stop)
	c.all.Wait()
	if len(c.errs) > 0 {
		t.Errorf("%d of %d loads failed, such as: %v", len(c.errs), len(c.took), c.errs[0])
	}
	if lives.Load() == 0 {
		t.Error("nobody wrote meanwhile")
	}
	for key, want := range sessions {
		if got, err := s.Load(t.Context(), key); err != nil || !same(got, want) {
			t.Errorf("a session is lost: %v", err)
		}
	}
	t.Logf("%d loads and %d sessions' lives while slots moved", len(c.took), lives.Load())
}

func TestFaultClusterNodeDies(t *testing.T) {
	t.Parallel()
	cluster := sessiontest.Security{}.StartCluster(t, 3, 1)
	s := open(t, Config{URL: cluster.URL, Timeout: 500 * time.Millisecond})
	sessions := people(t, s, 50)
	for cluster.Nodes[3].Do(t, "DBSIZE") != cluster.Nodes[0].Do(t, "DBSIZE") {
		time.Sleep(10 * time.Millisecond)
	}
	cluster.Nodes[0].Kill()
	for !strings.HasPrefix(cluster.Nodes[3].Do(t, "ROLE"), "master") {
		time.Sleep(10 * time.Millisecond)
	}
	began := time.Now()
	for key, want := range sessions {
		for {
			got, err := s.Load(t.Context(), key)
			if err == nil && same(got, want) {
				break
			}
			if !errors.Is(err, session.ErrUnavailable) || time.Since(began) > slack {
				t.Fatalf("%v after the replica has become a master: %v", time.Since(began), err)
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	for range 20 {
		if err := life(t.Context(), s); err != nil {
			t.Error(err)
		}
	}
}
