package bff

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
	"cloakroom/provider"
	"cloakroom/secret"
)

// house.serve looks at each Set-Cookie of each answer (prefix, Secure, HttpOnly, Path, no Domain, SameSite, no-store); here
// every kind of answer that sets or deletes one comes by, errors among them (CVE-2025-55162, CVE-2025-48947).
func TestA3_EveryCookieOfEveryAnswerIsGuarded(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	twice := request("GET", "/api/orders", fetching...)
	twice.Header["Cookie"] = []string{"__Host-Http-session=a; __Host-Http-session=b; __Host-Http-login=c; __Host-Http-login=d"}
	ended := h.browser()
	ended.signIn("sam")
	ended.endElsewhere()
	set, deleted := 0, 0
	for _, res := range []*http.Response{
		b.navigate("/bff/login"), h.serve(twice), ended.fetch("GET", "/bff/user"), b.navigate("/bff/nothing"), b.navigate("/nowhere//x"),
		b.arrive("/bff/callback/main?state=x&code=y"), b.fetch("GET", "/api/closed"), b.fetch("POST", "/bff/logout"), b.navigate("/bff/logged-out"),
	} {
		for _, c := range res.Cookies() {
			if c.MaxAge < 0 {
				deleted++
			} else {
				set++
			}
		}
	}
	if set < 1 || deleted < 4 {
		t.Errorf("%d cookies were set, %d deleted: too few to show anything", set, deleted)
	}
}

func TestC7_LogoutTellsTheBrowserToForget(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	for _, target := range []string{"/bff/user", "/api/orders"} {
		if res := b.fetch("GET", target); res.StatusCode != 200 || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, Cache-Control %q: the back button would show it", target, res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
	if got := b.fetch("POST", "/bff/logout").Header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
		t.Errorf("Clear-Site-Data: %s", got)
	}
}

func TestD2_3_CookiesInOddShapes(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	ours := "__Host-Http-session=" + in.cookies["__Host-Http-session"]
	ask := func(cookies ...string) *http.Response {
		r := request("GET", "/bff/user", fetching...)
		r.Header["Cookie"] = cookies
		return h.serve(r)
	}
	for name, cookies := range map[string][]string{
		"split over two headers, as HTTP/2 does": {"theme=dark", ours},
		"beside the attributes of an older age":  {`$Version=1; ` + ours + `; $Path=/`},
		"beside a name without our prefix":       {"session=evil; " + ours + "; login=evil"},
		"beside a name that goes on":             {"__Host-Http-session2=evil; " + ours},
	} {
		if res := ask(cookies...); res.StatusCode != 200 {
			t.Errorf("%s: %d %s", name, res.StatusCode, bodyOf(res))
		}
	}
	// A name without the prefix, which any sibling domain could plant, is never read in its place.
	if res := ask("session=" + in.cookies["__Host-Http-session"]); res.StatusCode != 401 {
		t.Errorf("without the prefix: %d", res.StatusCode)
	}
	began := time.Now()
	res := ask(strings.Repeat("a=; ", 5000) + ours) // CVE-2025-58186
	if res.StatusCode != 401 && res.StatusCode != 200 || clears(res, "__Host-Http-session") {
		t.Errorf("5000 cookies: %d, cookies %v", res.StatusCode, res.Cookies())
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("5000 cookies took %v", took)
	}
}

func TestD3_3_AMethodIsOnlyWhatTheRequestLineSays(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	for _, name := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_Method_Override"} {
		wantProblem(t, in.do("POST", "/bff/user?_method=GET", append([]string{name, "GET"}, fetching...)...), 405, "method-not-allowed")
		res := in.do("GET", "/api/orders?_method=DELETE", append([]string{name, "DELETE"}, fetching...)...)
		if got := h.last(); res.StatusCode != 200 || got.Method != "GET" || got.Header.Get(name) != "" {
			t.Errorf("%s: %d, the upstream got %s %v", name, res.StatusCode, got.Method, got.Header)
		}
	}
}

// What a page of another origin may send without asking first, whatever it calls the content, never replaces the header.
func TestD3_4_NoContentTypeStandsInForTheHeader(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	for _, kind := range []string{"", "text/plain", "text/plain; application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/csp-report", "application/reports+json", "application/json"} {
		for _, target := range []string{"/api/orders", "/bff/logout"} {
			headers := []string{"Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}
			if kind != "" {
				headers = append(headers, "Content-Type", kind)
			}
			wantProblem(t, in.do("POST", target, headers...), 403, "csrf")
			wantProblem(t, in.do("POST", target, headers[4:]...), 403, "csrf") // a browser that says nothing of where it comes from
		}
	}
	if h.last() != nil || in.fetch("GET", "/bff/user").StatusCode != 200 {
		t.Error("something was done all the same")
	}
}

// CVE-2026-40575, CVE-2026-76835, CVE-2026-34457, CVE-2025-54576: what may pass is decided by the path that is forwarded, and by
// nothing else that a client writes.
func TestE31_NothingButThePathDecides(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	for _, headers := range [][]string{
		{"X-Forwarded-Uri", "/public"}, {"X-Original-URL", "/public"}, {"X-Original-Uri", "/public"}, {"X-Rewrite-URL", "/public"},
		{"X-Forwarded-Prefix", "/public"}, {"X-Forwarded-Path", "/public"}, {"X-Forwarded-Method", "OPTIONS"}, {"User-Agent", "kube-probe/1.30"},
		{"User-Agent", "GoogleHC/1.0"}, {"X-Forwarded-For", "127.0.0.1"}, {"X-Real-Ip", "127.0.0.1"},
	} {
		for _, target := range []string{"/api/orders", "/api/orders?x=/public", "/api/orders?/public", "/bff/user?path=/public"} {
			wantProblem(t, h.browser().do("GET", target, append(headers, fetching...)...), 401, "no-session")
		}
	}
	if h.last() != nil {
		t.Error("the upstream was asked")
	}
}

// withAnother is a house with a second provider, "other".
func withAnother(t *testing.T, change func(*Config)) (*house, *idptest.Provider) {
	t.Helper()
	other := idptest.New(idptest.Config{Persona: idptest.Generic})
	issuer := other.Start(t)
	return open(t, idptest.Config{}, func(h *house, cfg *Config) {
		client := idptest.DefaultClient()
		p, err := provider.New(provider.Config{
			Name: "other", Issuer: issuer, ClientID: client.ID, ClientSecret: secret.Text(client.Secret), Scopes: []string{"openid"}, Now: h.now,
		})
		if err != nil {
			t.Fatal(err)
		}
		cfg.Frontend.Providers = append(cfg.Frontend.Providers, LoginProvider{Provider: p})
		if change != nil {
			change(cfg)
		}
	}), other
}

// A sign-in that began at one provider cannot be ended with the answer of another (RFC 9700 section 4.4).
func TestB1_10_ASignInEndsAtTheProviderItBeganAt(t *testing.T) {
	h, other := withAnother(t, nil)
	b := h.browser()
	at, err := url.Parse(b.navigate("/bff/login?provider=other").Header.Get("Location"))
	if err != nil || at.Query().Get("redirect_uri") != publicURL+"/bff/callback/other" || !strings.HasPrefix(at.String(), other.Issuer()) {
		t.Fatalf("the other provider is asked at %s", at)
	}
	back := b.atProvider("/bff/login?provider=main", "alice")
	res := b.arrive(strings.Replace(back, "/bff/callback/main?", "/bff/callback/other?", 1))
	wantPage(t, res, 400, "Sign in again")
	if touches(res, "__Host-Http-session") || h.idp.Count(idptest.Token)+other.Count(idptest.Token) != 0 {
		t.Error("the code was sent somewhere")
	}
}

func TestB1_8_AnErrorUsesUpTheTransaction(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	back, err := url.Parse(b.atProvider("/bff/login?returnTo=/app", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	declined := url.Values{"state": back.Query()["state"], "iss": back.Query()["iss"], "error": {"access_denied"}}
	wantPage(t, b.arrive(back.Path+"?"+declined.Encode()), 400, "was cancelled")
	if res := b.arrive(back.String()); res.StatusCode != 303 || touches(res, "__Host-Http-session") || h.idp.Count(idptest.Token) != 0 {
		t.Errorf("with a code afterwards: %d, %d token requests", res.StatusCode, h.idp.Count(idptest.Token))
	}
}

// nextjs-auth0 #2707: what one sign-in asked for is held against the answer to that very sign-in.
func TestP36_MaxAgeOfASignInIsHeldAgainstItsAnswer(t *testing.T) {
	for target, ok := range map[string]bool{"/bff/login?max_age=60": false, "/bff/login?max_age=86400": true, "/bff/login": true} {
		h := open(t, idptest.Config{}, nil)
		h.idp.Set(idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
			if kind == idptest.IDToken {
				claims["auth_time"] = h.now().Add(-time.Hour).Unix()
			}
		}})
		b := h.browser()
		res := b.arrive(b.atProvider(target, "alice"))
		if (res.StatusCode == 303) != ok || touches(res, "__Host-Http-session") != ok {
			t.Errorf("%s: %d, cookies %v", target, res.StatusCode, res.Cookies())
		}
	}
}

// Payloads of the advisories of security.md E and peers.md D, at both doors that take a place to return to.
func TestAdvisoriesOfReturnTo(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	for advisory, payloads := range map[string][]string{
		"CVE-2020-5233, CVE-2021-21291": {`/\evil.example`, `/\/evil.example`, `\\evil.example`},
		"CVE-2020-11053":                {"/\n/evil.example", "/\t/evil.example", "/\v/evil.example", "/\r/evil.example", "/%0a/evil.example", "/%0b/evil.example", "/%09/evil.example", "/%0d/evil.example"},
		"CVE-2020-4037":                 {"/.//evil.example", "/..//evil.example", "///evil.example", "/./\\evil.example", "/a/..//evil.example"},
		"CVE-2021-32702 PR 555":         {"/%09/google.com", "/%5cgoogle.com"},
		"CVE-2024-39694":                {"/\x00/evil.example", "/\x1f/evil.example", "/\u2028evil", "/\u00a0//evil.example"},
		"CVE-2026-118656":               {"/\t/evil", "/%09/evil", "/\t//evil"},
		"CVE-2021-29651, CVE-2021-29456, CVE-2017-1000070": {"https://evil.example", "//evil.example", "https://app.example.com.evil.example", "https://app.example.com@evil.example"},
	} {
		for _, payload := range payloads {
			t.Run(fmt.Sprintf("%s %q", advisory, payload), func(t *testing.T) {
				query := "?returnTo=" + url.QueryEscape(payload)
				res := in.navigate("/bff/login" + query)
				wantProblem(t, res, 400, "bad-return-to")
				if res.Header.Get("Location") != "" {
					t.Errorf("goes to %q", res.Header.Get("Location"))
				}
				wantProblem(t, in.fetch("POST", "/bff/logout"+query), 400, "bad-return-to")
			})
		}
	}
}

// CVE-2021-21291, second half: an origin that only ends like an allowed one is foreign.
func TestP04_AnOriginIsComparedWhole(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.Frontend.AllowedOrigins = []string{"https://spa.example.com"} })
	in := h.browser()
	in.signIn("alice")
	for _, origin := range []string{"https://badspa.example.com", "https://x.spa.example.com", "https://spa.example.com:8443", "https://SPA.example.com", "https://spa.example.com/"} {
		wantProblem(t, in.do("GET", "/bff/user", "X-CSRF", "1", "Origin", origin, "Sec-Fetch-Site", "same-site"), 403, "csrf")
	}
}

// CVE-2022-40083: a static file server that turns //evil%2f.. into a redirect.
func TestE16_AFileServerRedirectsNowhere(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	for _, target := range []string{"//evil.example%2f..", "//evil.example/%2e%2e", "/%5cevil.example%2f..", "/evil.example%2f..", "//evil.example/index.html"} {
		res := h.browser().navigate(target)
		wantProblem(t, res, 400, "bad-path")
		if res.Header.Get("Location") != "" {
			t.Errorf("%s goes to %q", target, res.Header.Get("Location"))
		}
	}
	// Names that Go's own file server would redirect are files, or none.
	for target, want := range map[string]int{"/index.html": 200, "/app.js/": 404} {
		if res := h.browser().fetch("GET", target); res.StatusCode != want || res.Header.Get("Location") != "" {
			t.Errorf("%s: %d to %q", target, res.StatusCode, res.Header.Get("Location"))
		}
	}
}

// CVE-2025-22871 (a bare line feed in a chunk extension), CVE-2026-56853 (the preface of HTTP/2 in clear): what two readers could
// take for different requests is answered once, as a failure, and nothing behind it is taken for a request.
func TestE10_WhatIsNoHTTPHidesNoRequest(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	for name, raw := range map[string]string{
		"a bare line feed in a chunk extension": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;x\na\r\n0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
		"the preface of HTTP/2":                 "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
		"a NUL in a header":                     "GET / HTTP/1.1\r\nHost: a\r\nX-Tenant: a\x00b\r\n\r\nGET /hidden HTTP/1.1\r\nHost: a\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", e.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		answers, err := io.ReadAll(conn)
		_ = conn.Close()
		if err != nil || strings.Count(string(answers), "HTTP/1.") != 1 || strings.HasPrefix(string(answers), "HTTP/1.1 2") {
			t.Errorf("%s: %v, answered %q", name, err, answers)
		}
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if last := up.last; last != nil && last.URL.Path == "/hidden" {
		t.Error("the upstream got the hidden request")
	}
}
