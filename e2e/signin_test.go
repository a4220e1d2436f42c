package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// The main job, with everything real: a browser, a provider, Redis, and verifiers that are not ours.
func TestAPersonSignsInAndTheAPIGetsATokenOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		signIn   string
		provider func(*testing.T, *cloakroom) idp
		scopes   string
		scope    string // what the API's token must carry
		email    string
	}{
		"oidc-provider with opaque access tokens": {
			"oidc-provider", func(t *testing.T, c *cloakroom) idp { return startOIDCProvider(t, c, "opaque") },
			"[openid, email, profile, 'orders:read']", "orders:read", "alice@example.com",
		},
		"oidc-provider with JWT access tokens": {
			"oidc-provider", func(t *testing.T, c *cloakroom) idp { return startOIDCProvider(t, c, "jwt") },
			"[openid, email, profile, 'orders:read']", "orders:read", "alice@example.com",
		},
		"zitadel's example provider": {
			"zitadel", startZitadel,
			"[openid, email, profile, 'custom_scope']", "custom_scope", "test-user@zitadel.ch",
		},
	} {
		t.Run(name, func(t *testing.T) {
			redis, orders, app := startRedis(t), startAPI(t), newCloakroom(t)
			provider := c.provider(t, app)
			app.configure(t, redis.url(), provider.issuer, fmt.Sprintf(`
    scopes: %s
routes:
  - {path: /api/orders, upstream: "%s", strip_prefix: /api, audience: orders}
  - {path: /, spa: %s}
exchange: {defaults: {claims: {email: id.email}}}
`, c.scopes, orders.URL, spa(t)))
			app.serve(t)
			seen := app.browse(t, c.signIn)

			if seen.Anonymous != nil {
				t.Errorf("before signing in the SPA was told of %v", seen.Anonymous)
			}
			if seen.User["email"] != c.email || seen.User["sub"] == "" {
				t.Errorf("/bff/user said %v", seen.User)
			}
			if seen.API.Status != http.StatusOK || seen.API.Body["path"] != "/orders/list?page=1" {
				t.Errorf("the API answered %+v", seen.API)
			}
			bearer, headers := orders.last(t)
			if cookie := headers.Get("Cookie"); cookie != "" {
				t.Errorf("the API was sent cookies: %s", cookie)
			}
			claims := app.verifyWithJose(t, bearer, "orders")
			for claim, want := range map[string]any{"aud": "orders", "idp": provider.issuer, "email": c.email, "scope": c.scope, "client_id": "bff", "sub": seen.User["sub"]} {
				if claims[claim] != want {
					t.Errorf("%s = %v, want %v", claim, claims[claim], want)
				}
			}
			verifyWithJWX(t, app, bearer)

			issued := provider.issued()
			if len(issued) < 2 {
				t.Fatalf("the provider reported %d issued tokens: nothing to search for", len(issued))
			}
			canary.issued("issued by the provider", issued...)
			assertNowhere(t, seen, append(issued, bearer), app.printed())
			assertCookies(t, seen)

			session := cookieOf(seen)
			if answer, _ := app.get(t, "/bff/user", session); answer.StatusCode != http.StatusUnauthorized {
				t.Errorf("after logout the old cookie answers %d", answer.StatusCode)
			}
			if seen.After != nil || seen.Logout.Status != http.StatusOK {
				t.Errorf("after logout: user %v, logout %+v", seen.After, seen.Logout)
			}
			if len(seen.ConsoleErrors) > 0 {
				t.Errorf("the browser complained: %v", seen.ConsoleErrors)
			}
		})
	}
}

// verifyWithJWX verifies a minted token by a second library, with nothing but the published keys.
func verifyWithJWX(t *testing.T, app *cloakroom, bearer string) {
	t.Helper()
	keys, err := jwk.Fetch(t.Context(), app.issuer()+"/.well-known/jwks.json", jwk.WithHTTPClient(app.client))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jwt.ParseString(bearer, jwt.WithKeySet(keys), jwt.WithIssuer(app.issuer()), jwt.WithAudience("orders")); err != nil {
		t.Errorf("jwx refuses the token: %v", err)
	}
}

// assertNowhere looks for secrets in all that the browser sent, received and stored, and in the log.
func assertNowhere(t *testing.T, seen report, secrets []string, log string) {
	t.Helper()
	places := map[string]string{"the log": log}
	for name, content := range seen.Storage {
		places["the browser's "+name] = content
	}
	for i, one := range seen.Traffic {
		places[fmt.Sprintf("%s %d %s %s", one.Kind, i, one.Method, strings.SplitN(one.URL, "?", 2)[0])] = one.URL + "\n" + string(one.Headers) + "\n" + one.Body
	}
	if len(places) < 12 {
		t.Fatalf("only %d places were recorded", len(places))
	}
	var codes []string // the authorization code may pass in the redirect; it must not be anywhere else
	for _, one := range seen.Traffic {
		if u, err := url.Parse(one.URL); err == nil && strings.HasPrefix(u.Path, "/bff/callback/") {
			codes = append(codes, u.Query().Get("code"))
		}
	}
	if len(codes) == 0 || slices.Contains(codes, "") {
		t.Fatalf("the callback was not recorded: %v", codes)
	}
	for place, content := range places {
		for _, secret := range secrets {
			if strings.Contains(content, secret) {
				t.Errorf("a token stands in %s", place)
			}
		}
		for _, code := range codes {
			if strings.Contains(content, code) && !strings.Contains(place, "/bff/callback/") {
				t.Errorf("the authorization code stands in %s", place)
			}
		}
	}
	for _, cookie := range seen.Cookies {
		if strings.HasPrefix(cookie.Name, "__Host-Http-") && strings.Contains(log, cookie.Value) {
			t.Errorf("the value of cookie %s stands in the log", cookie.Name)
		}
	}
}

func assertCookies(t *testing.T, seen report) {
	t.Helper()
	found := false
	for _, cookie := range seen.Cookies {
		if !strings.HasPrefix(cookie.Name, "__Host-Http-") {
			continue // the provider's own
		}
		found = found || cookie.Name == "__Host-Http-session"
		if !cookie.HTTPOnly || !cookie.Secure {
			t.Errorf("cookie %s: HttpOnly %v, Secure %v", cookie.Name, cookie.HTTPOnly, cookie.Secure)
		}
		if cookie.Name == "__Host-Http-session" && cookie.SameSite != "Strict" {
			t.Errorf("the session cookie is SameSite=%s", cookie.SameSite)
		}
	}
	if !found {
		t.Errorf("no session cookie among %v", seen.Cookies)
	}
}

func cookieOf(seen report) string {
	for _, cookie := range seen.Cookies {
		if cookie.Name == "__Host-Http-session" {
			return cookie.Name + "=" + cookie.Value
		}
	}
	return ""
}
