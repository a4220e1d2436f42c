package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"cloakroom/internal/idptest"
)

// pair is two replicas of one Cloakroom at one Redis, with one provider and one upstream that takes WebSockets.
type pair struct {
	a, b     *cloakroom
	redis    *redis
	provider *idptest.Provider
	upstream *httptest.Server
}

const gatewaySecret = "gateway-secret"

func startPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{a: newCloakroom(t), redis: startRedis(t)}
	p.upstream = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, said, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, said) != nil {
				return
			}
		}
	}))
	t.Cleanup(p.upstream.Close)
	p.provider = idptest.New(idptest.Config{Persona: idptest.Generic, Clients: []idptest.Client{{ID: clientID, Secret: clientSecret}}})
	issuer := p.provider.Start(t)
	rest := fmt.Sprintf(`    scopes: [openid, email, profile, offline_access, orders-api/read]
routes:
  - {path: /api, upstream: "%s", audience: orders}
  - {path: /live, upstream: "%s", audience: orders, websocket: true}
  - {path: /, spa: %s}
exchange:
  clients:
    gateway: {auth: {secret: %s}, audiences: [orders], subject_audiences: [orders]}
`, p.upstream.URL, p.upstream.URL, spa(t), gatewaySecret)
	p.a.configure(t, p.redis.url(), issuer, rest)
	p.a.serve(t)

	second := *p.a // the same origin, secrets and certificate at other ports, as behind a load balancer
	p.b = &second
	p.b.public, p.b.intern, p.b.admin = freePort(t), freePort(t), freePort(t)
	name := "replica.yaml"
	own := strings.NewReplacer(
		fmt.Sprintf("listen: 127.0.0.1:%d", p.a.public), fmt.Sprintf("listen: 127.0.0.1:%d", p.b.public),
		fmt.Sprintf("listen: 127.0.0.1:%d", p.a.intern), fmt.Sprintf("listen: 127.0.0.1:%d", p.b.intern),
		fmt.Sprintf("127.0.0.1:%d\"}\nstore", p.a.admin), fmt.Sprintf("127.0.0.1:%d\"}\nstore", p.b.admin),
		"drain: {delay: 0s}", "drain: {delay: 1s}",
	)
	p.b.write(t, name, own.Replace(contentOf(t, p.a.config)))
	p.b.config = filepath.Join(p.a.dir, name)
	p.b.serve(t)
	return p
}

func contentOf(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// signIn signs alice in at replica a and returns the session's cookie.
func (p *pair) signIn(t *testing.T) string {
	t.Helper()
	cookies := map[string]string{}
	open := func(address string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		for name, value := range cookies {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		res, err := p.a.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		for _, c := range res.Cookies() {
			cookies[c.Name] = c.Value
		}
		return res
	}
	login := open(p.a.origin() + "/bff/login")
	back, err := p.provider.SignIn(t.Context(), newBrowser(t), login.Header.Get("Location"), "alice", "alice")
	if err != nil {
		t.Fatal(err)
	}
	open(back)
	if cookies["__Host-Http-session"] == "" {
		t.Fatal("no session")
	}
	return "__Host-Http-session=" + cookies["__Host-Http-session"]
}

// ask sends a fetch of the SPA to a replica.
func (p *pair) ask(t *testing.T, at *cloakroom, method, path, cookie string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("https://%s:%d%s", host, at.public, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-CSRF", "1")
	r.Header.Set("Cookie", cookie)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := at.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
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

// stream opens the event stream at a replica; what it says comes line by line, until it ends.
func (p *pair) stream(t *testing.T, at *cloakroom, cookie string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://%s:%d/bff/events", host, at.public), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", cookie)
	res, err := at.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("events: %d", res.StatusCode)
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
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d/oauth2/introspect", at.intern),
		strings.NewReader(url.Values{"token": {token}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", formKind)
	r.SetBasicAuth("gateway", gatewaySecret)
	res, err := at.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("introspect: %d %s %v", res.StatusCode, body, err)
	}
	return strings.Contains(string(body), `"active":true`)
}

// waysToEnd are all that end a session on replica a, by the reason that the person's other tabs are told.
func (p *pair) waysToEnd(t *testing.T) []struct {
	name, reason string
	end          func(cookie, id, sub string)
} {
	ok := func(res *http.Response, body string) {
		t.Helper()
		if res.StatusCode >= 300 {
			t.Fatalf("%s %s: %d %s", res.Request.Method, res.Request.URL.Path, res.StatusCode, body)
		}
	}
	return []struct {
		name, reason string
		end          func(cookie, id, sub string)
	}{
		{"logout", "logout", func(cookie, _, _ string) { ok(p.ask(t, p.a, "POST", "/bff/logout", cookie)) }},
		{"one's own list", "revoked", func(cookie, id, _ string) { ok(p.ask(t, p.a, "DELETE", "/bff/sessions/"+id, cookie)) }},
		{"back-channel", "backchannel", func(_, _, sub string) {
			form := url.Values{"logout_token": {p.provider.LogoutToken(clientID, sub, "", nil)}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.a.origin()+"/bff/backchannel-logout/main", strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", formKind)
			res, err := p.a.client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			ok(res, "")
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
			ok(res, "")
		}},
	}
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
		c, events := p.socket(t, p.b, cookie), p.stream(t, p.b, cookie)
		res, minted := p.ask(t, p.b, "GET", "/api/orders", cookie) // and the cache is warm
		if res.StatusCode != http.StatusOK || !p.active(t, p.b, minted) {
			t.Fatalf("before: %d %s", res.StatusCode, minted)
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
			for res, _ := p.ask(t, p.b, "GET", "/api/orders", cookie); res.StatusCode != http.StatusUnauthorized; res, _ = p.ask(t, p.b, "GET", "/api/orders", cookie) {
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

// SIGTERM while streams and sockets are open: they end in time and with the right word, and nobody is signed out.
func TestSIGTERMUnderLoadWithWebsockets(t *testing.T) {
	p := startPair(t)
	cookie := p.signIn(t)
	var sockets []*websocket.Conn
	for range 20 {
		sockets = append(sockets, p.socket(t, p.b, cookie))
	}
	events := p.stream(t, p.b, cookie)
	failed := make(chan string, 1000)
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() { // until it says that it drains, as a load balancer would
			for answers(http.DefaultClient, p.b.adminURL()+"/readyz") {
				if status, err := p.tryAsk(p.b, "/api/orders", cookie); err != nil || status != http.StatusOK {
					failed <- fmt.Sprint(status, err)
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
	if res, _ := p.ask(t, p.a, "GET", "/bff/user", cookie); res.StatusCode != http.StatusOK {
		t.Errorf("on the other replica the session answers %d", res.StatusCode)
	}
}

func (p *pair) tryAsk(at *cloakroom, path, cookie string) (int, error) {
	r, err := http.NewRequest(http.MethodGet, fmt.Sprintf("https://%s:%d%s", host, at.public, path), nil) //nolint:noctx // ends with the process it asks
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-CSRF", "1")
	r.Header.Set("Cookie", cookie)
	res, err := at.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
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
