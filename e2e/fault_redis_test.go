package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
	"cloakroom/session/sessiontest"
)

// cannotTellInTime is how long a replica may take to say that it does not know (faults.md F4), beside what the machine
// takes for any answer.
const cannotTellInTime = 300 * time.Millisecond

// wellOrUnknown: an answer that a store in trouble may have. Nobody is signed out, and nothing breaks.
func wellOrUnknown(a reply) bool { return works(a) || a.cannotTell() }

func TestFaultRedisDown(t *testing.T) {
	t.Parallel()
	redis := sessiontest.StartRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	f := startFleet(t, plan{store: "redis://" + redis.Addr, timeout: "250ms"})
	app := f.replicas[0]
	var cookies []string
	for range 5 {
		cookies = append(cookies, f.signIn(t))
	}
	all := gather(t, 1, func(ctx context.Context, _ int) reply {
		defer time.Sleep(10 * time.Millisecond)
		return app.try(ctx, http.MethodGet, "/bff/user", cookies[0])
	})
	const rounds = 3
	var noticed, recovered []time.Duration
	for range rounds {
		redis.Kill()
		killed := time.Now()
		// Until the heartbeat is missed, within 600 ms, a session read a moment ago is still served from memory.
		want(t, 5*time.Second, "the replica says that it cannot tell", app, "/bff/user", cookies[1], reply.cannotTell)
		noticed = append(noticed, time.Since(killed))
		var unknown, static []reply
		for n := range 30 {
			a := app.try(t.Context(), http.MethodGet, []string{"/bff/user", "/api/orders/1"}[n%2], cookies[n%len(cookies)])
			if !a.cannotTell() || !strings.Contains(a.body, "urn:cloakroom:problem:store-unavailable") {
				t.Errorf("with Redis down: %s", a)
			}
			page := app.try(t.Context(), http.MethodGet, "/", "", "Accept", "text/html")
			if !works(page) {
				t.Errorf("the SPA itself: %s", page)
			}
			unknown, static = append(unknown, a), append(static, page)
		}
		u, s := took(unknown), took(static)
		t.Logf("that it cannot tell it says after %s (median), %s (at most); a static page takes %s, %s", u[15], u[29], s[15], s[29])
		if u[15] > s[15]+cannotTellInTime || u[29] > s[29]+5*cannotTellInTime {
			t.Errorf("it takes %s, at most %s, to say that it cannot tell", u[15], u[29])
		}
		if !answers(http.DefaultClient, app.adminURL()+"/healthz") {
			t.Error("/healthz does not answer")
		}
		if status, body := ready(t, app, ""); status != http.StatusOK || !strings.Contains(body, `"degraded"`) {
			t.Errorf("/readyz: %d %s", status, body)
		}
		if status, body := ready(t, app, "?strict"); status != http.StatusServiceUnavailable || !strings.Contains(body, `"degraded"`) {
			t.Errorf("/readyz?strict: %d %s", status, body)
		}
		redis.Restart(t)
		back := time.Now()
		want(t, 10*time.Second, "the session works again", app, "/api/orders/1", cookies[2], works)
		recovered = append(recovered, time.Since(back))
		if status, body := ready(t, app, "?strict"); status != http.StatusOK {
			t.Errorf("/readyz?strict: %d %s", status, body)
		}
	}
	for _, cookie := range cookies {
		want(t, time.Second, "the session is there", app, "/api/orders/1", cookie, works)
	}
	all.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable)
	nobodyWasSignedOut(t, f)
	slices.Sort(recovered)
	t.Logf("noticed after %s, recovered after %s; meanwhile %s", noticed, recovered, all.summary())
	if recovered[rounds/2] > time.Second {
		t.Errorf("it takes %s to recover", recovered)
	}
}

// nobodyWasSignedOut: no replica's log says that a session ended.
func nobodyWasSignedOut(t *testing.T, f *fleet) {
	t.Helper()
	for _, r := range f.replicas {
		for line := range strings.Lines(r.printed()) {
			if strings.Contains(line, `"event":"session-ended"`) || strings.Contains(line, `"event":"logout"`) {
				t.Errorf("somebody was signed out: %s", line)
			}
		}
	}
}

// One replica, with a network before its Redis that can be made bad.
func TestFaultRedisHungSlowOrCut(t *testing.T) {
	t.Parallel()
	redis := sessiontest.StartRedis(t)
	network := sessiontest.StartProxy(t, redis.Addr)
	f := startFleet(t, plan{store: "redis://" + network.Addr, timeout: "250ms"})
	app := f.replicas[0]
	people := []string{"alice", "sam"}
	var cookies []string
	for _, name := range people {
		cookies = append(cookies, f.signInAs(t, name))
	}
	subs := []string{subOf(t, app, cookies[0]), subOf(t, app, cookies[1])}
	if subs[0] == subs[1] {
		t.Fatal("one person twice")
	}
	const callers = 40
	ask := func(ctx context.Context, n int) reply {
		return app.try(ctx, http.MethodGet, []string{"/bff/user", "/bff/sessions"}[n/2%2], cookies[n%2]) // one from memory, one never
	}
	back := func(t *testing.T) {
		t.Helper()
		began := time.Now()
		for n, cookie := range cookies {
			want(t, 10*time.Second, "the session works again", app, "/bff/sessions", cookie, works)
			if got := subOf(t, app, cookie); got != subs[n] {
				t.Errorf("%s is %s", people[n], got)
			}
		}
		t.Logf("recovered after %s", time.Since(began))
	}

	t.Run("Redis hung", func(t *testing.T) {
		calm := gather(t, callers, ask) // so that what a crowd takes is there before
		eventually(t, 10*time.Second, "everybody is served", func() bool { return calm.so() > 5*callers })
		before := resourcesOf(t, app)
		calm.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable) // on a machine with much else to do, 250 ms are little
		redis.Suspend(t)
		crowd := gather(t, callers, ask)
		want(t, 5*time.Second, "the replica says that it cannot tell", app, "/bff/user", cookies[0], reply.cannotTell)
		at := crowd.so()
		eventually(t, 20*time.Second, "it goes on to say so", func() bool { return crowd.so() > at+10*callers })
		early := resourcesOf(t, app)
		at = crowd.so()
		eventually(t, 20*time.Second, "it goes on to say so", func() bool { return crowd.so() > at+40*callers })
		late := resourcesOf(t, app)
		crowd.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable)
		unknown := took(crowd.replies[http.StatusServiceUnavailable])
		t.Logf("%s; that it cannot tell it says after %s (median), %s (99 of 100); resources %s, %s, %s", crowd.summary(),
			unknown[len(unknown)/2], unknown[len(unknown)*99/100], before, early, late)
		// An operation is given 250 ms: whoever waits for Redis waits at least that long.
		if median := unknown[len(unknown)/2]; median > 200*time.Millisecond {
			t.Errorf("half of all wait %s: the circuit did not open", median)
		}
		if late.goroutines > early.goroutines+callers || late.goroutines > before.goroutines+10*callers || late.descriptors > early.descriptors+10 || late.descriptors > before.descriptors+64+10 {
			t.Errorf("resources grow: %s, %s, %s", before, early, late)
		}
		redis.Resume(t)
		back(t)
	})

	t.Run("Redis slow", func(t *testing.T) {
		network.Set(sessiontest.Weather{DelayMin: 100 * time.Millisecond, DelayMax: 300 * time.Millisecond})
		redis.Do(t, "CONFIG", "RESETSTAT")
		crowd := gather(t, callers, ask)
		time.Sleep(2 * time.Second)
		crowd.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable)
		all := took(crowd.everything())
		late := all[len(all)*99/100]
		_, connections := network.Opened()
		t.Logf("%s; 99 of 100 within %s, %d connections", crowd.summary(), late, connections)
		if late > 3*time.Second {
			t.Errorf("1 of 100 takes longer than %s", late)
		}
		if connections > 64+1 { // the subscription has one of its own
			t.Errorf("%d connections", connections)
		}
		if gets := commandsCarriedOut(t, redis, "get"); gets > len(all) {
			t.Errorf("%d requests read %d times", len(all), gets)
		}
		network.Set(sessiontest.Weather{})
		back(t)
	})

	t.Run("Redis drops mid-reply", func(t *testing.T) {
		network.Set(sessiontest.Weather{Cut: .2})
		crowd := gather(t, callers, func(ctx context.Context, n int) reply {
			a := ask(ctx, n)
			if works(a) && a.path == "/bff/user" && !strings.Contains(a.body, fmt.Sprintf(`"sub":%q`, subs[n%2])) {
				t.Errorf("%s got the answer of somebody else: %s", people[n%2], a)
			}
			return a
		})
		time.Sleep(1500 * time.Millisecond)
		crowd.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable)
		t.Log(crowd.summary())
		if len(crowd.replies[http.StatusServiceUnavailable]) == 0 {
			t.Error("nothing went wrong: the test did not test")
		}
		network.Set(sessiontest.Weather{})
		back(t)
	})
	nobodyWasSignedOut(t, f)
}

func TestFaultRedisFullOrWiped(t *testing.T) {
	t.Parallel()
	redis := sessiontest.StartRedis(t, "--maxmemory-policy", "allkeys-lru")
	f := startFleet(t, plan{
		store: "redis://" + redis.Addr, provider: idptest.Config{RotateRefresh: true},
		settings: "session: {idle: 20s, refresh_before: 1s}", // activity is written once a second
	})
	app := f.replicas[0]
	eventually(t, 10*time.Second, "the policy is warned of", func() bool {
		return strings.Contains(app.printed(), "maxmemory-policy allkeys-lru") && strings.Contains(app.printed(), "set maxmemory-policy to noeviction")
	})
	redis.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction")
	f.expireSoon(2)
	first, second := f.signIn(t), f.signIn(t)
	f.provider.Set(idptest.Misbehave{})

	t.Run("Redis full", func(t *testing.T) {
		redis.Do(t, "CONFIG", "SET", "maxmemory", "1")
		crowd := gather(t, 4, func(ctx context.Context, n int) reply {
			defer time.Sleep(10 * time.Millisecond)
			return app.try(ctx, http.MethodGet, []string{"/bff/user", "/bff/sessions", "/api/orders/1"}[n%3], first)
		})
		_, err := f.enter(t.Context(), app, newBrowser(t), "alice")
		if failed, ok := errors.AsType[errNoSession](err); !ok || failed.status != http.StatusServiceUnavailable || failed.header.Get("Retry-After") == "" {
			t.Errorf("a sign-in: %v", err)
		}
		before := idleLeft(t, app, first)
		eventually(t, 10*time.Second, "activity is written, and the tokens are renewed", func() bool {
			return f.provider.Count(idptest.Token) > 2 && !idleLeft(t, app, first).Before(before.Add(2*time.Second))
		})
		crowd.only(t, works, http.StatusOK)
		t.Log(crowd.summary())
		if a := app.try(t.Context(), http.MethodPost, "/bff/logout", second); !works(a) {
			t.Errorf("logout: %s", a)
		}
		if a := app.try(t.Context(), http.MethodGet, "/bff/user", second); !a.signInAgain() {
			t.Errorf("after logout: %s", a)
		}
		redis.Do(t, "CONFIG", "SET", "maxmemory", "0")
		f.signIn(t)
	})

	t.Run("Redis wiped", func(t *testing.T) {
		want(t, time.Second, "the session is there", app, "/api/orders/1", first, works)
		crowd := gather(t, 4, func(ctx context.Context, n int) reply {
			return app.try(ctx, http.MethodGet, []string{"/bff/user", "/bff/sessions", "/api/orders/1"}[n%3], first)
		})
		redis.Do(t, "FLUSHALL")
		for _, path := range []string{"/bff/user", "/bff/sessions", "/api/orders/1"} {
			a := want(t, 10*time.Second, "nobody is signed in", app, path, first, reply.signInAgain)
			if set := strings.Join(a.header.Values("Set-Cookie"), " "); !strings.Contains(set, "__Host-Http-session=;") {
				t.Errorf("the cookie is not cleared: %s", a)
			}
		}
		crowd.only(t, func(a reply) bool { return works(a) || a.signInAgain() }, http.StatusOK, http.StatusUnauthorized)
		want(t, time.Second, "who signs in again is served", app, "/api/orders/1", f.signIn(t), works)
	})
}

// expireSoon has the access tokens of those who sign in end that soon, and only theirs.
func (f *fleet) expireSoon(seconds int) {
	f.provider.Set(idptest.Misbehave{TokenResponse: func(body map[string]any) { body["expires_in"] = seconds }})
}

// idleLeft is when the session ends without activity.
func idleLeft(t *testing.T, at *cloakroom, cookie string) time.Time {
	t.Helper()
	a := want(t, 10*time.Second, "the session is there", at, "/bff/user?slide=false", cookie, works)
	end, err := time.Parse(time.RFC3339, between(a.body, `"idle_expires_at":"`, `"`))
	if err != nil {
		t.Fatal(err)
	}
	return end
}

func subOf(t *testing.T, at *cloakroom, cookie string) string {
	t.Helper()
	a := want(t, 10*time.Second, "who it is is known", at, "/bff/user", cookie, works)
	return between(a.body, `"sub":"`, `"`)
}

// resources are what a process holds on to.
type resources struct{ goroutines, descriptors int }

func (r resources) String() string {
	return fmt.Sprintf("%d goroutines and %d descriptors", r.goroutines, r.descriptors)
}

func resourcesOf(t *testing.T, c *cloakroom) resources {
	t.Helper()
	return resources{int(c.metric(t, "go_goroutines")), int(c.metric(t, "process_open_fds"))}
}

// metric is the sum of a metric's series whose labels have all of these.
func (c *cloakroom) metric(t *testing.T, name string, labels ...string) (sum float64) {
	t.Helper()
	status, body := askAdmin(t, c, "/metrics")
	if status != http.StatusOK {
		t.Fatalf("/metrics: %d", status)
	}
series:
	for line := range strings.Lines(body) {
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if series != name && !strings.HasPrefix(series, name+"{") {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(series, label) {
				continue series
			}
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		sum += n
	}
	return sum
}

// commandsCarriedOut is how often a Redis has carried out a command since its statistics were reset.
func commandsCarriedOut(t *testing.T, redis *sessiontest.Redis, name string) int {
	t.Helper()
	said := redis.Do(t, "INFO", "commandstats")
	n, err := strconv.Atoi(between(said+",", "cmdstat_"+name+":calls=", ","))
	if err != nil {
		t.Fatalf("%s: %v in %s", name, err, said)
	}
	return n
}
