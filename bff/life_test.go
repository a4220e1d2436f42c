package bff

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"cloakroom/internal/idptest"
	"cloakroom/secret"
)

// replace puts another Server in the place of the one there is, as a reload does.
func (h *house) replace(change func(*Config)) (old *Server) {
	h.t.Helper()
	old = h.server
	h.cfg.After = old
	change(&h.cfg)
	next, err := New(h.cfg)
	if err != nil {
		h.t.Fatal(err)
	}
	next.lookEvery = old.lookEvery
	h.server = next
	old.Retire()
	return old
}

// A reload takes a route away and promotes a secret: what is open under the old configuration goes on, and ends as it would have.
func TestWhatIsOpenGoesOnUnderAnotherServer(t *testing.T) {
	h, e, address := withSockets(t)
	older, newer := h.cfg.Secrets.First(), secret.NewKey()
	b := h.browser()
	b.signIn("alice")
	stream := b.events(t, address)
	stream.hears(t, ":\n")
	socket := b.mustDial(t, address, "/live/room")
	echoes(t, socket, "before")

	old := h.replace(func(cfg *Config) {
		cfg.Secrets = ring(t, newer, older)
		h.sessions.UseSecrets(cfg.Secrets)
		cfg.Frontend.Routes = cfg.Frontend.Routes[:1]
	})
	echoes(t, socket, "after")
	wantProblem(t, b.fetch("GET", "/public"), http.StatusNotFound, "not-found")
	if res := newRecorder(old, request("GET", "/public")); res.StatusCode != http.StatusOK {
		t.Errorf("under the old configuration: %d", res.StatusCode)
	}
	// The cookie is encoded anew on its next use, and holds the same.
	before := b.cookies["__Host-Http-session"]
	if res := b.fetch("GET", "/bff/user"); res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, bodyOf(res))
	}
	if after := b.cookies["__Host-Http-session"]; after == before || !strings.HasPrefix(after, "v1."+newer.ID()+".") {
		t.Errorf("the cookie is %.20s…, was %.20s…", after, before)
	}
	if n := h.server.staying[first(h.server.staying)]; n != 2 {
		t.Errorf("the new one counts %d open", n)
	}
	if res := b.fetch("POST", "/bff/logout"); res.StatusCode != http.StatusOK {
		t.Fatalf("logout: %d", res.StatusCode)
	}
	stream.hears(t, `event: session-ended`)
	stream.ends(t)
	closesWith(t, socket, websocket.StatusPolicyViolation)
	within(t, 5*time.Second, "the upstream's side is closed too", func() bool { return e.open.Load() == 0 })
}

func first(m map[string]int) string {
	for key := range m {
		return key
	}
	return ""
}

func TestClosingEndsWhatWasOpenedUnderEarlierServers(t *testing.T) {
	h, _, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	socket := b.mustDial(t, address, "/live/room")
	echoes(t, socket, "hello")
	old := h.replace(func(*Config) {})
	closed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		closed <- h.server.Close(ctx)
	}()
	closesWith(t, socket, websocket.StatusGoingAway)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	wantProblem(t, newRecorder(old, request("GET", "/public")), http.StatusServiceUnavailable, "draining")
}

// A request that is with an upstream stays there; connections to it are not kept for a Server that nobody asks any more.
func TestARequestInFlightOutlivesItsServersPlace(t *testing.T) {
	reached, answer := make(chan struct{}), make(chan struct{})
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(reached)
			<-answer
		}
		_, _ = io.WriteString(w, "from upstream")
	}))
	idle := make(chan struct{}, 1)
	upstream.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			idle <- struct{}{}
		}
	}
	upstream.Start()
	t.Cleanup(upstream.Close)
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Routes = []Route{{Path: "/slow", Upstream: target, Session: None}}
	})
	got := make(chan *http.Response)
	go func() { got <- newRecorder(h.server, request("GET", "/slow")) }()
	<-reached
	h.replace(func(cfg *Config) { cfg.Frontend.Routes = nil })
	wantProblem(t, newRecorder(h.server, request("GET", "/slow")), http.StatusNotFound, "not-found")
	close(answer)
	if res := <-got; res.StatusCode != http.StatusOK || bodyOf(res) != "from upstream" {
		t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
	}
	select {
	case <-idle:
	case <-time.After(5 * time.Second):
		t.Error("the connection to the upstream is kept")
	}
}

func TestAFloodGainsNothingFromAReload(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.LoginPerMinute = 2 })
	login := func() int { return h.browser().navigate("/bff/login").StatusCode }
	if got := [3]int{login(), login(), login()}; got != [3]int{302, 302, 429} {
		t.Fatalf("%v", got)
	}
	h.replace(func(*Config) {})
	if got := login(); got != http.StatusTooManyRequests {
		t.Errorf("after a reload that changes nothing: %d", got)
	}
	h.replace(func(cfg *Config) { cfg.LoginPerMinute = 3 })
	if got := login(); got != http.StatusFound {
		t.Errorf("after one that allows more: %d", got)
	}
}
