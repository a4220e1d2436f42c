package e2e

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// stage is where a browser meets Cloakroom and those who wish it ill: the app's origin, behind something that ends TLS and writes down
// every exchange; a provider at another site; an upstream that nobody foreign may reach; and pages of a sibling domain and of another site.
type stage struct {
	app      *cloakroom
	provider *idptest.Provider
	upstream *httptest.Server
	evilPort int

	mu      sync.Mutex
	scene   string // which part of the play is on, as the script says
	wire    []exchanged
	reached []string // what reached the upstream: scene, method and path
}

// exchanged is one request to the app's origin and its answer, as they crossed the wire.
type exchanged struct {
	scene, method, path string
	request, answer     http.Header
	status              int
	problem             string
}

const sibling, foreign = "evil.cloakroom.test", "evil.attacker.test"

func (s *stage) origin(host string) string { return fmt.Sprintf("https://%s:%d", host, s.evilPort) }

// newStage sets the stage up; the play is a script of node/.
func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{app: newCloakroom(t), scene: "before"}
	s.provider = idptest.New(idptest.Config{Persona: idptest.Generic, Clients: []idptest.Client{{ID: clientID, Secret: clientSecret}}})
	issuer := s.provider.Start(t)
	s.upstream = httptest.NewServer(http.HandlerFunc(s.serveUpstream))
	t.Cleanup(s.upstream.Close)
	s.app.configure(t, "memory:", issuer, fmt.Sprintf(`    scopes: [openid, email, profile, offline_access, orders-api/read]
routes:
  - {path: /api/orders, upstream: "%s", audience: orders}
  - {path: /files, upstream: "%[1]s", token: none, csrf: fetch-metadata}
  - {path: /optional, upstream: "%[1]s", token: none, session: optional}
  - {path: /reports, upstream: "%[1]s", token: none, no_session: login}
  - {path: /live, upstream: "%[1]s", token: none, websocket: true}
  - {path: /, spa: %s}
`, s.upstream.URL, spa(t)))
	inner := freePort(t) // Cloakroom's own, behind what ends TLS at the public one
	s.app.write(t, "cloakroom.yaml", strings.Replace(contentOf(t, s.app.config), fmt.Sprintf(`  listen: 127.0.0.1:%d
  tls: {cert_file: tls.crt, key_file: tls.key}
internal`, s.app.public), fmt.Sprintf("  listen: 127.0.0.1:%d\ninternal", inner), 1))
	s.app.serve(t)
	s.serveTLS(t, s.app.public, s.recorder(&url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", inner)}))
	s.evilPort = freePort(t)
	s.serveTLS(t, s.evilPort, http.HandlerFunc(s.serveEvil))
	return s
}

// develop runs a second Cloakroom as a developer does, at a loopback origin without TLS, with a Lax session cookie, and returns the origin.
func (s *stage) develop(t *testing.T) (origin string) {
	t.Helper()
	c := newCloakroom(t)
	c.configureDevelopment(t, s.provider.Issuer(), fmt.Sprintf(`session: {cookie: {same_site: lax}}
routes: [{path: /, spa: %s}, {path: /reports, upstream: "%s", token: none, no_session: login}]
`, spa(t), s.upstream.URL))
	c.serve(t)
	return fmt.Sprintf("http://localhost:%d", c.public)
}

func (s *stage) serveTLS(t *testing.T, port int, handler http.Handler) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.app.dir, "tls.crt"), filepath.Join(s.app.dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() {
		_ = server.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}))
	}()
	t.Cleanup(func() { _ = server.Close() })
}

// recorder passes on what comes, as it is, and writes it down.
func (s *stage) recorder(target *url.URL) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		ErrorLog: log.New(io.Discard, "", 0),
		ModifyResponse: func(res *http.Response) error {
			one := exchanged{method: res.Request.Method, path: res.Request.URL.RequestURI(), request: res.Request.Header.Clone(), answer: res.Header.Clone(), status: res.StatusCode}
			if strings.HasPrefix(res.Header.Get("Content-Type"), "application/problem+json") {
				body, err := io.ReadAll(res.Body)
				if err != nil {
					return err
				}
				var said struct{ Type string }
				_ = json.Unmarshal(body, &said) // nothing answers HEAD
				one.problem = strings.TrimPrefix(said.Type, "urn:cloakroom:problem:")
				res.Body = io.NopCloser(strings.NewReader(string(body)))
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			one.scene = s.scene
			s.wire = append(s.wire, one)
			return nil
		},
	}
}

func (s *stage) serveUpstream(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.reached = append(s.reached, s.scene+" "+r.Method+" "+r.URL.Path)
	s.mu.Unlock()
	switch {
	case r.Header.Get("Upgrade") != "":
		echoSocket(w, r)
	case strings.HasSuffix(r.URL.Path, ".js"): // what somebody uploaded there
		w.Header().Set("Content-Type", "text/javascript")
		w.Header().Set("Service-Worker-Allowed", "/")
		_, _ = io.WriteString(w, "self.addEventListener('fetch', () => {});")
	default:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!doctype html><title>Behind Cloakroom</title>")
	}
}

// serveEvil is every origin but the app's: a page that does what the script has it do. /toss sets the cookies that it is asked to.
// /scene, for the script alone, says which part of the play begins, and /crossed how much was written down in it.
func (s *stage) serveEvil(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/scene":
		s.mu.Lock()
		s.scene = r.URL.Query().Get("name")
		s.mu.Unlock()
	case "/crossed":
		_, _ = fmt.Fprint(w, len(s.of(s.playing())))
	case "/toss":
		w.Header()["Set-Cookie"] = r.URL.Query()["cookie"]
		fallthrough
	default:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><title>Evil</title>")
	}
}

// lure is the address of a sign-in of an attacker's own, finished at the provider: whoever opens it would be the attacker.
func (s *stage) lure(t *testing.T) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.app.origin()+"/bff/login", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	res, err := s.app.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	back, err := s.provider.SignIn(t.Context(), newBrowser(t), res.Header.Get("Location"), "sam", "sam")
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// of is what crossed the wire in one scene, without what pages load for themselves.
func (s *stage) of(scene string) []exchanged {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.wire), func(e exchanged) bool {
		return e.scene != scene || e.path == "/favicon.ico" || e.path == "/app.js" || e.path == "/bff/client.js"
	})
}

func (s *stage) playing() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.scene
}

func (s *stage) upstreamSaw(scene string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.reached), func(one string) bool { return !strings.HasPrefix(one, scene+" ") })
}

// cookie tells whether a request carried a cookie of that very name, and its value.
func (e exchanged) cookie(name string) (string, bool) {
	c, err := (&http.Request{Header: e.request}).Cookie(name)
	if err != nil {
		return "", false
	}
	return c.Value, true
}

// String is the exchange in a few words, for a test's complaint.
func (e exchanged) String() string {
	var cookies []string
	for _, c := range (&http.Request{Header: e.request}).Cookies() {
		cookies = append(cookies, c.Name)
	}
	return fmt.Sprintf("%s %.60s (%s, cookies %v) → %d %s %.60s", e.method, e.path, e.request.Get("Sec-Fetch-Site"), cookies, e.status, e.problem, e.answer.Get("Location"))
}
