package bff

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

func logoutURL(t *testing.T, res *http.Response) *url.URL {
	t.Helper()
	var body struct {
		URL string `json:"logout_url"`
	}
	if err := json.Unmarshal([]byte(bodyOf(res)), &body); err != nil || res.StatusCode != 200 {
		t.Fatalf("logout: %d %s", res.StatusCode, bodyOf(res))
	}
	u, err := url.Parse(body.URL)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestLogoutEndsTheSessionEverywhere(t *testing.T) { // C2, C5, C7, C8
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	cookie := b.cookies["__Host-Http-session"]
	res := b.fetch("POST", "/bff/logout")
	at := logoutURL(t, res)
	if at.Query().Get("client_id") == "" || at.Query().Get("logout_uri") != publicURL+"/bff/logged-out" || strings.Contains(at.RawQuery, "hint") {
		t.Errorf("goes on at %s", at)
	}
	if !clears(res, "__Host-Http-session") || res.Header.Get("Clear-Site-Data") == "" {
		t.Errorf("headers: %v", res.Header)
	}
	thief := h.browser()
	thief.cookies["__Host-Http-session"] = cookie
	wantProblem(t, thief.fetch("GET", "/bff/user"), 401, "no-session")
	h.settle()
	if last, ok := h.idp.Last(idptest.Revoke); !ok || last.Form.Get("token_type_hint") != "refresh_token" {
		t.Errorf("revoked: %v", last.Form["token_type_hint"])
	}
	if !strings.Contains(h.logs.String(), `"event":"logout"`) || !strings.Contains(h.logs.String(), `"event":"session-ended"`) {
		t.Error("no audit line")
	}
}

func TestLogoutAtTheProviderAndBack(t *testing.T) { // C3, C4
	h := open(t, idptest.Config{Persona: idptest.Generic}, nil)
	b := h.browser()
	b.signIn("alice")
	at := logoutURL(t, b.fetch("POST", "/bff/logout?returnTo=/bye%3Fx%3D1"))
	q := at.Query()
	if q.Get("post_logout_redirect_uri") != publicURL+"/bff/logged-out" || q.Get("client_id") == "" || q.Get("state") == "" || q.Has("id_token_hint") {
		t.Errorf("goes on at %s", at)
	}
	back := "/bff/logged-out?state=" + url.QueryEscape(q.Get("state"))
	for name, c := range map[string]struct{ target, want string }{
		"back from the provider":         {back, "/bye?x=1"},
		"once more":                      {back, "/bye?x=1"},
		"without a state":                {"/bff/logged-out", "/"},
		"with a state that is made up":   {"/bff/logged-out?state=xyz", "/"},
		"with a place of its own choice": {"/bff/logged-out?returnTo=//evil.example", "/"},
	} {
		if res := h.browser().arrive(c.target); res.StatusCode != 303 || res.Header.Get("Location") != c.want {
			t.Errorf("%s: %d to %q", name, res.StatusCode, res.Header.Get("Location"))
		}
	}
	h.later(2 * time.Hour)
	if res := b.arrive(back); res.Header.Get("Location") != "/" {
		t.Errorf("two hours later: to %q", res.Header.Get("Location"))
	}
}

func TestLogoutByForm(t *testing.T) {
	form := func(more ...string) []string {
		return append([]string{"Content-Type", "application/x-www-form-urlencoded"}, more...)
	}
	for name, c := range map[string]struct {
		headers []string
		ok      bool
	}{
		"of our page":                            {form("Origin", publicURL, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"), true},
		"of our page, in an old browser":         {form("Origin", publicURL), true},
		"of our page under no-referrer":          {form("Origin", "null", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"), true},
		"of another site":                        {form("Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), false},
		"of a sibling":                           {form("Origin", "https://sub.example.com", "Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "navigate"), false},
		"of another site, in an old browser":     {form("Origin", "https://evil.example"), false},
		"of nobody":                              {form(), false},
		"of a sandboxed frame":                   {form("Origin", "null"), false},
		"of a sandboxed frame, in a new browser": {form("Origin", "null", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"), false},
		"that contradicts itself":                {form("Origin", "https://evil.example", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate"), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, idptest.Config{}, nil)
			b := h.browser()
			b.signIn("alice")
			res := b.do("POST", "/bff/logout", c.headers...)
			if !c.ok {
				wantProblem(t, res, 403, "csrf")
				if b.fetch("GET", "/bff/user").StatusCode != 200 {
					t.Error("signed out all the same")
				}
				return
			}
			if res.StatusCode != 303 || !strings.HasPrefix(res.Header.Get("Location"), h.idp.URL(idptest.Logout)+"?") {
				t.Errorf("got %d to %q", res.StatusCode, res.Header.Get("Location"))
			}
		})
	}
}

func TestFormOfAPageMayBeLedToTheProvidersSignOut(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.Headers.CSPAdd = map[string][]string{"form-action": {"https://pay.example.com"}}
	})
	action := func(res *http.Response) string {
		_, after, _ := strings.Cut(res.Header.Get("Content-Security-Policy"), "form-action ")
		sources, _, _ := strings.Cut(after, ";")
		return sources
	}
	b := h.browser()
	if got := action(b.navigate("/")); got != "'self' https://pay.example.com" {
		t.Errorf("before the provider is known: %s", got)
	}
	b.signIn("alice")
	at, err := url.Parse(h.idp.URL(idptest.Logout))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, want := action(b.navigate("/")), "'self' https://pay.example.com "+at.Scheme+"://"+at.Host; got != want {
			t.Errorf("form-action %s, want %s", got, want)
		}
	}
	if got := action(b.fetch("GET", "/bff/user")); strings.Contains(got, at.Host) {
		t.Errorf("of what is no page: %s", got)
	}
}

func TestLogoutNeedsAProof(t *testing.T) { // C1
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	wantProblem(t, b.do("POST", "/bff/logout"), 403, "csrf")
	wantProblem(t, b.navigate("/bff/logout"), 405, "method-not-allowed")
	wantProblem(t, h.browser().do("POST", "/bff/logout"), 403, "csrf")
	wantProblem(t, b.fetch("POST", "/bff/logout?returnTo=//evil.example"), 400, "bad-return-to")
	if b.fetch("GET", "/bff/user").StatusCode != 200 {
		t.Error("signed out all the same")
	}
}

func TestLogoutWithoutASession(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	if at := logoutURL(t, h.browser().fetch("POST", "/bff/logout")); at.String() != "/bff/logged-out" {
		t.Errorf("goes on at %s", at)
	}
	at := logoutURL(t, h.browser().fetch("POST", "/bff/logout?returnTo=/bye"))
	if res := h.browser().navigate(at.String()); res.Header.Get("Location") != "/bye" {
		t.Errorf("%s goes on at %s", at, res.Header.Get("Location"))
	}
}

func TestLogoutWithTheStoreDownClaimsNothing(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	for _, method := range []string{"all", "Delete"} {
		b := h.browser()
		b.signIn("alice")
		h.store.breakDown(method)
		res := b.fetch("POST", "/bff/logout")
		wantProblem(t, res, 503, "store-unavailable")
		if len(res.Cookies()) != 0 || res.Header.Get("Clear-Site-Data") != "" {
			t.Errorf("%s: cookies %v", method, res.Cookies())
		}
		h.store.breakDown("")
		if b.fetch("GET", "/bff/user").StatusCode != 200 {
			t.Errorf("%s: signed out all the same", method)
		}
	}
	if h.idp.Count(idptest.Revoke) != 0 {
		t.Error("the refresh token of a living session was revoked")
	}
}

func TestRevocationIsTriedAgain(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	var tries atomic.Int32
	h.idp.Set(idptest.Misbehave{Answer: func(at idptest.Endpoint, w http.ResponseWriter, _ *http.Request) bool {
		down := at == idptest.Revoke && tries.Add(1) == 1
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return down
	}})
	if res := b.fetch("POST", "/bff/logout"); res.StatusCode != 200 {
		t.Fatalf("logout with revocation down: %d", res.StatusCode)
	}
	h.settle()
	if tries.Load() != 2 {
		t.Errorf("tried %d times", tries.Load())
	}
	wantProblem(t, b.fetch("GET", "/bff/user"), 503, "draining")
}

// settle waits for the work behind the answered requests.
func (h *house) settle() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	if err := h.server.Close(ctx); err != nil {
		h.t.Fatal(err)
	}
}
