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
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/secret"
)

func TestResponseHeaders(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Etag", `"1"`)
		h.Set("X-Tenant", "blue")
		h.Set("Vary", "Accept")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Clear-Site-Data", `"*"`)
		h.Set("Strict-Transport-Security", "max-age=0")
		h.Set("Service-Worker-Allowed", "/")
		h.Set("Alt-Svc", `h3="evil.example:443"`)
		h.Set("X-Request-Id", "theirs")
		h.Set("Keep-Alive", "timeout=5")
		h.Set("Connection", "X-Hop")
		h.Set("X-Hop", "1")
		h.Set("X-Content-Type-Options", "whatever")
		h.Set("Referrer-Policy", "no-referrer")
		h.Add("Set-Cookie", "__Host-Http-session=evil; Path=/; Secure; HttpOnly")
		h.Add("Set-Cookie", "theme=dark")
		h.Add("Set-Cookie", "__host-http-LOGIN=evil")
		h.Add("Set-Cookie", "=__Host-Http-session=evil")
	}), Route{})
	e.header = func(h http.Header) {
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Strict-Transport-Security", "max-age=31536000")
		h.Set("X-Request-Id", "ours")
		h.Set("Vary", "Origin")
		h.Set("Access-Control-Allow-Origin", "https://split.example")
		h.Set("Set-Cookie", "__Host-Http-session=renewed")
	}
	res, _ := e.do(t, "GET", "/", nil, nil)
	want := map[string][]string{
		"Content-Type": {"application/json"}, "Etag": {`"1"`}, "X-Tenant": {"blue"}, "Vary": {"Origin", "Accept"}, "Access-Control-Allow-Origin": {"https://split.example"},
		"Strict-Transport-Security": {"max-age=31536000"}, "X-Request-Id": {"ours"}, "X-Content-Type-Options": {"nosniff"}, "Referrer-Policy": {"no-referrer"},
		"Set-Cookie": {"__Host-Http-session=renewed", "theme=dark"}, "Access-Control-Allow-Credentials": nil, "Clear-Site-Data": nil, "Service-Worker-Allowed": nil, "Alt-Svc": nil,
		"X-Hop": nil, "Keep-Alive": nil, "Cache-Control": nil,
	}
	for name, values := range want {
		if !slices.Equal(res.Header[name], values) {
			t.Errorf("%s: got %q, want %q", name, res.Header[name], values)
		}
	}
}

// ReverseProxy passes a 1xx response on with all headers that are set already, and then forgets them.
func TestInterimResponsesDoNotCostOurHeaders(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.Header().Set("Set-Cookie", "__Host-Http-session=evil")
		w.WriteHeader(103)
		w.WriteHeader(103)
		w.Header().Del("Set-Cookie")
		w.WriteHeader(201)
	}), Route{})
	e.header = func(h http.Header) {
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Set-Cookie", "__Host-Http-session=renewed")
	}
	res, _ := e.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if res.StatusCode != 201 || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Set-Cookie") != "__Host-Http-session=renewed" || res.Header.Get("Link") == "" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
}

func TestAnUpstreamsOwnContentSecurityPolicyReplacesOurs(t *testing.T) {
	for _, theirs := range []string{"", "default-src 'self' https:"} { // which may come with one that is only reported on
		e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if theirs != "" {
				w.Header().Set(cspHeader, theirs)
				w.Header().Set(cspReportHeader, theirs)
			}
		}), Route{})
		e.header = func(h http.Header) { h.Set(cspHeader, builtIn) }
		want := theirs
		if want == "" {
			want = builtIn
		}
		if res, _ := e.do(t, "GET", "/", nil, nil); !slices.Equal(res.Header[cspHeader], []string{want}) || res.Header.Get(cspReportHeader) != theirs {
			t.Errorf("got %q, want %q", res.Header[cspHeader], want)
		}
	}
}

func TestResponsesOfASessionAreNotStored(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
	}), Route{})
	if res, _ := e.do(t, "GET", "/", nil, nil); res.Header.Get("Cache-Control") != "public, max-age=60" {
		t.Errorf("without a session: %q", res.Header["Cache-Control"])
	}
	e.fwd.Session = true
	e.header = func(h http.Header) { h.Set("Cache-Control", "private") }
	if res, _ := e.do(t, "GET", "/", nil, nil); !slices.Equal(res.Header["Cache-Control"], []string{"no-store"}) {
		t.Errorf("with a session: %q", res.Header["Cache-Control"])
	}
}

func TestRedirectsPassAndAreNotFollowed(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		up := &seen{}
		e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			up.ServeHTTP(httptest.NewRecorder(), r)
			w.Header().Set("Location", "http://"+r.Host+"/orders/5")
			w.WriteHeader(code)
		}), Route{Path: "/api", StripPrefix: "/api"})
		res, _ := e.do(t, "GET", "/api/orders", nil, nil)
		if res.StatusCode != code || res.Header.Get("Location") != "/api/orders/5" || up.count() != 1 {
			t.Errorf("got %d %q after %d requests", res.StatusCode, res.Header.Get("Location"), up.count())
		}
	}
}

func TestServerSentEventsAreNotHeldBack(t *testing.T) {
	next := make(chan struct{})
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			fmt.Fprintf(w, "data: %d\n\n", i)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}), Route{})
	r, _ := http.NewRequestWithContext(t.Context(), "GET", e.URL+"/", nil)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	for i := range 3 {
		line, err := lines.ReadString('\n')
		if err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		next <- struct{}{} // only now does the upstream go on
	}
}

func TestBothDirectionsStreamAtOnce(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		_ = rc.EnableFullDuplex()
		w.WriteHeader(200)
		_ = rc.Flush()
		buf := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, buf); err != nil {
				return
			}
			_, _ = w.Write(buf)
			_ = rc.Flush()
		}
	}), Route{})
	reader, writer := io.Pipe()
	r, _ := http.NewRequestWithContext(t.Context(), "POST", e.URL+"/", reader)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for _, c := range []byte("abc") {
		if _, err := writer.Write([]byte{c}); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, got); err != nil || got[0] != c {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	writer.Close()
}

func TestTrailersOfTheResponsePass(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Checksum")
		_, _ = io.WriteString(w, "content")
		w.Header().Set("X-Checksum", "abc")
		if r.URL.Path == "/more" {
			w.Header().Set(http.TrailerPrefix+"X-Unannounced", "def")
		}
	}), Route{})
	if res, body := e.do(t, "GET", "/", nil, nil); body != "content" || res.Trailer.Get("X-Checksum") != "abc" {
		t.Errorf("announced: got %q %v", body, res.Trailer)
	}
	if res, body := e.do(t, "GET", "/more", nil, nil); body != "content" || res.Trailer.Get("X-Checksum") != "abc" || res.Trailer.Get("X-Unannounced") != "def" {
		t.Errorf("unannounced: got %q %v", body, res.Trailer)
	}
}

// What a response's headers may not say, its trailers may not either, announced or not.
func TestTrailersSayNothingThatHeadersMayNot(t *testing.T) {
	hostile := []string{"Set-Cookie", "Access-Control-Allow-Origin", "Strict-Transport-Security", "Clear-Site-Data", "Location", "Content-Security-Policy", "X-Request-Id"}
	for _, announced := range []bool{true, false} {
		e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			prefix := http.TrailerPrefix
			if announced {
				prefix = ""
				w.Header().Set("Trailer", strings.Join(hostile, ", ")+", X-Checksum")
			}
			_, _ = io.WriteString(w, "content")
			_ = http.NewResponseController(w).Flush()
			for _, name := range hostile {
				w.Header().Set(prefix+name, "__Host-Http-session=evil")
			}
			w.Header().Set(prefix+"X-Checksum", "abc")
		}), Route{})
		e.header = func(h http.Header) { h.Set("Set-Cookie", "__Host-Http-session=renewed") }
		res, _ := e.do(t, "GET", "/", nil, nil)
		if len(res.Trailer) != 1 || res.Trailer.Get("X-Checksum") != "abc" || res.Header.Get("Set-Cookie") != "__Host-Http-session=renewed" {
			t.Errorf("announced %v: trailers %v behind %v", announced, res.Trailer, res.Header)
		}
	}
}

func TestAResponseKeepsItsEncoding(t *testing.T) {
	up := &seen{}
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.ServeHTTP(httptest.NewRecorder(), r)
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, "not really gzip")
	}), Route{})
	e.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if got := up.request(t).Header.Get("Accept-Encoding"); got != "" {
		t.Errorf("asked for %q of its own accord", got)
	}
	if res, body := e.do(t, "GET", "/", http.Header{"Accept-Encoding": {"gzip"}}, nil); body != "not really gzip" || res.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("got %q", body)
	}
}

func TestAnUpstreamThatCannotBeReached(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := closed.Addr().String()
	closed.Close()
	e := newEdgeTo(t, Route{Path: "/", Upstream: mustURL(t, "http://"+address)})
	res, body := e.do(t, "GET", "/", nil, nil)
	if res.StatusCode != 502 || body != "upstream-unavailable" || strings.Contains(fmt.Sprint(res.Header, body), address) {
		t.Errorf("got %d %q %v", res.StatusCode, body, res.Header)
	}
	if e.cause() == nil || !strings.Contains(e.cause().Error(), address) {
		t.Errorf("the log learns %v", e.cause())
	}
}

func TestMetadataAddressesAreNotDialled(t *testing.T) {
	e := newEdgeTo(t, Route{Path: "/", Upstream: mustURL(t, "http://169.254.169.254")})
	if res, _ := e.do(t, "GET", "/", nil, nil); res.StatusCode != 502 || !errors.Is(e.cause(), errForbiddenAddress) {
		t.Errorf("got %d, %v", res.StatusCode, e.cause())
	}
}

func TestUpstreamsThatMisbehave(t *testing.T) {
	tests := []struct {
		name, response string
		want           int
		problem        string
	}{
		{"closes without a word", "", 502, "upstream-unavailable"},
		{"does not speak HTTP", "SSH-2.0-OpenSSH\r\n\r\n", 502, "upstream-unavailable"},
		{"switches protocols unasked", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", 502, "upstream-unavailable"},
		{"sends endless headers", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 400) + "\r\n", 502, "upstream-unavailable"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEdgeTo(t, Route{Path: "/", Upstream: mustURL(t, "http://"+answering(t, tt.response))})
			if res, body := e.do(t, "POST", "/", nil, nil); res.StatusCode != tt.want || body != tt.problem {
				t.Errorf("got %d %q", res.StatusCode, body)
			}
		})
	}
}

// answering listens, reads one request's beginning per connection and answers with what it was given.
func answering(t *testing.T, response string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = io.WriteString(conn, response)
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

func TestAnUpstreamThatDoesNotAnswerInTime(t *testing.T) {
	tests := []struct {
		name, method string
		body         func() io.Reader
	}{
		{"no first byte", "GET", func() io.Reader { return nil }},
		{"no first byte after a body", "POST", func() io.Reader { return strings.NewReader("hello") }},
		{"does not take the body", "POST", func() io.Reader { return io.LimitReader(endless{}, 64<<20) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			release := make(chan struct{})
			e := newEdge(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }), Route{Timeout: 100 * time.Millisecond, MaxBody: 1 << 30})
			defer close(release)
			res, body := e.do(t, tt.method, "/", nil, tt.body())
			if res.StatusCode != 504 || body != "upstream-timeout" {
				t.Errorf("got %d %q %v", res.StatusCode, body, e.cause())
			}
		})
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func TestTheTimeoutEndsWithTheFirstByte(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = http.NewResponseController(w).Flush()
		<-time.After(300 * time.Millisecond) // longer than the timeout
		_, _ = io.WriteString(w, "late, but whole")
	}), Route{Timeout: 100 * time.Millisecond})
	for _, method := range []string{"GET", "POST"} {
		var body io.Reader
		if method == "POST" {
			body = strings.NewReader("body")
		}
		if res, text := e.do(t, method, "/", nil, body); res.StatusCode != 200 || text != "late, but whole" {
			t.Errorf("%s: got %d %q", method, res.StatusCode, text)
		}
	}
}

func TestAClientThatLeavesIsNobodysFailure(t *testing.T) {
	arrived, left := make(chan struct{}), make(chan struct{})
	e := newEdge(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
		close(left)
	}), Route{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	r, _ := http.NewRequestWithContext(ctx, "GET", e.URL+"/", nil)
	if res, err := http.DefaultTransport.RoundTrip(r); err == nil {
		res.Body.Close()
		t.Error("got an answer")
	}
	<-left // the upstream learns of it
	e.Close()
	if e.cause() != nil {
		t.Errorf("reported as %v", e.cause())
	}
}

func TestAnUpstreams401(t *testing.T) {
	invalid := `Bearer error="invalid_token"`
	tests := []struct {
		name      string
		sent      secret.Text
		challenge string
		method    string
		body      string
		again     int // what the upstream says to the second token
		noRemint  bool
		want      int
		answer    string
		hits      int
	}{
		{"without a token sent", "", invalid, "GET", "", 0, false, 401, "who are you", 1},
		{"without a token sent, asking for a step-up", "", `Bearer error="insufficient_user_authentication"`, "GET", "", 0, false, 401, "who are you", 1},
		{"without a challenge", "first", "", "GET", "", 200, false, 502, "upstream-refused-token", 1},
		{"with another challenge", "first", "Basic", "GET", "", 200, false, 502, "upstream-refused-token", 1},
		{"invalid token, the next is taken", "first", invalid, "GET", "", 200, false, 200, "welcome", 2},
		{"invalid token, the next is taken, no body", "first", invalid, "DELETE", "", 200, false, 200, "welcome", 2},
		{"invalid token twice", "first", invalid, "GET", "", 401, false, 502, "upstream-refused-token", 2},
		{"invalid token, a body that is gone", "first", invalid, "POST", "body", 200, false, 502, "upstream-refused-token", 1},
		{"invalid token, there is no other", "first", invalid, "GET", "", 200, true, 502, "upstream-refused-token", 1},
		{"insufficient scope", "first", `Bearer error="insufficient_scope"`, "GET", "", 200, false, 502, "upstream-refused-token", 1},
		{"step-up", "first", `Bearer error="insufficient_user_authentication", acr_values="gold", max_age=60`, "GET", "", 200, false, 401, "step-up", 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var hits atomic.Int32
			e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if hits.Add(1) == 2 && tt.again == 200 && r.Header.Get("Authorization") == "Bearer second" {
					_, _ = io.WriteString(w, "welcome")
					return
				}
				if tt.challenge != "" {
					w.Header().Set("WWW-Authenticate", tt.challenge)
				}
				w.WriteHeader(401)
				_, _ = io.WriteString(w, "who are you")
			}), Route{})
			e.bearer = tt.sent
			if !tt.noRemint {
				e.fwd.Remint = func(context.Context) (secret.Text, error) { return "second", nil }
			}
			var body io.Reader
			if tt.body != "" {
				body = strings.NewReader(tt.body)
			}
			res, text := e.do(t, tt.method, "/", nil, body)
			if res.StatusCode != tt.want || text != tt.answer || int(hits.Load()) != tt.hits {
				t.Errorf("got %d %q after %d requests", res.StatusCode, text, hits.Load())
			}
			if tt.sent != "" && res.Header.Get("WWW-Authenticate") != "" {
				t.Error("the challenge reached the browser")
			}
			if tt.answer == "step-up" {
				var step *stepUp
				if !errors.As(e.cause(), &step) || step.params().Encode() != "acr_values=gold&max_age=60" {
					t.Errorf("got %v", e.cause())
				}
			}
		})
	}
}

func TestA401WhenThereIsNoOtherTokenToBeHad(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(401)
	}), Route{})
	gone := errors.New("no")
	e.bearer, e.fwd.Remint = "first", func(context.Context) (secret.Text, error) { return "", gone }
	if res, body := e.do(t, "GET", "/", nil, nil); res.StatusCode != 502 || body != "upstream-refused-token" || !errors.Is(e.cause(), gone) {
		t.Errorf("got %d %q, %v", res.StatusCode, body, e.cause())
	}
}

// Passages are pooled: nothing of one request may show up in another.
func TestParallelRequestsDoNotMix(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		fmt.Fprint(w, r.URL.Path, " ", string(raw))
	}), Route{})
	done := make(chan error)
	for i := range 16 {
		go func() {
			for j := range 50 {
				want := fmt.Sprintf("/%d/%d body-%d-%d", i, j, i, j)
				_, got := e.do(t, "POST", fmt.Sprintf("/%d/%d", i, j), nil, strings.NewReader(fmt.Sprintf("body-%d-%d", i, j)))
				if got != want {
					done <- fmt.Errorf("got %q, want %q", got, want)
					return
				}
			}
			done <- nil
		}()
	}
	for range 16 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
