package idptest_test

import (
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"cloakroom/internal/idptest"
)

func TestCognitoTellsTheEmailInTheIDTokenOnly(t *testing.T) {
	p := meet(t, idptest.Config{}, "email", "orders-api/read")
	tokens := p.tokens("sam")

	id, claims := p.identity(tokens)
	if claims["email"] != "sam@example.com" || claims["email_verified"] != true || claims["token_use"] != "id" || id.Nonce != "n-1" {
		t.Errorf("ID token: %v", claims)
	}
	if err := id.VerifyAccessToken(tokens.AccessToken); err != nil {
		t.Errorf("at_hash: %v", err)
	}
	access := p.access(tokens.AccessToken)
	for name, want := range map[string]any{
		"scope": "openid email orders-api/read", "client_id": p.oauth.ClientID, "token_use": "access", "sub": claims["sub"],
		"origin_jti": claims["origin_jti"], "event_id": claims["event_id"], "auth_time": claims["auth_time"], "version": 2.0,
	} {
		if access[name] != want {
			t.Errorf("access token: %s is %v, want %v", name, access[name], want)
		}
	}
	for _, name := range []string{"email", "aud", "email_verified", "nonce"} {
		if _, has := access[name]; has {
			t.Errorf("a Cognito's access token has no %s", name)
		}
	}
	if groups, _ := access["cognito:groups"].([]any); !slices.Equal(groups, []any{"support"}) {
		t.Errorf("groups: %v", access["cognito:groups"])
	}
	if tokens.Extra("scope") != nil {
		t.Error("a Cognito does not repeat the scope in its answer")
	}
	raw, _ := tokens.Extra("id_token").(string)
	if header(t, raw)["kid"] == header(t, tokens.AccessToken)["kid"] {
		t.Error("a Cognito signs the two tokens with two keys")
	}
}

func TestCognitoSaysEmailVerifiedAsTextInUserInfo(t *testing.T) {
	p := meet(t, idptest.Config{}, "email")
	info, err := p.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(p.tokens("alice")))
	if err != nil {
		t.Fatal(err)
	}
	claims := map[string]any{}
	if err := info.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if claims["email_verified"] != "true" || claims["email"] != "alice@example.com" {
		t.Errorf("userinfo: %v", claims)
	}
}

func TestGenericKeepsTheEmailForUserInfo(t *testing.T) {
	p := meet(t, idptest.Config{Persona: idptest.Generic, OpaqueAccess: true, EmailInUserInfo: true}, "email", "offline_access")
	verifier := oauth2.GenerateVerifier()
	back := p.signIn(verifier, "alice")
	if back.Get("iss") != p.idp.Issuer() {
		t.Errorf("RFC 9207 iss: %q", back.Get("iss"))
	}
	tokens, err := p.oauth.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(tokens.AccessToken, ".") {
		t.Error("the access token is to be opaque")
	}
	if _, claims := p.identity(tokens); claims["email"] != nil {
		t.Errorf("ID token: %v", claims)
	}
	info, err := p.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens))
	if err != nil || info.Email != "alice@example.com" || !info.EmailVerified {
		t.Errorf("userinfo: %+v, %v", info, err)
	}
	if tokens.Extra("scope") != "openid email offline_access" || tokens.RefreshToken == "" {
		t.Error("the answer is to hold the scope and a refresh token")
	}
}

func TestGenericGivesNoRefreshTokenUnasked(t *testing.T) {
	if p := meet(t, idptest.Config{Persona: idptest.Generic}); p.tokens("alice").RefreshToken != "" {
		t.Error("offline_access was not asked for")
	}
}

func TestCodeIsBound(t *testing.T) {
	p := meet(t, idptest.Config{})
	good := oauth2.GenerateVerifier()
	for name, try := range map[string]struct {
		redirect, verifier string
	}{
		"to its redirect_uri":   {"http://app.example.com/other", good},
		"to its code challenge": {callback, oauth2.GenerateVerifier()},
		"with a verifier":       {callback, ""},
	} {
		t.Run(name, func(t *testing.T) {
			back := p.signIn(good, "alice")
			oauth := p.oauth
			oauth.RedirectURL = try.redirect
			_, err := oauth.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(try.verifier))
			if code := oauthError(t, err); code != "invalid_grant" {
				t.Errorf("refused with %q", code)
			}
		})
	}
}

func TestCodeSeenTwiceEndsWhatItGave(t *testing.T) {
	p := meet(t, idptest.Config{})
	verifier := oauth2.GenerateVerifier()
	code := p.signIn(verifier, "alice").Get("code")
	tokens, err := p.oauth.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.oauth.Exchange(t.Context(), code, oauth2.VerifierOption(verifier)); oauthError(t, err) != "invalid_grant" {
		t.Error("a code is good for one redemption")
	}
	if _, err := p.renew(tokens.RefreshToken); oauthError(t, err) != "invalid_grant" {
		t.Error("its refresh token must be gone")
	}
}

func TestWrongClientSecret(t *testing.T) {
	for _, style := range []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams} {
		p := meet(t, idptest.Config{})
		p.oauth.Endpoint.AuthStyle = style
		p.tokens("alice")
		p.oauth.ClientSecret = "wrong"
		if _, err := p.renew("x"); oauthError(t, err) != "invalid_client" {
			t.Errorf("style %v: %v", style, err)
		}
	}
}

func TestRefreshKeepsTheFamilyAndShowsNewGroups(t *testing.T) {
	p := meet(t, idptest.Config{}, "email")
	tokens := p.tokens("alice")
	p.idp.Change("alice", func(u *idptest.User) { u.Groups = []string{"customers", "beta"} })
	fresh, err := p.renew(tokens.RefreshToken)
	if err != nil {
		t.Fatal(err)
	}
	was, is := p.access(tokens.AccessToken), p.access(fresh.AccessToken)
	if was["origin_jti"] != is["origin_jti"] || was["jti"] == is["jti"] {
		t.Errorf("origin_jti is kept, jti is not: %v, %v", was, is)
	}
	if groups, _ := is["cognito:groups"].([]any); len(groups) != 2 {
		t.Errorf("groups: %v", groups)
	}
	if id, claims := p.identity(fresh); id.Nonce != "" || claims["email"] != "alice@example.com" {
		t.Errorf("ID token: %v", claims)
	}
	if fresh.RefreshToken != tokens.RefreshToken {
		t.Error("without rotation there is no new refresh token")
	}
	p.idp.Change("alice", func(u *idptest.User) { u.Disabled = true })
	if _, err := p.renew(tokens.RefreshToken); oauthError(t, err) != "invalid_grant" {
		t.Error("a disabled user's refresh is to be refused")
	}
}

func TestRotationWithGraceAndReuse(t *testing.T) {
	var now atomic.Int64
	now.Store(time.Now().Unix())
	p := meet(t, idptest.Config{
		RotateRefresh: true, ReuseGrace: 10 * time.Second, Now: func() time.Time { return time.Unix(now.Load(), 0) },
	})
	first := p.tokens("alice").RefreshToken
	second, err := p.renew(first)
	if err != nil || second.RefreshToken == first {
		t.Fatalf("no rotation: %v", err)
	}
	now.Add(9)
	if _, err := p.renew(first); err != nil {
		t.Errorf("within the grace: %v", err)
	}
	now.Add(1)
	if _, err := p.renew(first); oauthError(t, err) != "invalid_grant" {
		t.Error("after the grace the old token is to be refused")
	}
	if _, err := p.renew(second.RefreshToken); oauthError(t, err) != "invalid_grant" {
		t.Error("reuse ends the family")
	}
}

func TestRevocation(t *testing.T) {
	p := meet(t, idptest.Config{})
	tokens := p.tokens("alice")
	for token, status := range map[string]int{tokens.AccessToken: 400, tokens.RefreshToken: 200, "unknown": 200} {
		if got := p.post(idptest.Revoke, url.Values{"token": {token}}); got != status {
			t.Errorf("answered %d, want %d", got, status)
		}
	}
	if _, err := p.provider.UserInfo(t.Context(), oauth2.StaticTokenSource(tokens)); err == nil {
		t.Error("userinfo takes a revoked token")
	}
	p.access(tokens.AccessToken) // whose signature still holds until it expires
}

func TestLogoutHasEachPersonasManners(t *testing.T) {
	for name, try := range map[string]struct {
		persona  idptest.Persona
		query    url.Values
		status   int
		location string
	}{
		"Cognito by client_id and logout_uri": {
			idptest.Cognito, url.Values{"client_id": {"1example23456789"}, "logout_uri": {after}}, 302, after,
		},
		"Cognito does not know OpenID's parameters": {
			idptest.Cognito, url.Values{"client_id": {"1example23456789"}, "post_logout_redirect_uri": {after}}, 400, "",
		},
		"Cognito without client_id": {idptest.Cognito, url.Values{"logout_uri": {after}}, 400, ""},
		"Generic with state": {
			idptest.Generic,
			url.Values{"client_id": {"1example23456789"}, "post_logout_redirect_uri": {after}, "state": {"x"}}, 302, after + "?state=x",
		},
		"Generic to an address that is not registered": {
			idptest.Generic, url.Values{"client_id": {"1example23456789"}, "post_logout_redirect_uri": {callback}}, 400, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, idptest.Config{Persona: try.persona})
			p.tokens("alice")
			home, err := url.Parse(p.idp.URL(idptest.Logout))
			if err != nil {
				t.Fatal(err)
			}
			cookies := p.browser.Jar.Cookies(home)
			status, location := p.get(p.idp.URL(idptest.Logout) + "?" + try.query.Encode())
			if status != try.status || location != try.location {
				t.Errorf("answered %d to %q", status, location)
			}
			// Signed out there means that prompt=none cannot succeed, even with the old cookie, and the reverse.
			p.browser.Jar.SetCookies(home, cookies)
			_, back := p.get(p.oauth.AuthCodeURL("s", oauth2.S256ChallengeOption("v"), oauth2.SetAuthURLParam("prompt", "none")))
			if strings.Contains(back, "login_required") != (try.status == 302) {
				t.Errorf("afterwards prompt=none leads to %s", back)
			}
		})
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	p := meet(t, idptest.Config{})
	for name, try := range map[string]struct {
		param, value, want string
	}{
		"a scope nobody knows":     {"scope", "openid nothing", "error=invalid_scope"},
		"a plain challenge":        {"code_challenge_method", "plain", "error=invalid_request"},
		"another flow":             {"response_type", "token", "error=unsupported_response_type"},
		"an unregistered redirect": {"redirect_uri", "http://evil.example.com/cb", ""},
		"an unknown client":        {"client_id", "x", ""},
	} {
		t.Run(name, func(t *testing.T) {
			status, to := p.get(p.oauth.AuthCodeURL("s", oauth2.S256ChallengeOption("v"), oauth2.SetAuthURLParam(try.param, try.value)))
			if try.want == "" {
				if status != 400 || to != "" {
					t.Errorf("answered %d to %q, want a page", status, to)
				}
			} else if !strings.HasPrefix(to, callback) || !strings.Contains(to, try.want) {
				t.Errorf("sent to %q", to)
			}
		})
	}
}

func TestSecondSignInNeedsNoPassword(t *testing.T) {
	p := meet(t, idptest.Config{})
	p.tokens("alice")
	shown := p.idp.Count(idptest.Login)
	p.tokens("sam") // is not asked: the browser is alice's
	if p.idp.Count(idptest.Login) != shown {
		t.Error("the page is shown again")
	}
	p.signIn(oauth2.GenerateVerifier(), "alice", oauth2.SetAuthURLParam("prompt", "login"))
	if p.idp.Count(idptest.Login) == shown {
		t.Error("prompt=login shows the page")
	}
}
