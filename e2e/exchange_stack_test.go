package e2e

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"cloakroom/internal/idptest"
)

const (
	tokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccess    = "urn:ietf:params:oauth:token-type:access_token"
	typeID        = "urn:ietf:params:oauth:token-type:id_token"
	typeJWT       = "urn:ietf:params:oauth:token-type:jwt"
	typeRefresh   = "urn:ietf:params:oauth:token-type:refresh_token"
	typeSession   = "urn:cloakroom:token-type:session"
	formKind      = "application/x-www-form-urlencoded"
	otherApp      = "other-app" // a second app client of the same pool
)

// secretsOf are the clients' of the exchange; the gateway's needs every kind of escaping.
var secretsOf = map[string]string{
	"gateway": "s e:c%ret+é", "orders": "orders-secret", "payments": "payments-secret", "support": "support-secret", "desk": "desk-secret",
	"narrow": "narrow-secret", "batch": "batch-secret", "relay": "relay-secret", "capped": "capped-secret",
}

// exchangePolicy is what stands in the configuration's `exchange` in these tests.
const exchangePolicy = `
session: {absolute: 10m, idle: 10m}
exchange:
  signing: {rsa_key_files: [rsa.pem]}
  defaults: {claims: {email: id.email}}
  audiences:
    orders:
      resource: https://orders.internal.example.com
      scopes: {orders:read: 'granted("orders-api/read")', orders:write: 'granted("orders-api/write") && id.email_verified'}
    payments: {scopes: {payments:read: 'granted("payments-api/read") || "support" in actor.groups', payments:refund: 'false'}}
    invoices: {resource: "urn:example:invoices"}
    relay: {}
    long: {lifetime: 20m}
    brief: {lifetime: 10s}
    crm: {scopes: [], claims: {groups: access.groups, given_name: id.given_name, ticket: request.details.ticket}}
    mail: {subject: id.email}
    ledger: {algorithm: EdDSA}
    archive: {algorithm: RS256}
    private: {allow: 'id.email == "nobody@example.com"'}
    stock: {scopes: {stock:write: 'client.id == "batch"'}}
  clients:
    gateway:
      auth: {secret: ["s e:c%ret+é", "the gateway's next"]}
      audiences: [orders, payments, invoices, relay, long, brief, crm, mail, ledger, archive, private]
      subject_types: [access_token, id_token, session]
    orders: {auth: {secret: orders-secret}, audiences: [payments], subject_types: [access_token, jwt], actor: implicit}
    payments: {auth: {secret: payments-secret}, audiences: [ledger], subject_audiences: [payments, relay]}
    support: {auth: {secret: support-secret}, audiences: [payments], actor: required}
    desk: {auth: {secret: desk-secret}, audiences: [payments], actor: optional}
    narrow: {auth: {secret: narrow-secret}, audiences: [orders], scope_mode: narrow, subject_types: [access_token, id_token]}
    batch: {auth: {secret: batch-secret}, audiences: [stock], grants: [client_credentials]}
    relay: {auth: {secret: relay-secret}, audiences: [relay], actor: implicit}
    capped: {auth: {secret: capped-secret}, audiences: [long], lifetime: 30s, scopes: [orders-api/read]}
`

// exchangeStack is a running Cloakroom between a pool of people, a second provider, and an API that keeps the tokens it is
// sent. The pool also publishes two keys of the test's, with which it can sign what no provider would.
type exchangeStack struct {
	*cloakroom
	pool, second *idptest.Provider
	api          *api
	echo         *httptest.Server // an API that answers with the token it was sent
	http         *http.Client
	rsa          *rsa.PrivateKey
	ec           *ecdsa.PrivateKey
	alice        person

	mu   sync.Mutex
	seen map[string]bool // every token that was sent to the exchange or came from it
	keys jwk.Set
}

// person is somebody signed in, with the tokens that go with it.
type person struct {
	name, cookie, session string // the cookie as a header, and its value
	access, id            string // the provider's
	minted                string // for orders
}

// newExchangeStack starts one. settings end its configuration; edit changes the whole of it, nil does not.
func newExchangeStack(t *testing.T, store string, users []idptest.User, settings string, edit func(string) string) *exchangeStack {
	t.Helper()
	s := &exchangeStack{cloakroom: newCloakroom(t), api: startAPI(t), seen: map[string]bool{}}
	s.echo = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}))
	t.Cleanup(s.echo.Close)
	s.rsa, s.ec = newRSAKey(t), newECKey(t)
	writeRSAKey(t, s.cloakroom)
	apps := []idptest.Client{{ID: clientID, Secret: clientSecret}, {ID: otherApp, Secret: "other-secret"}}
	s.pool = idptest.New(idptest.Config{Clients: apps, Users: users, Misbehave: idptest.Misbehave{KeySet: s.publishForged}})
	s.second = idptest.New(idptest.Config{Persona: idptest.Generic, Clients: apps})
	canary.provider(s.pool)
	canary.provider(s.second)
	transport := s.client.Transport.(documented).Clone()
	transport.MaxIdleConnsPerHost = 64
	t.Cleanup(transport.CloseIdleConnections)
	s.http = &http.Client{Transport: documented{transport}, CheckRedirect: s.client.CheckRedirect}
	s.configure(t, store, s.pool.Start(t), fmt.Sprintf(`
    profile: cognito
    scopes: [openid, email, profile, orders-api/read, payments-api/read]
  second:
    issuer: %s
    client_id: %s
    client_secret: "${CLIENT_SECRET}"
routes:
  - {path: /api/orders, upstream: "%s", audience: orders}
  - {path: /api/raw, upstream: "%s", token: access}
  - {path: /api/echo, upstream: "%s", audience: orders}
  - {path: /, spa: %s}
`, s.second.Start(t), clientID, s.api.URL, s.api.URL, s.echo.URL, spa(t))+settings)
	if edit != nil {
		s.write(t, "cloakroom.yaml", edit(s.written(t)))
	}
	s.serve(t)
	return s
}

// publishForged adds the test's own keys to the pool's.
func (s *exchangeStack) publishForged(doc map[string]any) {
	keys, _ := doc["keys"].([]jose.JSONWebKey)
	doc["keys"] = append(slices.Clone(keys), jose.JSONWebKey{Key: s.rsa.Public(), KeyID: "forge-rsa", Use: "sig"}, jose.JSONWebKey{Key: s.ec.Public(), KeyID: "forge-ec", Use: "sig"})
}

// written is the configuration as it stands.
func (s *exchangeStack) written(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "cloakroom.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// replica is a second process of the same house: the same URLs, secrets and store behind other ports.
func (s *exchangeStack) replica(t *testing.T) *cloakroom {
	t.Helper()
	r := s.twin(t, "replica.yaml")
	r.serve(t)
	return r
}

// signIn goes through the pool's own pages as a browser does, and then lets the API see both kinds of token.
func (s *exchangeStack) signIn(t *testing.T, name string) person {
	t.Helper()
	p := person{name: name}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Transport: s.http.Transport, CheckRedirect: s.client.CheckRedirect}
	open := func(address string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/html")
		answer, err := browser.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer
	}
	back, err := s.pool.SignIn(t.Context(), browser, open(s.origin()+"/bff/login").Header.Get("Location"), name, name)
	if err != nil {
		t.Fatal(err)
	}
	open(back)
	own, _ := url.Parse(s.origin())
	for _, c := range jar.Cookies(own) {
		if c.Name == "__Host-Http-session" {
			p.cookie, p.session = c.Name+"="+c.Value, c.Value
		}
	}
	if p.cookie == "" {
		t.Fatalf("%s came back without a session", name)
	}
	for path, bearer := range map[string]*string{"/api/raw": &p.access, "/api/orders": &p.minted} {
		if answer, body := s.get(t, path, p.cookie); answer.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", path, answer.StatusCode, body)
		}
		*bearer, _ = s.api.last(t)
	}
	_, _, p.id, _ = s.pool.Behind(p.access)
	return p
}

// form is an exchange of alice's access token for orders; with changes it, and a nil value takes a parameter out.
func (s *exchangeStack) form(with url.Values) url.Values {
	f := url.Values{"grant_type": {tokenExchange}, "subject_token": {s.alice.access}, "subject_token_type": {typeAccess}, "audience": {"orders"}}
	for name, values := range with {
		if f[name] = values; values == nil {
			delete(f, name)
		}
	}
	return f
}

// answer is what an endpoint said.
type answer struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

func (a answer) text(name string) string { text, _ := a.body[name].(string); return text }

// post sends a body as it stands, as a client, or as nobody ("").
func (s *exchangeStack) post(t *testing.T, method, path, kind, client, body string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, s.issuer()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		request.Header.Set("Content-Type", kind)
	}
	if client != "" {
		request.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secretsOf[client]))
	}
	return s.do(t, request)
}

// do may be used by many at once; it ends the test only through Error.
func (s *exchangeStack) do(t *testing.T, request *http.Request) answer {
	t.Helper()
	got, err := s.http.Do(request)
	if err != nil {
		t.Error(err)
		return answer{}
	}
	defer got.Body.Close()
	a, err := read(got)
	if err != nil {
		t.Error(err)
	}
	return a
}

func read(got *http.Response) (answer, error) {
	raw, err := io.ReadAll(got.Body)
	a := answer{status: got.StatusCode, header: got.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &a.body) // what must be JSON is looked at later
	return a, err
}

// exchange sends a form to the token endpoint.
func (s *exchangeStack) exchange(t *testing.T, client string, form url.Values) answer {
	t.Helper()
	s.remember(form.Get("subject_token"), form.Get("actor_token"), form.Get("subject_id_token"))
	return s.post(t, http.MethodPost, "/oauth2/token", formKind, client, form.Encode())
}

// remember keeps tokens that must not turn up anywhere.
func (s *exchangeStack) remember(tokens ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range tokens {
		if parts := strings.Split(one, "."); len(parts) > 2 && len(parts[1]) > 30 {
			s.seen[one] = true
		}
	}
}

// unkept is what both answers must be: JSON that nobody keeps (C-010).
func unkept(t *testing.T, a answer) {
	t.Helper()
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	if kind != "application/json" || a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" || a.body == nil {
		t.Errorf("not JSON with no-store and no-cache: %v %s", a.header, a.raw)
	}
}

// refused is a refusal by the book: status, code, a description in RFC 6749's letters, headers, and no token.
func (s *exchangeStack) refused(t *testing.T, a answer, status int, code string) {
	t.Helper()
	if a.status != status || a.text("error") != code {
		t.Errorf("%d %s, want %d %s: %s", a.status, a.text("error"), status, code, a.raw)
	}
	unkept(t, a)
	if strings.ContainsFunc(a.text("error_description"), func(r rune) bool { return r < 0x20 || r > 0x7e || r == '"' || r == '\\' }) || a.text("error_description") == "" {
		t.Errorf("error_description %q", a.text("error_description"))
	}
	for name := range a.body {
		if name != "error" && name != "error_description" {
			t.Errorf("a refusal with %s", name)
		}
	}
	if strings.Contains(a.raw, "eyJ") {
		t.Errorf("something like a token in %s", a.raw)
	}
	for status, header := range map[int]string{http.StatusUnauthorized: "WWW-Authenticate", http.StatusMethodNotAllowed: "Allow", http.StatusServiceUnavailable: "Retry-After", http.StatusTooManyRequests: "Retry-After"} {
		if a.status == status && a.header.Get(header) == "" {
			t.Errorf("%d without %s", status, header)
		}
	}
	if a.status == http.StatusUnauthorized && !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Basic ") {
		t.Errorf("WWW-Authenticate: %s", a.header.Get("WWW-Authenticate"))
	}
}

// granted verifies the token of an answer with the published keys and a library that is not ours, and returns its claims.
func (s *exchangeStack) granted(t *testing.T, a answer) map[string]any {
	t.Helper()
	if a.status != http.StatusOK {
		t.Errorf("%d %s", a.status, a.raw)
		return map[string]any{}
	}
	unkept(t, a)
	raw := a.text("access_token")
	claims := s.verify(t, raw)
	if a.text("token_type") != "Bearer" || a.body["refresh_token"] != nil {
		t.Errorf("token_type %v, refresh_token %v", a.body["token_type"], a.body["refresh_token"])
	}
	for _, name := range []string{"iss", "aud", "sub", "idp", "exp", "iat", "jti", "client_id"} {
		if claims[name] == nil {
			t.Errorf("no %s in %v", name, claims)
		}
	}
	if claims["nbf"] != nil || claims["iss"] != s.issuer() {
		t.Errorf("iss %v, nbf %v", claims["iss"], claims["nbf"])
	}
	exp, _ := claims["exp"].(float64)
	iat, _ := claims["iat"].(float64)
	if left, _ := a.body["expires_in"].(float64); left < exp-iat-1 || left > exp-iat+1 {
		t.Errorf("expires_in %v, exp - iat = %v", left, exp-iat)
	}
	if scope, _ := claims["scope"].(string); scope != a.text("scope") {
		t.Errorf("scope %q in the token, %q in the answer", scope, a.text("scope"))
	}
	s.remember(raw)
	return claims
}

func (s *exchangeStack) verify(t *testing.T, raw string) map[string]any {
	t.Helper()
	s.mu.Lock()
	if s.keys == nil {
		keys, err := jwk.Fetch(t.Context(), s.issuer()+"/.well-known/jwks.json", jwk.WithHTTPClient(s.http))
		if err != nil {
			t.Error(err)
		}
		s.keys = keys
	}
	keys := s.keys
	s.mu.Unlock()
	if _, err := jwt.ParseString(raw, jwt.WithKeySet(keys), jwt.WithIssuer(s.issuer())); err != nil {
		t.Errorf("jwx refuses the token: %v", err)
	}
	if header := part(raw, 0); header["typ"] != "at+jwt" {
		t.Errorf("typ %v", header["typ"])
	}
	return part(raw, 1)
}
