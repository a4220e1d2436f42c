package e2e

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/idptest"
	"cloakroom/session/sessiontest"
)

// The master dies under load; then the next one gives way without dying, and refuses writes.
func TestFaultSentinelFailover(t *testing.T) {
	t.Parallel()
	g := sessiontest.Security{}.StartReplicated(t)
	f := startFleet(t, plan{store: g.URL, replicas: 2, provider: strict})
	var cookies []string
	for range 20 {
		cookies = append(cookies, f.signIn(t))
	}
	master := g.Master(t)
	for _, replica := range g.Servers {
		if replica != master {
			caughtUp(t, master, replica)
		}
	}
	for name, replace := range map[string]func(testing.TB){"the master dies": g.KillMaster, "the master gives way": g.Failover} {
		crowd := gather(t, 8, func(ctx context.Context, n int) reply {
			defer time.Sleep(5 * time.Millisecond)
			return f.replicas[n%2].try(ctx, http.MethodGet, []string{"/bff/user", "/bff/sessions", "/api/orders"}[n%3], cookies[n])
		})
		replace(t)
		chosen := time.Now()
		for n, cookie := range cookies {
			want(t, 20*time.Second, "the session works", f.replicas[n%2], "/bff/sessions", cookie, works)
		}
		eventually(t, 20*time.Second, "a sign-in works", func() bool {
			_, err := f.enter(t.Context(), f.replicas[0], newBrowser(t), "sam")
			return err == nil
		})
		back := time.Since(chosen)
		crowd.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable)
		t.Logf("%s: all is well %s after another one was chosen; %s", name, back, crowd.summary())
		if name == "the master dies" && len(crowd.replies[http.StatusServiceUnavailable]) == 0 {
			t.Errorf("%s: nothing went wrong: the test did not test", name)
		}
		lost := 0
		for _, cookie := range cookies {
			for _, r := range f.replicas {
				if a := want(t, 5*time.Second, "it can be told", r, "/api/orders", cookie, func(a reply) bool { return !a.cannotTell() }); !works(a) {
					lost++
				}
			}
		}
		if lost != 0 {
			t.Errorf("%s: %d sessions lost", name, lost)
		}
	}
	nobodyWasSignedOut(t, f)
}

// caughtUp waits until the replica has all that the master has written.
func caughtUp(t *testing.T, master, replica *sessiontest.Redis) {
	t.Helper()
	eventually(t, 10*time.Second, "the replica has everything", func() bool {
		ahead, behind := master.Do(t, "INFO", "replication"), replica.Do(t, "INFO", "replication")
		offset := between(ahead+"\n", "master_repl_offset:", "\n")
		return strings.Contains(behind, "master_link_status:up") && between(behind+"\n", "slave_repl_offset:", "\n") == offset
	})
}

func TestFaultClusterResharding(t *testing.T) {
	t.Parallel()
	cluster := sessiontest.Security{}.StartCluster(t, 3, 0)
	f := startFleet(t, plan{store: cluster.URL, provider: strict})
	app := f.replicas[0]
	var cookies []string
	for range 20 {
		cookies = append(cookies, f.signIn(t))
	}
	var lives atomic.Int32
	crowd := gather(t, 4, func(ctx context.Context, n int) reply {
		if n > 0 {
			defer time.Sleep(2 * time.Millisecond)
			return app.try(ctx, http.MethodGet, []string{"/bff/user", "/bff/sessions", "/api/orders"}[n-1], cookies[int(time.Now().UnixNano()>>10)%len(cookies)])
		}
		cookie, err := f.enter(ctx, app, newBrowser(t), "sam")
		if err != nil {
			return reply{path: "a sign-in", err: err}
		}
		if a := app.try(ctx, http.MethodGet, "/api/orders", cookie); !works(a) {
			return a
		}
		lives.Add(1)
		return app.try(ctx, http.MethodPost, "/bff/logout", cookie)
	})
	cluster.Reshard(t, 0, 1, 300)
	cluster.Reshard(t, 2, 0, 300)
	crowd.only(t, works, http.StatusOK)
	for _, cookie := range cookies {
		want(t, time.Second, "the session is there", app, "/bff/sessions", cookie, works)
	}
	t.Logf("%s; %d sessions began and ended meanwhile", crowd.summary(), lives.Load())
	if lives.Load() == 0 {
		t.Error("nobody signed in meanwhile")
	}
}

// What a master had confirmed and not passed on is lost with it: a refresh, a sign-in, a logout, a sign-out by the provider.
func TestFaultFailoverLosesWrites(t *testing.T) {
	t.Parallel()
	master := sessiontest.StartRedis(t)
	link := sessiontest.StartProxy(t, master.Addr)
	_, linkPort, _ := strings.Cut(link.Addr, ":")
	replica := sessiontest.StartRedis(t, "--replicaof", "127.0.0.1 "+linkPort)
	front := sessiontest.StartProxy(t, master.Addr)

	var ahead atomic.Int64 // the provider's clock
	f := newFleet(t, plan{store: "redis://" + front.Addr, replicas: 3, provider: idptest.Config{
		RotateRefresh: true, ReuseGrace: 30 * time.Second, Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) },
	}})
	a, b, late := f.replicas[0], f.replicas[1], f.replicas[2]
	a.serve(t)
	b.serve(t)
	browser := newBrowser(t)
	enter := func(user string) string { t.Helper(); return f.signInBy(t, browser, user) }
	kept, loggedOut := enter("alice"), enter("alice")
	browser = newBrowser(t)
	signedOut := enter("sam")
	browser = newBrowser(t)
	f.expireSoon(1)
	graced, tooLate := enter("alice"), enter("alice")
	refreshes := f.onRefresh(nil)
	caughtUp(t, master, replica)

	link.Set(sessiontest.Weather{Stalled: true})
	for _, cookie := range []string{graced, tooLate} {
		want(t, time.Second, "the tokens are renewed", a, "/api/orders", cookie, works)
	}
	newcomer := enter("alice")
	loggedOutKey, signedOutKey := keyInRedis(t, a, loggedOut), keyInRedis(t, a, signedOut)
	sub := subOf(t, a, signedOut)
	if out := a.try(t.Context(), http.MethodPost, "/bff/logout", loggedOut); !works(out) {
		t.Fatal(out)
	}
	if out := a.signOut(t, f.provider.LogoutToken(clientID, sub, "", nil)); out != http.StatusOK {
		t.Fatalf("back-channel logout: %d", out)
	}
	for _, cookie := range []string{loggedOut, signedOut} {
		want(t, time.Second, "it has ended", b, "/api/orders", cookie, reply.signInAgain)
	}
	if n := refreshes.Load(); n != 2 {
		t.Fatalf("%d refreshes", n)
	}

	master.Kill()
	link.Reset() // and what was on its way is lost
	replica.Do(t, "REPLICAOF", "NO", "ONE")
	if there := replica.Do(t, "EXISTS", loggedOutKey, signedOutKey); there != "2" {
		t.Fatalf("of the two that were ended, the new master has %s: nothing was lost, the test does not test", there)
	}
	front.Aim(replica.Addr)
	promoted := time.Now()
	want(t, 10*time.Second, "what was not touched works", a, "/api/orders", kept, works)
	want(t, 10*time.Second, "what was not touched works", b, "/api/orders", kept, works)
	eventually(t, 10*time.Second, "what was ended is ended once more", func() bool { return replica.Do(t, "EXISTS", loggedOutKey, signedOutKey) == "0" })
	eventually(t, 10*time.Second, "who was signed out by the provider is known", func() bool { return replica.Do(t, "KEYS", "cloakroom:tombstone:*") != "" })
	t.Logf("all is as it was %s after the fail-over", time.Since(promoted))
	late.serve(t) // it has heard of nothing
	for _, r := range f.replicas {
		for name, cookie := range map[string]string{"logout": loggedOut, "back-channel logout": signedOut, "a lost sign-in": newcomer} {
			if got := r.try(t.Context(), http.MethodGet, "/api/orders", cookie); !got.signInAgain() {
				t.Errorf("%s: %s", name, got)
			}
		}
	}

	// A refresh was lost, and with it the only valid refresh token. Within the provider's grace the one before still works.
	want(t, time.Second, "the session goes on", b, "/api/orders", graced, works)
	if n := refreshes.Load(); n != 3 {
		t.Errorf("%d refreshes", n)
	}
	// After that, the provider takes it for stolen. Then signing in again is all there is, and asks for nothing.
	ahead.Store(int64(time.Minute))
	if got := b.try(t.Context(), http.MethodGet, "/api/orders", tooLate); !got.signInAgain() {
		t.Errorf("with a refresh token that the provider takes for stolen: %s", got)
	}
	ahead.Store(0)
	again, err := f.enter(t.Context(), b, browserThatTypesNothing(browser), "alice")
	if err != nil {
		t.Fatal(err)
	}
	want(t, time.Second, "who signs in again is served", b, "/api/orders", again, works)
}

// keyInRedis is where a session is kept.
func keyInRedis(t *testing.T, at *cloakroom, cookie string) string {
	t.Helper()
	return "cloakroom:session:{" + handleOf(t, at, cookie) + "}"
}

// handleOf is the session's public handle.
func handleOf(t *testing.T, at *cloakroom, cookie string) string {
	t.Helper()
	a := want(t, 5*time.Second, "the session is there", at, "/bff/user", cookie, works)
	return between(a.body, `"session":{"id":"`, `"`)
}
