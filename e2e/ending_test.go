package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// pair is two replicas of one Cloakroom at one Redis.
type pair struct {
	*fleet
	a, b *cloakroom
}

func startPair(t *testing.T) *pair {
	t.Helper()
	f := newFleet(t, plan{store: startRedis(t).url(), replicas: 2})
	f.replicas[1].reconfigure(t, "drain: {delay: 0s}", "drain: {delay: 1s}")
	f.serve(t)
	return &pair{f, f.replicas[0], f.replicas[1]}
}

func contentOf(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// ask sends a fetch of the SPA to a replica.
func (p *pair) ask(t *testing.T, at *cloakroom, method, path, cookie string) (status int, body string) {
	t.Helper()
	a := at.try(t.Context(), method, path, cookie)
	if a.err != nil {
		t.Fatal(a)
	}
	return a.status, a.body
}

// socket opens a WebSocket at a replica and sees that it passes.
func (p *pair) socket(t *testing.T, at *cloakroom, cookie string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.Dial(t.Context(), fmt.Sprintf("wss://%s:%d/live", host, at.public), &websocket.DialOptions{
		HTTPClient: at.client, HTTPHeader: http.Header{"Origin": {p.a.origin()}, "Cookie": {cookie}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if err := c.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if _, said, err := c.Read(t.Context()); err != nil || string(said) != "hello" {
		t.Fatalf("said %q back: %v", said, err)
	}
	return c
}

// stream opens a stream at a replica; what it says comes line by line, until it ends.
func (p *pair) stream(t *testing.T, at *cloakroom, path, cookie string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.at(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-CSRF", "1")
	r.Header.Set("Cookie", cookie)
	res, err := at.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d", path, res.StatusCode)
	}
	said := make(chan string, 100)
	go func() {
		defer close(said)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			said <- lines.Text()
		}
	}()
	for line := range said {
		if line == ":" { // it has looked at the session: from now on it watches
			return said
		}
	}
	t.Fatal("the stream ended")
	return nil
}

// active asks the exchange of a replica whether a token is.
func (p *pair) active(t *testing.T, at *cloakroom, token string) bool {
	t.Helper()
	status, body := at.asGateway(t, "/oauth2/introspect", url.Values{"token": {token}})
	if status != http.StatusOK {
		t.Fatalf("introspect: %d %s", status, body)
	}
	return strings.Contains(body, `"active":true`)
}

// asGateway posts a form to the services' side of a replica, as the client that a fleet has.
func (c *cloakroom) asGateway(t *testing.T, path string, form url.Values) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d%s", c.intern, path), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", formKind)
	r.SetBasicAuth("gateway", gatewaySecret)
	res, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(raw)
}

// waysToEnd are all that end a session on replica a, by the reason that the person's other tabs are told.
func (p *pair) waysToEnd(t *testing.T) []struct {
	name, reason string
	end          func(cookie, id, sub string)
} {
	ok := func(status int, body string) {
		t.Helper()
		if status >= 300 {
			t.Fatalf("%d %s", status, body)
		}
	}
	return []struct {
		name, reason string
		end          func(cookie, id, sub string)
	}{
		{"logout", "logout", func(cookie, _, _ string) { ok(p.ask(t, p.a, "POST", "/bff/logout", cookie)) }},
		{"one's own list", "revoked", func(cookie, id, _ string) { ok(p.ask(t, p.a, "DELETE", "/bff/sessions/"+id, cookie)) }},
		{"back-channel", "backchannel", func(_, _, sub string) {
			ok(p.a.signOut(t, p.provider.LogoutToken(clientID, sub, "", nil)), "")
		}},
		{"an operator", "revoked", func(_, id, _ string) {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, p.a.adminURL()+"/admin/sessions?id="+id, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			ok(res.StatusCode, "")
		}},
	}
}

// signOut sends a replica a logout token, as the provider would.
func (c *cloakroom) signOut(t *testing.T, logoutToken string) (status int) {
	t.Helper()
	form := url.Values{"logout_token": {logoutToken}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.at("/bff/backchannel-logout/main"), strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", formKind)
	res, err := c.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

// Ended on replica A, with a WebSocket, an event stream, a warm cache and a minted token on replica B.
func TestASessionEndedOnOneReplicaIsOverOnTheOtherWithinASecond(t *testing.T) {
	const runs, limit = 200, time.Second
	p := startPair(t)
	ways := p.waysToEnd(t)
	var took []time.Duration
	for run := range runs {
		way := ways[run%len(ways)]
		cookie := p.signIn(t)
		_, who := p.ask(t, p.b, "GET", "/bff/user", cookie)
		sub, id := between(who, `"sub":"`, `"`), between(who, `"id":"`, `"`)
		c, events := p.socket(t, p.b, cookie), p.stream(t, p.b, "/bff/events", cookie)
		status, minted := p.ask(t, p.b, "GET", "/api/orders", cookie) // and the cache is warm
		if status != http.StatusOK || !p.active(t, p.b, minted) {
			t.Fatalf("before: %d %s", status, minted)
		}

		began := time.Now()
		way.end(cookie, id, sub)
		var over sync.WaitGroup
		over.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*limit)
			defer cancel()
			if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusPolicyViolation {
				t.Errorf("%s: the socket ended with %v", way.name, err)
			}
		})
		over.Go(func() {
			want, last := fmt.Sprintf(`data: {"reason":%q}`, way.reason), ""
			for line := range events {
				if strings.HasPrefix(line, "data:") {
					last = line
				}
			}
			if last != want {
				t.Errorf("%s: the stream ended with %s", way.name, last)
			}
		})
		over.Go(func() {
			for status, _ := p.ask(t, p.b, "GET", "/api/orders", cookie); status != http.StatusUnauthorized; status, _ = p.ask(t, p.b, "GET", "/api/orders", cookie) {
				if time.Since(began) > 5*limit {
					t.Errorf("%s: the API is still served", way.name)
					return
				}
			}
		})
		over.Go(func() {
			for p.active(t, p.b, minted) {
				if time.Since(began) > 5*limit {
					t.Errorf("%s: the minted token is still active", way.name)
					return
				}
			}
		})
		over.Wait()
		took = append(took, time.Since(began))
		if t.Failed() {
			t.FailNow()
		}
	}
	slices.Sort(took)
	t.Logf("of %d: median %s, 99th percentile %s, maximum %s", runs, took[runs/2], took[runs*99/100], took[runs-1])
	if most := took[runs-1]; most > limit {
		t.Errorf("the slowest took %s", most)
	}
}

// What an upstream streams through replica B, in pieces or in silence.
func TestWhatAnUpstreamStreamsEndsWithItsSessionOnTheOtherReplica(t *testing.T) {
	const limit = time.Second
	p := startPair(t)
	for _, way := range p.waysToEnd(t) {
		for _, every := range []string{"20ms", "1h"} {
			cookie := p.signIn(t)
			_, who := p.ask(t, p.b, "GET", "/bff/user", cookie)
			said := p.stream(t, p.b, "/api/orders?every="+every, cookie)
			began := time.Now()
			way.end(cookie, between(who, `"id":"`, `"`), between(who, `"sub":"`, `"`))
			late := time.After(limit)
			for open := true; open; {
				select {
				case _, open = <-said:
				case <-late:
					t.Fatalf("%s: a line every %s goes on", way.name, every)
				}
			}
			t.Logf("%s, a line every %s: %s", way.name, every, time.Since(began))
		}
	}
}

// SIGTERM while streams and sockets are open: they end in time and with the right word, and nobody is signed out.
func TestSIGTERMUnderLoadWithWebsockets(t *testing.T) {
	p := startPair(t)
	cookie := p.signIn(t)
	var sockets []*websocket.Conn
	for range 20 {
		sockets = append(sockets, p.socket(t, p.b, cookie))
	}
	events := p.stream(t, p.b, "/bff/events", cookie)
	failed := make(chan string, 1000)
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() { // until it says that it drains, as a load balancer would
			for answers(http.DefaultClient, p.b.adminURL()+"/readyz") {
				if a := p.b.try(context.Background(), http.MethodGet, "/api/orders", cookie); !works(a) {
					failed <- a.String()
				}
			}
		})
	}
	began := time.Now()
	if err := p.b.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for _, c := range sockets {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
			t.Errorf("a socket ended with %v", err)
		}
		cancel()
	}
	for line := range events {
		if strings.HasPrefix(line, "event: session-ended") {
			t.Error("the stream says that the session has ended")
		}
	}
	select {
	case <-p.b.done:
	case <-time.After(15 * time.Second):
		t.Fatal("it does not end")
	}
	load.Wait()
	close(failed)
	for what := range failed {
		t.Errorf("a request in flight failed: %s", what)
	}
	t.Logf("ended %s after SIGTERM", time.Since(began))
	if code := p.b.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if status, _ := p.ask(t, p.a, "GET", "/bff/user", cookie); status != http.StatusOK {
		t.Errorf("on the other replica the session answers %d", status)
	}
}

// newBrowser is one that the provider does not know yet.
func newBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar}
}
