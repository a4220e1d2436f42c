package bff

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
)

// TestOrderOfChecks breaks several rules at once: the first of contract/names.md "Order of checks" must answer.
func TestOrderOfChecks(t *testing.T) {
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
		"path before route":                         {h.browser(), "GET", "/nowhere//x", nil, 400, "bad-path"},
		"path before Cloakroom's own endpoints":     {h.browser(), "POST", "/bff/./login", nil, 400, "bad-path"},
		"an encoded slash where the route refuses":  {h.browser(), "DELETE", "/api/orders/a%2Fb", nil, 400, "bad-path"},
		"an encoded slash under /bff":               {h.browser(), "GET", "/bff/callback/a%2Fb", nil, 400, "bad-path"},
		"route before method":                       {h.browser(), "DELETE", "/bff/nothing", nil, 404, "not-found"},
		"route before method at an unknown method":  {h.browser(), "BREW", "/bff/nothing", nil, 404, "not-found"},
		"method before CSRF":                        {in, "POST", "/bff/user", nil, 405, "method-not-allowed"},
		"method before CSRF on a route":             {in, "BREW", "/api/orders", nil, 405, "method-not-allowed"},
		"OPTIONS is a method like any other":        {in, "OPTIONS", "/api/orders", nil, 405, "method-not-allowed"},
		"CSRF before session":                       {h.browser(), "GET", "/bff/user", nil, 403, "csrf"},
		"CSRF before session on a route":            {h.browser(), "GET", "/api/orders", nil, 403, "csrf"},
		"CSRF on HEAD":                              {in, "HEAD", "/api/orders", nil, 403, "csrf"},
		"CSRF on DELETE":                            {in, "DELETE", "/api/orders", nil, 403, "csrf"},
		"CSRF where a session is optional and sent": {in, "GET", "/api/optional", nil, 403, "csrf"},
		"a header of another value":                 {in, "GET", "/api/orders", []string{"X-CSRF", "yes"}, 403, "csrf"},
		"the header twice":                          {in, "GET", "/api/orders", []string{"X-CSRF", "1", "X-CSRF", "1"}, 403, "csrf"},
		"the header from a sibling":                 {in, "GET", "/api/orders", []string{"X-CSRF", "1", "Sec-Fetch-Site", "same-site"}, 403, "csrf"},
		"the header from another site":              {in, "GET", "/api/orders", []string{"X-CSRF", "1", "Sec-Fetch-Site", "cross-site"}, 403, "csrf"},
		"the header from a foreign origin":          {in, "GET", "/api/orders", []string{"X-CSRF", "1", "Origin", "https://evil.example"}, 403, "csrf"},
		"the header from our origin over http":      {in, "GET", "/api/orders", []string{"X-CSRF", "1", "Origin", "http://app.example.com"}, 403, "csrf"},
		"the header from the origin null":           {in, "GET", "/api/orders", []string{"X-CSRF", "1", "Origin", "null"}, 403, "csrf"},
		"a navigation to what is no page":           {in, "GET", "/api/orders", navigating, 403, "csrf"},
		"an image under fetch-metadata from afar":   {in, "GET", "/files/a", []string{"Sec-Fetch-Site", "cross-site"}, 403, "csrf"},
		"a POST under fetch-metadata":               {in, "POST", "/files/a", []string{"Sec-Fetch-Site", "same-origin"}, 403, "csrf"},
		"fetch-metadata without any":                {in, "GET", "/files/a", nil, 403, "csrf"},
		"session before allow":                      {h.browser(), "GET", "/api/closed", fetching, 401, "no-session"},
		"a fetch of a page":                         {h.browser(), "GET", "/pages", fetching, 401, "no-session"},
		"allow before the upstream":                 {in, "GET", "/api/closed", fetching, 403, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) { wantProblem(t, c.who.do(c.method, c.target, c.headers...), c.status, c.problem) })
	}
	if h.last() != nil {
		t.Errorf("the upstream was asked for %s", h.last().URL)
	}
}

func TestWhatTheGuardLetsThrough(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	for name, c := range map[string]struct {
		who     *browser
		method  string
		target  string
		headers []string
	}{
		"the header":                              {in, "GET", "/api/orders/7", []string{"X-CSRF", "1"}},
		"the header and our origin":               {in, "POST", "/api/orders", []string{"X-CSRF", "1", "Origin", publicURL}},
		"an image where the browser vouches":      {in, "GET", "/files/a", []string{"Sec-Fetch-Site", "same-origin"}},
		"a navigation to a page":                  {in, "GET", "/pages", navigating},
		"nobody where a session is optional":      {h.browser(), "GET", "/api/optional", nil},
		"anybody where no session is wanted":      {h.browser(), "POST", "/public", nil},
		"an encoded slash where the route may":    {h.browser(), "GET", "/keep/a%2Fb", nil},
		"a path that only begins like an own one": {h.browser(), "GET", "/public/bff/login", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if res := c.who.do(c.method, c.target, c.headers...); res.StatusCode != 200 || bodyOf(res) != "upstream" {
				t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
			}
		})
	}
}

func TestNavigationWithoutSession(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	res := h.browser().navigate("/pages/a?b=c")
	if res.StatusCode != 302 || res.Header.Get("Location") != "/bff/login?returnTo=%2Fpages%2Fa%3Fb%3Dc" {
		t.Errorf("got %d to %q", res.StatusCode, res.Header.Get("Location"))
	}
	for _, site := range []string{"cross-site", "same-site"} {
		res := h.browser().do("GET", "/pages/a", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", site)
		wantPage(t, res, 200, `http-equiv="refresh" content="0"`)
	}
	// With a cookie that does not open there is nothing to wait for.
	r := request("GET", "/pages/a", fromAfar...)
	r.AddCookie(&http.Cookie{Name: "__Host-Http-session", Value: "v1.nonsense"})
	if res := h.serve(r); res.StatusCode != 302 || touches(res, "__Host-Http-session") {
		t.Errorf("got %d, cookies %v", res.StatusCode, res.Cookies())
	}
}

func TestTwoCookiesOfOneNameAreRefusedAndRemoved(t *testing.T) { // D2.3
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	good := in.cookies["__Host-Http-session"]
	for name, header := range map[string][]string{
		"in one header":          {"__Host-Http-session=" + good + "; __Host-Http-session=evil"},
		"in two headers":         {"__Host-Http-session=" + good, "__Host-Http-session=" + good},
		"differing in case":      {"__Host-Http-session=" + good + "; __HOST-http-session=evil"},
		"the login cookie twice": {"__Host-Http-login=a; __Host-Http-login=b"},
	} {
		for _, target := range []string{"/bff/user", "/bff/login", "/bff/callback/main", "/api/orders", "/api/optional"} {
			r := request("GET", target, fetching...)
			r.Header["Cookie"] = header
			res := h.serve(r)
			wantProblem(t, res, 400, "bad-request")
			if !clears(res, "__Host-Http-session") || !clears(res, "__Host-Http-login") {
				t.Errorf("%s at %s: not both removed", name, target)
			}
		}
	}
}

// In development a cookie has no prefix, and so may be planted at a longer path than ours.
func TestD2_3_OnLoopbackPlantedCookiesAreFoundAtTheirPath(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.Frontend.URL = mustURL(t, devURL) })
	r := request("GET", "/bff/sessions/x", fetching...)
	r.Method = "DELETE"
	r.Header.Set("Cookie", "session=planted; session=ours")
	res := newRecorder(h.server, r)
	wantProblem(t, res, 400, "bad-request")
	cleared := map[string]int{}
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			cleared[c.Path]++
		}
	}
	want := map[string]int{"/": 2, "/bff": 2, "/bff/": 2, "/bff/sessions": 2, "/bff/sessions/": 2, "/bff/sessions/x": 2}
	if !maps.Equal(cleared, want) {
		t.Errorf("cleared at %v", cleared)
	}
	if n := len(folders(strings.Repeat("/a", 4000))); n > maxFolders+1 {
		t.Errorf("%d folders", n)
	}
}

func TestPreflights(t *testing.T) { // A12, A13
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.Frontend.AllowedOrigins = []string{"https://spa.example.com"} })
	preflight := func(origin, target, method string) *http.Response {
		return h.browser().do("OPTIONS", target, "Origin", origin, "Access-Control-Request-Method", method, "Access-Control-Request-Headers", "x-csrf")
	}
	for _, target := range []string{"/api/orders", "/bff/logout"} {
		res := preflight("https://spa.example.com", target, "POST")
		if res.StatusCode != 204 || res.Header.Get("Access-Control-Allow-Origin") != "https://spa.example.com" ||
			res.Header.Get("Access-Control-Allow-Credentials") != "true" || res.Header.Get("Access-Control-Allow-Headers") != "x-csrf" {
			t.Errorf("allowed origin at %s: %d %v", target, res.StatusCode, res.Header)
		}
		for _, origin := range []string{"https://evil.example", "null", "https://spa.example.com.evil.example", "http://spa.example.com", publicURL} {
			res := preflight(origin, target, "POST")
			if res.StatusCode != 405 || res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s at %s: %d %v", origin, target, res.StatusCode, res.Header)
			}
		}
	}
	if res := preflight("https://spa.example.com", "/bff/user", "DELETE"); res.StatusCode != 405 {
		t.Errorf("a method that is none: %d", res.StatusCode)
	}

	in := h.browser()
	in.signIn("alice")
	res := in.do("GET", "/bff/user", "X-CSRF", "1", "Origin", "https://spa.example.com", "Sec-Fetch-Site", "same-site")
	if res.StatusCode != 200 || res.Header.Get("Access-Control-Allow-Origin") != "https://spa.example.com" || !slices.Contains(res.Header.Values("Vary"), "Origin") {
		t.Errorf("call of an allowed origin: %d %v", res.StatusCode, res.Header)
	}
	wantProblem(t, in.do("GET", "/bff/user", "Origin", "https://spa.example.com", "Sec-Fetch-Site", "same-site"), 403, "csrf")
}

func TestAnSPAForTheSignedInLoadsWhole(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Routes[len(cfg.Frontend.Routes)-1].Session = Required
	})
	in, out := h.browser(), h.browser()
	in.signIn("alice")
	if res := in.navigate("/"); res.StatusCode != http.StatusOK || !strings.Contains(bodyOf(res), "<title>sample") {
		t.Errorf("the page: %d %s", res.StatusCode, bodyOf(res))
	}
	script := func(site string) []string {
		return []string{"Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "script", "Sec-Fetch-Site", site}
	}
	if res := in.do("GET", "/app.js", script("same-origin")...); res.StatusCode != http.StatusOK || bodyOf(res) != "1" {
		t.Errorf("its script: %d %s", res.StatusCode, bodyOf(res))
	}
	wantProblem(t, in.do("GET", "/app.js", script("same-site")...), 403, "csrf")
	wantProblem(t, in.do("GET", "/app.js", script("cross-site")...), 403, "csrf")
	wantProblem(t, in.do("GET", "/app.js"), 403, "csrf")
	wantProblem(t, out.do("GET", "/app.js", script("same-origin")...), 401, "no-session")
}

// A SPA of a dev server of its own calls a Cloakroom on the same machine, both over http.
func TestAnAllowedOriginOfDevelopment(t *testing.T) {
	const spa = "http://localhost:5173"
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.URL, cfg.Frontend.AllowedOrigins = mustURL(t, devURL), []string{spa}
	})
	for origin, want := range map[string]string{spa: spa, "http://localhost:5174": ""} {
		res := h.browser().do("OPTIONS", "/bff/user", "Origin", origin, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "x-csrf")
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != want {
			t.Errorf("%s: %d, allowed %q", origin, res.StatusCode, got)
		}
	}
	wantProblem(t, h.browser().do("GET", "/bff/user", "X-CSRF", "1", "Origin", spa, "Sec-Fetch-Site", "same-site"), 401, "no-session")
	wantProblem(t, h.browser().do("GET", "/bff/user", "X-CSRF", "1", "Origin", "http://localhost:5174", "Sec-Fetch-Site", "same-site"), 403, "csrf")
}

func TestStoreInTroubleIsNotSignedOut(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	h.store.breakDown("all")
	for _, target := range []string{"/bff/user", "/api/orders", "/api/optional"} {
		res := in.fetch("GET", target)
		wantProblem(t, res, 503, "store-unavailable")
		if res.Header.Get("Retry-After") == "" || len(res.Cookies()) != 0 {
			t.Errorf("%s: Retry-After %q, cookies %v", target, res.Header.Get("Retry-After"), res.Cookies())
		}
	}
	wantPage(t, in.navigate("/pages"), 503, "You are not signed out")
	if res := in.navigate("/"); res.StatusCode != 200 {
		t.Errorf("the SPA: %d", res.StatusCode)
	}
	h.store.breakDown("")
	if res := in.fetch("GET", "/bff/user"); res.StatusCode != 200 {
		t.Errorf("after the trouble: %d", res.StatusCode)
	}
}

func TestCookieIsClearedOnlyWhenTheStoreSaidSo(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	for name, c := range map[string]struct {
		spoil  func(*browser)
		target string
		status int
		clears bool
	}{
		"ended elsewhere":                      {func(b *browser) { b.endElsewhere() }, "/bff/user", 401, true},
		"ended elsewhere, on an optional page": {func(b *browser) { b.endElsewhere() }, "/api/optional", 200, true},
		"a cookie of an unknown secret":        {func(b *browser) { b.cookies["__Host-Http-session"] = "v1.AAAAAAAA.abc" }, "/bff/user", 401, false},
		"a cookie of no form at all":           {func(b *browser) { b.cookies["__Host-Http-session"] = "x" }, "/bff/user", 401, false},
		"no cookie":                            {func(b *browser) { delete(b.cookies, "__Host-Http-session") }, "/bff/user", 401, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := h.browser()
			in.signIn("alice")
			c.spoil(in)
			res := in.fetch("GET", c.target)
			if res.StatusCode != c.status || clears(res, "__Host-Http-session") != c.clears || !c.clears && touches(res, "__Host-Http-session") {
				t.Errorf("got %d, cookies %v", res.StatusCode, res.Cookies())
			}
		})
	}
}

// endElsewhere ends the session from another browser that has the same cookie.
func (b *browser) endElsewhere() {
	b.t.Helper()
	other := b.house.browser()
	other.cookies["__Host-Http-session"] = b.cookies["__Host-Http-session"]
	if res := other.fetch("POST", "/bff/logout"); res.StatusCode != 200 {
		b.t.Fatalf("logout: %d", res.StatusCode)
	}
}
