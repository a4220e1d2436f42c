package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/pkg/client/rp"
	"github.com/zitadel/oidc/v3/pkg/client/tokenexchange"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Nothing between the person and the API is ours but Cloakroom: a provider, and the clients of the exchange that services
// would use, in Go and in Node.
func TestClientsNobodyHereWroteUseTheExchange(t *testing.T) {
	t.Parallel()
	app, api := newCloakroom(t), startAPI(t)
	provider := startOIDCProvider(t, app, "jwt")
	writeRSAKey(t, app)
	app.configure(t, "memory:", provider.issuer, fmt.Sprintf(`
    scopes: [openid, email, profile, 'orders:read']
routes:
  - {path: /api/orders, upstream: "%s", audience: orders}
  - {path: /api/raw, upstream: "%s", token: access}
  - {path: /, spa: %s}
exchange:
  signing: {rsa_key_files: [rsa.pem]}
  defaults: {claims: {email: id.email}}
  audiences:
    orders: {scopes: {orders:read: 'granted("orders:read")', orders:write: 'granted("orders:write")'}}
    ledger: {algorithm: EdDSA}
    archive: {algorithm: RS256}
    payments: {}
  clients:
    gateway: {auth: {secret: "s e:c%%ret+é"}, audiences: [orders, ledger, archive], subject_types: [access_token, session]}
    orders: {auth: {secret: orders-secret}, audiences: [payments], actor: optional}
`, api.URL, api.URL, spa(t)))
	app.serve(t)
	cookie := signIn(t, app)
	seen := map[string]string{}
	for _, path := range []string{"/api/raw", "/api/orders"} {
		if answer, body := app.get(t, path, cookie); answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, answer.StatusCode, body)
		}
		seen[path], _ = api.last(t)
	}
	var id string
	for _, one := range provider.issued() {
		if part(one, 1)["nonce"] != nil {
			id = one
		}
	}
	access, minted := seen["/api/raw"], seen["/api/orders"]
	if part(access, 0)["typ"] != "at+jwt" || id == "" {
		t.Fatalf("the provider's tokens: %v, %q", part(access, 0), id)
	}
	t.Run("zitadel", func(t *testing.T) { zitadelExchanges(t, app, provider.issuer, access, minted) })
	t.Run("node", func(t *testing.T) { nodeExchanges(t, app, provider.issuer, access, id, cookie) })
}

// zitadelExchanges: the client of zitadel/oidc, which sends what is not set as empty parameters (C-004), and its verifier.
func zitadelExchanges(t *testing.T, app *cloakroom, idp, access, minted string) {
	te, err := tokenexchange.NewTokenExchangerClientCredentials(t.Context(), app.issuer(), "gateway", secretsOf["gateway"], tokenexchange.WithHTTPClient(app.client))
	if err != nil {
		t.Fatal(err)
	}
	verifier := op.NewAccessTokenVerifier(app.issuer(), rp.NewRemoteKeySet(app.client, app.issuer()+"/.well-known/jwks.json"), op.WithSupportedAccessTokenSigningAlgorithms("ES256", "EdDSA", "RS256"))
	for _, audience := range []string{"orders", "ledger", "archive"} {
		got, err := tokenexchange.ExchangeToken(t.Context(), te, access, oidc.AccessTokenType, "", "", nil, []string{audience}, nil, "")
		if err != nil {
			t.Errorf("%s: %v", audience, err)
			continue
		}
		if got.IssuedTokenType != oidc.AccessTokenType || got.TokenType != oidc.BearerToken || got.ExpiresIn < 200 || got.RefreshToken != "" || got.Scopes.String() != "orders:read" {
			t.Errorf("%s: %+v", audience, got)
		}
		claims, err := op.VerifyAccessToken[*oidc.AccessTokenClaims](t.Context(), got.AccessToken, verifier)
		if err != nil {
			t.Errorf("%s: its verifier refuses the token: %v", audience, err)
			continue
		}
		if claims.Subject != "alice" || claims.Audience[0] != audience || claims.ClientID != "gateway" || part(got.AccessToken, 1)["idp"] != idp {
			t.Errorf("%s: %+v", audience, claims)
		}
	}
	orders, err := tokenexchange.NewTokenExchangerClientCredentials(t.Context(), app.issuer(), "orders", "orders-secret", tokenexchange.WithHTTPClient(app.client))
	if err != nil {
		t.Fatal(err)
	}
	delegated, err := tokenexchange.ExchangeToken(t.Context(), orders, minted, oidc.AccessTokenType, access, oidc.AccessTokenType, nil, []string{"payments"}, []string{"orders:read"}, oidc.JWTTokenType)
	if err != nil {
		t.Fatal(err)
	}
	act, _ := part(delegated.AccessToken, 1)["act"].(map[string]any)
	if delegated.IssuedTokenType != oidc.JWTTokenType || act["sub"] != "alice" || act["iss"] != idp {
		t.Errorf("%+v, act %v", delegated, act)
	}
	stranger, err := tokenexchange.NewTokenExchangerClientCredentials(t.Context(), app.issuer(), "gateway", "wrong", tokenexchange.WithHTTPClient(app.client))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		by                 tokenexchange.TokenExchanger
		subject            string
		audience           []string
		scopes             []string
		requested          oidc.TokenType
		code               string
		describedWithoutIt string
	}{
		"a bad subject token":       {te, access[:len(access)-6] + "AAAAAA", []string{"orders"}, nil, "", "invalid_request", access},
		"an unknown audience":       {te, access, []string{"nowhere"}, nil, "", "invalid_target", "nowhere"},
		"too much scope":            {te, access, []string{"orders"}, []string{"orders:read", "orders:write"}, "", "invalid_scope", "orders:write"},
		"a type that is not issued": {te, access, []string{"orders"}, nil, oidc.IDTokenType, "invalid_request", ""},
		"a wrong secret":            {stranger, access, []string{"orders"}, nil, "", "invalid_client", "gateway"},
	} {
		_, err := tokenexchange.ExchangeToken(t.Context(), tc.by, tc.subject, oidc.AccessTokenType, "", "", nil, tc.audience, tc.scopes, tc.requested)
		var refusal *oidc.Error
		if !errors.As(err, &refusal) || string(refusal.ErrorType) != tc.code || refusal.Description == "" {
			t.Errorf("%s: it understands %v, want %s", name, err, tc.code)
			continue
		}
		if tc.describedWithoutIt != "" && strings.Contains(refusal.Description, tc.describedWithoutIt) {
			t.Errorf("%s: repeats what was sent: %s", name, refusal.Description)
		}
	}
}

// nodeExchanges: openid-client, oauth4webapi and jose.
func nodeExchanges(t *testing.T, app *cloakroom, idp, access, id, cookie string) {
	script := exec.CommandContext(t.Context(), "node", "node/exchange.mjs")
	script.Env = append(os.Environ(), "ISSUER="+app.issuer(), "CLIENT_ID=gateway", "CLIENT_SECRET="+secretsOf["gateway"], "SUBJECT="+access, "ID_TOKEN="+id,
		"SESSION="+strings.SplitN(cookie, "=", 2)[1], "NODE_EXTRA_CA_CERTS="+filepath.Join(app.dir, "tls.crt"))
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	type grant struct {
		Token  string `json:"access_token"`
		Issued string `json:"issued_token_type"`
		Type   string `json:"token_type"`
		Scope  string
		Lasts  int `json:"expires_in"`
	}
	type outcome struct {
		Result *grant
		Error  *struct {
			Name, Code, Error, Description string
			Status                         int
			Challenges                     []struct{ Scheme string }
		}
	}
	var seen struct {
		ViaOpenid, OpenidRefused, OauthRefused map[string]outcome
		Granted                                map[string]grant
		Verified                               map[string]struct {
			Oauth4webapi, Jose map[string]any
			Algorithm          string
		}
		Elsewhere, NotMinted outcome
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, way := range []string{"oidc post", "oidc basic", "oauth2 basic", "session"} {
		got := seen.ViaOpenid[way].Result
		if got == nil || got.Issued != typeAccess || got.Type != "bearer" || got.Scope != "orders:read" || got.Lasts < 200 {
			t.Errorf("openid-client, %s: %+v", way, seen.ViaOpenid[way])
			continue
		}
		if c := part(got.Token, 1); c["sub"] != "alice" || c["idp"] != idp || c["email"] != nil && c["email"] != "alice@example.com" || (way == "session") != (c["sid"] != nil) {
			t.Errorf("openid-client, %s: %v", way, c)
		}
	}
	for audience, algorithm := range map[string]string{"orders": "ES256", "ledger": "EdDSA", "archive": "RS256"} {
		v := seen.Verified[audience]
		if v.Algorithm != algorithm || v.Oauth4webapi["sub"] != "alice" || v.Oauth4webapi["aud"] != audience || v.Jose["sub"] != "alice" || v.Jose["client_id"] != "gateway" {
			t.Errorf("%s: %+v", audience, v)
		}
	}
	for name, refused := range map[string]outcome{"a minted token at another API": seen.Elsewhere, "the provider's token at an API": seen.NotMinted} {
		if refused.Error == nil {
			t.Errorf("validateJwtAccessToken accepts %s", name)
		}
	}
	for library, refusals := range map[string]map[string]outcome{"openid-client": seen.OpenidRefused, "oauth4webapi": seen.OauthRefused} {
		for name, code := range map[string]string{
			"a bad subject token": "invalid_request", "an unknown audience": "invalid_target", "too much scope": "invalid_scope",
			"no subject token": "invalid_request", "a type that is not issued": "invalid_request",
		} {
			if e := refusals[name].Error; e == nil || e.Name != "ResponseBodyError" || e.Error != code || e.Status != http.StatusBadRequest || e.Description == "" {
				t.Errorf("%s, %s: it understands %+v, want %s", library, name, e, code)
			}
		}
		e := refusals["a wrong secret"].Error
		if e == nil || e.Name != "WWWAuthenticateChallengeError" || e.Status != http.StatusUnauthorized || len(e.Challenges) != 1 || e.Challenges[0].Scheme != "basic" {
			t.Errorf("%s, a wrong secret: it understands %+v", library, e)
		}
	}
}
