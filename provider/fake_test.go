package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/secret"
	"cloakroom/token"
)

const (
	clientID = "cloakroom-client"
	subject  = "user-1"
	nonce    = "nonce-of-this-sign-in-0123456789"
	verifier = "verifier-of-this-sign-in-0123456789-0123456789-0123"
	// Canaries: what must never be read in an error.
	canarySecret  = "canary:client+secret%é/&= "
	canaryCode    = "canary-code-7d1f"
	canaryAccess  = "canary-access-91ab"
	canaryRefresh = "canary-refresh-55e0"
)

var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	otherRSA = sync.OnceValue(func() *rsa.PrivateKey { k, _ := rsa.GenerateKey(rand.Reader, 2048); return k })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader); return k })
)

// idp is a provider whose every answer a test can replace.
type idp struct {
	t      *testing.T
	server *httptest.Server
	issuer string

	mu       sync.Mutex
	now      time.Time
	meta     map[string]any
	keys     []any
	routes   map[string]http.HandlerFunc // by path; replaces the answer
	hits     map[string]int
	forms    []url.Values  // of the token and revocation endpoints
	headers  []http.Header // the same
	response map[string]any
}

// newIDP starts one that behaves.
func newIDP(t *testing.T) *idp {
	f := &idp{t: t, now: time.Unix(1_790_000_000, 0), routes: map[string]http.HandlerFunc{}, hits: map[string]int{}}
	f.server = httptest.NewServer(f)
	t.Cleanup(f.server.Close)
	f.issuer = f.server.URL
	f.meta = map[string]any{
		"issuer": f.issuer, "authorization_endpoint": f.issuer + "/authorize", "token_endpoint": f.issuer + "/token",
		"userinfo_endpoint": f.issuer + "/userinfo", "jwks_uri": f.issuer + "/jwks", "revocation_endpoint": f.issuer + "/revoke",
		"end_session_endpoint": f.issuer + "/end", "code_challenge_methods_supported": []string{"S256"},
		"id_token_signing_alg_values_supported": []string{"RS256", "HS256", "none"},
		"scopes_supported":                      []string{"openid", "profile", "email", "offline_access"},
	}
	f.keys = []any{jwk("k1", &rsaKey().PublicKey, "RS256")}
	f.response = map[string]any{
		"access_token": canaryAccess, "token_type": "Bearer", "expires_in": 3600, "refresh_token": canaryRefresh,
		"id_token": f.sign(f.idClaims()), "scope": "openid email",
	}
	return f
}

func jwk(kid string, public any, alg string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: alg, Use: "sig"}
}

func (f *idp) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	f.mu.Lock()
	f.hits[r.URL.Path]++
	route, response, meta, keys := f.routes[r.URL.Path], f.response, f.meta, f.keys
	if r.Method == http.MethodPost {
		f.forms, f.headers = append(f.forms, r.Form), append(f.headers, r.Header)
	}
	f.mu.Unlock()
	switch {
	case route != nil:
		route(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		answerJSON(w, 200, meta)
	case r.URL.Path == "/jwks":
		answerJSON(w, 200, map[string]any{"keys": keys})
	case r.URL.Path == "/token":
		answerJSON(w, 200, response)
	case r.URL.Path == "/userinfo":
		answerJSON(w, 200, map[string]any{"sub": subject, "email": "u@example.com", "email_verified": "true"})
	case r.URL.Path == "/revoke":
		w.WriteHeader(200)
	default:
		http.NotFound(w, r)
	}
}

func answerJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func (f *idp) route(path string, h http.HandlerFunc) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routes[path] = h
}

func (f *idp) respond(change map[string]any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.response = merged(f.response, change)
}

func (f *idp) setKeys(keys ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = keys
}

func (f *idp) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits[path]
}

func (f *idp) clock() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.now
}

func (f *idp) advance(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = f.now.Add(d)
}

func (f *idp) idClaims() map[string]any {
	now := f.now.Unix()
	return map[string]any{
		"iss": f.issuer, "sub": subject, "aud": clientID, "exp": now + 3600, "iat": now, "nonce": nonce, "auth_time": now - 30,
		"email": "u@example.com", "sid": "provider-sid",
	}
}

func (f *idp) accessClaims() map[string]any {
	now := f.now.Unix()
	return map[string]any{
		"iss": f.issuer, "sub": subject, "aud": clientID, "exp": now + 3600, "iat": now, "client_id": clientID, "scope": "openid orders:read",
	}
}

// merged changes claims; nil removes one.
func merged(base, change map[string]any) map[string]any {
	out := maps.Clone(base)
	for name, value := range change {
		if value == nil {
			delete(out, name)
		} else {
			out[name] = value
		}
	}
	return out
}

func (f *idp) sign(claims map[string]any) string {
	return sign(f.t, "k1", jose.RS256, rsaKey(), nil, claims)
}

func sign(t *testing.T, kid string, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, claims map[string]any) string {
	t.Helper()
	raw, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return signRaw(t, kid, alg, key, header, raw)
}

func signRaw(t *testing.T, kid string, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any, raw []byte) string {
	t.Helper()
	options := &jose.SignerOptions{ExtraHeaders: header}
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// client makes the Provider under test.
func (f *idp) client(change ...func(*Config)) *Provider {
	f.t.Helper()
	cfg := Config{
		Name: "main", Issuer: f.issuer, ClientID: clientID, ClientSecret: canarySecret, RequirePKCE: true,
		Scopes: []string{"openid", "email"}, Timeout: 2 * time.Second, Now: f.clock,
	}
	for _, one := range change {
		one(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(p.client.transport.CloseIdleConnections)
	return p
}

func redemption() Redemption {
	return Redemption{Code: canaryCode, Verifier: verifier, Nonce: nonce, RedirectURI: "https://app.example.com/bff/callback/main"}
}

func was() Was { return Was{Subject: subject, Scope: token.Scope{"openid", "email"}} }

// mustBe checks the kind of an error, and that it tells no secret.
func mustBe(t *testing.T, err, kind error) {
	t.Helper()
	switch {
	case err == nil && kind == nil:
		return
	case err == nil || kind == nil:
		t.Fatalf("error is %v, want %v", err, kind)
	}
	for _, one := range []error{ErrUnavailable, ErrRefused, ErrNonsense, ErrRejected} {
		if is, want := isKind(err, one), errors.Is(one, kind); is != want && !(errors.Is(one, ErrRefused) && isKind(err, ErrRejected)) {
			t.Errorf("error %v: is %q: %v, want %v", err, one, is, want)
		}
	}
	mustTellNothing(t, err.Error())
	mustTellNothing(t, fmt.Sprintf("%+v %#v", err, err))
}

func mustTellNothing(t *testing.T, text string) {
	t.Helper()
	for _, one := range []string{canarySecret, canaryCode, canaryAccess, canaryRefresh, verifier, nonce, "eyJ", url.QueryEscape(canarySecret)} {
		if strings.Contains(text, one) {
			t.Errorf("tells %q: %s", one, text)
		}
	}
}

func redirectTo(status int, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", target)
		w.WriteHeader(status)
	}
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = w.Write([]byte(body))
	}
}

func body(contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		_, _ = w.Write([]byte(text))
	}
}

func text(s string) secret.Text { return secret.Text(s) }

var background = context.Background()
