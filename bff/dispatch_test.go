package bff

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"cloakroom/exchange"
	"cloakroom/internal/idptest"
	"cloakroom/secret"
)

func TestUpstreamGetsTheTokenOfItsRoute(t *testing.T) { // A15
	h := open(t, idptest.Config{}, nil)
	in := h.browser()
	in.signIn("alice")
	for name, c := range map[string]struct {
		who    *browser
		target string
		path   string
		want   string
	}{
		"a minted one":                {in, "/api/orders/7?x=1", "/orders/7", "Bearer minted-for-orders"},
		"the provider's":              {in, "/api/legacy", "/api/legacy", "Bearer ey"},
		"a minted one where optional": {in, "/api/optional", "/api/optional", "Bearer minted-for-orders"},
		"none for nobody":             {h.browser(), "/api/optional", "/api/optional", ""},
		"none":                        {h.browser(), "/public", "/public", ""},
	} {
		t.Run(name, func(t *testing.T) {
			res := c.who.do("GET", c.target, append([]string{"Authorization", "Bearer of-the-browser"}, fetching...)...)
			if res.StatusCode != 200 {
				t.Fatalf("got %d %s", res.StatusCode, bodyOf(res))
			}
			got := h.last()
			auth := got.Header.Get("Authorization")
			if got.URL.Path != c.path || !strings.HasPrefix(auth, c.want) || c.want == "" && auth != "" {
				t.Errorf("upstream got %s with %q", got.URL, auth)
			}
			if got.Header.Get("Cookie") != "" {
				t.Errorf("upstream got the cookies %q", got.Header.Get("Cookie"))
			}
			if got.Header.Get("X-Request-Id") == "" || got.Header.Get("X-Forwarded-Host") != "app.example.com" || got.Header.Get("X-Forwarded-Proto") != "https" {
				t.Errorf("upstream got %v", got.Header)
			}
		})
	}
}

func TestEvidenceOfASession(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	b.fetch("GET", "/api/orders")
	e := h.mint.last().Evidence
	u := b.who("/bff/user")
	if e.Issuer != h.idp.Issuer() || e.Subject != u.Sub || e.SessionID != u.Session.ID || e.ID.Text("email") != u.Email ||
		e.Access.Text("client_id") == "" || !e.SessionEnds.Equal(u.Session.ExpiresAt) || e.AuthTime.Unix() != u.Session.AuthTime || e.AccessExpires.IsZero() {
		t.Errorf("evidence: %+v", e)
	}
	for _, name := range []string{"nonce", "at_hash"} {
		if e.ID[name] != nil {
			t.Errorf("%s is kept", name)
		}
	}
}

func TestPerRequestPolicySeesTheRequest(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Routes[0].Token.PerRequest = true
		cfg.Frontend.Routes[0].Allow = condition(t, `request.method == "GET" && request.path == "/api/orders/7" && request.audience[0] == "orders"`)
	})
	b := h.browser()
	b.signIn("alice")
	if res := b.fetch("GET", "/api/orders/7"); res.StatusCode != 200 {
		t.Fatalf("got %d %s", res.StatusCode, bodyOf(res))
	}
	if got := h.mint.last(); !got.PerRequest || got.Method != "GET" || got.Path != "/api/orders/7" {
		t.Errorf("asked for %+v", got)
	}
	wantProblem(t, b.fetch("DELETE", "/api/orders/7"), 403, "forbidden")
}

func TestServiceTokenNeedsNoUser(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Routes[2].Token = TokenPlan{Kind: TokenMinted, Audience: "orders", AsService: true}
	})
	if res := h.browser().do("GET", "/api/optional"); res.StatusCode != 200 || h.last().Header.Get("Authorization") != "Bearer minted-for-orders" {
		t.Errorf("got %d", res.StatusCode)
	}
	if got := h.mint.last(); !got.AsService || got.Evidence.Subject != "" {
		t.Errorf("asked for %+v", got)
	}
}

func TestNoToken(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	for name, c := range map[string]struct {
		err     error
		status  int
		problem string
	}{
		"policy says no":            {&exchange.Error{Code: exchange.Forbidden}, 403, "forbidden"},
		"keys cannot tell":          {&exchange.Error{Code: exchange.TemporarilyUnavailable}, 503, "provider-unavailable"},
		"too little time is left":   {&exchange.Error{Code: exchange.Expired}, 503, "provider-unavailable"},
		"the configuration is off":  {&exchange.Error{Code: exchange.ServerError, Description: "inner matters"}, 500, "internal"},
		"something else went wrong": {errors.New("inner matters"), 500, "internal"},
	} {
		t.Run(name, func(t *testing.T) {
			h.mint.fail(c.err)
			res := b.fetch("GET", "/api/orders")
			wantProblem(t, res, c.status, c.problem)
			if strings.Contains(bodyOf(res), "inner matters") {
				t.Error("the browser is told what is for the log")
			}
		})
	}
	if h.last() != nil {
		t.Error("the upstream was asked")
	}
}

func TestRefreshBeforeTheUpstream(t *testing.T) { // A19, B3.17, B3.18
	for name, c := range map[string]struct {
		manners idptest.Misbehave
		target  string
		status  int
		problem string
		clears  bool
	}{
		"renewed":                              {idptest.Misbehave{}, "/api/orders", 200, "", false},
		"renewed for the provider's own token": {idptest.Misbehave{}, "/api/legacy", 200, "", false},
		"refused":                              {idptest.Misbehave{Answer: idptest.At(idptest.Status(400, `{"error":"invalid_grant"}`), idptest.Token)}, "/api/orders", 401, "no-session", true},
		"the provider is down":                 {idptest.Misbehave{Answer: idptest.At(idptest.Status(503, ""), idptest.Token)}, "/api/orders", 503, "provider-unavailable", false},
		"we are not known there":               {idptest.Misbehave{Answer: idptest.At(idptest.Status(401, `{"error":"invalid_client"}`), idptest.Token)}, "/api/orders", 503, "provider-unavailable", false},
		"the answer is nonsense":               {idptest.Misbehave{Answer: idptest.At(idptest.Status(200, "<html>"), idptest.Token)}, "/api/orders", 502, "login-failed", false},
		"no token is needed":                   {idptest.Misbehave{Answer: idptest.At(idptest.Status(503, ""), idptest.Token)}, "/files/a", 200, "", false},
		"the ID token is another's": {idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
			if kind == idptest.IDToken {
				claims["sub"] = "somebody-else"
			}
		}}, "/api/orders", 401, "no-session", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, idptest.Config{AccessLifetime: 10 * time.Minute}, nil)
			b := h.browser()
			b.signIn("alice")
			h.later(11 * time.Minute)
			h.idp.Set(c.manners)
			res := b.fetch("GET", c.target)
			if res.StatusCode != c.status || problemOf(res) != c.problem || clears(res, "__Host-Http-session") != c.clears {
				t.Errorf("got %d %s, cookies %v", res.StatusCode, bodyOf(res), res.Cookies())
			}
			if c.status == 503 {
				h.idp.Set(idptest.Misbehave{})
				for began := time.Now(); ; time.Sleep(50 * time.Millisecond) { // it is not asked again within a second
					res := b.fetch("GET", c.target)
					if res.StatusCode == 200 {
						break
					}
					if time.Since(began) > 10*time.Second {
						t.Fatalf("once it is up again: %d %s", res.StatusCode, bodyOf(res))
					}
				}
			}
		})
	}
}

// F4 "IdP 429/503".
func TestAProviderThatAsksToBeLeftAloneIsLeftAlone(t *testing.T) {
	for _, tt := range []struct {
		code        int
		asks, given string // Retry-After
	}{{429, "17", "17"}, {503, "17", "17"}, {429, "3600", "30"}} { // half a minute at most, whatever it asks for
		t.Run(fmt.Sprintf("%d %s", tt.code, tt.asks), func(t *testing.T) {
			t.Parallel()
			h := open(t, idptest.Config{AccessLifetime: 10 * time.Minute}, nil)
			var asked atomic.Int32
			alice, sam := h.browser(), h.browser()
			alice.signIn("alice")
			sam.signIn("sam")
			h.later(11 * time.Minute)
			h.idp.Set(idptest.Misbehave{Answer: idptest.At(func(w http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				w.Header().Set("Retry-After", tt.asks)
				w.WriteHeader(tt.code)
			}, idptest.Token)})
			for _, b := range []*browser{alice, alice, sam} {
				res := b.fetch("GET", "/api/orders")
				wantProblem(t, res, 503, "provider-unavailable")
				if got := res.Header.Get("Retry-After"); got != tt.given || touches(res, "__Host-Http-session") {
					t.Errorf("Retry-After %q, cookies %v", got, res.Cookies())
				}
			}
			if n := asked.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
			if n := testutil.ToFloat64(h.server.records.refresh.WithLabelValues("main", "throttled")); n != 1 {
				t.Errorf("counted %v times", n)
			}
		})
	}
}

// faults.md F3.6: a refresh token that may be used up is tried once more, and it is counted.
func TestAnAnswerOfTheProviderThatGotLostIsAskedForOnceMore(t *testing.T) {
	h := open(t, idptest.Config{AccessLifetime: 10 * time.Minute}, nil)
	b := h.browser()
	b.signIn("alice")
	h.later(11 * time.Minute)
	var asked atomic.Int32
	h.idp.Set(idptest.Misbehave{Answer: func(at idptest.Endpoint, _ http.ResponseWriter, _ *http.Request) bool {
		if at == idptest.Token && asked.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		return false
	}})
	if res := b.fetch("GET", "/api/orders"); res.StatusCode != 200 || asked.Load() != 2 {
		t.Errorf("got %d %s, and the provider was asked %d times", res.StatusCode, bodyOf(res), asked.Load())
	}
	for outcome, want := range map[string]float64{"uncertain": 1, "ok": 1} {
		if n := testutil.ToFloat64(h.server.records.refresh.WithLabelValues("main", outcome)); n != want {
			t.Errorf("%s was counted %v times, want %v", outcome, n, want)
		}
	}
}

func TestOldTokenServesWhileItLives(t *testing.T) {
	h := open(t, idptest.Config{AccessLifetime: 10 * time.Minute}, nil)
	b := h.browser()
	b.signIn("alice")
	h.idp.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(503, ""), idptest.Token)})
	h.later(9*time.Minute + 30*time.Second)
	if res := b.fetch("GET", "/api/orders"); res.StatusCode != 200 {
		t.Errorf("half a minute before its end: %d %s", res.StatusCode, bodyOf(res))
	}
	h.later(26 * time.Second)
	wantProblem(t, b.fetch("GET", "/api/orders"), 503, "provider-unavailable")
}

func TestCookieIsEncodedAnewUnderANewSecret(t *testing.T) {
	older := secret.NewKey()
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) { cfg.Secrets = ring(t, older) })
	b := h.browser()
	b.signIn("alice")
	before := b.cookies["__Host-Http-session"]
	r := ring(t, secret.NewKey(), older)
	h.server.secrets, h.server.cookies = r, newCookies(h.server.frontend, r)
	res := b.fetch("GET", "/bff/user")
	after := b.cookies["__Host-Http-session"]
	if res.StatusCode != 200 || after == before || !strings.HasPrefix(after, "v1."+r.First().ID()+".") {
		t.Errorf("got %d, cookie %q", res.StatusCode, after)
	}
	if res := b.fetch("GET", "/bff/user"); touches(res, "__Host-Http-session") {
		t.Error("encoded anew once more")
	}
	b.cookies["__Host-Http-session"] = before // a parallel request still has it
	if res := b.fetch("GET", "/bff/user"); res.StatusCode != 200 {
		t.Errorf("with the older encoding: %d", res.StatusCode)
	}
}

func TestSPAThroughTheGuard(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	for target, want := range map[string]int{"/": 200, "/orders/7": 200, "/app.js": 200, "/bff": 404, "/bff/orders": 404} {
		if res := b.navigate(target); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", target, res.StatusCode, want)
		}
	}
	wantProblem(t, b.fetch("GET", "/missing.js"), 404, "not-found")
	wantProblem(t, b.fetch("POST", "/"), 405, "method-not-allowed")
	// A static file has nothing to do with cookies, good or bad.
	r := request("GET", "/app.js")
	r.Header["Cookie"] = []string{"__Host-Http-session=a; __Host-Http-session=b"}
	if res := h.serve(r); res.StatusCode != 200 || len(res.Cookies()) != 0 {
		t.Errorf("with two cookies: %d %v", res.StatusCode, res.Cookies())
	}
}

func TestPublishedDocuments(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Published = map[string]http.Handler{"/.well-known/jwks.json": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("keys"))
		})}
	})
	if res := h.browser().do("GET", "/.well-known/jwks.json"); res.StatusCode != 200 || bodyOf(res) != "keys" {
		t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
	}
	wantProblem(t, h.browser().do("POST", "/.well-known/jwks.json"), 405, "method-not-allowed")
}
