package exchangehttp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
	"cloakroom/token"
)

const (
	us      = "https://cloakroom:8081"
	idp     = "https://idp.example.com"
	desk    = "https://support.example.com"
	evil    = "https://evil.example.com"
	secretA = "s e:c%ret+é"
)

// world is an exchange over HTTP with a provider, a support desk, sessions and revocations around it.
type world struct {
	t        testing.TB
	now      time.Time
	keys     *token.KeyRing
	service  *exchange.Service
	handler  http.Handler
	issuers  map[string]*issuer
	sessions *sessions
	revoked  *revocations
	markers  *markers
	log      *lockedBuffer

	mu     sync.Mutex
	events []exchange.Event
}

func newWorld(t testing.TB, change ...func(*exchange.PolicyConfig, *exchangehttp.Config)) *world {
	t.Helper()
	w := &world{
		t: t, now: time.Unix(1_800_000_000, 0), log: &lockedBuffer{},
		sessions: &sessions{of: map[string]exchange.Evidence{}}, revoked: &revocations{of: map[string]bool{}},
		issuers: map[string]*issuer{idp: newIssuer(t, idp), desk: newIssuer(t, desk), evil: newIssuer(t, evil)},
	}
	clock := func() time.Time { return w.now }
	var err error
	if w.keys, err = token.NewKeyRing(token.KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: "ES256", Also: []string{"EdDSA"}, Rotate: time.Hour, Now: clock}); err != nil {
		t.Fatal(err)
	}
	w.markers = &markers{now: clock, of: map[string]mark{}}
	policy := examplePolicy()
	cfg := exchangehttp.Config{
		Keys: w.keys, Markers: w.markers, URL: us, Now: clock, Log: slog.New(slog.NewJSONHandler(w.log, nil)), Observe: w.observe,
		Clients: []exchangehttp.Caller{
			{ID: "orders", Secrets: []secret.Text{"orders-secret"}}, {ID: "gateway", Secrets: []secret.Text{secretA, "gateway-next"}},
			{ID: "support", Secrets: []secret.Text{"support-secret"}}, {ID: "batch", Secrets: []secret.Text{"batch-secret"}}, {ID: "keyed", Keys: keyedPublic()},
		},
	}
	for _, c := range change {
		c(&policy, &cfg)
	}
	compiled, err := exchange.NewPolicy(policy)
	if err != nil {
		t.Fatal(err)
	}
	w.service, err = exchange.NewService(exchange.Config{
		Policy: compiled, Keys: w.keys, Sessions: w.sessions, Cookies: w.sessions, Revoked: w.revoked, Now: clock, Observe: w.observe,
		Issuers: []exchange.TrustedIssuer{
			{Name: "main", Issuer: idp, Verifier: providerOf{w, w.issuers[idp]}}, {Name: "support-desk", Issuer: desk, Verifier: deskOf{w, w.issuers[desk]}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Service = w.service
	server, err := exchangehttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.handler = server.Handler()
	return w
}

func examplePolicy() exchange.PolicyConfig {
	email := []exchange.ClaimConfig{{Claim: "email", Value: "id.email"}}
	te := []exchange.Grant{exchange.TokenExchange}
	return exchange.PolicyConfig{
		Issuer: us,
		Audiences: []exchange.AudienceConfig{
			{
				Name: "orders", Resource: "https://orders.internal.example.com", Lifetime: 5 * time.Minute, Claims: email,
				Scopes: exchange.ScopesConfig{Rules: []exchange.ScopeConfig{{Scope: "orders:read", When: `granted("orders-api/read")`}, {Scope: "orders:write", When: `granted("orders-api/write")`}}},
			},
			{
				Name: "payments", Lifetime: 5 * time.Minute, Claims: email,
				Scopes: exchange.ScopesConfig{Rules: []exchange.ScopeConfig{{Scope: "payments:read", When: `granted("payments-api/read") || "support" in actor.groups`}}},
			},
			{Name: "invoices", Lifetime: 5 * time.Minute, Claims: email, Scopes: exchange.ScopesConfig{FromSubject: true}, Algorithm: ""},
			{Name: "ledger", Lifetime: 5 * time.Minute, Scopes: exchange.ScopesConfig{FromSubject: true}, Algorithm: "EdDSA"},
			{Name: "private", Lifetime: 5 * time.Minute, Allow: "false", Scopes: exchange.ScopesConfig{FromSubject: true}},
			{Name: "stock", Lifetime: 5 * time.Minute, Scopes: exchange.ScopesConfig{Rules: []exchange.ScopeConfig{{Scope: "stock:write", When: `client.id == "batch"`}}}},
		},
		Clients: []exchange.ClientConfig{
			{ID: "orders", Grants: te, Audiences: []string{"payments"}, SubjectTypes: []exchange.TokenType{exchange.AccessToken, exchange.JWT}, SubjectAudiences: []string{"orders"}, Actor: exchange.ActorImplicit},
			{ID: "gateway", Grants: te, Audiences: []string{"orders", "payments", "invoices", "ledger", "private"}, SubjectAudiences: []string{"gateway"},
				SubjectTypes: []exchange.TokenType{exchange.AccessToken, exchange.IDToken, exchange.SessionToken}, Actor: exchange.ActorNone},
			{ID: "support", Grants: te, Audiences: []string{"payments"}, SubjectTypes: []exchange.TokenType{exchange.AccessToken, exchange.JWT}, SubjectAudiences: []string{"support"}, Actor: exchange.ActorRequired},
			{ID: "batch", Grants: []exchange.Grant{exchange.TokenExchange, exchange.ClientCredentials}, Audiences: []string{"stock"}, SubjectTypes: []exchange.TokenType{exchange.AccessToken}, SubjectAudiences: []string{"batch", "stock"}, Actor: exchange.ActorNone},
			{ID: "keyed", Grants: []exchange.Grant{exchange.TokenExchange, exchange.ClientCredentials}, Audiences: []string{"orders", "ledger"}, SubjectTypes: []exchange.TokenType{exchange.AccessToken}, SubjectAudiences: []string{"orders", "ledger"}, Actor: exchange.ActorNone},
		},
	}
}

func (w *world) observe(_ context.Context, e exchange.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, e)
}

func (w *world) lastEvent() exchange.Event {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) == 0 {
		w.t.Fatal("nothing was observed")
	}
	return w.events[len(w.events)-1]
}

// issuer signs tokens of somebody else.
type issuer struct {
	name    string
	private *ecdsa.PrivateKey
	down    bool
}

func newIssuer(t testing.TB, name string) *issuer {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{name: name, private: private}
}

func (i *issuer) jwk() jose.JSONWebKey {
	return jose.JSONWebKey{Key: &i.private.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}
}

func (i *issuer) Candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	if i.down {
		return nil, fmt.Errorf("fetch: %w", token.ErrUnavailable)
	}
	return token.StaticKeys{i.jwk()}.Candidates(ctx, kid, alg)
}

// sign makes a token with any header and payload, also ones that are not right.
func (i *issuer) sign(t testing.TB, header map[jose.HeaderKey]any, payload []byte) secret.Text {
	t.Helper()
	opts := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": "k1"}}
	maps.Copy(opts.ExtraHeaders, header)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: i.private}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return secret.Text(raw)
}

// providerOf examines a Cognito-like provider's tokens, as the adapter of a real one does.
type providerOf struct {
	w *world
	*issuer
}

func (p providerOf) Verify(ctx context.Context, t exchange.Presented) (exchange.Verified, error) {
	claims, err := t.Read.Verify(ctx, token.Rules{Issuer: p.name, Algorithms: []string{"ES256"}, Skew: time.Minute}, p.issuer, p.w.now)
	if err != nil {
		return exchange.Verified{}, err
	}
	v := exchange.Verified{Claims: claims, IDP: p.name, Algorithm: t.Read.Header().Algorithm}
	v.Expires, _ = claims.Time("exp")
	use := claims.Text("token_use")
	switch {
	case t.As == exchange.AccessToken && use == "access":
		v.Client = claims.Text("client_id")
	case t.As == exchange.IDToken && use == "id":
		v.Client = claims.Text("aud")
	default:
		return exchange.Verified{}, fmt.Errorf("%w: not of this type", exchange.ErrUnacceptable)
	}
	if v.Client != "spa" && v.Client != "second" {
		return exchange.Verified{}, fmt.Errorf("%w: of another client", exchange.ErrUnacceptable)
	}
	return v, nil
}

// deskOf examines the support desk's tickets.
type deskOf struct {
	w *world
	*issuer
}

func (d deskOf) Verify(ctx context.Context, t exchange.Presented) (exchange.Verified, error) {
	if t.As != exchange.JWT {
		return exchange.Verified{}, fmt.Errorf("%w: not of this type", exchange.ErrUnacceptable)
	}
	claims, err := t.Read.Verify(ctx, token.Rules{Issuer: d.name, Algorithms: []string{"ES256"}, Audiences: []string{"cloakroom"}}, d.issuer, d.w.now)
	if err != nil {
		return exchange.Verified{}, err
	}
	v := exchange.Verified{Claims: claims, IDP: idp, Further: true}
	v.Expires, _ = claims.Time("exp")
	return v, nil
}

// sessions is a store that can be down.
type sessions struct {
	mu   sync.Mutex
	of   map[string]exchange.Evidence
	down bool
}

func (s *sessions) Evidence(_ context.Context, sid string) (exchange.Evidence, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return exchange.Evidence{}, errors.New("store timeout")
	}
	e, ok := s.of[sid]
	if !ok {
		return exchange.Evidence{}, fmt.Errorf("find: %w", exchange.ErrSessionGone)
	}
	return e, nil
}

func (s *sessions) CookieEvidence(ctx context.Context, value secret.Text) (exchange.Evidence, error) {
	sid, ours := strings.CutPrefix(value.Reveal(), "v1.")
	if !ours {
		return exchange.Evidence{}, exchange.ErrUnacceptable
	}
	return s.Evidence(ctx, sid)
}

// revocations is a store that can be down.
type revocations struct {
	mu   sync.Mutex
	of   map[string]bool
	down bool
}

func (r *revocations) Revoke(_ context.Context, id string, _ time.Time) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return errors.New("store timeout")
	}
	r.of[id] = true
	return nil
}

func (r *revocations) IsRevoked(_ context.Context, id string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.down {
		return false, errors.New("store timeout")
	}
	return r.of[id], nil
}

// changed returns claims with some changed; a nil member is removed.
func changed(claims token.Claims, with token.Claims) token.Claims {
	out := maps.Clone(claims)
	for name, value := range with {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}

func (w *world) accessClaims(person string) token.Claims {
	return token.Claims{
		"iss": idp, "sub": person, "client_id": "spa", "token_use": "access", "scope": "openid orders-api/read payments-api/read",
		"iat": w.now.Unix() - 60, "auth_time": w.now.Unix() - 60, "exp": w.now.Unix() + 3600, "jti": "a-" + person,
	}
}

func (w *world) idClaims(person string) token.Claims {
	return token.Claims{
		"iss": idp, "sub": person, "aud": "spa", "token_use": "id", "email": person + "@example.com", "nonce": "n-" + person,
		"iat": w.now.Unix() - 60, "auth_time": w.now.Unix() - 60, "exp": w.now.Unix() + 3600,
	}
}

func (w *world) signed(by string, claims token.Claims) secret.Text {
	w.t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.issuers[by].sign(w.t, nil, payload)
}

func (w *world) access(with token.Claims) secret.Text {
	return w.signed(idp, changed(w.accessClaims("alice"), with))
}

func (w *world) id(with token.Claims) secret.Text {
	return w.signed(idp, changed(w.idClaims("alice"), with))
}

func (w *world) ticket(with token.Claims) secret.Text {
	return w.signed(desk, changed(token.Claims{
		"iss": desk, "sub": "carol", "aud": "cloakroom", "exp": w.now.Unix() + 600, "may_act": map[string]any{"iss": idp, "sub": "sam"},
	}, with))
}

// signIn opens a session and returns the token a route to an audience gets for it.
func (w *world) signIn(person, audience string) secret.Text {
	w.t.Helper()
	e := exchange.Evidence{
		Issuer: idp, Subject: person, Access: w.accessClaims(person), ID: w.idClaims(person), SessionID: "sid-" + person,
		Created: w.now, SessionEnds: w.now.Add(12 * time.Hour), AccessExpires: w.now.Add(time.Hour),
	}
	w.sessions.mu.Lock()
	w.sessions.of[e.SessionID] = e
	w.sessions.mu.Unlock()
	m, err := w.service.MintForRoute(w.t.Context(), exchange.RouteRequest{Audience: audience, Evidence: e})
	if err != nil {
		w.t.Fatal(err)
	}
	return m.Token
}

// reply is an answer of the token endpoint.
type reply struct {
	status int
	header http.Header
	raw    string
	body   map[string]any
}

// send makes a request as a client by Basic, "" sends no credentials.
func (w *world) send(client, clientSecret, path string, form url.Values) reply {
	w.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(clientSecret))
	}
	return w.serve(r)
}

func (w *world) serve(r *http.Request) reply {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	raw, err := io.ReadAll(rec.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	out := reply{status: rec.Code, header: rec.Header(), raw: string(raw)}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			w.t.Fatalf("not JSON: %q", raw)
		}
	}
	return out
}

var secrets = map[string]string{"orders": "orders-secret", "gateway": secretA, "support": "support-secret", "batch": "batch-secret"}

func (w *world) token(client string, form url.Values) reply {
	w.t.Helper()
	return w.send(client, secrets[client], "/oauth2/token", form)
}

// ask is a token exchange with alice's access token, changed; "" values stay, a nil list removes.
func (w *world) ask(with url.Values) url.Values {
	form := url.Values{
		"grant_type": {string(exchange.TokenExchange)}, "subject_token": {w.access(nil).Reveal()}, "subject_token_type": {string(exchange.AccessToken)}, "audience": {"invoices"},
	}
	for name, values := range with {
		if form[name] = values; values == nil {
			delete(form, name)
		}
	}
	return form
}

// claims verifies a granted token as a service would, and returns what it says.
func (w *world) claims(r reply) token.Claims {
	w.t.Helper()
	raw, _ := r.body["access_token"].(string)
	if r.status != http.StatusOK || raw == "" {
		w.t.Fatalf("not granted: %d %s", r.status, r.raw)
	}
	_, claims, err := token.Verify(w.t.Context(), raw, token.Rules{Issuer: us, Algorithms: w.keys.Algorithms(), Types: []string{"at+jwt"}}, w.keys, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	return claims
}

// refused checks an error answer whole: status, code, headers, and that no token came with it.
func (w *world) refused(r reply, status int, code exchange.Code) {
	w.t.Helper()
	if r.status != status || r.body["error"] != string(code) {
		w.t.Errorf("%d %s, want %d %s", r.status, r.raw, status, code)
	}
	if description, _ := r.body["error_description"].(string); description == "" {
		w.t.Error("no error_description")
	}
	if _, there := r.body["access_token"]; there {
		w.t.Errorf("a token came with the refusal: %s", r.raw)
	}
	w.unkept(r)
	if (status == http.StatusUnauthorized) != (r.header.Get("WWW-Authenticate") != "") {
		w.t.Errorf("WWW-Authenticate %q at %d", r.header.Get("WWW-Authenticate"), status)
	}
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) != (r.header.Get("Retry-After") != "") {
		w.t.Errorf("Retry-After %q at %d", r.header.Get("Retry-After"), status)
	}
}

func (w *world) unkept(r reply) {
	w.t.Helper()
	if r.header.Get("Content-Type") != "application/json" || r.header.Get("Cache-Control") != "no-store" || r.header.Get("Pragma") != "no-cache" {
		w.t.Errorf("C-010: headers %v", r.header)
	}
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
