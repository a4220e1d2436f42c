package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange"
	"cloakroom/internal/idptest"
	"cloakroom/token"
)

// pool is a provider, and what its own app was given at a sign-in.
type pool struct {
	*idptest.Provider
	app idptest.Client
}

func newPool(t *testing.T, cfg idptest.Config) pool {
	t.Helper()
	p := pool{app: idptest.Client{ID: "app", Secret: "app-secret"}}
	cfg.Clients = []idptest.Client{p.app, {ID: "another", Secret: "another-secret"}}
	p.Provider = idptest.New(cfg)
	p.Start(t)
	return p
}

func (p pool) signIn(t *testing.T, client, user string) (access, id string) {
	t.Helper()
	flow := oauth2.Config{
		ClientID: client, ClientSecret: client + "-secret", RedirectURL: "http://app.example.com/cb", Scopes: []string{"openid", "email", "orders-api/read"},
		Endpoint: oauth2.Endpoint{AuthURL: p.URL(idptest.Authorize), TokenURL: p.URL(idptest.Token), AuthStyle: oauth2.AuthStyleInHeader},
	}
	verifier := oauth2.GenerateVerifier()
	back, err := p.SignIn(t.Context(), http.DefaultClient, flow.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier)), user, user)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	got, err := flow.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	id, _ = got.Extra("id_token").(string)
	return got.AccessToken, id
}

// services is the token endpoint of a house with that provider.
func (p pool) services(t *testing.T, settings string) func(form url.Values) (status int, claims token.Claims) {
	t.Helper()
	file, err := config.Parse("c.yaml", fmt.Sprintf(`
public: {url: "http://localhost:8080"}
internal: {url: "http://localhost:8081"}
providers: {main: {issuer: %q, client_id: app, client_secret: app-secret, %s}}
exchange:
  audiences: {orders: {claims: {email: id.email, groups: id.groups, nonce: id.nonce, at_hash: id.at_hash}}}
  clients: {gateway: {auth: {secret: gateway-secret}, audiences: [orders]}}
`, p.Issuer(), settings), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	h, err := assemble(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.store.Close() })
	handler := h.services.Handler()
	return func(form url.Values) (int, token.Claims) {
		form.Set("grant_type", string(exchange.TokenExchange))
		form.Set("subject_token_type", string(exchange.AccessToken))
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.SetBasicAuth("gateway", "gateway-secret")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, r)
		raw, err := io.ReadAll(rec.Body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := token.DecodeClaims(raw)
		if err != nil {
			t.Fatal(err)
		}
		if rec.Code != http.StatusOK {
			return rec.Code, body
		}
		_, claims, err := token.Verify(t.Context(), body.Text("access_token"), token.Rules{Issuer: "http://localhost:8081", Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}}, h.keys, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return rec.Code, claims
	}
}

// F.3: what binds the two tokens of a sign-in is checked between the real provider's tokens, each alone.
func TestTheJoinIsBoundByWhatTheProviderSigned(t *testing.T) {
	p := newPool(t, idptest.Config{})
	exchangeAt := p.services(t, "profile: cognito")
	access, id := p.signIn(t, "app", "alice")
	_, later := p.signIn(t, "app", "alice")
	_, sams := p.signIn(t, "app", "sam")
	_, anothers := p.signIn(t, "another", "alice")
	signed := func(change func(token.Claims)) string {
		read, err := token.Read(id)
		if err != nil {
			t.Fatal(err)
		}
		claims := read.Claims()
		change(claims)
		return p.Sign(idptest.IDToken, nil, claims)
	}
	for name, tc := range map[string]struct {
		id   string
		want int
	}{
		"of the same sign-in":                     {id, http.StatusOK},
		"of another sign-in of the same person":   {later, http.StatusBadRequest},
		"of another person":                       {sams, http.StatusBadRequest},
		"of another app client":                   {anothers, http.StatusBadRequest},
		"at_hash alone is another's":              {signed(func(c token.Claims) { c["at_hash"] = token.HalfHash("RS256", "x") }), http.StatusBadRequest},
		"origin_jti alone is another's":           {signed(func(c token.Claims) { c["origin_jti"] = "x" }), http.StatusBadRequest},
		"auth_time alone is another's":            {signed(func(c token.Claims) { c["auth_time"] = c["auth_time"].(int64) - 60 }), http.StatusBadRequest},
		"without at_hash, which then cannot bind": {signed(func(c token.Claims) { delete(c, "at_hash") }), http.StatusOK},
		"the access token in its place":           {access, http.StatusBadRequest},
		"no token at all":                         {"x", http.StatusBadRequest},
	} {
		status, claims := exchangeAt(url.Values{"subject_token": {access}, "subject_id_token": {tc.id}})
		if status != tc.want || status != http.StatusOK && claims["error"] != "invalid_request" {
			t.Errorf("%s: %d %v", name, status, claims)
		}
		if status == http.StatusOK && (claims["email"] != "alice@example.com" || claims["nonce"] != nil || claims["at_hash"] != nil) {
			t.Errorf("%s: %v", name, claims)
		}
	}
}

func TestAnOpaqueTokenIsExchangedByUserInfo(t *testing.T) {
	p := newPool(t, idptest.Config{Persona: idptest.Generic, OpaqueAccess: true, EmailInUserInfo: true})
	exchangeAt := p.services(t, "access_token_validation: userinfo")
	access, id := p.signIn(t, "app", "alice")
	other, _ := p.signIn(t, "app", "alice")
	anothersAccess, anothersID := p.signIn(t, "another", "alice")
	for _, tc := range []struct {
		name string
		form url.Values
		want int
		asks int
	}{
		{"without the ID token nothing tells its client", url.Values{"subject_token": {access}}, http.StatusBadRequest, 0},
		{"with that of another sign-in", url.Values{"subject_token": {other}, "subject_id_token": {id}}, http.StatusBadRequest, 0},
		{"C-045 of another client, with its own ID token", url.Values{"subject_token": {anothersAccess}, "subject_id_token": {anothersID}}, http.StatusBadRequest, 0},
		{"C-045 of another client, with our ID token", url.Values{"subject_token": {anothersAccess}, "subject_id_token": {id}}, http.StatusBadRequest, 0},
		{"with the ID token of its sign-in", url.Values{"subject_token": {access}, "subject_id_token": {id}}, http.StatusOK, 1},
	} {
		asked := p.Count(idptest.UserInfo)
		status, claims := exchangeAt(tc.form)
		if status != tc.want || p.Count(idptest.UserInfo)-asked != tc.asks {
			t.Errorf("%s: %d %v, %d requests", tc.name, status, claims, p.Count(idptest.UserInfo)-asked)
		}
		if status != http.StatusOK {
			continue
		}
		iat, _ := claims.Time("iat")
		exp, _ := claims.Time("exp")
		if claims["email"] != "alice@example.com" || claims["scope"] != nil || exp.Sub(iat).Seconds() > 60 || claims["idp"] != p.Issuer() {
			t.Errorf("%s: %v", tc.name, claims)
		}
	}
}

func TestAnOpaqueTokenIsExchangedByIntrospection(t *testing.T) {
	p := newPool(t, idptest.Config{Persona: idptest.Generic, OpaqueAccess: true})
	exchangeAt := p.services(t, "access_token_validation: introspection")
	access, id := p.signIn(t, "app", "alice")
	anothers, _ := p.signIn(t, "another", "alice")
	status, claims := exchangeAt(url.Values{"subject_token": {access}, "subject_id_token": {id}})
	if status != http.StatusOK || claims["scope"] != "orders-api/read" || claims["email"] != "alice@example.com" || claims["auth_time"] == nil {
		t.Errorf("%d %v", status, claims)
	}
	if status, claims = exchangeAt(url.Values{"subject_token": {anothers}}); status != http.StatusBadRequest {
		t.Errorf("C-045: %d %v", status, claims)
	}
	p.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(500, ""), idptest.Introspect)})
	fresh, _ := p.signIn(t, "app", "sam")
	if status, claims = exchangeAt(url.Values{"subject_token": {fresh}}); status != http.StatusServiceUnavailable || claims["error"] != "temporarily_unavailable" {
		t.Errorf("C-151: %d %v", status, claims)
	}
}

// B4.5, GHSA-7qjx-gp9h-65qj: whom the provider's `allow` turns away at sign-in, the exchange turns away too.
func TestB4_5_WhoMayNotSignInIsNotExchanged(t *testing.T) {
	p := newPool(t, idptest.Config{})
	exchangeAt := p.services(t, `profile: cognito, allow: 'id.email == "alice@example.com"'`)
	for user, want := range map[string]int{"alice": http.StatusOK, "sam": http.StatusBadRequest} {
		access, id := p.signIn(t, "app", user)
		if status, said := exchangeAt(url.Values{"subject_token": {access}, "subject_id_token": {id}}); status != want {
			t.Errorf("%s: %d %v", user, status, said)
		}
	}
}
