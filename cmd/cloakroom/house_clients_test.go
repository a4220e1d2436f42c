package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/session/sessiontest"
	"cloakroom/token"
)

// clientHouse is a house whose clients have secrets (batch, orders) or keys (reports, by file; remote, by address).
type clientHouse struct {
	t       *testing.T
	house   *house
	handler http.Handler
	key     *ecdsa.PrivateKey
	fetched *atomic.Int64 // key sets of remote
}

func keySetOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key.PublicKey, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// newClientHouses makes replicas that share the store of that URL, "" is one's own memory.
func newClientHouses(t *testing.T, replicas int, store string) []clientHouse {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := keySetOf(t, key)
	file := filepath.Join(t.TempDir(), "reports.jwks.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	fetched := &atomic.Int64{}
	remote := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_, _ = w.Write(set)
	}))
	t.Cleanup(remote.Close)
	if store != "" {
		store = fmt.Sprintf("store: {url: %q}", store)
	}
	parsed, err := config.Parse("c.yaml", fmt.Sprintf(`
public: {url: "http://localhost:8080"}
internal: {url: "http://localhost:8081"}
secrets: ["MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="]
%s
providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: app-secret}}
exchange:
  audiences: {stock: {scopes: []}, orders: {scopes: []}}
  clients:
    batch: {auth: {secret: batch-secret}, grants: [token-exchange, client_credentials], audiences: [stock, orders], subject_audiences: [stock, orders]}
    orders: {auth: {secret: orders-secret}, audiences: [stock], subject_audiences: [orders, stock]}
    reports: {auth: {jwks_file: %q}, grants: [client_credentials], audiences: [stock], subject_audiences: [stock]}
    remote: {auth: {jwks_uri: %q}, grants: [client_credentials], audiences: [stock], subject_audiences: [stock]}
`, store, file, remote.URL), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	var all []clientHouse
	for range replicas {
		h, err := assemble(parsed, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = h.store.Close() })
		all = append(all, clientHouse{t, h, h.services.Handler(), key, fetched})
	}
	return all
}

func (c clientHouse) post(path, client string, form url.Values) (int, token.Claims) {
	c.t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if client != "" {
		r.SetBasicAuth(client, client+"-secret")
	}
	rec := httptest.NewRecorder()
	c.handler.ServeHTTP(rec, r)
	body, err := token.DecodeClaims(rec.Body.Bytes())
	if err != nil {
		c.t.Fatal(err)
	}
	return rec.Code, body
}

// mint gets the client a token for itself.
func (c clientHouse) mint(client string, audience ...string) string {
	c.t.Helper()
	status, body := c.post("/oauth2/token", client, url.Values{"grant_type": {"client_credentials"}, "audience": audience})
	if status != http.StatusOK {
		c.t.Fatalf("%d %v", status, body)
	}
	return body.Text("access_token")
}

func (c clientHouse) active(client, raw string) any {
	c.t.Helper()
	_, body := c.post("/oauth2/introspect", client, url.Values{"token": {raw}})
	return body["active"]
}

func (c clientHouse) asserted(client, jti string) url.Values {
	c.t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: c.key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		c.t.Fatal(err)
	}
	payload, err := json.Marshal(token.Claims{"iss": client, "sub": client, "aud": "http://localhost:8081", "jti": jti, "exp": time.Now().Unix() + 60})
	if err != nil {
		c.t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		c.t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		c.t.Fatal(err)
	}
	return url.Values{
		"grant_type": {"client_credentials"}, "client_assertion": {raw},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
	}
}

func TestC103_ClientsAuthenticateByTheKeysOfTheConfiguration(t *testing.T) {
	c := newClientHouses(t, 1, "")[0]
	for _, client := range []string{"reports", "remote"} {
		for i := range 3 {
			if status, body := c.post("/oauth2/token", "", c.asserted(client, fmt.Sprint(client, i))); status != http.StatusOK {
				t.Errorf("%s: %d %v", client, status, body)
			}
		}
		if status, body := c.post("/oauth2/token", "", c.asserted(client, client+"0")); status != http.StatusUnauthorized || body["error"] != "invalid_client" {
			t.Errorf("%s: a replay: %d %v", client, status, body)
		}
	}
	if n := c.fetched.Load(); n != 1 {
		t.Errorf("the key set was fetched %d times", n)
	}
	rec := httptest.NewRecorder()
	c.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil))
	for _, part := range []string{
		`"token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt"]`,
		`"token_endpoint_auth_signing_alg_values_supported":["RS256","PS256","ES256","EdDSA"]`, `"revocation_endpoint":"http://localhost:8081/oauth2/revoke"`,
	} {
		if !strings.Contains(rec.Body.String(), part) {
			t.Errorf("C-130: no %s in %s", part, rec.Body)
		}
	}
}

func TestWhatOneReplicaKnowsOfClientsTheOthersKnow(t *testing.T) {
	redis := sessiontest.StartRedis(t)
	both := newClientHouses(t, 2, "redis://"+redis.Addr)
	one, other := both[0], both[1]

	t.Run("C-134 a token revoked at one is revoked at the other", func(t *testing.T) {
		raw, kept := one.mint("batch", "stock"), one.mint("batch", "stock")
		if one.active("batch", raw) != true || other.active("batch", raw) != true {
			t.Fatal("not active")
		}
		began := time.Now()
		if status, body := one.post("/oauth2/revoke", "orders", url.Values{"token": {raw}}); status != http.StatusBadRequest || body["error"] != "unauthorized_client" {
			t.Errorf("by another client: %d %v", status, body)
		}
		for range 2 { // a second time is as good
			if status, body := one.post("/oauth2/revoke", "batch", url.Values{"token": {raw}}); status != http.StatusOK {
				t.Errorf("%d %v", status, body)
			}
		}
		if one.active("batch", raw) != false || other.active("batch", raw) != false {
			t.Error("still active")
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
		for _, replica := range both { // C-050
			status, body := replica.post("/oauth2/token", "orders", url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:token-exchange"}, "subject_token": {raw}, "subject_token_type": {"urn:ietf:params:oauth:token-type:access_token"},
			})
			if status != http.StatusBadRequest || body["error"] != "invalid_request" {
				t.Errorf("as a subject: %d %v", status, body)
			}
		}
		if other.active("batch", kept) != true {
			t.Error("another token was revoked with it")
		}
		for key := range strings.FieldsSeq(redis.Do(t, "keys", "*")) {
			if ttl := redis.Do(t, "ttl", key); ttl == "-1" {
				t.Errorf("%s stays for ever", key)
			}
		}
	})

	t.Run("C-103 an assertion used at one is used at the other", func(t *testing.T) {
		form := one.asserted("reports", "shared")
		if status, body := one.post("/oauth2/token", "", form); status != http.StatusOK {
			t.Fatalf("%d %v", status, body)
		}
		if status, _ := other.post("/oauth2/token", "", form); status != http.StatusUnauthorized {
			t.Errorf("%d", status)
		}
	})

	t.Run("without the store nobody can tell", func(t *testing.T) {
		raw := one.mint("batch", "stock")
		redis.Kill()
		for path, form := range map[string]url.Values{"/oauth2/introspect": {"token": {raw}}, "/oauth2/revoke": {"token": {raw}}} {
			if status, body := one.post(path, "batch", form); status != http.StatusServiceUnavailable || body["error"] != "temporarily_unavailable" {
				t.Errorf("%s: %d %v", path, status, body)
			}
		}
		if status, body := one.post("/oauth2/token", "", one.asserted("reports", "down")); status != http.StatusServiceUnavailable || body["error"] != "temporarily_unavailable" {
			t.Errorf("an assertion: %d %v", status, body)
		}
	})
}

// What clients ask for in combination makes no series of its own.
func TestAMetricHasNoMoreSeriesThanTheConfigurationHasNames(t *testing.T) {
	c := newClientHouses(t, 1, "")[0]
	c.mint("batch", "stock")
	c.mint("batch", "stock", "orders")
	c.mint("batch", "orders", "stock")
	c.post("/oauth2/token", "batch", url.Values{"grant_type": {"client_credentials"}, "audience": {"nowhere"}})
	c.post("/oauth2/token", "nobody", url.Values{"grant_type": {"client_credentials"}, "audience": {"stock"}})
	want := `
# HELP cloakroom_exchange_total Tokens minted and refused.
# TYPE cloakroom_exchange_total counter
cloakroom_exchange_total{audience="",client="",outcome="invalid_client"} 1
cloakroom_exchange_total{audience="",client="batch",outcome="invalid_target"} 1
cloakroom_exchange_total{audience="several",client="batch",outcome="granted"} 2
cloakroom_exchange_total{audience="stock",client="batch",outcome="granted"} 1
`
	if err := testutil.GatherAndCompare(c.house.registry, strings.NewReader(want), "cloakroom_exchange_total"); err != nil {
		t.Error(err)
	}
}

func TestARevocationIsKeptAsLongAsItsToken(t *testing.T) {
	c := newClientHouses(t, 1, "")[0]
	now := time.Now()
	r := revocations{c.house.store, func() time.Time { return now }}
	if err := r.Revoke(t.Context(), "over", now); err != nil {
		t.Error(err)
	}
	if err := r.Revoke(t.Context(), "alive", now.Add(time.Minute)); err != nil {
		t.Error(err)
	}
	for id, want := range map[string]bool{"alive": true, "over": false, "other": false} {
		if got, err := r.IsRevoked(t.Context(), id); err != nil || got != want {
			t.Errorf("%s: %v, %v", id, got, err)
		}
	}
}
