package bff

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// eventStream is what a browser has heard so far.
type eventStream struct {
	res *http.Response

	mu     sync.Mutex
	lines  []string
	done   chan struct{}
	broken bool // once it is done: it broke off
}

// events opens a stream as a browser's EventSource would, if headers do not say otherwise.
func (b *browser) events(t *testing.T, address string, headers ...string) *eventStream {
	t.Helper()
	if headers == nil {
		headers = []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+address+"/bff/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	r.Header.Set("Cookie", b.cookie())
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	s := &eventStream{res: res, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer res.Body.Close()
		for lines := bufio.NewScanner(res.Body); lines.Scan(); {
			s.mu.Lock()
			s.lines = append(s.lines, lines.Text())
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *eventStream) heard() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n") + "\n"
}

func (s *eventStream) hears(t *testing.T, what string) {
	t.Helper()
	within(t, 5*time.Second, "the stream says "+what, func() bool { return strings.Contains(s.heard(), what) })
}

func (s *eventStream) ends(t *testing.T) {
	t.Helper()
	select {
	case <-s.done:
	case <-time.After(5 * time.Second):
		t.Fatal("the stream does not end")
	}
}

func TestEventsTellOfAnEndWhereverItComesFrom(t *testing.T) {
	for reason, end := range map[string]func(b, other *browser) *http.Response{
		"logout":  func(b, _ *browser) *http.Response { return b.fetch("POST", "/bff/logout") },
		"revoked": func(_, other *browser) *http.Response { return other.fetch("DELETE", "/bff/sessions?others=true") },
		"backchannel": func(b, _ *browser) *http.Response {
			sub, _ := b.known()
			return b.sayToken(b.logoutToken(sub, "", nil))
		},
	} {
		t.Run(reason, func(t *testing.T) {
			h := generic(t)
			address := h.listen()
			b, other := h.browser(), h.browser()
			b.signIn("alice")
			other.signIn("alice")
			s := b.events(t, address)
			if s.res.StatusCode != http.StatusOK || s.res.Header.Get("Content-Type") != "text/event-stream" ||
				s.res.Header.Get("Cache-Control") != "no-store" || s.res.Header.Get("X-Accel-Buffering") != "no" {
				t.Fatalf("%d %v", s.res.StatusCode, s.res.Header)
			}
			s.hears(t, ":\n")
			if res := end(b, other); res.StatusCode >= 300 {
				t.Fatalf("%d %s", res.StatusCode, bodyOf(res))
			}
			s.hears(t, "event: session-ended\ndata: {\"reason\":\""+reason+"\"}\n\n")
			s.ends(t)
		})
	}
}

func TestEventsTellOfTheEndThatComesByItself(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	s := b.events(t, address)
	s.hears(t, ":\n")
	if strings.Contains(s.heard(), "session-ending") {
		t.Fatal("told of an end that is not near")
	}
	h.later(29*time.Minute + 15*time.Second)
	s.hears(t, "event: session-ending\ndata: {\"seconds\":45}\n\n")
	time.Sleep(3 * h.server.lookEvery)
	if n := strings.Count(s.heard(), "session-ending"); n != 1 {
		t.Errorf("told %d times", n)
	}
	h.later(time.Minute)
	s.hears(t, "event: session-ended\ndata: {\"reason\":\"expired\"}\n\n")
	s.ends(t)
}

func TestEventsEndAtTheAbsoluteEndThoughTheStoreCannotTell(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	s := b.events(t, address)
	s.hears(t, ":\n")
	h.store.breakDown("Load")
	h.later(11 * time.Hour) // the idle end has passed, if nothing was done at another replica
	time.Sleep(3 * h.server.lookEvery)
	if strings.Contains(s.heard(), "session-ended") {
		t.Fatal("told of an end that nobody knows of")
	}
	h.later(time.Hour)
	s.hears(t, "event: session-ended\ndata: {\"reason\":\"expired\"}\n\n")
	s.ends(t)
}

func TestEventsAreNoActivityButActivityIsSeen(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	s := b.events(t, address)
	h.later(29*time.Minute + 15*time.Second)
	s.hears(t, "session-ending")
	if b.fetch("GET", "/bff/user").StatusCode != http.StatusOK { // this is
		t.Fatal("not signed in")
	}
	h.later(10 * time.Minute)
	time.Sleep(3 * h.server.lookEvery)
	if strings.Contains(s.heard(), "session-ended") {
		t.Fatal("the session was used, and is told to have ended")
	}
	h.later(21 * time.Minute)
	s.hears(t, "session-ended")
}

func TestEventsKeepTheTokensFreshAndTellOfIt(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	s := b.events(t, address)
	s.hears(t, ":\n")
	before := h.idp.Count(idptest.Token)
	for range 3 { // the access token lives for an hour, the idle time is half of that
		h.later(19*time.Minute + 50*time.Second)
		if b.fetch("GET", "/bff/user").StatusCode != http.StatusOK {
			t.Fatal("not signed in")
		}
	}
	s.hears(t, "event: session-refreshed\ndata: {}\n\n")
	if n := h.idp.Count(idptest.Token) - before; n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

func TestEventsNeedASessionAndOurOrigin(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.Frontend.AllowedOrigins = []string{"https://spa.example.com"} })
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	for name, c := range map[string]struct {
		headers []string
		status  int
	}{
		"same-origin by Fetch Metadata":      {nil, 200},
		"by Origin":                          {[]string{"Origin", publicURL}, 200},
		"by the Origin of an allowed one":    {[]string{"Origin", "https://spa.example.com", "Sec-Fetch-Site", "same-site"}, 200},
		"by the header, from a fetch":        {[]string{"X-CSRF", "1"}, 200},
		"of a browser that says nothing":     {[]string{}, 403},
		"of another origin":                  {[]string{"Origin", "https://evil.example"}, 403},
		"of a sibling":                       {[]string{"Sec-Fetch-Site", "same-site"}, 403},
		"of another site":                    {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"of another site, with the header":   {[]string{"Sec-Fetch-Site", "cross-site", "X-CSRF", "1"}, 403},
		"of a frame without an origin":       {[]string{"Origin", "null"}, 403},
		"of a contradiction":                 {[]string{"Origin", "https://evil.example", "Sec-Fetch-Site", "same-origin"}, 403},
		"of our origin, over another scheme": {[]string{"Origin", "http://app.example.com"}, 403},
	} {
		if s := b.events(t, address, c.headers...); s.res.StatusCode != c.status {
			t.Errorf("%s: %d, not %d", name, s.res.StatusCode, c.status)
		}
	}
	stranger := h.browser()
	wantProblem(t, stranger.do("GET", "/bff/events", "Sec-Fetch-Site", "same-origin"), 401, "no-session")
	wantProblem(t, b.do("POST", "/bff/events", "Sec-Fetch-Site", "same-origin"), 405, "method-not-allowed")
}

func TestEventsLastOverHTTP2(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	server := httptest.NewUnstartedServer(h.server.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	defer h.server.EndStreams()
	r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/bff/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Cookie", b.cookie())
	res, err := server.Client().Do(r)
	if err != nil || res.ProtoMajor != 2 {
		t.Fatal(res, err)
	}
	defer res.Body.Close()
	lines := bufio.NewScanner(res.Body)
	for comments := 0; comments < 6; { // more than a second, with deadlines of a fifth
		if !lines.Scan() {
			t.Fatalf("it ends after %d comments: %v", comments, lines.Err())
		}
		if lines.Text() == ":" {
			comments++
		}
	}
}

func TestEventsEndWhenTheProcessDoes(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	address := h.listen()
	b := h.browser()
	b.signIn("alice")
	s := b.events(t, address)
	s.hears(t, ":\n")
	h.server.EndStreams()
	s.ends(t)
	if strings.Contains(s.heard(), "session-ended") {
		t.Error("told of the end of a session that lives")
	}
	if !b.signedIn() {
		t.Error("signed out")
	}
	wantProblem(t, b.do("GET", "/bff/events", "Sec-Fetch-Site", "same-origin"), 503, "draining")
}

func TestASessionHasOnlySoManyStreams(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	ticket, _, _ := h.server.cookies.ticket(carried{session: b.cookies["__Host-Http-session"]})
	found, err := h.sessions.Load(t.Context(), ticket)
	if err != nil {
		t.Fatal(err)
	}
	v := visitor{ticket, found}
	var leave []func()
	for range maxStaying {
		l, refused := h.server.stay(v)
		if refused != nil {
			t.Fatal(refused)
		}
		leave = append(leave, l)
	}
	res := b.do("GET", "/bff/events", "Sec-Fetch-Site", "same-origin")
	wantProblem(t, res, 429, "rate-limited")
	for _, l := range leave {
		l()
	}
	if len(h.server.staying) != 0 {
		t.Errorf("left over: %v", h.server.staying)
	}
}
