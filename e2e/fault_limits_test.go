package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// More people than the process may have descriptors for, with little memory as well.
func TestFaultFDAndMemoryLimit(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plan{store: startRedis(t).url()})
	app := f.replicas[0]
	const memory = 64 << 20
	app.under = []string{"sh", "-c", fmt.Sprintf(`ulimit -n 256; GOMEMLIMIT=%d exec "$@"`, memory), "sh"}
	f.serve(t)
	cookie := f.signIn(t)
	before := resourcesOf(t, app)
	shed := func(a reply) bool {
		return a.cannotTell() && strings.Contains(a.body, "urn:cloakroom:problem:overloaded")
	}

	// Everybody asks for what takes long: those there is room for get it, the others are told to come back.
	slow := gather(t, 100, func(ctx context.Context, _ int) reply {
		a := app.try(ctx, http.MethodGet, "/api/orders?pause=20s", cookie)
		if shed(a) {
			time.Sleep(100 * time.Millisecond)
		}
		return a
	})
	began := time.Now()
	eventually(t, 15*time.Second, "some are told to come back", func() bool { return slow.so() > 5 })
	t.Logf("the first were told to come back within %s", time.Since(began))
	full := resourcesOf(t, app)
	if !answers(http.DefaultClient, app.adminURL()+"/healthz") {
		t.Error("/healthz does not answer")
	}
	slow.only(t, shed, http.StatusServiceUnavailable)
	began = time.Now()
	want(t, 10*time.Second, "there is room again", app, "/api/orders", cookie, works)
	t.Logf("recovered after %s", time.Since(began))

	// Everybody asks for what does not take long: all are served in turn, or told to come back.
	crowd := gather(t, 150, func(ctx context.Context, _ int) reply {
		a := app.try(ctx, http.MethodGet, "/api/orders?pause=50ms", cookie)
		if shed(a) {
			time.Sleep(100 * time.Millisecond)
		}
		return a
	})
	eventually(t, 20*time.Second, "many are served", func() bool { return crowd.so() > 600 })
	heap := app.metric(t, "go_memstats_heap_inuse_bytes")
	crowd.only(t, func(a reply) bool { return works(a) || shed(a) }, http.StatusOK, http.StatusServiceUnavailable)
	t.Logf("%s; before %s, when full %s, heap in use %d KiB", crowd.summary(), before, full, int(heap)>>10)
	if len(crowd.replies[http.StatusOK]) < 100 {
		t.Error("few were served")
	}
	if heap > memory {
		t.Errorf("its heap is %d bytes", int(heap))
	}
	want(t, 10*time.Second, "the session is there", app, "/api/orders", cookie, works)
	app.client.CloseIdleConnections()
	eventually(t, 10*time.Second, "the descriptors are given back", func() bool { return resourcesOf(t, app).descriptors < before.descriptors+100 })
	nobodyWasSignedOut(t, f)
}

// Every line of the log fails to be written.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plan{store: startRedis(t).url(), provider: strict})
	app := f.replicas[0]
	app.under = []string{"sh", "-c", `exec "$@" >/dev/full 2>&1`, "sh"}
	f.serve(t)
	if log, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/2", app.cmd.Process.Pid)); err != nil || log != "/dev/full" {
		t.Fatalf("it logs to %s, %v", log, err)
	}
	cookie := f.signInThatExpires(t)
	crowd := gather(t, 4, func(ctx context.Context, n int) reply {
		return app.try(ctx, http.MethodGet, []string{"/api/orders", "/bff/user", "/bff/sessions", "/"}[n], cookie)
	})
	eventually(t, 10*time.Second, "everybody is served", func() bool { return crowd.so() > 200 })
	crowd.only(t, works, http.StatusOK)
	t.Log(crowd.summary())
	if a := app.try(t.Context(), http.MethodGet, "/api/orders", "__Host-Http-session=v1.nobody.knows"); a.status != http.StatusUnauthorized {
		t.Errorf("a cookie that does not open: %s", a)
	}
	if a := app.try(t.Context(), http.MethodPost, "/bff/logout", cookie); !works(a) {
		t.Errorf("logout: %s", a)
	}
	if status, body := ready(t, app, "?strict"); status != http.StatusOK {
		t.Errorf("/readyz?strict: %d %s", status, body)
	}
	_ = app.cmd.Process.Signal(syscall.SIGTERM)
	<-app.done
	if code := app.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
