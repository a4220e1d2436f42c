package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"cloakroom/internal/idptest"
	"cloakroom/session/sessiontest"
)

// strict is a provider that takes each refresh token once, and ends everything when it sees one again.
var strict = idptest.Config{RotateRefresh: true}

// onRefresh counts the refreshes at the provider from now on; during is called before each is looked at, with its number.
func (f *fleet) onRefresh(during func(n int32)) *atomic.Int32 {
	var refreshes atomic.Int32
	f.provider.Set(idptest.Misbehave{Answer: func(endpoint idptest.Endpoint, _ http.ResponseWriter, r *http.Request) bool {
		if endpoint == idptest.Token && r.PostForm.Get("grant_type") == "refresh_token" {
			n := refreshes.Add(1)
			if during != nil {
				during(n)
			}
		}
		return false
	}})
	return &refreshes
}

// signInThatExpires returns the cookie of a session whose access token does not serve a route any more.
func (f *fleet) signInThatExpires(t *testing.T) string {
	t.Helper()
	f.expireSoon(1)
	cookie := f.signIn(t)
	f.provider.Set(idptest.Misbehave{})
	return cookie
}

// atOnce has many people ask for the same at the same time, half of them at each of two replicas.
func atOnce(t *testing.T, many int, f *fleet, cookie string) *crowd {
	t.Helper()
	ready := make(chan struct{})
	c := &crowd{end: func() {}, replies: map[int][]reply{}}
	for n := range many {
		c.all.Go(func() {
			<-ready
			c.add(f.replicas[n%2].try(t.Context(), http.MethodGet, "/api/orders", cookie))
		})
	}
	close(ready)
	return c
}

func TestFaultTwoReplicasRefreshAtOnce(t *testing.T) {
	t.Parallel()
	const many = 200
	f := startFleet(t, plan{store: startRedis(t).url(), replicas: 2, provider: strict, inMain: "timeout: 30s"})
	// judge: each of them was served, by one refresh, and both replicas have what it brought.
	judge := func(t *testing.T, c *crowd, refreshes *atomic.Int32, cookie string) {
		t.Helper()
		c.only(t, works, http.StatusOK)
		all := took(c.everything())
		if len(all) != many || refreshes.Load() != 1 {
			t.Errorf("%d refreshes, %d answers: %s", refreshes.Load(), len(all), c.summary())
		}
		a := want(t, time.Second, "the session works", f.replicas[0], "/own", cookie, works)
		b := want(t, time.Second, "the session works", f.replicas[1], "/own", cookie, works)
		if a.body != b.body || refreshes.Load() != 1 {
			t.Errorf("the replicas have two access tokens, by %d refreshes", refreshes.Load())
		}
		t.Logf("%s, within %s (median) and %s", c.summary(), all[len(all)/2], all[len(all)-1])
	}

	t.Run("200 requests at expiry", func(t *testing.T) {
		cookie := f.signInThatExpires(t)
		refreshes := f.onRefresh(nil)
		judge(t, atOnce(t, many, f, cookie), refreshes, cookie)
	})
	t.Run("the client that began it goes away", func(t *testing.T) {
		cookie := f.signInThatExpires(t)
		refreshes, goOn := f.abandonRefresh(t, cookie)
		c := atOnce(t, many, f, cookie)
		time.Sleep(300 * time.Millisecond) // some of them wait by now
		goOn()
		judge(t, c, refreshes, cookie)
	})
	t.Run("the provider takes longer than the lease lasts", func(t *testing.T) {
		cookie := f.signInThatExpires(t)
		refreshes := f.onRefresh(func(int32) { time.Sleep(17 * time.Second) })
		judge(t, atOnce(t, many, f, cookie), refreshes, cookie)
	})
	nobodyWasSignedOut(t, f)
}

// askAndHangUp sends a request; hangUp breaks its connection the hard way.
func askAndHangUp(t *testing.T, at *cloakroom, cookie string) (hangUp func()) {
	t.Helper()
	plain, err := dialLocal(t.Context(), "tcp", strings.TrimPrefix(at.at(""), "https://"))
	if err != nil {
		t.Fatal(err)
	}
	config := at.client.Transport.(documented).TLSClientConfig.Clone()
	config.NextProtos = nil
	over := tls.Client(plain, config)
	if _, err := fmt.Fprintf(over, "GET /api/orders HTTP/1.1\r\nHost: %s:%d\r\nX-CSRF: 1\r\nCookie: %s\r\n\r\n", host, at.public, cookie); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = plain.(*net.TCPConn).SetLinger(0)
		_ = plain.Close()
	}
}

// abandonRefresh has a client begin a refresh and hang up. The provider answers when goOn is called.
func (f *fleet) abandonRefresh(t *testing.T, cookie string) (refreshes *atomic.Int32, goOn func()) {
	t.Helper()
	begun, held := make(chan struct{}), make(chan struct{})
	refreshes = f.onRefresh(func(n int32) {
		if n == 1 {
			close(begun)
			<-held
		}
	})
	hangUp := askAndHangUp(t, f.replicas[0], cookie)
	<-begun
	hangUp()
	return refreshes, func() { close(held) }
}

func TestFaultClientAbortDuringRefresh(t *testing.T) {
	t.Parallel()
	f := startFleet(t, plan{store: startRedis(t).url(), replicas: 2, provider: strict})
	cookie := f.signInThatExpires(t)
	refreshes, goOn := f.abandonRefresh(t, cookie)
	eventually(t, 10*time.Second, "the request is over", func() bool {
		return f.replicas[0].metric(t, "cloakroom_http_requests_total", `listener="public"`, `route="/api"`) == 1
	})
	goOn()
	eventually(t, 10*time.Second, "the new tokens are kept", func() bool {
		return f.replicas[0].metric(t, "cloakroom_refresh_total", `outcome="ok"`) == 1
	})
	want(t, 5*time.Second, "the other replica has them", f.replicas[1], "/api/orders", cookie, works)
	if n := refreshes.Load(); n != 1 {
		t.Errorf("%d refreshes", n)
	}
	nobodyWasSignedOut(t, f)
}

func TestFaultSIGTERMDuringRefresh(t *testing.T) {
	t.Parallel()
	f := startFleet(t, plan{store: startRedis(t).url(), replicas: 2, provider: strict})
	a, b := f.replicas[0], f.replicas[1]
	waiting, leaving := f.signInThatExpires(t), f.signInThatExpires(t)
	begun := make(chan struct{}, 2)
	goOn := []chan struct{}{make(chan struct{}), make(chan struct{})}
	refreshes := f.onRefresh(func(n int32) {
		if n <= 2 {
			begun <- struct{}{}
			<-goOn[n-1]
		}
	})
	asked := make(chan reply, 1)
	go func() { asked <- a.try(context.Background(), http.MethodGet, "/api/orders", waiting) }()
	<-begun
	hangUp := askAndHangUp(t, a, leaving) // who does not wait for the end
	<-begun
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "it takes no more connections", func() bool { return !answers(a.client, a.at("/")) })
	hangUp()
	stays := func() {
		t.Helper()
		select {
		case <-a.done:
			t.Fatal("it ended with a refresh under way")
		case <-time.After(500 * time.Millisecond):
		}
	}
	stays()
	if len(asked) > 0 {
		t.Fatalf("before the provider answered: %s", <-asked)
	}
	close(goOn[0])
	if got := <-asked; !works(got) {
		t.Errorf("the request under way: %s", got)
	}
	stays()
	close(goOn[1])
	select {
	case <-a.done:
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
	if code := a.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, cookie := range []string{waiting, leaving} {
		want(t, 5*time.Second, "the other replica has the new tokens", b, "/api/orders", cookie, works)
	}
	if n := refreshes.Load(); n != 2 {
		t.Errorf("%d refreshes", n)
	}
	nobodyWasSignedOut(t, f)
}

// The provider has answered, and the replica that asked dies before the store has the answer.
func TestFaultBFFKilledBetweenIdPReplyAndWrite(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		provider idptest.Config
		good     func(reply) bool
	}{
		"a provider with a grace":     {idptest.Config{RotateRefresh: true, ReuseGrace: time.Minute}, works},
		"a provider that is strict":   {strict, reply.signInAgain},
		"a provider without rotation": {idptest.Config{}, works},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			redis := sessiontest.StartRedis(t)
			network := sessiontest.StartProxy(t, redis.Addr)
			f := newFleet(t, plan{store: "redis://" + redis.Addr, replicas: 2, provider: tt.provider, inMain: "timeout: 1s"})
			a, b := f.replicas[0], f.replicas[1]
			a.reconfigure(t, redis.Addr, network.Addr)
			f.serve(t)
			browser := newBrowser(t)
			f.expireSoon(1)
			cookie, err := f.enter(t.Context(), a, browser, "alice")
			if err != nil {
				t.Fatal(err)
			}
			refreshes := f.onRefresh(func(n int32) {
				if n == 1 {
					network.Set(sessiontest.Weather{Stalled: true})
				}
			})
			go a.try(context.WithoutCancel(t.Context()), http.MethodGet, "/api/orders", cookie)
			eventually(t, 10*time.Second, "the replica has the provider's answer", func() bool {
				return a.metric(t, "cloakroom_provider_requests_total", `endpoint="token"`, `outcome="ok"`) == 2
			})
			a.kill()
			network.Reset() // what was under way is lost

			began := time.Now()
			const many = 20
			var all sync.WaitGroup
			for range many {
				all.Go(func() {
					if got := b.try(t.Context(), http.MethodGet, "/api/orders", cookie); !tt.good(got) {
						t.Errorf("the other replica: %s", got)
					}
				})
			}
			all.Wait()
			t.Logf("the other replica knows after %s", time.Since(began))
			if n := refreshes.Load(); n != 2 {
				t.Errorf("%d refreshes, want that of the replica which died, and one more", n)
			}
			if strings.Contains(b.printed(), "panic") {
				t.Error("it panics")
			}
			if works(b.try(t.Context(), http.MethodGet, "/api/orders", cookie)) {
				return
			}
			// Signing in again asks for nothing: the provider still knows its own session.
			again, err := f.enter(t.Context(), b, browserThatTypesNothing(browser), "alice")
			if err != nil {
				t.Fatal(err)
			}
			want(t, 5*time.Second, "who signs in again is served", b, "/api/orders", again, works)
		})
	}
}

// browserThatTypesNothing is the same browser, of somebody who fills in no page.
func browserThatTypesNothing(browser *http.Client) *http.Client {
	return &http.Client{Jar: browser.Jar, Transport: readOnly{}}
}

type readOnly struct{}

func (readOnly) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet {
		return nil, errors.New("a page was to be filled in")
	}
	return http.DefaultTransport.RoundTrip(r)
}
