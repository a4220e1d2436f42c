package e2e

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Two replicas are restarted one after the other under load, then both at once, then both killed. Twenty people stay signed in,
// and one is on the way to the provider all the time.
func TestFaultRestartAllReplicas(t *testing.T) {
	t.Parallel()
	f := startFleet(t, plan{store: startRedis(t).url(), replicas: 2, provider: strict, drain: "500ms"})
	a, b := f.replicas[0], f.replicas[1]
	var cookies []string
	for range 20 {
		cookies = append(cookies, f.signIn(t))
	}
	underWay, err := a.beginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	everybodyIsThere := func(when string) {
		t.Helper()
		lost := 0
		for _, cookie := range cookies {
			for _, r := range f.replicas {
				if got := r.try(t.Context(), http.MethodGet, "/api/orders", cookie); !works(got) {
					t.Errorf("%s: %s", when, got)
					lost++
				}
			}
		}
		if lost > 0 {
			t.Errorf("%s: %d sessions lost", when, lost)
		}
	}

	balancer := balance(t, f.replicas)
	crowd := gather(t, 6, func(ctx context.Context, n int) reply {
		defer time.Sleep(5 * time.Millisecond)
		return balancer.try(ctx, []string{"/api/orders", "/bff/user", "/bff/sessions"}[n%3], cookies[n])
	})
	for _, r := range f.replicas {
		served := crowd.so()
		eventually(t, 20*time.Second, "the load goes on", func() bool { return balancer.healthy() == 2 && crowd.so() > served+100 })
		endedWell(t, r)
		served = crowd.so()
		eventually(t, 20*time.Second, "the other replica serves all", func() bool { return crowd.so() > served+100 })
		r.serve(t)
	}
	crowd.only(t, works, http.StatusOK)
	t.Logf("rolling: %s", crowd.summary())
	everybodyIsThere("after a rolling restart")

	var all sync.WaitGroup
	for _, r := range f.replicas {
		all.Go(func() { endedWell(t, r) })
	}
	all.Wait()
	f.serve(t)
	everybodyIsThere("after a restart of all at once")
	for _, r := range f.replicas {
		r.kill()
	}
	f.serve(t)
	everybodyIsThere("after all were killed")

	back, err := f.provider.SignIn(t.Context(), newBrowser(t), underWay.to, "sam", "sam")
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := b.endSignIn(t.Context(), underWay, back)
	if err != nil {
		t.Fatalf("a sign-in that began before all restarts: %v", err)
	}
	want(t, time.Second, "who was signing in is served", a, "/api/orders", cookie, works)
}

// endedWell ends a replica as an operator would.
func endedWell(t *testing.T, r *cloakroom) {
	t.Helper()
	r.stop()
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// balancer sends requests to replicas that are ready, as a load balancer would: it asks them often, and takes another one where
// no connection came about.
type balancer struct {
	replicas []*cloakroom
	ready    []atomic.Bool
	turn     atomic.Uint32
}

func balance(t *testing.T, replicas []*cloakroom) *balancer {
	t.Helper()
	l := &balancer{replicas: replicas, ready: make([]atomic.Bool, len(replicas))}
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	for n, r := range replicas {
		asking.Go(func() {
			for ; ctx.Err() == nil; time.Sleep(50 * time.Millisecond) {
				l.ready[n].Store(answers(http.DefaultClient, r.adminURL()+"/readyz"))
			}
		})
	}
	t.Cleanup(func() { stop(); asking.Wait() })
	eventually(t, 10*time.Second, "all replicas are ready", func() bool { return l.healthy() == len(replicas) })
	return l
}

func (l *balancer) healthy() (many int) {
	for n := range l.ready {
		if l.ready[n].Load() {
			many++
		}
	}
	return many
}

// try waits for a replica that is ready: on a busy machine one may seem not to be for a moment.
func (l *balancer) try(ctx context.Context, path, cookie string) (a reply) {
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		n := int(l.turn.Add(1)) % len(l.replicas)
		if !l.ready[n].Load() {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		if a = l.replicas[n].try(ctx, http.MethodGet, path, cookie); !errors.Is(a.err, syscall.ECONNREFUSED) {
			return a
		}
	}
	if a.err == nil {
		a = reply{path: path, err: errors.New("no replica is ready")}
	}
	return a
}
