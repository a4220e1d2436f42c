package provider

import (
	"net/http"
	"slices"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

func TestC_021_OnlyAnAccessTokenIsAnAccessToken(t *testing.T) {
	type header = map[jose.HeaderKey]any
	atJWT := header{"typ": "at+jwt"}
	for _, tc := range []struct {
		name    string
		profile string
		header  header
		claims  map[string]any
		want    error
	}{
		{"RFC 9068", "generic", atJWT, nil, nil},
		{"application/at+jwt", "generic", header{"typ": "application/AT+JWT"}, map[string]any{"scope": nil}, nil},
		{"typ JWT with a scope", "generic", header{"typ": "JWT"}, nil, nil},
		{"scp as a list", "generic", nil, map[string]any{"scope": nil, "scp": []string{"a"}}, nil},
		{"Keycloak's", "generic", nil, map[string]any{"scope": nil, "typ": "Bearer", "client_id": nil, "azp": clientID}, nil},
		{"an ID token", "generic", nil, map[string]any{"scope": nil, "nonce": "n", "client_id": nil}, ErrRejected},
		{"an ID token with a scope claim", "generic", nil, map[string]any{"nonce": "n"}, ErrRejected},
		{"an ID token with at_hash", "generic", header{"typ": "JWT"}, map[string]any{"at_hash": "h"}, ErrRejected},
		{"an ID token without nonce", "generic", nil, map[string]any{"scope": nil, "client_id": nil, "azp": clientID}, ErrRejected},
		{"Keycloak's ID token", "generic", nil, map[string]any{"typ": "ID"}, ErrRejected},
		{"Keycloak's refresh token", "generic", nil, map[string]any{"typ": "Refresh"}, ErrRejected},
		{"a logout token", "generic", header{"typ": "logout+jwt"}, nil, ErrRejected},
		{"a logout token without typ", "generic", nil, map[string]any{"events": map[string]any{}}, ErrRejected},
		{"a DPoP proof", "generic", header{"typ": "dpop+jwt"}, nil, ErrRejected},
		{"a transaction token", "generic", header{"typ": "txntoken+jwt"}, nil, ErrRejected},
		{"a client assertion", "generic", nil, map[string]any{"sub": "ISS"}, ErrRejected},
		{"Cognito's, without aud", "cognito", nil, map[string]any{"aud": nil, "token_use": "access"}, nil},
		{"Cognito's, with an aud of an API", "cognito", nil, map[string]any{"aud": "https://api", "token_use": "access"}, nil},
		{"Cognito's ID token", "cognito", nil, map[string]any{"token_use": "id"}, ErrRejected},
		{"Cognito's without token_use", "cognito", atJWT, nil, ErrRejected},
		{"C-037 expired", "generic", atJWT, map[string]any{"exp": 1_789_000_000}, ErrRejected},
		{"C-038 no exp", "generic", atJWT, map[string]any{"exp": nil}, ErrRejected},
		{"C-042 another issuer", "generic", atJWT, map[string]any{"iss": "https://evil.example"}, ErrRejected},
		{"C-044 another audience", "generic", atJWT, map[string]any{"aud": "https://graph"}, ErrRejected},
		{"C-044 no audience", "generic", atJWT, map[string]any{"aud": nil}, ErrRejected},
		{"C-044 an accepted audience among others", "generic", atJWT, map[string]any{"aud": []string{"https://x", "orders-api"}}, nil},
		{"C-045 another client", "generic", atJWT, map[string]any{"client_id": "third-party"}, ErrRejected},
		{"C-045 no client", "generic", atJWT, map[string]any{"client_id": nil}, ErrRejected},
		{"C-045 an accepted client by azp", "generic", atJWT, map[string]any{"client_id": nil, "azp": "mobile"}, nil},
		{"Cognito's of another client", "cognito", nil, map[string]any{"aud": nil, "token_use": "access", "client_id": "third-party"}, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			claims := merged(f.accessClaims(), tc.claims)
			if claims["sub"] == "ISS" {
				claims["sub"] = f.issuer
			}
			p := f.client(func(c *Config) {
				c.Profile = tc.profile
				c.AcceptedAudiences, c.AcceptedClients = []string{clientID, "orders-api"}, []string{clientID, "mobile"}
			})
			s, err := p.VerifyAccessToken(background, presented(t, sign(t, "k1", jose.RS256, rsaKey(), tc.header, claims)))
			mustBe(t, err, tc.want)
			if err == nil && (s.Client == "" || !s.Expiry.Equal(f.now.Add(3600e9)) || s.Claims["scope"] == nil) {
				t.Errorf("client %q, expiry %v, scope %v", s.Client, s.Expiry, s.Claims["scope"])
			}
		})
	}
}

func TestC_021_OnlyAnIDTokenIsAnIDToken(t *testing.T) {
	for _, tc := range []struct {
		name    string
		profile string
		typ     string
		claims  map[string]any
		want    error
	}{
		{"an ID token", "generic", "", nil, nil},
		{"without nonce, as after a refresh", "generic", "JWT", map[string]any{"nonce": nil}, nil},
		{"old, but not expired", "generic", "", map[string]any{"iat": 1_789_990_000}, nil},
		{"of an accepted client", "generic", "", map[string]any{"aud": "mobile"}, nil},
		{"of another client", "generic", "", map[string]any{"aud": "other"}, ErrRejected},
		{"for us and another", "generic", "", map[string]any{"aud": []string{clientID, "other"}, "azp": clientID}, ErrRejected},
		{"expired", "generic", "", map[string]any{"exp": 1_789_000_000}, ErrRejected},
		{"an access token by typ", "generic", "at+jwt", nil, ErrRejected},
		{"an access token by what it has", "generic", "", map[string]any{"nonce": nil, "scope": "openid"}, ErrRejected},
		{"Keycloak's access token", "generic", "", map[string]any{"typ": "Bearer"}, ErrRejected},
		{"a logout token", "generic", "logout+jwt", nil, ErrRejected},
		{"Cognito's", "cognito", "", map[string]any{"token_use": "id"}, nil},
		{"Cognito's access token", "cognito", "", map[string]any{"token_use": "access"}, ErrRejected},
		{"with what binds it to its sign-in", "generic", "", map[string]any{"at_hash": token.HalfHash("RS256", canaryAccess)}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			var header map[jose.HeaderKey]any
			if tc.typ != "" {
				header = map[jose.HeaderKey]any{"typ": tc.typ}
			}
			p := f.client(func(c *Config) { c.Profile, c.AcceptedClients = tc.profile, []string{"mobile"} })
			raw := sign(t, "k1", jose.RS256, rsaKey(), header, merged(f.idClaims(), tc.claims))
			s, err := p.VerifyIDToken(background, presented(t, raw).Read)
			mustBe(t, err, tc.want)
			if err != nil {
				return
			}
			for _, name := range []string{"nonce", "at_hash", "auth_time"} { // F.3 binds by them
				if want := merged(f.idClaims(), tc.claims)[name]; s.Claims[name] != want {
					t.Errorf("%s is %v, want %v", name, s.Claims[name], want)
				}
			}
			if want := s.Claims.Audience()[0]; s.Client != want || s.Algorithm != "RS256" || s.Expiry.Unix() != s.Claims["exp"] {
				t.Errorf("client %q, algorithm %q, expiry %v", s.Client, s.Algorithm, s.Expiry)
			}
		})
	}
}

// presented is a JWT as the exchange hands it on.
func presented(t *testing.T, raw string) Presented {
	t.Helper()
	read, err := token.Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	return Presented{Raw: text(raw), Read: read}
}

func TestKeysThatCannotBeHadMeanCannotTell(t *testing.T) {
	f := newIDP(t)
	f.route("/jwks", status(500, ""))
	_, err := f.client().VerifyAccessToken(background, presented(t, f.sign(f.accessClaims())))
	mustBe(t, err, ErrUnavailable)
}

func TestClaimsAreSpelledOneWay(t *testing.T) {
	cognito, err := findProfile("cognito", nil)
	if err != nil {
		t.Fatal(err)
	}
	given := token.Claims{
		"scope": "openid orders/read orders/read", "cognito:groups": []any{"support"}, "email_verified": "true", "phone_number_verified": "false", "nonce": "n",
	}
	access, identity := cognito.access(given), cognito.identity(given)
	if got := access.Strings("scope"); !slices.Equal(got, []string{"openid", "orders/read"}) {
		t.Errorf("scope %q", got)
	}
	for _, c := range []token.Claims{access, identity} {
		if !slices.Equal(c.Strings("groups"), []string{"support"}) || !slices.Equal(c.Strings("cognito:groups"), []string{"support"}) {
			t.Errorf("groups %v, beside %v", c["groups"], c["cognito:groups"])
		}
		if c["email_verified"] != true || c["phone_number_verified"] != false {
			t.Errorf("verified flags: %v %v", c["email_verified"], c["phone_number_verified"])
		}
	}
	if given["groups"] != nil || given["email_verified"] != "true" || given["nonce"] == nil {
		t.Error("what was given is changed")
	}
	generic := profiles[0]
	if got := generic.access(token.Claims{"scp": []any{"a", "b c"}}); !slices.Equal(got.Strings("scope"), []string{"a", "b", "c"}) {
		t.Errorf("scp: %v", got["scope"])
	}
	if got, ok := generic.access(token.Claims{})["scope"].([]any); !ok || len(got) != 0 {
		t.Errorf("no scope is not an empty list")
	}
}

// What is no single address satisfies no rule about a domain (oauth2-proxy, CVE-2026-40574).
func TestE32_P11_AnEmailIsOneAddressOrNone(t *testing.T) {
	for email, kept := range map[any]bool{
		"alice@example.com": true, "alice.b+orders@example.com": true, "a..b@example.com": true, "o'brien@EXAMPLE.com": true, "zoë@exämple.com": true,
		"evil%other.example@example.com": true, // one address of example.com, whatever it does with it
		"a@evil.example@example.com":     false, `"a@evil.example"@example.com`: false, `"a b"@example.com`: false, `"a"@example.com`: false, `a\@evil.example@example.com`: false,
		"a@evil.example,b@example.com": false, "a@evil.example b@example.com": false, "a(@evil.example)@example.com": false, "a(c)@example.com": false,
		"<a@evil.example>@example.com": false, "<alice@example.com>": false, "Alice <alice@example.com>": false, "a@evil.example\n@example.com": false,
		"@example.com": false, "alice@": false, "alice": false, "": false, " alice@example.com": false, "alice@example.com ": false, "a\x00@example.com": false,
		"a@evil.example>@example.com": false, "@evil.example:a@example.com": false, "=?utf-8?q?a=40evil.example?=@example.com": false,
		"a\u00a0b@example.com": false, "a\u200b@example.com": false, "a@[192.0.2.1]": false, "\xff@example.com": false, int64(7): false, nil: false, true: false,
	} {
		for name, c := range map[string]token.Claims{
			"identity": profiles[0].identity(token.Claims{"sub": "u", "email": email, "email_verified": true}),
			"access":   profiles[0].access(token.Claims{"sub": "u", "email": email, "email_verified": "true"}),
		} {
			got, there := c["email"]
			if there != kept || kept && got != email || c["email_verified"] != kept {
				t.Errorf("%s, %q: email %v, email_verified %v", name, email, got, c["email_verified"])
			}
		}
	}
	if c := profiles[0].identity(token.Claims{"email": "a@b@c"}); len(c) != 0 {
		t.Errorf("made up: %v", c)
	}
	if c := profiles[0].identity(token.Claims{"email_verified": true}); c["email_verified"] != true {
		t.Errorf("nothing was said of an address, and yet: %v", c)
	}
}

func TestAutoKnowsAProviderByItsIssuer(t *testing.T) {
	for issuer, want := range map[string]string{
		"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_EXAMPLE":        "cognito",
		"https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_X":         "cognito",
		"https://cognito-idp.eu-west-1.amazonaws.com.evil.example/eu-west-1_X": "generic",
		"https://idp.example/cognito-idp.eu-west-1.amazonaws.com":              "generic",
	} {
		p, err := New(Config{Issuer: issuer, ClientID: clientID, ClientSecret: "x"})
		if err != nil || p.profile.name != want {
			t.Errorf("%s: %v, want %s (%v)", issuer, p.profile.name, want, err)
		}
	}
}

func TestB3_14_UserInfoIsAboutTheSamePerson(t *testing.T) {
	jwt := func(f *idp, change map[string]any) http.HandlerFunc {
		return body("application/jwt; charset=utf-8", f.sign(merged(map[string]any{
			"iss": f.issuer, "aud": clientID, "sub": subject, "exp": f.now.Unix() + 60, "email": "u@example.com",
		}, change)))
	}
	for _, tc := range []struct {
		name   string
		answer func(f *idp) http.HandlerFunc
		want   error
	}{
		{"JSON", nil, nil},
		{"JSON about another", func(*idp) http.HandlerFunc { return body("application/json", `{"sub":"another","email":"x"}`) }, ErrRejected},
		{"JSON about nobody", func(*idp) http.HandlerFunc { return body("application/json", `{"email":"x"}`) }, ErrRejected},
		{"JSON with two subs", func(*idp) http.HandlerFunc { return body("application/json", `{"sub":"another","sub":"`+subject+`"}`) }, ErrNonsense},
		{"HTML", func(*idp) http.HandlerFunc { return body("text/html", `<html>`) }, ErrNonsense},
		{"401, the access token is for a resource alone", func(*idp) http.HandlerFunc { return status(401, `{"error":"invalid_token"}`) }, ErrRefused},
		{"403, it lacks the scope", func(*idp) http.HandlerFunc { return status(403, `{"error":"insufficient_scope"}`) }, ErrRefused},
		{"404", func(*idp) http.HandlerFunc { return status(404, ``) }, ErrNonsense},
		{"503", func(*idp) http.HandlerFunc { return status(503, ``) }, ErrUnavailable},
		{"a JWT", func(f *idp) http.HandlerFunc { return jwt(f, nil) }, nil},
		{"a JWT of another issuer", func(f *idp) http.HandlerFunc { return jwt(f, map[string]any{"iss": "https://evil.example"}) }, ErrRejected},
		{"a JWT for another client", func(f *idp) http.HandlerFunc { return jwt(f, map[string]any{"aud": "other"}) }, ErrRejected},
		{"a JWT about another", func(f *idp) http.HandlerFunc { return jwt(f, map[string]any{"sub": "another"}) }, ErrRejected},
		{"a JWT with another key", func(f *idp) http.HandlerFunc {
			return body("application/jwt", sign(f.t, "k1", jose.RS256, otherRSA(), nil, map[string]any{"iss": f.issuer, "aud": clientID, "sub": subject, "exp": f.now.Unix() + 60}))
		}, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			if tc.answer != nil {
				f.route("/userinfo", tc.answer(f))
			}
			claims, err := f.client().UserInfo(background, canaryAccess, subject)
			mustBe(t, err, tc.want)
			if err == nil && claims.Text("email") != "u@example.com" {
				t.Errorf("claims: %v", claims)
			}
			if tc.name == "JSON" && claims["email_verified"] != true {
				t.Errorf("email_verified is %v", claims["email_verified"])
			}
		})
	}
}

func TestUserInfoIsWantedForWhatTheIDTokenLacks(t *testing.T) {
	for _, tc := range []struct {
		name    string
		setting string
		has     bool
		needed  []string
		want    bool
	}{
		{"something is missing", "auto", true, []string{"sub", "email"}, true},
		{"nothing is missing", "auto", true, []string{"sub"}, false},
		{"nothing is needed", "", true, nil, false},
		{"never", "never", true, []string{"email"}, false},
		{"the provider has none", "auto", false, []string{"email"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			if !tc.has {
				delete(f.meta, "userinfo_endpoint")
			}
			p := f.client(func(c *Config) { c.UserInfo = tc.setting })
			if _, err := p.discovered(background); err != nil {
				t.Fatal(err)
			}
			if got := p.WantsUserInfo(token.Claims{"sub": subject}, tc.needed); got != tc.want {
				t.Errorf("wanted: %v", got)
			}
		})
	}
}
