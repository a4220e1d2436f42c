package e2e

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/client"
	"github.com/zitadel/oidc/v3/pkg/oidc"
)

// keyedStack is an exchange with a client that has its keys in a file, one that shows them, and a second replica.
type keyedStack struct {
	*exchangeStack
	other   *cloakroom
	key     *ecdsa.PrivateKey
	fetched atomic.Int64
}

func newKeyedStack(t *testing.T) *keyedStack {
	t.Helper()
	s := &keyedStack{key: newECKey(t)}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.key.Public(), KeyID: "k1", Algorithm: "ES256", Use: "sig"}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "reports.jwks.json")
	if err := os.WriteFile(file, set, 0o600); err != nil {
		t.Fatal(err)
	}
	shown := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s.fetched.Add(1)
		_, _ = w.Write(set)
	}))
	t.Cleanup(shown.Close)
	s.exchangeStack = newExchangeStack(t, startRedis(t).url(), nil, exchangePolicy+fmt.Sprintf(`
    reports: {auth: {jwks_file: %q}, audiences: [invoices], grants: [token-exchange, client_credentials], subject_audiences: [invoices]}
    remote: {auth: {jwks_uri: %q}, audiences: [invoices], grants: [client_credentials]}
`, file, shown.URL), nil)
	s.other = s.replica(t)
	return s
}

// sign makes an assertion with a library that is not ours: good for a minute, but for what with changes.
func (s *keyedStack) sign(t *testing.T, key crypto.Signer, with map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": "reports", "sub": "reports", "aud": s.issuer(), "jti": fmt.Sprint(time.Now().UnixNano()), "exp": time.Now().Unix() + 60}
	for name, value := range with {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
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
	return raw
}

func asserting(raw string, with url.Values) url.Values {
	form := url.Values{"grant_type": {"client_credentials"}, "client_assertion": {raw}, "client_assertion_type": {oidc.ClientAssertionTypeJWTAssertion}}
	maps.Copy(form, with)
	return form
}

// at sends a form to one of the replicas as nobody, or as a client with a secret.
func (s *keyedStack) at(t *testing.T, replica *cloakroom, path, client string, form url.Values) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, replica.issuer()+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", formKind)
	if client != "" {
		request.SetBasicAuth(client, secretsOf[client])
	}
	return s.do(t, request)
}

func TestTheExchangeOfClientsWithKeys(t *testing.T) {
	s := newKeyedStack(t)
	stranger := newECKey(t)
	now := time.Now().Unix()
	for _, tc := range []struct {
		name string
		raw  string
		with url.Values
		code string // "" = granted
	}{
		{"C-103 an assertion for the issuer", s.sign(t, s.key, nil), nil, ""},
		{"C-103 an assertion for the token endpoint", s.sign(t, s.key, map[string]any{"aud": s.issuer() + "/oauth2/token"}), nil, ""},
		{"C-103 with keys by address", s.sign(t, s.key, map[string]any{"iss": "remote", "sub": "remote"}), nil, ""},
		{"C-103 with client_id", s.sign(t, s.key, nil), url.Values{"client_id": {"reports"}}, ""},
		{"C-103 a wrong key", s.sign(t, stranger, nil), nil, "invalid_client"},
		{"C-103 for another server", s.sign(t, s.key, map[string]any{"aud": "https://other.example"}), nil, "invalid_client"},
		{"C-103 for another server as well", s.sign(t, s.key, map[string]any{"aud": []string{s.issuer(), "https://other.example"}}), nil, "invalid_client"},
		{"C-103 no exp", s.sign(t, s.key, map[string]any{"exp": nil}), nil, "invalid_client"},
		{"C-103 good for an hour", s.sign(t, s.key, map[string]any{"exp": now + 3600}), nil, "invalid_client"},
		{"C-103 over", s.sign(t, s.key, map[string]any{"exp": now - 60}), nil, "invalid_client"},
		{"C-103 no jti", s.sign(t, s.key, map[string]any{"jti": nil}), nil, "invalid_client"},
		{"C-103 sub is not iss", s.sign(t, s.key, map[string]any{"sub": "remote"}), nil, "invalid_client"},
		{"C-103 of an unknown client", s.sign(t, s.key, map[string]any{"iss": "nobody", "sub": "nobody"}), nil, "invalid_client"},
		{"C-104 with another client_id", s.sign(t, s.key, nil), url.Values{"client_id": {"batch"}}, "invalid_client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := s.at(t, s.cloakroom, "/oauth2/token", "", asserting(tc.raw, tc.with))
			if tc.code == "" {
				s.granted(t, got)
				return
			}
			s.refused(t, got, http.StatusUnauthorized, tc.code)
		})
	}
	if n := s.fetched.Load(); n != 1 {
		t.Errorf("the key set was fetched %d times", n)
	}
	t.Run("C-103 an assertion is used once, on any replica", func(t *testing.T) {
		form := asserting(s.sign(t, s.key, nil), nil)
		s.granted(t, s.at(t, s.cloakroom, "/oauth2/token", "", form))
		for _, replica := range []*cloakroom{s.cloakroom, s.other} {
			s.refused(t, s.at(t, replica, "/oauth2/token", "", form), http.StatusUnauthorized, "invalid_client")
		}
	})
	t.Run("C-103 zitadel/oidc signs one", func(t *testing.T) {
		signer, err := client.NewSignerFromPrivateKeyByte(pkcs8(t, s.key), "k1")
		if err != nil {
			t.Fatal(err)
		}
		raw, err := client.SignedJWTProfileAssertion("reports", []string{s.issuer()}, 4*time.Minute, signer)
		if err != nil {
			t.Fatal(err)
		}
		s.granted(t, s.at(t, s.cloakroom, "/oauth2/token", "", asserting(raw, nil)))
	})
	t.Run("C-134 what one replica revokes is revoked at the other", func(t *testing.T) {
		minted := s.at(t, s.cloakroom, "/oauth2/token", "batch", url.Values{"grant_type": {"client_credentials"}}).text("access_token")
		reports := s.at(t, s.cloakroom, "/oauth2/token", "", asserting(s.sign(t, s.key, nil), nil)).text("access_token")
		active := func(replica *cloakroom) any {
			return s.at(t, replica, "/oauth2/introspect", "", asserting(s.sign(t, s.key, nil), url.Values{"token": {reports}})).body["active"]
		}
		if active(s.cloakroom) != true || active(s.other) != true {
			t.Fatal("not active")
		}
		s.refused(t, s.at(t, s.cloakroom, "/oauth2/revoke", "batch", url.Values{"token": {reports}}), http.StatusBadRequest, "unauthorized_client")
		for _, raw := range []string{"unknown", minted + "A"} {
			if got := s.at(t, s.cloakroom, "/oauth2/revoke", "batch", url.Values{"token": {raw}}); got.status != http.StatusOK {
				t.Errorf("no token of ours: %d %s", got.status, got.raw)
			}
		}
		began := time.Now()
		if got := s.at(t, s.cloakroom, "/oauth2/revoke", "", asserting(s.sign(t, s.key, nil), url.Values{"token": {reports}})); got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.raw)
		}
		if active(s.other) != false || active(s.cloakroom) != false {
			t.Error("still active")
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("took %v", took)
		}
		for _, replica := range []*cloakroom{s.cloakroom, s.other} { // C-050
			s.refused(t, s.at(t, replica, "/oauth2/token", "", asserting(s.sign(t, s.key, nil), url.Values{
				"grant_type": {tokenExchange}, "subject_token": {reports}, "subject_token_type": {typeAccess},
			})), http.StatusBadRequest, "invalid_request")
		}
	})
	t.Run("openid-client and oauth4webapi", func(t *testing.T) { s.nodeAsserts(t) })
}

func pkcs8(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (s *keyedStack) nodeAsserts(t *testing.T) {
	script := exec.CommandContext(t.Context(), "node", "node/assertion.mjs")
	script.Env = append(os.Environ(), "ISSUER="+s.issuer(), "CLIENT_ID=reports", "KEY="+string(pkcs8(t, s.key)), "KID=k1", "AUDIENCE=invoices",
		"NODE_EXTRA_CA_CERTS="+filepath.Join(s.dir, "tls.crt"))
	var stderr bytes.Buffer
	script.Stderr = &stderr
	out, err := script.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, stderr.String())
	}
	type grant struct {
		Result struct {
			Token string `json:"access_token"`
		}
	}
	var seen struct {
		Granted, ViaOAuth grant
		Replayed          struct {
			Status int
			Body   struct{ Error string }
		}
		Before, After struct{ Result struct{ Active bool } }
		Revoked       struct{ Result string }
		Methods       []string
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, g := range []grant{seen.Granted, seen.ViaOAuth} {
		if claims := s.verify(t, g.Result.Token); claims["sub"] != "reports" || claims["aud"] != "invoices" {
			t.Errorf("granted %v", claims)
		}
	}
	if seen.Replayed.Status != http.StatusUnauthorized || seen.Replayed.Body.Error != "invalid_client" {
		t.Errorf("C-103: a replay: %+v", seen.Replayed)
	}
	if !seen.Before.Result.Active || seen.Revoked.Result != "revoked" || seen.After.Result.Active || !slices.Contains(seen.Methods, "private_key_jwt") {
		t.Errorf("%s", out)
	}
}
