package bff

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/internal/idptest"
)

func TestLoginSendsANavigationToTheProvider(t *testing.T) { // A2, B1.1, B1.10
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	res := b.navigate("/bff/login?returnTo=/app%3Fx%3D1&login_hint=alice&prompt=login&max_age=60&acr_values=a+b&utm_source=mail&redirect_uri=https://evil.example&scope=admin")
	at, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != 302 || !strings.HasPrefix(at.String(), h.idp.URL(idptest.Authorize)+"?") {
		t.Fatalf("got %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	q := at.Query()
	for name, want := range map[string]string{
		"response_type": "code", "code_challenge_method": "S256", "redirect_uri": publicURL + "/bff/callback/main",
		"login_hint": "alice", "prompt": "login", "max_age": "60", "acr_values": "a b", "utm_source": "",
		"scope": "openid email profile orders-api/read",
	} {
		if got := q.Get(name); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if len(q.Get(name)) < 22 || len(q[name]) != 1 {
			t.Errorf("%s = %q", name, q[name])
		}
	}
	if strings.Contains(at.RawQuery, "returnTo") || strings.Contains(at.RawQuery, "app%3Fx") {
		t.Error("the return path travels in the open")
	}
	cookie := res.Cookies()[0]
	if cookie.Name != "__Host-Http-login" || cookie.SameSite != http.SameSiteLaxMode || cookie.MaxAge != 600 || !strings.HasPrefix(cookie.Value, "v1.") {
		t.Errorf("login cookie: %v", cookie)
	}
	if res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("headers: %v", res.Header)
	}
	again := b.navigate("/bff/login")
	second, err := url.Parse(again.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if second.Query().Get(name) == q.Get(name) {
			t.Errorf("%s is repeated", name)
		}
	}
}

func TestLoginRefuses(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	for name, c := range map[string]struct {
		who     *browser
		method  string
		target  string
		headers []string
		status  int
		problem string
	}{
		"a fetch":                            {h.browser(), "GET", "/bff/login", fetching, 401, "no-session"},
		"a fetch of somebody signed in":      {in, "GET", "/bff/login", fetching, 401, "no-session"},
		"an iframe":                          {h.browser(), "GET", "/bff/login", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 401, "no-session"},
		"a client that says nothing":         {h.browser(), "GET", "/bff/login", nil, 401, "no-session"},
		"a POST":                             {h.browser(), "POST", "/bff/login", navigating, 405, "method-not-allowed"},
		"a place elsewhere":                  {h.browser(), "GET", "/bff/login?returnTo=//evil.example", navigating, 400, "bad-return-to"},
		"a place elsewhere, fetched":         {h.browser(), "GET", "/bff/login?returnTo=https://evil.example", nil, 400, "bad-return-to"},
		"a place of Cloakroom's own":         {h.browser(), "GET", "/bff/login?returnTo=/bff/logout", navigating, 400, "bad-return-to"},
		"an empty place":                     {h.browser(), "GET", "/bff/login?returnTo=", navigating, 400, "bad-return-to"},
		"a place over 1 KiB":                 {h.browser(), "GET", "/bff/login?returnTo=/" + strings.Repeat("a", 1024), navigating, 400, "bad-return-to"},
		"two places":                         {h.browser(), "GET", "/bff/login?returnTo=/a&returnTo=/b", navigating, 400, "bad-request"},
		"an unknown provider":                {h.browser(), "GET", "/bff/login?provider=other", navigating, 400, "bad-request"},
		"a max_age that is no number":        {h.browser(), "GET", "/bff/login?max_age=soon", navigating, 400, "bad-request"},
		"a negative max_age":                 {h.browser(), "GET", "/bff/login?max_age=-1", navigating, 400, "bad-request"},
		"a hint that is a novel":             {h.browser(), "GET", "/bff/login?login_hint=" + strings.Repeat("a", 600), navigating, 400, "bad-request"},
		"a query that cannot be parsed":      {h.browser(), "GET", "/bff/login?returnTo=%zz", navigating, 400, "bad-request"},
		"a query with two parts in one pair": {h.browser(), "GET", "/bff/login?a;b", navigating, 400, "bad-path"},
	} {
		t.Run(name, func(t *testing.T) {
			res := c.who.do(c.method, c.target, c.headers...)
			wantProblem(t, res, c.status, c.problem)
			if res.Header.Get("Location") != "" || len(res.Cookies()) != 0 {
				t.Errorf("goes to %q, cookies %v", res.Header.Get("Location"), res.Cookies())
			}
		})
	}
}

func TestLoginURLOfAProblemNamesTheProvider(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	if body := bodyOf(h.browser().fetch("GET", "/bff/login?provider=main")); !strings.Contains(body, `"login_url":"/bff/login?provider=main"`) {
		t.Error(body)
	}
	if body := bodyOf(h.browser().fetch("GET", "/bff/user")); !strings.Contains(body, `"login_url":"/bff/login"`) {
		t.Error(body)
	}
}

func TestPrefetchOfLoginBeginsNothing(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	res := h.browser().do("GET", "/bff/login", append([]string{"Sec-Purpose", "prefetch"}, navigating...)...)
	if res.StatusCode != 204 || len(res.Cookies()) != 0 {
		t.Errorf("got %d, cookies %v", res.StatusCode, res.Cookies())
	}
}

func TestLoginFromAnotherSiteLeavesTheSessionAlone(t *testing.T) { // B1.16
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	if res := in.arrive("/bff/login"); res.StatusCode != 302 || touches(res, "__Host-Http-session") {
		t.Errorf("got %d, cookies %v", res.StatusCode, res.Cookies())
	}
	if res := in.fetch("GET", "/bff/user"); res.StatusCode != 200 {
		t.Errorf("afterwards: %d", res.StatusCode)
	}
}

func TestLoginIsLimitedByAddress(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.LoginPerMinute = 3 })
	b := h.browser()
	for range 3 {
		if res := b.navigate("/bff/login"); res.StatusCode != 302 {
			t.Fatalf("got %d within the allowance", res.StatusCode)
		}
	}
	res := b.navigate("/bff/login")
	wantProblem(t, res, 429, "rate-limited")
	if res.Header.Get("Retry-After") == "" {
		t.Error("without Retry-After")
	}
	h.later(time.Minute)
	if res := b.navigate("/bff/login"); res.StatusCode != 302 {
		t.Errorf("a minute later: %d", res.StatusCode)
	}
}

func TestLoginWithTheProviderDown(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	h.idp.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(503, ""), idptest.Discovery)})
	res := h.browser().navigate("/bff/login")
	wantPage(t, res, 503, "Try again")
	if res.Header.Get("Retry-After") == "" || len(res.Cookies()) != 0 {
		t.Errorf("headers: %v", res.Header)
	}
	h.idp.Set(idptest.Misbehave{})
	h.later(time.Minute)
	if res := h.browser().navigate("/bff/login"); res.StatusCode != 302 {
		t.Errorf("once it is up again: %d", res.StatusCode)
	}
}

// What a provider answers that is no metadata is its failure, and none of the program's.
func TestLoginWithMetadataThatIsNone(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	h.idp.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(200, "<html>"), idptest.Discovery)})
	wantPage(t, h.browser().navigate("/bff/login"), 502, "Try again")
}

func TestLoginParamsAreTheProvidersOwnList(t *testing.T) { // B1.17
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.Frontend.Providers[0].LoginParams = []string{"login_hint"} })
	at, err := url.Parse(h.browser().navigate("/bff/login?login_hint=a&prompt=none&max_age=1").Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	if q := at.Query(); q.Get("login_hint") != "a" || q.Has("prompt") || q.Has("max_age") {
		t.Errorf("passed on: %v", q)
	}
}

func TestDevelopmentOnLoopbackNeedsNoPrefix(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	local, err := url.Parse("http://localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	f := h.server.frontend
	f.URL = local
	s, err := New(Config{Frontend: f, Sessions: h.server.sessions, Store: h.store, Mint: h.mint, Secrets: h.server.secrets, Now: h.now})
	if err != nil {
		t.Fatal(err)
	}
	h.server = s
	r := request("GET", "/bff/login", navigating...)
	rec := newRecorder(s, r)
	names := []string{}
	for _, c := range rec.Cookies() {
		names = append(names, c.Name)
		if c.Secure || !c.HttpOnly {
			t.Errorf("cookie %v", c)
		}
	}
	if !slices.Equal(names, []string{"login"}) {
		t.Errorf("cookies %v", names)
	}
}

func TestConfigurationIsRefused(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	base := Config{Frontend: h.server.frontend, Sessions: h.server.sessions, Store: h.store, Mint: h.mint, Secrets: h.server.secrets}
	for name, change := range map[string]func(*Config){
		"http on a public host":    func(c *Config) { c.Frontend.URL = &url.URL{Scheme: "http", Host: "app.example.com"} },
		"a public URL with a path": func(c *Config) { c.Frontend.URL = &url.URL{Scheme: "https", Host: "app.example.com", Path: "/app"} },
		"no public URL":            func(c *Config) { c.Frontend.URL = nil },
		"no provider":              func(c *Config) { c.Frontend.Providers = nil },
		"two providers of one name": func(c *Config) {
			c.Frontend.Providers = append(slices.Clone(c.Frontend.Providers), LoginProvider{Provider: h.provider})
		},
		"an allowed origin by http":                    func(c *Config) { c.Frontend.AllowedOrigins = []string{"http://spa.example.com"} },
		"an allowed origin by http on a loopback host": func(c *Config) { c.Frontend.AllowedOrigins = []string{"http://localhost:5173"} },
		"an allowed origin by http elsewhere, beside a loopback URL": func(c *Config) {
			c.Frontend.URL, c.Frontend.AllowedOrigins = &url.URL{Scheme: "http", Host: "localhost:8080"}, []string{"http://spa.example.com"}
		},
		"an allowed origin as no browser spells it": func(c *Config) { c.Frontend.AllowedOrigins = []string{"https://SPA.example.com:443"} },
		"a user claim that computes sub":            func(c *Config) { c.Frontend.UserClaims.Values = map[string]*rule.Value{"sub": nil} },
		"an allowed origin and path":                func(c *Config) { c.Frontend.AllowedOrigins = []string{"https://spa.example.com/"} },
		"a cookie called login":                     func(c *Config) { c.Frontend.CookieName = "login" },
		"a cookie name with a space":                func(c *Config) { c.Frontend.CookieName = "my session" },
		"a cookie for every site":                   func(c *Config) { c.Frontend.CookieSameSite = http.SameSiteNoneMode },
		"a user claim named session":                func(c *Config) { c.Frontend.UserClaims.Names = []string{"session"} },
		"a document under /bff":                     func(c *Config) { c.Frontend.Published = map[string]http.Handler{"/bff/keys": http.NotFoundHandler()} },
		"a route under /bff":                        func(c *Config) { c.Frontend.Routes = []Route{{Path: "/bff/x", Upstream: c.Frontend.URL}} },
		"a color that is a rule":                    func(c *Config) { c.Frontend.Pages.Color = "red;}" },
		"a logo that is a program":                  func(c *Config) { c.Frontend.Pages.Logo = []byte("#!/bin/sh") },
		"a CSP directive of no kind":                func(c *Config) { c.Frontend.Headers.CSPAdd = map[string][]string{"report-uri": {"/x"}} },
		"nothing to keep sessions in":               func(c *Config) { c.Sessions = nil },
	} {
		cfg := base
		change(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
