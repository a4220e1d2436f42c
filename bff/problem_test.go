package bff

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
)

// TestEveryProblemType holds the table of contract/names.md against what is answered.
func TestEveryProblemType(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	for name, c := range map[string]struct {
		status int
		login  bool
		retry  bool
		page   bool
	}{
		"no-session":             {status: 401, login: true},
		"step-up":                {status: 401, login: true},
		"csrf":                   {status: 403},
		"forbidden":              {status: 403},
		"bad-return-to":          {status: 400},
		"bad-request":            {status: 400},
		"bad-path":               {status: 400},
		"not-found":              {status: 404},
		"method-not-allowed":     {status: 405},
		"body-too-large":         {status: 413},
		"rate-limited":           {status: 429, retry: true},
		"login-refused":          {status: 403, page: true},
		"login-failed":           {status: 400, page: true},
		"store-unavailable":      {status: 503, retry: true, page: true},
		"provider-unavailable":   {status: 503, retry: true, page: true},
		"upstream-unavailable":   {status: 502},
		"upstream-refused-token": {status: 502},
		"upstream-timeout":       {status: 504},
		"draining":               {status: 503, retry: true, page: true},
		"internal":               {status: 500},
	} {
		t.Run(name, func(t *testing.T) {
			answer := func(headers []string) *http.Response {
				rec := httptest.NewRecorder()
				h.server.fail(rec, request("GET", "/x", headers...), name, errors.New("inner matters"))
				return rec.Result()
			}
			res := answer(fetching)
			var body struct {
				Type, Title string
				Status      int
				LoginURL    string `json:"login_url"`
			}
			if err := json.Unmarshal([]byte(bodyOf(res)), &body); err != nil {
				t.Fatal(err)
			}
			if res.StatusCode != c.status || body.Status != c.status || body.Type != "urn:cloakroom:problem:"+name || body.Title == "" ||
				res.Header.Get("Content-Type") != "application/problem+json" || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("got %d %v %s", res.StatusCode, res.Header, bodyOf(res))
			}
			if (body.LoginURL == "/bff/login") != c.login || (res.Header.Get("Retry-After") != "") != c.retry {
				t.Errorf("login_url %q, Retry-After %q", body.LoginURL, res.Header.Get("Retry-After"))
			}
			if strings.Contains(bodyOf(res), "inner matters") {
				t.Error("the browser is told what is for the log")
			}
			page := answer(navigating)
			if got := strings.HasPrefix(page.Header.Get("Content-Type"), "text/html"); got != c.page || page.StatusCode != c.status {
				t.Errorf("a navigation gets %d %s", page.StatusCode, page.Header.Get("Content-Type"))
			}
		})
	}
}

func TestStepUpSaysWhatToAskFor(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	rec := httptest.NewRecorder()
	h.server.fail(rec, request("GET", "/x"), "step-up", &stepUp{ACRValues: "gold silver", MaxAge: "60"})
	if !strings.Contains(rec.Body.String(), `"login_url":"/bff/login?acr_values=gold+silver\u0026max_age=60"`) {
		t.Error(rec.Body.String())
	}
}

func TestStepUpIsAtTheProviderOfTheSession(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_user_authentication", acr_values="gold"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(up.Close)
	h, other := withAnother(t, func(cfg *Config) {
		cfg.Frontend.Routes = append(cfg.Frontend.Routes, Route{
			Path: "/strict", Upstream: mustURL(t, up.URL), WebSocket: true, Token: TokenPlan{Kind: TokenMinted, Audience: "strict"},
		})
	})
	address := h.listen()
	for name, c := range map[string]struct {
		at   *idptest.Provider
		want string
	}{
		"main":  {h.idp, "/bff/login?acr_values=gold"},
		"other": {other, "/bff/login?acr_values=gold&provider=other"},
	} {
		b := h.browser()
		back, err := c.at.SignIn(t.Context(), b.atIdP, b.navigate("/bff/login?provider="+name).Header.Get("Location"), "alice", "alice")
		if err != nil {
			t.Fatal(err)
		}
		if res := b.arrive(strings.TrimPrefix(back, publicURL)); res.StatusCode != http.StatusSeeOther {
			t.Fatalf("%s: %d %s", name, res.StatusCode, bodyOf(res))
		}
		_, socket, _ := b.dial(t, address, "/strict")
		for what, res := range map[string]*http.Response{"fetch": b.fetch("GET", "/strict"), "WebSocket": socket} {
			wantProblem(t, res, 401, "step-up")
			var body struct {
				LoginURL string `json:"login_url"`
			}
			if err := json.Unmarshal([]byte(bodyOf(res)), &body); err != nil || body.LoginURL != c.want {
				t.Errorf("%s, signed in at %s: sent to %q", what, name, body.LoginURL)
			}
		}
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Published = map[string]http.Handler{"/panics": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("inner matters") })}
	})
	res := h.browser().do("GET", "/panics")
	wantProblem(t, res, 500, "internal")
	if strings.Contains(bodyOf(res), "inner matters") || !strings.Contains(h.logs.String(), "inner matters") {
		t.Error("told to the browser, or not to the log")
	}
}

func TestMetricsNameRoutesNotPaths(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	b.fetch("GET", "/api/orders/7")
	b.fetch("GET", "/bff/nothing")
	b.fetch("POST", "/bff/logout")
	families, err := h.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetCounter().GetValue()
		}
	}
	for key, want := range map[string]float64{
		"cloakroom_http_requests_total 200 public /api/orders":             1,
		"cloakroom_http_requests_total 302 public /bff/login":              1,
		"cloakroom_http_requests_total 303 public /bff/callback/:provider": 1,
		"cloakroom_http_requests_total 404 public none":                    1,
		"cloakroom_sessions_started_total main":                            1,
		"cloakroom_sessions_ended_total logout":                            1,
	} {
		if got[key] != want {
			t.Errorf("%s = %v, want %v", key, got[key], want)
		}
	}
}
