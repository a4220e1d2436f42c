package idptest_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"cloakroom/internal/idptest"
)

const (
	callback = "http://app.example.com/cb"
	after    = "http://app.example.com/bye"
)

// party is an independent client: go-oidc and x/oauth2, as anyone would use them.
type party struct {
	*testing.T
	idp      *idptest.Provider
	provider *oidc.Provider
	oauth    oauth2.Config
	browser  *http.Client
}

func meet(t *testing.T, cfg idptest.Config, scopes ...string) party {
	t.Helper()
	client := idptest.DefaultClient()
	client.RedirectURIs, client.LogoutURIs = []string{callback}, []string{after}
	cfg.Clients = []idptest.Client{client}
	idp := idptest.New(cfg)
	provider, err := oidc.NewProvider(t.Context(), idp.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return party{
		T: t, idp: idp, provider: provider, browser: &http.Client{Jar: jar},
		oauth: oauth2.Config{
			ClientID: client.ID, ClientSecret: client.Secret, Endpoint: provider.Endpoint(),
			RedirectURL: callback, Scopes: append([]string{"openid"}, scopes...),
		},
	}
}

// signIn goes to the provider and back, and returns the callback's parameters.
func (p party) signIn(verifier, user string, opts ...oauth2.AuthCodeOption) url.Values {
	p.Helper()
	opts = append(opts, oauth2.S256ChallengeOption(verifier), oidc.Nonce("n-1"))
	back, err := p.idp.SignIn(p.Context(), p.browser, p.oauth.AuthCodeURL("s-1", opts...), user, user)
	if err != nil {
		p.Fatal(err)
	}
	if !strings.HasPrefix(back, callback+"?") {
		p.Fatalf("sent to %s", back)
	}
	u, err := url.Parse(back)
	if err != nil {
		p.Fatal(err)
	}
	return u.Query()
}

func (p party) tokens(user string) *oauth2.Token {
	p.Helper()
	verifier := oauth2.GenerateVerifier()
	back := p.signIn(verifier, user)
	tokens, err := p.oauth.Exchange(p.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		p.Fatal(err)
	}
	return tokens
}

func (p party) renew(refresh string) (*oauth2.Token, error) {
	return p.oauth.TokenSource(p.Context(), &oauth2.Token{RefreshToken: refresh}).Token()
}

func (p party) identity(tokens *oauth2.Token) (*oidc.IDToken, map[string]any) {
	p.Helper()
	raw, _ := tokens.Extra("id_token").(string)
	id, err := p.provider.Verifier(&oidc.Config{ClientID: p.oauth.ClientID}).Verify(p.Context(), raw)
	if err != nil {
		p.Fatal(err)
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		p.Fatal(err)
	}
	return id, claims
}

// access verifies an access token as a JWT that has no audience to check.
func (p party) access(raw string) map[string]any {
	p.Helper()
	at, err := p.provider.Verifier(&oidc.Config{SkipClientIDCheck: true}).Verify(p.Context(), raw)
	if err != nil {
		p.Fatal(err)
	}
	claims := map[string]any{}
	if err := at.Claims(&claims); err != nil {
		p.Fatal(err)
	}
	return claims
}

// oauthError returns the `error` of a refusal.
func oauthError(t *testing.T, err error) string {
	t.Helper()
	refusal, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		t.Fatalf("want an OAuth error, have %v", err)
	}
	return refusal.ErrorCode
}

func (p party) post(endpoint idptest.Endpoint, form url.Values) int {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodPost, p.idp.URL(endpoint), strings.NewReader(form.Encode()))
	if err != nil {
		p.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(p.oauth.ClientID, p.oauth.ClientSecret)
	return p.status(req)
}

func (p party) get(at string) (status int, location string) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, at, nil)
	if err != nil {
		p.Fatal(err)
	}
	client := *p.browser
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := client.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, resp.Header.Get("Location")
}

func (p party) status(req *http.Request) int {
	p.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func header(t *testing.T, raw string) map[string]any {
	t.Helper()
	first, _, _ := strings.Cut(raw, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	if err := json.Unmarshal(decoded, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
