package e2e

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/oauth2"

	"cloakroom/internal/idptest"
)

// Services exchange access tokens that nobody but their provider, oidc-provider, can read, and a support desk's tickets.
func TestOpaqueAccessTokensAndTicketsAreExchanged(t *testing.T) {
	app, key := newCloakroom(t), newECKey(t)
	provider := startOIDCProvider(t, app, "introspected")
	second := idptest.New(idptest.Config{Persona: idptest.Generic, OpaqueAccess: true, Clients: []idptest.Client{{ID: clientID, Secret: clientSecret}}})
	canary.provider(second)
	const desk = "https://support.example.com"
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "desk-1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	app.write(t, "desk.jwks.json", string(keys))
	app.configure(t, "memory:", provider.issuer, fmt.Sprintf(`
    access_token_validation: introspection
  second:
    issuer: %s
    client_id: %s
    client_secret: "${CLIENT_SECRET}"
    access_token_validation: introspection
issuers:
  support-desk: {issuer: "%s", jwks_file: desk.jwks.json, audiences: [cloakroom], algorithms: [ES256], subject_issuer: main}
routes:
  - {path: /, spa: %s}
exchange:
  audiences:
    orders: {scopes: {orders:read: 'granted("orders:read")', orders:write: 'granted("orders:write")'}}
    payments: {scopes: {payments:read: '"orders:read" in actor.scope'}}
  clients:
    gateway: {auth: {secret: gateway-secret}, audiences: [orders]}
    support: {auth: {secret: support-secret}, audiences: [payments], subject_types: [access_token, jwt], actor: required}
`, second.Start(t), clientID, desk, spa(t)))
	app.serve(t)
	alice := authorize(t, app, provider.issuer, "alice")
	sam := authorize(t, app, provider.issuer, "sam")

	exchange := func(client string, form url.Values) (status int, body map[string]any) {
		t.Helper()
		form.Set("grant_type", tokenExchange)
		return app.form(t, app.issuer()+"/oauth2/token", client, client+"-secret", form)
	}
	subject := func(token string, more url.Values) url.Values {
		f := url.Values{"subject_token": {token}, "subject_token_type": {typeAccess}, "subject_issuer": {"main"}}
		maps.Copy(f, more)
		return f
	}
	claims := func(audience string, status int, body map[string]any) map[string]any {
		t.Helper()
		minted, _ := body["access_token"].(string)
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, body)
		}
		return app.verifyWithJose(t, minted, audience)
	}
	refused := func(what string, status int, body map[string]any) {
		t.Helper()
		if status != http.StatusBadRequest || body["error"] != "invalid_request" || body["access_token"] != nil {
			t.Errorf("%s: %d %v", what, status, body)
		}
	}

	t.Run("an opaque access token", func(t *testing.T) {
		status, body := exchange("gateway", subject(alice.Access, nil))
		got := claims("orders", status, body)
		for claim, want := range map[string]any{"sub": "alice", "idp": provider.issuer, "scope": "orders:read", "client_id": "gateway"} {
			if got[claim] != want {
				t.Errorf("%s = %v, want %v", claim, got[claim], want)
			}
		}
	})
	t.Run("an opaque access token with the ID token of its sign-in", func(t *testing.T) {
		status, body := exchange("gateway", subject(alice.Access, url.Values{"subject_id_token": {alice.ID}}))
		if got := claims("orders", status, body); got["sub"] != "alice" || got["id_iat"] == nil {
			t.Errorf("%v", got)
		}
		status, body = exchange("gateway", subject(alice.Access, url.Values{"subject_id_token": {sam.ID}}))
		refused("another person's ID token", status, body)
	})
	t.Run("what is no access token of that provider", func(t *testing.T) {
		asked := second.Count(idptest.Introspect)
		for what, form := range map[string]url.Values{
			"C-021 a refresh token":            subject(alice.Refresh, nil),
			"C-021 an ID token":                subject(alice.ID, nil),
			"a token nobody issued":            subject("nobody-issued-this", nil),
			"B4.9 a token with one more":       subject(alice.Access+"A", nil),
			"B4.9 a token with one less":       subject(alice.Access[1:], nil),
			"D9 nothing says whose it is":      subject(alice.Access, url.Values{"subject_issuer": {""}}),
			"D9 it is said to be nobody's":     subject(alice.Access, url.Values{"subject_issuer": {"third"}}),
			"D9 it is said to be an issuer's":  subject(alice.Access, url.Values{"subject_issuer": {"support-desk"}}),
			"subject_issuer is there twice":    subject(alice.Access, url.Values{"subject_issuer": {"main", "main"}}),
			"C-046 a JWE of nobody in special": subject("eyJhbGciOiJkaXIifQ..a.b.c", url.Values{"subject_issuer": {""}}),
		} {
			status, body := exchange("gateway", form)
			refused(what, status, body)
		}
		if second.Count(idptest.Introspect) != asked {
			t.Error("a provider was shown another's token")
		}
		status, body := exchange("gateway", subject(alice.Access, url.Values{"subject_issuer": {second.Issuer()}}))
		refused("it is said to be another's", status, body)
	})
	t.Run("a support desk's ticket with the employee's access token", func(t *testing.T) {
		ticket := func(with map[string]any) string {
			return signTicket(t, key, changed(map[string]any{
				"iss": desk, "sub": "alice", "aud": "cloakroom", "exp": time.Now().Add(time.Minute).Unix(), "iat": time.Now().Unix(),
				"may_act": map[string]any{"iss": provider.issuer, "sub": "sam"},
			}, with))
		}
		ask := func(ticket, actor string) (int, map[string]any) {
			t.Helper()
			f := url.Values{"subject_token": {ticket}, "subject_token_type": {typeJWT}}
			if actor != "" {
				f["actor_token"], f["actor_token_type"] = []string{actor}, []string{typeAccess}
			}
			return exchange("support", f)
		}
		// Two providers have opaque tokens, and subject_issuer speaks of the subject: whose the actor's is, cannot be said.
		status, body := ask(ticket(nil), sam.Access)
		refused("an actor of either provider", status, body)

		lone := app.without(t, "second")
		exchange = func(client string, form url.Values) (int, map[string]any) {
			t.Helper()
			form.Set("grant_type", tokenExchange)
			return lone.form(t, lone.issuer()+"/oauth2/token", client, client+"-secret", form)
		}
		status, body = ask(ticket(nil), sam.Access)
		if status != http.StatusOK {
			t.Fatalf("%d %v", status, body)
		}
		got := lone.verifyWithJose(t, body["access_token"].(string), "payments")
		act, _ := got["act"].(map[string]any)
		if got["sub"] != "alice" || got["idp"] != provider.issuer || act["sub"] != "sam" || act["iss"] != provider.issuer || got["scope"] != "payments:read" {
			t.Errorf("%v", got)
		}
		for what, form := range map[string][2]string{
			"C-066 an employee the ticket does not name":  {ticket(nil), alice.Access},
			"C-068 no employee":                           {ticket(nil), ""},
			"C-067 may_act is no object":                  {ticket(map[string]any{"may_act": "sam"}), sam.Access},
			"C-044 a ticket for somebody else":            {ticket(map[string]any{"aud": "payments"}), sam.Access},
			"C-037 a ticket that has expired":             {ticket(map[string]any{"exp": time.Now().Add(-2 * time.Minute).Unix()}), sam.Access},
			"C-038 a ticket without exp":                  {ticket(map[string]any{"exp": nil}), sam.Access},
			"C-042 a ticket of another desk":              {ticket(map[string]any{"iss": "https://desk.example.org"}), sam.Access},
			"C-030 a ticket signed with somebody's key":   {signTicket(t, newECKey(t), part(ticket(nil), 1)), sam.Access},
			"C-060 an employee's token that nobody knows": {ticket(nil), "nobody-issued-this"},
		} {
			status, body := ask(form[0], form[1])
			refused(what, status, body)
		}
	})
	t.Run("C-050 a token that was revoked", func(t *testing.T) {
		late := authorize(t, app, provider.issuer, "alice")
		revocation := url.Values{"token": {late.Access}}
		if status, body := app.form(t, provider.issuer+"/token/revocation", clientID, clientSecret, revocation); status != http.StatusOK {
			t.Fatalf("%d %v", status, body)
		}
		status, body := app.form(t, app.issuer()+"/oauth2/token", "gateway", "gateway-secret", subject(late.Access, url.Values{"grant_type": {tokenExchange}}))
		refused("revoked", status, body)
	})
	for _, secret := range []string{alice.Access, alice.Refresh, alice.ID, sam.Access} {
		if strings.Contains(app.printed(), secret) {
			t.Error("a token stands in the log")
		}
	}
}

// without runs a second Cloakroom with the same configuration, less one provider.
func (c *cloakroom) without(t *testing.T, provider string) *cloakroom {
	t.Helper()
	raw, err := os.ReadFile(c.config)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	from := strings.Index(text, "\n  "+provider+":\n")
	to := strings.Index(text, "\nissuers:")
	if from < 0 || to < from {
		t.Fatalf("no provider %s in\n%s", provider, text)
	}
	text = text[:from] + text[to:]
	other := newCloakroom(t)
	for was, is := range map[int]int{c.public: other.public, c.intern: other.intern, c.admin: other.admin} {
		text = strings.ReplaceAll(text, fmt.Sprint(":", was), fmt.Sprint(":", is))
	}
	keys, err := os.ReadFile(c.dir + "/desk.jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	other.write(t, "desk.jwks.json", string(keys))
	other.write(t, "cloakroom.yaml", text)
	other.serve(t)
	return other
}

// form posts a form as a client and reads the JSON of the answer.
func (c *cloakroom) form(t *testing.T, address, client, password string, form url.Values) (status int, body map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(password))
	answer, err := c.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(raw) > 0 && json.Unmarshal(raw, &body) != nil {
		t.Fatalf("not JSON: %s", raw)
	}
	return answer.StatusCode, body
}

// tokens are what a sign-in at the provider yields to the app itself.
type tokens struct{ Access, Refresh, ID string }

// authorize signs somebody in at oidc-provider, past Cloakroom, and redeems the code as the app would.
func authorize(t *testing.T, app *cloakroom, issuer, login string) tokens {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	back := app.origin() + "/bff/callback/main"
	code := ""
	person := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(r.URL.String(), back) {
			code = r.URL.Query().Get("code")
			return http.ErrUseLastResponse
		}
		return nil
	}}
	do := func(method, address string, form url.Values) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := person.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	const verifier = "a-verifier-that-is-long-enough-to-be-one-0123456789"
	page := do(http.MethodGet, issuer+"/auth?"+url.Values{
		"client_id": {clientID}, "response_type": {"code"}, "redirect_uri": {back}, "scope": {"openid email offline_access orders:read"}, "prompt": {"consent"},
		"state": {"s"}, "nonce": {"n"}, "code_challenge": {oauth2.S256ChallengeFromVerifier(verifier)}, "code_challenge_method": {"S256"},
	}.Encode(), nil)
	for range 4 {
		body, err := io.ReadAll(page.Body)
		_ = page.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if code != "" {
			break
		}
		target, err := page.Request.URL.Parse(between(string(body), `action="`, `"`))
		if err != nil {
			t.Fatal(err)
		}
		page = do(http.MethodPost, target.String(), url.Values{"prompt": {between(string(body), `name="prompt" value="`, `"`)}, "login": {login}, "password": {"any"}})
	}
	status, body := app.form(t, issuer+"/token", clientID, clientSecret, url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {back}, "code_verifier": {verifier},
	})
	out := tokens{}
	out.Access, _ = body["access_token"].(string)
	out.Refresh, _ = body["refresh_token"].(string)
	out.ID, _ = body["id_token"].(string)
	if out.Access == "" || out.Refresh == "" || out.ID == "" || strings.Contains(out.Access, ".") {
		t.Fatalf("code %q, %d %v", code, status, body)
	}
	return out
}

func signTicket(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "desk-1"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(text(claims)))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
