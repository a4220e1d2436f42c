package bff

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

const backchannel = "/bff/backchannel-logout/main"

// say is the provider saying over its back channel what is in a form.
func (h *house) say(form string, headers ...string) *http.Response {
	r := request("POST", backchannel, append([]string{"Content-Type", "application/x-www-form-urlencoded"}, headers...)...)
	r.Body = http.NoBody
	body := strings.NewReader(form)
	r.Body, r.ContentLength = readCloser{body}, int64(len(form))
	return h.serve(r)
}

type readCloser struct{ *strings.Reader }

func (readCloser) Close() error { return nil }

func (h *house) sayToken(raw string) *http.Response {
	return h.say(url.Values{"logout_token": {raw}}.Encode())
}

// logoutToken is one as the provider sends it.
func (h *house) logoutToken(sub, sid string, change map[string]any) string {
	return h.idp.LogoutToken(idptest.DefaultClient().ID, sub, sid, change)
}

// known is what the provider calls the person and the sign-in behind the browser's session.
func (b *browser) known() (sub, sid string) {
	b.t.Helper()
	id, ok := b.cookies["__Host-Http-session"]
	if !ok {
		b.t.Fatal("not signed in")
	}
	ticket, _, _ := b.server.cookies.ticket(carried{session: id})
	found, err := b.sessions.Load(b.t.Context(), ticket)
	if err != nil {
		b.t.Fatal(err)
	}
	return found.Subject, found.ProviderSID
}

func generic(t *testing.T) *house {
	t.Helper()
	return open(t, idptest.Config{Persona: idptest.Generic}, nil)
}

func TestC10_TheBackChannelTakesAFormWithOneTokenAndNothingElse(t *testing.T) {
	h := generic(t)
	b := h.browser()
	b.signIn("alice")
	sub, sid := b.known()
	good := func() string { return h.logoutToken(sub, sid, nil) }
	for name, res := range map[string]*http.Response{
		"JSON":             h.say(`{"logout_token":"`+good()+`"}`, "Content-Type", "application/json"),
		"nothing":          h.say(""),
		"another name":     h.say("token=" + good()),
		"two tokens":       h.say("logout_token=" + good() + "&logout_token=" + good()),
		"over 64 KiB":      h.say("logout_token=" + strings.Repeat("a", 70<<10)),
		"what is no token": h.say("logout_token=abc"),
		"no form at all":   h.say("%zz"),
		"in the address":   h.serve(request("POST", backchannel+"?logout_token="+good(), "Content-Type", "application/x-www-form-urlencoded")),
	} {
		if res.StatusCode != http.StatusBadRequest || problemOf(res) != "bad-request" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s", name, res.StatusCode, bodyOf(res))
		}
	}
	wantProblem(t, h.serve(request("GET", backchannel+"?logout_token="+good())), 405, "method-not-allowed")
	wantProblem(t, h.serve(request("POST", "/bff/backchannel-logout/other")), 404, "not-found")
	if !b.signedIn() {
		t.Fatal("signed out by what is no logout token")
	}
	// Neither cookie nor header: the exemption is of exactly this path and method.
	res := h.say(url.Values{"logout_token": {good()}, "more": {"1"}}.Encode())
	if res.StatusCode != http.StatusOK || res.Header.Get("Cache-Control") != "no-store" || bodyOf(res) != "" {
		t.Errorf("a good one: %d %s", res.StatusCode, bodyOf(res))
	}
	if b.signedIn() {
		t.Error("still signed in")
	}
	if !strings.Contains(h.logs.String(), `"event":"backchannel-logout"`) || !strings.Contains(h.logs.String(), `"reason":"backchannel"`) {
		t.Error("no audit line")
	}
}

func TestC11_C15_OnlyAGoodLogoutTokenSignsAnyoneOut(t *testing.T) {
	h := generic(t)
	b := h.browser()
	b.signIn("alice")
	sub, sid := b.known()
	for name, raw := range map[string]string{
		"of another issuer":  h.logoutToken(sub, sid, map[string]any{"iss": "https://evil.example"}),
		"for another client": h.logoutToken(sub, sid, map[string]any{"aud": "other"}),
		"without exp":        h.logoutToken(sub, sid, map[string]any{"exp": nil}),
		"without jti":        h.logoutToken(sub, sid, map[string]any{"jti": nil}),
		"with a nonce":       h.logoutToken(sub, sid, map[string]any{"nonce": "n"}),
		"without events":     h.logoutToken(sub, sid, map[string]any{"events": nil}),
		"of nobody":          h.logoutToken("", "", nil),
		"an ID token":        h.idp.Sign(idptest.IDToken, nil, map[string]any{"iss": h.idp.Issuer(), "aud": idptest.DefaultClient().ID, "sub": sub, "sid": sid, "iat": h.now().Unix(), "exp": h.now().Unix() + 60}),
	} {
		if res := h.sayToken(raw); res.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, res.StatusCode, bodyOf(res))
		}
	}
	if !b.signedIn() {
		t.Error("signed out all the same")
	}
}

func TestC16_AReplayedLogoutTokenDoesNothing(t *testing.T) {
	h := generic(t)
	b := h.browser()
	b.signIn("alice")
	sub, _ := b.known()
	raw := h.logoutToken(sub, "", nil)
	if res := h.sayToken(raw); res.StatusCode != http.StatusOK || b.signedIn() {
		t.Fatalf("first: %d", res.StatusCode)
	}
	h.later(time.Second)
	b.signIn("alice")
	wantProblem(t, h.sayToken(raw), 400, "bad-request")
	if !b.signedIn() {
		t.Error("a replay signed a new session out")
	}
}

func TestC16_WithTheStoreDownTheProviderIsToTryAgainAndThenItWorks(t *testing.T) {
	for _, method := range []string{"all", "Buried", "Members", "Delete", "Bury"} {
		t.Run(method, func(t *testing.T) {
			h := generic(t)
			b := h.browser()
			b.signIn("alice")
			sub, sid := b.known()
			raw := h.logoutToken(sub, sid, nil)
			h.store.breakDown(method)
			res := h.sayToken(raw)
			wantProblem(t, res, 503, "store-unavailable")
			if res.Header.Get("Retry-After") == "" {
				t.Error("does not say when to try again")
			}
			h.store.breakDown("")
			if res := h.sayToken(raw); res.StatusCode != http.StatusOK {
				t.Errorf("the second attempt: %d %s", res.StatusCode, bodyOf(res))
			}
			if b.signedIn() {
				t.Error("still signed in")
			}
		})
	}
}

func TestC16_WithTheKeysOutOfReachTheProviderIsToTryAgain(t *testing.T) {
	h := generic(t)
	b := h.browser()
	b.signIn("alice")
	sub, sid := b.known()
	h.later(25 * time.Hour) // the keys are too old to go on with
	h.idp.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(503, "{}"), idptest.JWKS)})
	raw := h.logoutToken(sub, sid, nil)
	wantProblem(t, h.sayToken(raw), 503, "provider-unavailable")
	h.idp.Set(idptest.Misbehave{})
	h.later(time.Minute)
	if res := h.sayToken(raw); res.StatusCode != http.StatusOK {
		t.Errorf("with the keys back: %d %s", res.StatusCode, bodyOf(res))
	}
}

func TestC17_SidEndsOneSessionAndSubAllOfThePerson(t *testing.T) {
	h := generic(t)
	laptop, phone, sam := h.browser(), h.browser(), h.browser()
	laptop.signIn("alice")
	phone.signIn("alice")
	sam.signIn("sam")
	sub, sid := laptop.known()
	samSub, _ := sam.known()
	if _, other := phone.known(); sid == "" || sid == other {
		t.Fatalf("the provider calls both sign-ins %q", sid)
	}
	if res := h.sayToken(h.logoutToken(samSub, sid, nil)); res.StatusCode != http.StatusBadRequest || !laptop.signedIn() || !sam.signedIn() {
		t.Errorf("sid of one and sub of another: %d", res.StatusCode)
	}
	for name, raw := range map[string]string{
		"a sid nobody has": h.logoutToken("", "unknown", nil), "a sub nobody has": h.logoutToken("unknown", "", nil), "both": h.logoutToken(sub, "unknown", nil),
	} {
		if res := h.sayToken(raw); res.StatusCode != http.StatusOK || bodyOf(res) != "" || !laptop.signedIn() {
			t.Errorf("%s: %d %s", name, res.StatusCode, bodyOf(res))
		}
	}
	if res := h.sayToken(h.logoutToken("", sid, nil)); res.StatusCode != http.StatusOK || laptop.signedIn() || !phone.signedIn() {
		t.Errorf("by sid: %d", res.StatusCode)
	}
	h.later(time.Second)
	laptop.signIn("alice")
	if res := h.sayToken(h.logoutToken(sub, "", nil)); res.StatusCode != http.StatusOK || laptop.signedIn() || phone.signedIn() || !sam.signedIn() {
		t.Errorf("by sub: %d", res.StatusCode)
	}
}

func TestC19_TheRefreshTokenIsDroppedAndWhereConfiguredRevoked(t *testing.T) {
	for name, always := range map[string]bool{"revoke_on_end: logout": false, "revoke_on_end: always": true} {
		t.Run(name, func(t *testing.T) {
			h := open(t, idptest.Config{}, func(h *house, _ *Config) { h.revokeOnEnd = always })
			b := h.browser()
			b.signIn("alice")
			sub, _ := b.known()
			if res := h.sayToken(h.logoutToken(sub, "", nil)); res.StatusCode != http.StatusOK {
				t.Fatalf("logout: %d", res.StatusCode)
			}
			before := h.idp.Count(idptest.Token)
			h.later(20 * time.Minute)
			wantProblem(t, b.fetch("GET", "/api/legacy"), 401, "no-session")
			if n := h.idp.Count(idptest.Token) - before; n != 0 {
				t.Errorf("it was used %d times", n)
			}
			if err := h.sessions.Close(t.Context()); err != nil { // waits for what goes on in the background
				t.Fatal(err)
			}
			last, asked := h.idp.Last(idptest.Revoke)
			if asked != always || always && last.Form.Get("token_type_hint") != "refresh_token" {
				t.Errorf("revoked: %v", asked)
			}
		})
	}
}

func TestC20_ALogoutThatComesBeforeTheCallbackWins(t *testing.T) {
	for name, what := range map[string]func(h *house, sub, sid string) string{
		"by sid": func(h *house, _, sid string) string { return h.logoutToken("", sid, nil) },
		"by sub": func(h *house, sub, _ string) string { return h.logoutToken(sub, "", nil) },
	} {
		t.Run(name, func(t *testing.T) {
			h := generic(t)
			b := h.browser()
			b.signIn("alice")
			sub, sid := b.known()
			h.later(time.Second)
			tab := h.browser()
			tab.atIdP = b.atIdP // the provider knows the person already: it is the same sign-in there
			back := tab.atProvider("/bff/login?returnTo=/app", "alice")
			h.later(time.Second)
			if res := h.sayToken(what(h, sub, sid)); res.StatusCode != http.StatusOK {
				t.Fatalf("logout: %d", res.StatusCode)
			}
			h.later(time.Second)
			res := tab.arrive(back)
			wantPage(t, res, 400, "You were signed out")
			if touches(res, "__Host-Http-session") || tab.signedIn() {
				t.Error("signed in all the same")
			}
			tab.forgottenAtProvider()
			tab.signIn("alice")
			if !tab.signedIn() {
				t.Error("a sign-in that began after the logout does not succeed")
			}
		})
	}
}

func TestC21_AFloodOfBadLogoutTokensIsCutOff(t *testing.T) {
	h := generic(t)
	b := h.browser()
	b.signIn("alice")
	sub, _ := b.known()
	before := h.idp.Count(idptest.JWKS)
	good := h.logoutToken(sub, "", nil)
	bad := good[:len(good)-8] + "AAAAAAAA"
	limited := 0
	for range 2 * badLogoutsPerMinute {
		if res := h.sayToken(bad); res.StatusCode == http.StatusTooManyRequests {
			limited++
		}
	}
	if limited < badLogoutsPerMinute/2 || h.idp.Count(idptest.JWKS)-before > 1 {
		t.Errorf("%d of a flood were cut off, and the key set was fetched %d times", limited, h.idp.Count(idptest.JWKS)-before)
	}
	r := request("POST", backchannel, "Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = "198.51.100.7:1234"
	form := url.Values{"logout_token": {good}}.Encode()
	r.Body, r.ContentLength = readCloser{strings.NewReader(form)}, int64(len(form))
	if res := h.serve(r); res.StatusCode != http.StatusOK {
		t.Errorf("the provider, from elsewhere: %d", res.StatusCode)
	}
}
