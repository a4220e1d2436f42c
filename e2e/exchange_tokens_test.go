package e2e

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
)

// part is the header (0) or the claims (1) of a token, unverified.
func part(raw string, n int) map[string]any {
	out := map[string]any{}
	if parts := strings.Split(raw, "."); len(parts) == 3 {
		decoded, _ := base64.RawURLEncoding.DecodeString(parts[n])
		_ = json.Unmarshal(decoded, &out)
	}
	return out
}

// accessOf is alice's access token with other claims, signed by the pool as its own; nil takes one out.
func (s *exchangeStack) accessOf(with map[string]any) string {
	return s.pool.Sign(idptest.AccessToken, nil, changed(part(s.alice.access, 1), with))
}

func (s *exchangeStack) idOf(with map[string]any) string {
	return s.pool.Sign(idptest.IDToken, nil, changed(part(s.alice.id, 1), with))
}

func changed(claims, with map[string]any) map[string]any {
	out := maps.Clone(claims)
	for name, value := range with {
		if out[name] = value; value == nil {
			delete(out, name)
		}
	}
	return out
}

// forge signs any two texts with the key of the test's that the pool publishes.
func (s *exchangeStack) forge(header, payload string) string {
	b := base64.RawURLEncoding
	input := b.EncodeToString([]byte(header)) + "." + b.EncodeToString([]byte(payload))
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, s.rsa, crypto.SHA256, digest[:])
	if err != nil {
		panic(err) // only a broken machine
	}
	return input + "." + b.EncodeToString(signature)
}

func text(of any) string {
	raw, err := json.Marshal(of)
	if err != nil {
		panic(err) // maps of texts and numbers always marshal
	}
	return string(raw)
}

func newRSAKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// writeRSAKey makes the file that RS256 signs with.
func writeRSAKey(t *testing.T, app *cloakroom) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(newRSAKey(t))
	if err != nil {
		t.Fatal(err)
	}
	app.write(t, "rsa.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}
