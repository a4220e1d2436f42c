package bff

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/exchange/rule"
	"cloakroom/internal/idptest"
	"cloakroom/internal/telemetry"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/memstore"
)

const publicURL = "https://app.example.com"

// house is a Server with everything around it: a provider, a store that can fail, an upstream that tells what it got.
type house struct {
	t        *testing.T
	idp      *idptest.Provider
	provider *provider.Provider
	store    *frailStore
	mint     *fakeMint
	sessions *session.Manager
	server   *Server
	cfg      Config // of server
	registry *prometheus.Registry
	logs     *syncBuffer

	revokeOnEnd bool // session.revoke_on_end: always

	mu      sync.Mutex
	skew    time.Duration
	started time.Time
	seen    []*http.Request // by the upstream
	answers []string        // everything a browser was sent
}

// open builds a house; change may alter the configuration first.
func open(t *testing.T, manners idptest.Config, change func(*house, *Config)) *house {
	t.Helper()
	h := &house{t: t, started: time.Now().Truncate(time.Second), logs: &syncBuffer{}, mint: &fakeMint{}, registry: prometheus.NewRegistry()}
	manners.Now = h.now
	h.idp = idptest.New(manners)
	issuer := h.idp.Start(t)
	client := idptest.DefaultClient()
	profile := "generic"
	if manners.Persona != idptest.Generic {
		profile = "cognito"
	}
	var err error
	h.provider, err = provider.New(provider.Config{
		Name: "main", Issuer: issuer, Profile: profile, ClientID: client.ID, ClientSecret: secret.Text(client.Secret),
		Scopes: []string{"openid", "email", "profile", "orders-api/read"}, Now: h.now, Timeout: 2 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	log, err := telemetry.NewLogger(h.logs, "debug", "json")
	if err != nil {
		t.Fatal(err)
	}
	upstream := httptest.NewServer(http.HandlerFunc(h.upstream))
	t.Cleanup(upstream.Close)
	target, err := url.Parse(upstream.URL)
	if err != nil {
		t.Fatal(err)
	}
	public, err := url.Parse(publicURL)
	if err != nil {
		t.Fatal(err)
	}
	spa := fstest.MapFS{"index.html": {Data: []byte("<!doctype html><title>sample</title>")}, "app.js": {Data: []byte("1")}}
	h.store = &frailStore{Store: memstore.New(h.now)}
	t.Cleanup(func() { _ = h.store.Close() })
	cfg := Config{
		Frontend: Frontend{
			URL:       public,
			Providers: []LoginProvider{{Provider: h.provider}},
			Routes: []Route{
				{Path: "/api/orders", Upstream: target, StripPrefix: "/api", Token: TokenPlan{Kind: TokenMinted, Audience: "orders"}},
				{Path: "/api/legacy", Upstream: target, Token: TokenPlan{Kind: TokenAccess}},
				{Path: "/api/optional", Upstream: target, Session: Optional, Token: TokenPlan{Kind: TokenMinted, Audience: "orders"}},
				{Path: "/api/closed", Upstream: target, Allow: condition(t, `"nobody" in id.groups`)},
				{Path: "/files", Upstream: target, CSRFFetchMetadata: true},
				{Path: "/pages", Upstream: target, LoginOnNoSession: true},
				{Path: "/public", Upstream: target, Session: None},
				{Path: "/keep", Upstream: target, Session: None, KeepEncodedPath: true},
				{Path: "/", SPA: spa, Session: None, LoginOnNoSession: true},
			},
			UserClaims: UserClaims{Names: []string{"sub", "email", "name", "picture"}},
			Headers:    SecurityHeaders{HSTS: 31536000},
		},
		Store: h.store, Mint: h.mint, Secrets: ring(t), Log: log, Now: h.now,
		Records: NewRecords(h.registry, telemetry.NewAudit(log, secret.NewKey()), log),
		HTTP:    telemetry.NewHTTP(h.registry),
	}
	if change != nil {
		change(h, &cfg)
	}
	cfg.Sessions, err = session.NewManager(session.Config{
		Store: h.store, Secrets: cfg.Secrets, Limits: session.Limits{Idle: 30 * time.Minute, Absolute: 12 * time.Hour},
		RefreshBefore: time.Minute, Refresh: Refresher([]*provider.Provider{h.provider}, cfg.Records), Now: h.now,
		Ended: cfg.Records.Ended, RefreshFailed: cfg.Records.RefreshFailed, RevokeOnEnd: h.revokeOnEnd,
		Revoke: Revoker([]*provider.Provider{h.provider}, log),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.sessions = cfg.Sessions
	h.cfg = cfg
	h.server, err = New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.server.lookEvery = 200 * time.Millisecond
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		h.store.breakDown("")
		if err := errors.Join(h.server.Close(ctx), h.sessions.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return h
}

func condition(t *testing.T, src string) *rule.Condition {
	t.Helper()
	c, err := rule.CompileCondition(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ring(t *testing.T, keys ...secret.Key) *secret.Ring {
	t.Helper()
	if len(keys) == 0 {
		keys = []secret.Key{secret.NewKey()}
	}
	r, err := secret.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.started.Add(h.skew)
}

func (h *house) later(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.skew += d
}

func (h *house) upstream(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.seen = append(h.seen, r.Clone(context.Background()))
	h.mu.Unlock()
	_, _ = io.WriteString(w, "upstream")
}

// last is what the upstream got last; nil before anything reached it.
func (h *house) last() *http.Request {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.seen) == 0 {
		return nil
	}
	return h.seen[len(h.seen)-1]
}

// serve answers one request, and keeps what was answered.
func (h *house) serve(r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	h.server.Handler().ServeHTTP(rec, r)
	res := rec.Result()
	var all bytes.Buffer
	_ = res.Header.Write(&all)
	all.Write(rec.Body.Bytes())
	h.mu.Lock()
	h.answers = append(h.answers, all.String())
	h.mu.Unlock()
	for _, line := range res.Header.Values("Set-Cookie") {
		cookie, err := http.ParseSetCookie(line)
		if err != nil || !strings.HasPrefix(cookie.Name, "__Host-Http-") || !cookie.Secure || !cookie.HttpOnly ||
			cookie.Path != "/" || cookie.Domain != "" || cookie.SameSite == 0 || !strings.Contains(res.Header.Get("Cache-Control"), "no-store") {
			h.t.Errorf("%s %s: cookie %q, cache %q", r.Method, r.URL.Path, line, res.Header.Get("Cache-Control"))
		}
	}
	return res
}

// request builds a request to the public listener; headers are name, value, name, value.
func request(method, target string, headers ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "app.example.com"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	return r
}

var (
	navigating = []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "same-origin"}
	fromAfar   = []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site"}
	fetching   = []string{"X-CSRF", "1", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin"}
)

// browser is one browser: its cookies, as it would send them.
type browser struct {
	*house
	cookies map[string]string
	atIdP   *http.Client
}

func (h *house) browser() *browser {
	b := &browser{h, map[string]string{}, nil}
	b.forgottenAtProvider()
	return b
}

// forgottenAtProvider makes the provider ask who it is again.
func (b *browser) forgottenAtProvider() {
	b.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		b.t.Fatal(err)
	}
	b.atIdP = &http.Client{Jar: jar}
}

func (b *browser) do(method, target string, headers ...string) *http.Response {
	r := request(method, target, headers...)
	for _, name := range slices.Sorted(maps.Keys(b.cookies)) {
		// A Strict cookie stays at home when another site leads here.
		if name == "__Host-Http-session" && r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			continue
		}
		r.AddCookie(&http.Cookie{Name: name, Value: b.cookies[name]})
	}
	res := b.serve(r)
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return res
}

func (b *browser) navigate(target string) *http.Response { return b.do("GET", target, navigating...) }
func (b *browser) arrive(target string) *http.Response   { return b.do("GET", target, fromAfar...) }
func (b *browser) fetch(method, target string) *http.Response {
	return b.do(method, target, fetching...)
}

// atProvider begins a sign-in and lets the person go through the provider's pages; it returns the callback's address.
func (b *browser) atProvider(login, user string) string {
	b.t.Helper()
	res := b.navigate(login)
	if res.StatusCode != http.StatusFound {
		b.t.Fatalf("GET %s: %d %s", login, res.StatusCode, bodyOf(res))
	}
	back, err := b.idp.SignIn(context.Background(), b.atIdP, res.Header.Get("Location"), user, user)
	if err != nil {
		b.t.Fatal(err)
	}
	target, ok := strings.CutPrefix(back, publicURL)
	if !ok {
		b.t.Fatalf("the provider sends the browser to %s", back)
	}
	return target
}

// signIn goes all the way, and returns where the browser ends up.
func (b *browser) signIn(user string) string {
	b.t.Helper()
	res := b.arrive(b.atProvider("/bff/login?returnTo=/app", user))
	if res.StatusCode != http.StatusSeeOther {
		b.t.Fatalf("callback: %d %s", res.StatusCode, bodyOf(res))
	}
	return res.Header.Get("Location")
}

func bodyOf(res *http.Response) string {
	raw, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(raw))
	return string(raw)
}

// problemOf reads a problem's name; "" for what is none.
func problemOf(res *http.Response) string {
	var body struct{ Type string }
	if res.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(bodyOf(res)), &body) != nil {
		return ""
	}
	return strings.TrimPrefix(body.Type, "urn:cloakroom:problem:")
}

func wantProblem(t *testing.T, res *http.Response, status int, name string) {
	t.Helper()
	if res.StatusCode != status || problemOf(res) != name {
		t.Errorf("got %d %s, want %d %s", res.StatusCode, bodyOf(res), status, name)
	}
}

// wantPage checks for a page of ours with a text in it.
func wantPage(t *testing.T, res *http.Response, status int, text string) {
	t.Helper()
	page := bodyOf(res)
	if res.StatusCode != status || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(page, text) {
		t.Errorf("got %d %s, want %d and a page with %q", res.StatusCode, page, status, text)
	}
	if csp := res.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("page has the policy %q", csp)
	}
}

func clears(res *http.Response, name string) bool {
	return slices.ContainsFunc(res.Cookies(), func(c *http.Cookie) bool { return c.Name == name && c.MaxAge < 0 })
}

func touches(res *http.Response, name string) bool {
	return slices.ContainsFunc(res.Cookies(), func(c *http.Cookie) bool { return c.Name == name })
}

// newRecorder answers one request without the checks of house.serve.
func newRecorder(s *Server, r *http.Request) *http.Response {
	rec := httptest.NewRecorder()
	s.Handler().ServeHTTP(rec, r)
	return rec.Result()
}
