package bff

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/secret"
)

// edge is a public listener with nothing in front of its one route: what serveUpstream does is its own doing.
type edge struct {
	*httptest.Server
	bearer secret.Text
	fwd    forwarded
	header func(http.Header) // set on every response before it is served

	mu     sync.Mutex
	causes []error // handed to fail
}

func newEdge(t testing.TB, upstream http.Handler, route Route) *edge {
	t.Helper()
	behind := httptest.NewServer(upstream)
	t.Cleanup(behind.Close)
	if route.Path == "" {
		route.Path = "/"
	}
	base := ""
	if route.Upstream != nil {
		base = route.Upstream.Path
	}
	route.Upstream = mustURL(t, behind.URL+base)
	return newEdgeTo(t, route)
}

func newEdgeTo(t testing.TB, route Route) *edge {
	t.Helper()
	e := &edge{fwd: forwarded{For: "203.0.113.7", Proto: "https", Host: "app.example", RequestID: "req-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}}
	rs, err := newRoutes([]Route{route}, routeConfig{
		Cookies: []string{"__Host-Http-session", "__Host-Http-login"},
		Fail: func(w http.ResponseWriter, r *http.Request, problem string, err error) {
			e.mu.Lock()
			e.causes = append(e.causes, err)
			e.mu.Unlock()
			failPlainly(w, r, problem, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	e.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e.header != nil {
			e.header(w.Header())
		}
		path, err := canonicalPath(r)
		if err != nil && !isEncodedPath(err) {
			failPlainly(w, r, "bad-path", err)
			return
		}
		c, ok := rs.match(path)
		switch {
		case !ok:
			failPlainly(w, r, "not-found", nil)
		case err != nil && !c.KeepEncodedPath:
			failPlainly(w, r, "bad-path", err)
		case !slices.Contains(c.Methods, r.Method):
			failPlainly(w, r, "method-not-allowed", nil)
		default:
			c.serveUpstream(w, r, path, e.bearer, e.fwd)
		}
	}))
	e.Config.DisableGeneralOptionsHandler = true // "OPTIONS *" is for us to refuse
	e.Start()
	t.Cleanup(rs.close)
	t.Cleanup(e.Close)
	return e
}

func (e *edge) cause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.causes) == 0 {
		return nil
	}
	return e.causes[len(e.causes)-1]
}

// failPlainly answers with the problem's name and its status.
func failPlainly(w http.ResponseWriter, _ *http.Request, problem string, _ error) {
	status := map[string]int{
		"bad-path": 400, "bad-request": 400, "not-found": 404, "method-not-allowed": 405, "step-up": 401, "body-too-large": 413,
		"upstream-unavailable": 502, "upstream-refused-token": 502, "upstream-timeout": 504,
	}[problem]
	w.WriteHeader(status)
	_, _ = io.WriteString(w, problem)
}

// do sends a request and returns the response with its body read.
func (e *edge) do(t testing.TB, method, target string, header http.Header, body io.Reader) (*http.Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, e.URL+target, body)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(r.Header, header)
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(raw)
}

// raw writes bytes to the listener and reads one response.
func (e *edge) raw(t testing.TB, request string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(e.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, _ := io.ReadAll(res.Body)
	return res, string(raw)
}

// seen is an upstream that remembers the last request it got.
type seen struct {
	mu   sync.Mutex
	last *http.Request
	hits int
}

func (s *seen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.last = r.Clone(context.Background())
	s.hits++
	s.mu.Unlock()
	_, _ = io.WriteString(w, "ok")
}

func (s *seen) request(t testing.TB) *http.Request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		t.Fatal("nothing reached the upstream")
	}
	return s.last
}

func (s *seen) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hits
}
