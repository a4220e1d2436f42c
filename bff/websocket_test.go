package bff

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"cloakroom/internal/idptest"
	"cloakroom/secret"
)

// echoServer is an upstream that says back whatever it is told, until it is told "bye".
type echoServer struct {
	*httptest.Server
	mu     sync.Mutex
	seen   []http.Header
	closed []websocket.StatusCode // how connections ended, as it saw them
	open   atomic.Int32
	refuse http.HandlerFunc // stands in for it
}

func newEchoServer(t *testing.T) *echoServer {
	t.Helper()
	e := &echoServer{}
	e.Server = httptest.NewServer(http.HandlerFunc(e.serve))
	t.Cleanup(e.Close)
	return e
}

func (e *echoServer) serve(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	e.seen = append(e.seen, r.Header.Clone())
	refuse := e.refuse
	e.mu.Unlock()
	if refuse != nil {
		refuse(w, r)
		return
	}
	w.Header().Set("Set-Cookie", "__Host-Http-session=planted; Secure; Path=/")
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true, Subprotocols: []string{"v2"}})
	if err != nil {
		return
	}
	c.SetReadLimit(1 << 20)
	e.open.Add(1)
	defer e.open.Add(-1)
	for {
		kind, said, err := c.Read(r.Context())
		if err != nil {
			e.mu.Lock()
			e.closed = append(e.closed, websocket.CloseStatus(err))
			e.mu.Unlock()
			_ = c.CloseNow()
			return
		}
		switch string(said) {
		case "bye":
			_ = c.Close(4000, "as you say")
			return
		case "drop":
			_ = c.CloseNow()
			return
		}
		if c.Write(r.Context(), kind, said) != nil {
			return
		}
	}
}

func (e *echoServer) last() http.Header {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.seen) == 0 {
		return nil
	}
	return e.seen[len(e.seen)-1]
}

func (e *echoServer) set(refuse http.HandlerFunc) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refuse = refuse
}

const smallMessages = 100_000 // bytes

// withSockets is a house with routes that let WebSockets through.
func withSockets(t *testing.T) (*house, *echoServer, string) {
	t.Helper()
	e := newEchoServer(t)
	target, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, idptest.Config{Persona: idptest.Generic}, func(_ *house, cfg *Config) {
		cfg.Frontend.AllowedOrigins = []string{"https://spa.example.com"}
		cfg.Frontend.Routes = append(cfg.Frontend.Routes,
			Route{Path: "/live", Upstream: target, WebSocket: true, Token: TokenPlan{Kind: TokenMinted, Audience: "live"}},
			Route{Path: "/live/optional", Upstream: target, WebSocket: true, Session: Optional, Token: TokenPlan{Kind: TokenMinted, Audience: "live"}},
			Route{Path: "/live/open", Upstream: target, WebSocket: true, Session: None},
			Route{Path: "/live/closed", Upstream: target, WebSocket: true, Allow: condition(t, `"nobody" in id.groups`)},
			Route{Path: "/live/not", Upstream: target},
			Route{Path: "/live/small", Upstream: target, WebSocket: true, MaxBody: smallMessages},
		)
	})
	return h, e, h.listen()
}

// dial opens a WebSocket as a page of ours would; headers are set over that, and a value "" takes one out.
func (b *browser) dial(t *testing.T, address, path string, headers ...string) (*websocket.Conn, *http.Response, error) {
	t.Helper()
	h := http.Header{"Origin": {publicURL}, "Cookie": {"theirs=1; " + b.cookie()}, "Authorization": {"Bearer forged"}, "X-User": {"admin"}}
	for i := 0; i < len(headers); i += 2 {
		if h.Set(headers[i], headers[i+1]); headers[i+1] == "" {
			h.Del(headers[i])
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://"+address+path, &websocket.DialOptions{HTTPHeader: h, Subprotocols: []string{"v1", "v2"}})
	if err == nil {
		c.SetReadLimit(1 << 20)
		t.Cleanup(func() { _ = c.CloseNow() })
	}
	return c, res, err
}

func (b *browser) mustDial(t *testing.T, address, path string, headers ...string) *websocket.Conn {
	t.Helper()
	c, _, err := b.dial(t, address, path, headers...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// echoes says something and wants it back.
func echoes(t *testing.T, c *websocket.Conn, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(what)); err != nil {
		t.Fatal(err)
	}
	_, said, err := c.Read(ctx)
	if err != nil || string(said) != what {
		t.Fatalf("said %d bytes, got %d back: %v", len(what), len(said), err)
	}
}

// closesWith wants the socket closed, with a code (-1: without a close frame), and tells how long that took.
func closesWith(t *testing.T, c *websocket.Conn, code websocket.StatusCode) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		_, _, err := c.Read(ctx)
		if err == nil {
			continue
		}
		if errors.Is(err, context.DeadlineExceeded) || websocket.CloseStatus(err) != code {
			t.Fatalf("closed with %v, want %d", err, code)
		}
		return
	}
}

func TestD10_AWebSocketPassesWithATokenAndWithoutOurCookies(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	c, res, err := b.dial(t, address, "/live/room?x=1")
	if err != nil {
		t.Fatal(err)
	}
	if c.Subprotocol() != "v2" {
		t.Errorf("subprotocol %q", c.Subprotocol())
	}
	if len(res.Header["Set-Cookie"]) != 0 {
		t.Errorf("the upstream set %v", res.Header["Set-Cookie"])
	}
	for _, what := range []string{"hello", strings.Repeat("x", 200_000), ""} {
		echoes(t, c, what)
	}
	got := e.last()
	if got.Get("Authorization") != "Bearer minted-for-live" || got.Get("Cookie") != "theirs=1" || got.Get("X-User") != "" ||
		got.Get("Origin") != publicURL || got.Get("X-Forwarded-Host") != "app.example.com" || got.Get("X-Request-Id") == "" {
		t.Errorf("the upstream got %v", got)
	}
	gauge := func() float64 { return testutil.ToFloat64(h.server.records.sockets) }
	if gauge() != 1 {
		t.Errorf("websocket_connections is %v", gauge())
	}
	_ = c.Close(websocket.StatusNormalClosure, "")
	within(t, 5*time.Second, "the upstream's side closes too", func() bool { return e.open.Load() == 0 && gauge() == 0 })
	if e.closed[0] != websocket.StatusNormalClosure {
		t.Errorf("the upstream was told %v", e.closed[0])
	}
}

func TestD10_BothLegsCloseWhenEitherEnds(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	for said, code := range map[string]websocket.StatusCode{"bye": 4000, "drop": -1} {
		c := b.mustDial(t, address, "/live")
		if err := c.Write(t.Context(), websocket.MessageText, []byte(said)); err != nil {
			t.Fatal(err)
		}
		closesWith(t, c, code)
	}
	c := b.mustDial(t, address, "/live")
	echoes(t, c, "hello")
	_ = c.CloseNow()
	within(t, 5*time.Second, "the upstream hears that the browser is gone", func() bool { return e.open.Load() == 0 })
	within(t, 5*time.Second, "nothing is left", func() bool { return testutil.ToFloat64(h.server.records.sockets) == 0 })
}

func TestD10_TheOriginIsOursExactly(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	for origin, status := range map[string]int{
		publicURL: 101, "https://spa.example.com": 101,
		"": 403, "null": 403, "https://evil.example": 403, "http://app.example.com": 403, "https://app.example.com.evil.example": 403,
		"https://app.example.com:8443": 403, "https://sub.app.example.com": 403, "https://APP.example.com": 403, "https://app.example.com/": 403,
	} {
		before := len(e.seen)
		_, res, err := b.dial(t, address, "/live", "Origin", origin)
		if res == nil {
			t.Fatal(err)
		}
		if res.StatusCode != status {
			t.Errorf("Origin %q: %d, want %d", origin, res.StatusCode, status)
		}
		if status == 403 && len(e.seen) != before {
			t.Errorf("Origin %q reached the upstream", origin)
		}
	}
	if _, res, _ := b.dial(t, address, "/live", "Sec-Fetch-Site", "same-site"); res.StatusCode != 403 {
		t.Errorf("with our Origin, and a browser that says another: %d", res.StatusCode)
	}
	if _, res, _ := b.dial(t, address, "/live", "Origin", "", "X-CSRF", "1"); res.StatusCode != 403 {
		t.Errorf("the header alone: %d", res.StatusCode)
	}
	if _, res, _ := h.browser().dial(t, address, "/live/optional", "Origin", "", "Cookie", ""); res.StatusCode != 403 {
		t.Errorf("an anonymous one without Origin, where a session is optional: %d", res.StatusCode)
	}
}

func TestD10_TheSessionIsWantedAsTheRouteSays(t *testing.T) {
	h, e, address := withSockets(t)
	b, stranger := h.browser(), h.browser()
	b.signIn("alice")
	for _, c := range []struct {
		name   string
		who    *browser
		path   string
		status int
		bearer string
	}{
		{"required, and there is one", b, "/live", 101, "Bearer minted-for-live"},
		{"required, and there is none", stranger, "/live", 401, ""},
		{"optional, and there is one", b, "/live/optional", 101, "Bearer minted-for-live"},
		{"optional, and there is none", stranger, "/live/optional", 101, ""},
		{"none", stranger, "/live/open", 101, ""},
		{"not allowed", b, "/live/closed", 403, ""},
		{"a route without WebSockets", b, "/live/not", 403, ""}, // X-CSRF is due there
	} {
		cookie := c.who.cookie()
		if c.who == stranger {
			cookie = ""
		}
		conn, res, err := c.who.dial(t, address, c.path, "Cookie", cookie)
		if res == nil {
			t.Fatal(err)
		}
		if res.StatusCode != c.status {
			t.Errorf("%s: %d, want %d", c.name, res.StatusCode, c.status)
			continue
		}
		if c.status == 101 {
			echoes(t, conn, "hello")
			if got := e.last().Get("Authorization"); got != c.bearer {
				t.Errorf("%s: the upstream got %q", c.name, got)
			}
		}
	}
	if _, res, _ := b.dial(t, address, "/live/not", "X-CSRF", "1"); res.StatusCode != 400 {
		t.Errorf("a route without WebSockets: %d", res.StatusCode)
	}
}

func TestD10_TheSessionsEndClosesItsSockets(t *testing.T) {
	for name, end := range map[string]func(h *house, b *browser){
		"logout":        func(_ *house, b *browser) { b.fetch("POST", "/bff/logout") },
		"back-channel":  func(h *house, b *browser) { sub, _ := b.known(); h.sayToken(h.logoutToken(sub, "", nil)) },
		"the idle time": func(h *house, _ *browser) { h.later(31 * time.Minute) },
	} {
		t.Run(name, func(t *testing.T) {
			h, e, address := withSockets(t)
			b, other := h.browser(), h.browser()
			b.signIn("alice")
			other.signIn("sam")
			c, theirs := b.mustDial(t, address, "/live"), other.mustDial(t, address, "/live/open")
			echoes(t, c, "hello")
			began := time.Now()
			end(h, b)
			closesWith(t, c, 1008)
			if took := time.Since(began); took > time.Second && name != "the idle time" {
				t.Errorf("it took %s", took)
			}
			within(t, 5*time.Second, "the upstream is told", func() bool { return e.open.Load() == 1 })
			if name != "the idle time" {
				echoes(t, theirs, "still here")
			}
		})
	}
}

func TestD10_ASocketThatDoesNotListenIsClosedAllTheSame(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	conn := handshake(t, address, "/live", b.cookie(), "")
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatal(line, err)
	}
	// It sends half a frame and says no more: there is no place for a close frame towards the upstream.
	if _, err := conn.Write([]byte{0x81, 0xfe, 0x01, 0x00, 1, 2, 3, 4, 'h'}); err != nil {
		t.Fatal(err)
	}
	within(t, 5*time.Second, "the upstream has it", func() bool { return e.open.Load() == 1 })
	began := time.Now()
	b.fetch("POST", "/bff/logout")
	within(t, time.Second, "it is closed", func() bool { return e.open.Load() == 0 })
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.Copy(io.Discard, conn); err != nil && errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("it took %s", took)
	}
}

func TestD10_DrainClosesSocketsWith1001(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	c, anonymous := b.mustDial(t, address, "/live"), b.mustDial(t, address, "/live/open", "Cookie", "")
	echoes(t, c, "hello")
	echoes(t, anonymous, "hello")
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		closed <- h.server.Close(ctx)
	}()
	closesWith(t, c, websocket.StatusGoingAway)
	closesWith(t, anonymous, websocket.StatusGoingAway)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	within(t, time.Second, "the upstream is told", func() bool { return e.open.Load() == 0 })
	for _, code := range e.closed {
		if code != websocket.StatusGoingAway {
			t.Errorf("the upstream was told %d", code)
		}
	}
	if testutil.ToFloat64(h.server.records.sockets) != 0 {
		t.Error("sockets are left")
	}
}

func TestASocketKeepsTheTokensFresh(t *testing.T) {
	e := newEchoServer(t)
	target, err := url.Parse(e.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Routes = append(cfg.Frontend.Routes, Route{Path: "/live", Upstream: target, WebSocket: true, Token: TokenPlan{Kind: TokenAccess}})
	})
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	c := b.mustDial(t, address, "/live")
	echoes(t, c, "hello")
	before := h.idp.Count(idptest.Token)
	for range 3 { // the access token lives for an hour, the idle time is half of that
		h.later(19*time.Minute + 50*time.Second)
		if b.fetch("GET", "/bff/user").StatusCode != http.StatusOK {
			t.Fatal("not signed in")
		}
	}
	within(t, 5*time.Second, "a refresh", func() bool { return h.idp.Count(idptest.Token) == before+1 })
	echoes(t, c, "still here")
}

// handshake opens a connection and sends a WebSocket handshake, with more lines and whatever follows it.
func handshake(t *testing.T, address, path, cookie, more string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", address) //nolint:noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app.example.com\r\nOrigin: %s\r\nCookie: %s\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n%s", path, publicURL, cookie, more)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// The handshake is answered by something that is no 101: no byte that follows may reach the upstream, and neither connection may
// be used again (CVE-2026-118264, RFC 9931).
func TestD8_ARefusedUpgradeIsNeverATunnel(t *testing.T) {
	accepted := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		status int
	}{
		"200":                            {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200},
		"404 without a body":             {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", 404},
		"426":                            {"HTTP/1.1 426 Upgrade Required\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 0\r\n\r\n", 426},
		"401":                            {"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 502},
		"401 that asks for more":         {"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer error=\"insufficient_user_authentication\"\r\nContent-Length: 0\r\n\r\n", 401},
		"101 of another protocol":        {strings.Replace(accepted, "Upgrade: websocket", "Upgrade: h2c", 1), 502},
		"101 that answers another key":   {strings.Replace(accepted, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1), 502},
		"101 without proof":              {strings.Replace(accepted, "Sec-WebSocket-Accept", "X-Accept", 1), 502},
		"101 without Connection":         {strings.Replace(accepted, "Connection: Upgrade\r\n", "", 1), 502},
		"101 without Upgrade":            {strings.Replace(accepted, "Upgrade: websocket\r\n", "", 1), 502},
		"nonsense":                       {"hello\r\n\r\n", 502},
		"nothing":                        {"", 502},
		"101, the control of this table": {accepted, 101},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // a test's own
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			var connections atomic.Int32
			after := make(chan string, 10) // what an upstream connection carried after the handshake
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					connections.Add(1)
					go func() {
						defer conn.Close()
						r, err := http.ReadRequest(bufio.NewReader(conn))
						if err != nil || r.Header.Get("Upgrade") != "websocket" {
							return
						}
						_, _ = io.WriteString(conn, c.answer)
						if c.answer == "" {
							return
						}
						_ = conn.SetReadDeadline(time.Now().Add(3 * time.Second))
						rest := make([]byte, 64)
						n, _ := conn.Read(rest)
						after <- string(rest[:n])
					}()
				}
			}()
			target, _ := url.Parse("http://" + l.Addr().String())
			h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
				cfg.Frontend.Routes = append(cfg.Frontend.Routes, Route{Path: "/live", Upstream: target, WebSocket: true, Token: TokenPlan{Kind: TokenMinted, Audience: "live"}, Timeout: 2 * time.Second})
			})
			address := h.listen()
			b := h.browser()
			b.signIn("alice")
			// What follows on the heels of the handshake would, in a tunnel, be another request behind the route's back.
			conn := handshake(t, address, "/live", b.cookie(), "GET /admin HTTP/1.1\r\nHost: upstream\r\n\r\n")
			defer conn.Close()
			_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			reader := bufio.NewReader(conn)
			res, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.status {
				t.Fatalf("answered with %d, not %d", res.StatusCode, c.status)
			}
			if c.status == 101 {
				if got := <-after; got != "GET /admin HTTP/1.1\r\nHost: upstream\r\n\r\n" {
					t.Fatalf("the tunnel carried %q", got)
				}
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			if _, err := reader.ReadByte(); !errors.Is(err, io.EOF) {
				t.Errorf("the browser's connection lives on: %v", err)
			}
			again := handshake(t, address, "/live", b.cookie(), "")
			defer again.Close()
			_ = again.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := http.ReadResponse(bufio.NewReader(again), nil); err != nil {
				t.Error(err)
			}
			if c.answer != "" {
				if got := <-after; got != "" {
					t.Errorf("the upstream was sent %q", got)
				}
			}
			if n := connections.Load(); n != 2 {
				t.Errorf("%d connections to the upstream for two handshakes", n)
			}
		})
	}
}

func TestD8_AHandshakeIsOneToTheLetter(t *testing.T) {
	h, e, _ := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	good := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Origin": publicURL}
	for name, c := range map[string]struct {
		header, value string
		status        int
	}{
		"another protocol":         {"Upgrade", "h2c", 400},
		"two protocols":            {"Upgrade", "websocket, h2c", 400},
		"not nominated":            {"Connection", "keep-alive", 400},
		"a key that is none":       {"Sec-WebSocket-Key", "short", 400},
		"no key":                   {"Sec-WebSocket-Key", "", 400},
		"another version":          {"Sec-WebSocket-Version", "8", 426},
		"HTTP/1.0, as the test is": {"Sec-WebSocket-Protocol", "v1", 400},
	} {
		r := request("GET", "/live")
		for header, value := range good {
			r.Header.Set(header, value)
		}
		if r.Header.Set(c.header, c.value); c.value == "" {
			r.Header.Del(c.header)
		}
		if strings.HasPrefix(name, "HTTP/1.0") {
			r.Proto, r.ProtoMinor = "HTTP/1.0", 0
		}
		r.Header.Set("Cookie", b.cookie())
		res := h.serve(r)
		if res.StatusCode != c.status || problemOf(res) != "bad-request" || res.Header.Get("Connection") != "close" {
			t.Errorf("%s: %d %s", name, res.StatusCode, bodyOf(res))
		}
		if c.status == 426 && res.Header.Get("Sec-Websocket-Version") != "13" {
			t.Errorf("%s: does not say which version", name)
		}
	}
	if len(e.seen) != 0 {
		t.Error("reached the upstream")
	}
}

func TestATokenThatASocketsUpstreamCallsInvalidIsMintedAnewOnce(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	var asked atomic.Int32
	e.set(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	h.mint.next = []secret.Text{"first", "second"}
	_, res, _ := b.dial(t, address, "/live")
	if res.StatusCode != http.StatusBadGateway || asked.Load() != 2 || !h.mint.last().Anew {
		t.Errorf("%d after %d attempts, anew %v", res.StatusCode, asked.Load(), h.mint.last().Anew)
	}
}
