package bff

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"cloakroom/internal/idptest"
)

func TestSignIn(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	back := b.atProvider("/bff/login?returnTo=/app%3Fx%3D1%23part", "alice")
	res := b.arrive(back)
	if res.StatusCode != 303 || res.Header.Get("Location") != "/app?x=1#part" {
		t.Fatalf("got %d to %q: %s", res.StatusCode, res.Header.Get("Location"), bodyOf(res))
	}
	var cookie *http.Cookie
	for _, c := range res.Cookies() {
		if c.Name == "__Host-Http-session" {
			cookie = c
		}
	}
	if cookie == nil || cookie.SameSite != http.SameSiteStrictMode || cookie.MaxAge != 12*60*60 || !strings.HasPrefix(cookie.Value, "v1.") {
		t.Errorf("session cookie: %v", cookie)
	}
	if res.Header.Get("Referrer-Policy") != "no-referrer" { // B1.14
		t.Errorf("headers: %v", res.Header)
	}
	if got := h.idp.Count(idptest.Token); got != 1 {
		t.Errorf("%d token requests", got)
	}
	if res := b.fetch("GET", "/bff/user"); res.StatusCode != 200 || !strings.Contains(bodyOf(res), `"email":"alice@example.com"`) {
		t.Errorf("user: %d %s", res.StatusCode, bodyOf(res))
	}
}

// TestForgedCallbacksRedeemNothing is B1.3, B1.6–B1.10 and login CSRF: whatever is wrong, the provider sees no token request.
func TestForgedCallbacksRedeemNothing(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	with := func(target string, change func(url.Values)) string {
		path, raw, _ := strings.Cut(target, "?")
		q, err := url.ParseQuery(raw)
		if err != nil {
			t.Fatal(err)
		}
		change(q)
		return path + "?" + q.Encode()
	}
	for name, c := range map[string]struct {
		change  func(b *browser, back string) (at string)
		says    string
		again   string // where the page's link leads
		problem string // for what is no page
	}{
		"without the login cookie": {func(b *browser, back string) string {
			delete(b.cookies, "__Host-Http-login")
			return back
		}, "in another browser", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"with another browser's login cookie": {func(b *browser, back string) string {
			other := b.house.browser()
			other.navigate("/bff/login")
			b.cookies["__Host-Http-login"] = other.cookies["__Host-Http-login"]
			return back
		}, "in another browser", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"after ten minutes": {func(b *browser, back string) string {
			b.later(11 * time.Minute)
			return back
		}, "too long ago", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"after ten minutes, with a login cookie that is fresh": {func(b *browser, back string) string {
			b.later(11 * time.Minute)
			b.navigate("/bff/login")
			return back
		}, "too long ago", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"without a state": {func(_ *browser, back string) string { return with(back, func(q url.Values) { q.Del("state") }) },
			"Please sign in again", "/bff/login", ""},
		"with a state that is made up": {func(_ *browser, back string) string {
			return with(back, func(q url.Values) { q.Set("state", "<script>alert(1)</script>") })
		}, "Please sign in again", "/bff/login", ""},
		"with two states": {func(_ *browser, back string) string { return back + "&state=x" }, "Please sign in again", "/bff/login", ""},
		"with two codes":  {func(_ *browser, back string) string { return back + "&code=x" }, "Please sign in again", "/bff/login", ""},
		"with two issuers": {func(_ *browser, back string) string { return back + "&iss=a&iss=b" },
			"Please sign in again", "/bff/login", ""},
		"with a code and an error": {func(_ *browser, back string) string { return back + "&error=access_denied" },
			"Please sign in again", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"with neither": {func(_ *browser, back string) string { return with(back, func(q url.Values) { q.Del("code") }) },
			"Please sign in again", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"of another issuer": {func(_ *browser, back string) string {
			return with(back, func(q url.Values) { q.Set("iss", h.idp.Issuer()+"/") })
		}, "Please sign in again", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"of another issuer, as an error": {func(_ *browser, back string) string {
			return with(back, func(q url.Values) {
				q.Del("code")
				q.Set("error", "access_denied")
				q.Set("iss", "https://evil.example")
			})
		}, "Please sign in again", "/bff/login?provider=main&amp;returnTo=%2Fapp", ""},
		"at a provider that is none": {func(_ *browser, back string) string { return strings.Replace(back, "/main?", "/other?", 1) }, "", "", "not-found"},
	} {
		t.Run(name, func(t *testing.T) {
			b := h.browser()
			before := h.idp.Count(idptest.Token)
			at := c.change(b, b.atProvider("/bff/login?returnTo=/app", "alice"))
			res := b.arrive(at)
			if c.problem != "" {
				wantProblem(t, res, 404, c.problem)
			} else {
				wantPage(t, res, 400, c.says)
				page := bodyOf(res)
				if !strings.Contains(page, `href="`+c.again+`"`) || strings.Contains(page, "<script>") {
					t.Errorf("page: %s", page)
				}
			}
			if touches(res, "__Host-Http-session") || h.idp.Count(idptest.Token) != before {
				t.Error("a code was redeemed, or a session begun")
			}
		})
	}
}

func TestCallbackAnswersAFetchWithAProblem(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	wantProblem(t, h.browser().do("GET", "/bff/callback/main?state=x&code=y"), 400, "login-failed")
	wantProblem(t, h.browser().do("POST", "/bff/callback/main", navigating...), 405, "method-not-allowed") // B1.13
	wantProblem(t, h.browser().do("HEAD", "/bff/callback/main?state=x&code=y", navigating...), 405, "method-not-allowed")
}

func TestForeignCodeInOurTransaction(t *testing.T) { // B1.11: the attacker's code in the victim's transaction
	h := open(t, idptest.Config{}, nil)
	attacker, victim := h.browser(), h.browser()
	theirs, err := url.Parse(attacker.atProvider("/bff/login", "sam"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := url.Parse(victim.atProvider("/bff/login", "alice"))
	if err != nil {
		t.Fatal(err)
	}
	q := ours.Query()
	q.Set("code", theirs.Query().Get("code"))
	res := victim.arrive(ours.Path + "?" + q.Encode())
	wantPage(t, res, 400, "Sign in again")
	if touches(res, "__Host-Http-session") {
		t.Error("a session was begun")
	}
}

func TestTwoTabsSignInAtOnce(t *testing.T) { // B1.2
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	first := b.atProvider("/bff/login?returnTo=/one", "alice")
	second := b.atProvider("/bff/login?returnTo=/two", "alice")
	for at, want := range map[string]string{second: "/two", first: "/one"} {
		if res := b.arrive(at); res.StatusCode != 303 || res.Header.Get("Location") != want {
			t.Errorf("got %d to %q, want %s", res.StatusCode, res.Header.Get("Location"), want)
		}
	}
	if res := b.fetch("GET", "/bff/user"); res.StatusCode != 200 {
		t.Errorf("user: %d", res.StatusCode)
	}
}

func TestCallbackIsReplayed(t *testing.T) { // B1.4
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	back := b.atProvider("/bff/login?returnTo=/app", "alice")
	b.arrive(back)
	cookie := b.cookies["__Host-Http-session"]
	res := b.arrive(back)
	if res.StatusCode != 303 || res.Header.Get("Location") != "/app" || touches(res, "__Host-Http-session") {
		t.Errorf("in the same browser: %d %v", res.StatusCode, res.Header)
	}
	wantPage(t, h.browser().arrive(back), 400, "in another browser")
	if got := h.idp.Count(idptest.Token); got != 1 {
		t.Errorf("%d token requests", got)
	}
	if b.cookies["__Host-Http-session"] != cookie || b.fetch("GET", "/bff/user").StatusCode != 200 {
		t.Error("the session is gone")
	}
}

func TestFailedRedemptionUsesUpTheTransaction(t *testing.T) { // B1.5, B3.11
	for name, c := range map[string]struct {
		manners idptest.Misbehave
		status  int
		says    string
	}{
		"the provider is down":  {idptest.Misbehave{Answer: idptest.At(idptest.Status(503, ""), idptest.Token)}, 503, "does not answer"},
		"the provider hangs up": {idptest.Misbehave{Answer: idptest.At(idptest.HangUp, idptest.Token)}, 503, "does not answer"},
		"the provider does not know us": {idptest.Misbehave{Answer: idptest.At(idptest.Status(401, `{"error":"invalid_client"}`), idptest.Token)},
			503, "does not answer"},
		"the code is refused":        {idptest.Misbehave{Answer: idptest.At(idptest.Status(400, `{"error":"invalid_grant"}`), idptest.Token)}, 400, "did not succeed"},
		"the answer is HTML":         {idptest.Misbehave{Answer: idptest.At(idptest.Status(200, "<html>"), idptest.Token)}, 502, "did not succeed"},
		"the answer is empty":        {idptest.Misbehave{Answer: idptest.At(idptest.Status(200, "{}"), idptest.Token)}, 502, "did not succeed"},
		"the ID token is not signed": {idptest.Misbehave{Sign: idptest.NoneSigner}, 400, "did not succeed"},
		"the nonce is another": {idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
			if kind == idptest.IDToken {
				claims["nonce"] = "another"
			}
		}}, 400, "did not succeed"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, idptest.Config{}, nil)
			b := h.browser()
			back := b.atProvider("/bff/login?returnTo=/app", "alice")
			h.idp.Set(c.manners)
			res := b.arrive(back)
			wantPage(t, res, c.status, c.says)
			if !strings.Contains(bodyOf(res), "/bff/login?provider=main") || touches(res, "__Host-Http-session") {
				t.Errorf("page: %s", bodyOf(res))
			}
			if !strings.Contains(h.logs.String(), `"event":"login","outcome":"failed","provider":"main"`) {
				t.Error("no audit line")
			}
			h.idp.Set(idptest.Misbehave{})
			count := h.idp.Count(idptest.Token)
			if res := b.arrive(back); res.StatusCode != 303 || h.idp.Count(idptest.Token) != count {
				t.Errorf("once more: %d, %d token requests", res.StatusCode, h.idp.Count(idptest.Token)-count)
			}
			if res := b.fetch("GET", "/bff/user"); res.StatusCode != 401 {
				t.Errorf("user: %d", res.StatusCode)
			}
		})
	}
}

func TestStoreDownAtTheCallback(t *testing.T) { // faults.md F3.7
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	back := b.atProvider("/bff/login?returnTo=/app", "alice")
	h.store.breakDown("Claim")
	res := b.arrive(back)
	wantPage(t, res, 503, `<a class="action" href="">Try again</a>`)
	if h.idp.Count(idptest.Token) != 0 || res.Header.Get("Retry-After") == "" {
		t.Error("the code was redeemed")
	}
	h.store.breakDown("")
	if res := b.arrive(back); res.StatusCode != 303 || res.Header.Get("Location") != "/app" {
		t.Errorf("once it is up again: %d", res.StatusCode)
	}
}

func TestSessionThatCannotBeKept(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	back := b.atProvider("/bff/login", "alice")
	h.store.breakDown("Create")
	res := b.arrive(back)
	wantPage(t, res, 503, "Sign in again")
	if touches(res, "__Host-Http-session") {
		t.Error("a cookie without a session")
	}
}

func TestErrorsOfTheProvider(t *testing.T) { // B1.8
	h := open(t, idptest.Config{}, nil)
	answer := func(b *browser, login string, params url.Values) *http.Response {
		res := b.navigate(login)
		at, err := url.Parse(res.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		params.Set("state", at.Query().Get("state"))
		return b.arrive("/bff/callback/main?" + params.Encode())
	}
	evil := url.Values{"error": {"<b>evil"}, "error_description": {"<script>alert(1)</script>"}, "error_uri": {"https://evil.example"}}
	b := h.browser()
	res := answer(b, "/bff/login", evil)
	wantPage(t, res, 400, "Sign in again")
	if page := bodyOf(res); strings.Contains(page, "evil") || strings.Contains(page, "alert") || !strings.Contains(page, "<code>") {
		t.Errorf("page: %s", page)
	}
	wantPage(t, answer(h.browser(), "/bff/login", url.Values{"error": {"access_denied"}}), 400, "was cancelled")
	wantPage(t, answer(h.browser(), "/bff/login", url.Values{"error": {"temporarily_unavailable"}}), 503, "does not answer")
	wantPage(t, answer(h.browser(), "/bff/login", url.Values{"error": {"login_required"}}), 400, "Sign in again")

	b = h.browser()
	res = answer(b, "/bff/login?prompt=none&returnTo=/app", url.Values{"error": {"login_required"}})
	if res.StatusCode != 303 || res.Header.Get("Location") != "/app" {
		t.Errorf("prompt=none: %d %s", res.StatusCode, bodyOf(res))
	}
	if strings.Contains(h.logs.String(), "evil") {
		t.Error("the log repeats what the provider sent")
	}
}

func TestSignInReplacesTheOlderSession(t *testing.T) { // D2.4, ASVS 7.2.4
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	older := b.cookies["__Host-Http-session"]
	b.forgottenAtProvider()
	b.signIn("sam")
	if b.cookies["__Host-Http-session"] == older {
		t.Fatal("the cookie is the same")
	}
	if body := bodyOf(b.fetch("GET", "/bff/user")); !strings.Contains(body, "sam@example.com") {
		t.Errorf("user: %s", body)
	}
	thief := h.browser()
	thief.cookies["__Host-Http-session"] = older
	wantProblem(t, thief.fetch("GET", "/bff/user"), 401, "no-session")
}

func TestSigningInAnewCostsTheBrowserNothing(t *testing.T) {
	h, _, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	before := h.browser() // the same one, before the answer to the callback reached it
	before.cookies["__Host-Http-session"] = b.cookies["__Host-Http-session"]
	events, socket := b.events(t, address), b.mustDial(t, address, "/live")
	events.hears(t, ":\n")

	b.signIn("alice")
	late := before.fetch("GET", "/api/orders")
	wantProblem(t, late, 401, "no-session")
	if touches(late, "__Host-Http-session") {
		t.Error("an answer that comes late takes the new cookie away")
	}
	if res := before.fetch("GET", "/api/optional"); res.StatusCode != http.StatusOK || touches(res, "__Host-Http-session") {
		t.Errorf("where a session is optional: %d, cookies %v", res.StatusCode, res.Cookies())
	}
	events.ends(t)
	if strings.Contains(events.heard(), "session-ended") {
		t.Error("the other tabs are told that nobody is signed in")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if _, _, err := socket.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("the socket ended with %v", err)
	}
	if !b.signedIn() || !strings.Contains(h.logs.String(), `"reason":"replaced"`) {
		t.Error("not signed in, or no audit line")
	}

	after := h.browser()
	after.cookies["__Host-Http-session"] = b.cookies["__Host-Http-session"]
	b.fetch("POST", "/bff/logout")
	if !clears(after.fetch("GET", "/api/orders"), "__Host-Http-session") {
		t.Error("the cookie of a session that was not replaced stays")
	}
}

func TestPlantedCookieIsNotAdopted(t *testing.T) { // session fixation, D2.4
	h := open(t, idptest.Config{}, nil)
	attacker, victim := h.browser(), h.browser()
	attacker.signIn("sam")
	planted := attacker.cookies["__Host-Http-session"]
	victim.cookies["__Host-Http-session"] = planted
	victim.signIn("alice")
	if victim.cookies["__Host-Http-session"] == planted {
		t.Fatal("the planted cookie was adopted")
	}
	if res := attacker.fetch("GET", "/bff/user"); strings.Contains(bodyOf(res), "alice") {
		t.Error("the attacker is signed in as the victim")
	}
}

func TestProviderRuleSaysNo(t *testing.T) {
	h := open(t, idptest.Config{}, func(h *house, cfg *Config) {
		cfg.Frontend.Providers[0].Allow = condition(t, `"support" in id.groups`)
	})
	b := h.browser()
	res := b.arrive(b.atProvider("/bff/login", "alice"))
	wantPage(t, res, 403, `<a class="action" href="/bff/login?prompt=login&amp;provider=main&amp;returnTo=%2F">Sign in with another account</a>`)
	if touches(res, "__Host-Http-session") {
		t.Error("a session was begun")
	}
	if !strings.Contains(h.logs.String(), `"event":"login-refused"`) {
		t.Error("no audit line")
	}
	ours := h.browser()
	if at := ours.signIn("sam"); at != "/app" {
		t.Errorf("support is sent to %s", at)
	}
}

// Two @ in an address, and the rule of every example is deceived (oauth2-proxy, CVE-2026-40574).
func TestE32_P11_AnAddressOfElsewhereDoesNotPassForOneOfOurs(t *testing.T) {
	for name, manners := range map[string]idptest.Config{
		"in the ID token": {Persona: idptest.Generic}, "in userinfo": {Persona: idptest.Generic, EmailInUserInfo: true},
	} {
		h := open(t, manners, func(_ *house, cfg *Config) {
			cfg.Frontend.Providers[0].Allow = condition(t, `id.email.endsWith("@example.com")`)
			cfg.Frontend.NeededIdentity = []string{"email"}
		})
		h.idp.Change("alice", func(u *idptest.User) { u.Email = "alice@evil.example@example.com" })
		b := h.browser()
		if res := b.arrive(b.atProvider("/bff/login", "alice")); res.StatusCode != http.StatusForbidden || touches(res, "__Host-Http-session") {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
		if at := h.browser().signIn("sam"); at != "/app" { // sam@example.com
			t.Errorf("%s: sam is sent to %s", name, at)
		}
	}
}

func TestUserInfoCompletesTheIdentity(t *testing.T) {
	manners := idptest.Config{Persona: idptest.Generic, EmailInUserInfo: true, OpaqueAccess: true}
	for name, c := range map[string]struct {
		needed []string
		calls  int
		email  bool
	}{
		"when a claim is needed":       {[]string{"email"}, 1, true},
		"not when nothing needs it":    {nil, 0, false},
		"not for what is there anyway": {[]string{"sub"}, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, manners, func(_ *house, cfg *Config) { cfg.Frontend.NeededIdentity = c.needed })
			b := h.browser()
			b.signIn("alice")
			body := bodyOf(b.fetch("GET", "/bff/user"))
			if got := h.idp.Count(idptest.UserInfo); got != c.calls || strings.Contains(body, "alice@example.com") != c.email {
				t.Errorf("%d calls, user %s", got, body)
			}
			if res := b.fetch("GET", "/api/orders"); res.StatusCode != 200 || !h.mint.last().Evidence.Scope.Has("orders-api/read") {
				t.Errorf("%d, evidence %v", res.StatusCode, h.mint.last().Evidence.Scope)
			}
		})
	}
}

func TestUserInfoOfSomebodyElseFailsTheSignIn(t *testing.T) { // B3.14
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		cfg.Frontend.NeededIdentity = []string{"nickname"} // which the ID token lacks
	})
	h.idp.Set(idptest.Misbehave{UserInfo: func(body map[string]any) { body["sub"] = "somebody-else" }})
	b := h.browser()
	res := b.arrive(b.atProvider("/bff/login", "alice"))
	wantPage(t, res, 400, "did not succeed")
	if touches(res, "__Host-Http-session") {
		t.Error("a session was begun")
	}
	h.settle()
	if n := h.idp.Count(idptest.Revoke); n != 1 {
		t.Errorf("the refresh token that nobody will use was revoked %d times", n)
	}
}

// The session that is replaced is gone for good once the store has removed it, whoever could be told.
func TestASignInReplacesTheOlderSessionOrNothing(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b, other := h.browser(), h.browser()
	other.signIn("alice")
	b.signIn("alice")
	older := b.cookies["__Host-Http-session"]

	back := b.atProvider("/bff/login?returnTo=/app", "alice")
	h.store.breakDown("Delete")
	if res := b.arrive(back); res.StatusCode != http.StatusServiceUnavailable || touches(res, "__Host-Http-session") {
		t.Errorf("the older one could not be ended: %d", res.StatusCode)
	}
	h.store.breakDown("")
	if !b.signedIn() || b.cookies["__Host-Http-session"] != older {
		t.Error("the older session is not what it was")
	}

	back = b.atProvider("/bff/login?returnTo=/app", "alice")
	h.store.breakDown("Publish")
	if res := b.arrive(back); res.StatusCode != http.StatusSeeOther || !touches(res, "__Host-Http-session") {
		t.Errorf("others were not told: %d", res.StatusCode)
	}
	h.store.breakDown("")
	if !b.signedIn() || b.cookies["__Host-Http-session"] == older {
		t.Error("the older session was not replaced")
	}
}

// A sign-in that fails once its session has started leaves none that nobody has the cookie of.
func TestAFailedReplacementLeavesNoSessionBehind(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b, other := h.browser(), h.browser()
	other.signIn("alice")
	b.signIn("alice")
	back := b.atProvider("/bff/login?returnTo=/app", "alice")
	h.store.breakNext("Delete")
	if res := b.arrive(back); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("signed in: %d", res.StatusCode)
	}
	if n := len(other.listed()); n != 2 {
		t.Errorf("%d sessions, want the two there were", n)
	}
}
