package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

func published(t *testing.T, keys ...jose.JSONWebKey) string {
	t.Helper()
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestParseJWKS(t *testing.T) {
	p := issuer()
	key := jose.JSONWebKey{Key: &p.ec.PublicKey, KeyID: "ec"}
	one := published(t, key)
	short := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	even := &rsa.PublicKey{N: p.rsa.N, E: 65536}
	many := make([]jose.JSONWebKey, maxKeys+1)
	for i := range many {
		many[i] = key
	}
	for _, tt := range []struct {
		name, raw string
		usable    int // 0: refused
	}{
		{"one key", one, 1},
		{"good keys among garbage (B3.6)", string(p.jwks()), 3},
		{"members nobody knows", strings.Replace(one, `{"keys"`, `{"x":1,"keys"`, 1), 1},
		{"a certificate that cannot be read", strings.Replace(one, `"kty"`, `"x5c":["AAAA"],"x5t":7,"kty"`, 1), 1},
		{"no keys", `{"keys":[]}`, 0},
		{"no member keys", `{}`, 0},
		{"keys that are no list", `{"keys":{}}`, 0},
		{"HTML", `<html>`, 0},
		{"nothing", ``, 0},
		{"a list", `[]`, 0},
		{"cut short", one[:len(one)-3], 0},
		{"only a key for encryption", published(t, jose.JSONWebKey{Key: &p.rsa.PublicKey, Use: "enc"}), 0},
		{"only a key of an algorithm for encryption", published(t, jose.JSONWebKey{Key: &p.rsa.PublicKey, Algorithm: "RSA-OAEP"}), 0},
		{"only a symmetric key", published(t, jose.JSONWebKey{Key: []byte(strings.Repeat("k", 32))}), 0},
		{"only a private key, which all the world can read", published(t, jose.JSONWebKey{Key: p.ec}), 0},
		{"only an RSA key of 1024 bits", published(t, jose.JSONWebKey{Key: short}), 0},
		{"only an RSA key with an even exponent", published(t, jose.JSONWebKey{Key: even}), 0},
		{"only a point that is not on the curve", strings.NewReplacer(`"x":"`, `"x":"AA`, `"y":"`, `"y":"AA`).Replace(one), 0},
		{"deep JSON in a key (E18)", `{"keys":[` + strings.Repeat(`{"x":`, 1<<17), 0},
		{"deep JSON beside a key", `{"a":` + strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000) + `,` + one[1:], 1},
		{"deep JSON in a key beside a good one", strings.Replace(one, `[`, `[{"kty":`+strings.Repeat(`[`, 9000)+strings.Repeat(`]`, 9000)+`},`, 1), 1},
		{"too many keys", published(t, many...), 0},
		{"more than 1 MiB", `{"a":"` + strings.Repeat("x", 1<<20) + `",` + one[1:], 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			began := time.Now()
			keys, err := ParseJWKS([]byte(tt.raw))
			if (err == nil) != (tt.usable > 0) || len(keys) != tt.usable {
				t.Errorf("%d keys, %v; want %d", len(keys), err, tt.usable)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestCandidates(t *testing.T) {
	p := issuer()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := StaticKeys{
		{Key: &p.rsa.PublicKey, KeyID: "any"},
		{Key: &p.rsa.PublicKey, KeyID: "rs256", Algorithm: "RS256"},
		{Key: &p.ec.PublicKey, KeyID: "any"},
		{Key: &p384.PublicKey, KeyID: "p384"},
		{Key: p.ed.Public(), KeyID: "ed"},
	}
	for _, tt := range []struct {
		name, kid, alg string
		want           int
	}{
		{"by kid and type, where a kid is there twice", "any", "ES256", 1},
		{"by kid, an algorithm of the same type", "any", "PS512", 1},
		{"by kid, but the set says another algorithm", "rs256", "PS256", 0},
		{"by kid, but on another curve", "p384", "ES256", 0},
		{"by kid, of another type", "ed", "RS256", 0},
		{"by kid in another case", "ED", "EdDSA", 0},
		{"without kid, all that fit", "", "RS256", 2},
		{"without kid, one that fits", "", "ES384", 1},
		{"without kid, none fits", "", "ES512", 0},
		{"an algorithm that is none", "any", "none", 0},
		{"an algorithm of one letter", "any", "R", 0},
		{"no algorithm", "any", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := keys.Candidates(context.Background(), tt.kid, tt.alg)
			if len(got) != tt.want || errors.Is(err, ErrUnknownKey) != (tt.want == 0) {
				t.Errorf("%d, %v; want %d", len(got), err, tt.want)
			}
		})
	}
	var many StaticKeys
	for i := range 3 * MaxCandidates {
		many = append(many, jose.JSONWebKey{Key: &p.ec.PublicKey, KeyID: fmt.Sprint(i)})
	}
	if got, _ := many.Candidates(context.Background(), "", "ES256"); len(got) != MaxCandidates {
		t.Errorf("%d candidates, want at most %d", len(got), MaxCandidates)
	}
}

// The example of OpenID Connect Core A.3 and A.4, and values worked out with Python.
func TestHalfHash(t *testing.T) {
	for _, tt := range []struct{ name, alg, value, want string }{
		{"the specification's access token", "RS256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"},
		{"the specification's code", "RS256", "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk", "LDktKdoQak3Pk0cnXxCltA"},
		{"another algorithm with the same hash", "ES256", "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "77QmUPtjPfzWtF2AnpK9RQ"},
		{"SHA-384", "PS384", "abc", "ywB1P0WjXou1oD1pmsZQBycsMqsO3tFj"},
		{"SHA-512", "RS512", "abc", "3a81oZNherrMQXNJriBBMRLm-k6JqX6iCp7u5ktV05o"},
		{"Ed25519 hashes with SHA-512", "EdDSA", "abc", "3a81oZNherrMQXNJriBBMRLm-k6JqX6iCp7u5ktV05o"},
		{"an unknown algorithm", "none", "abc", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := HalfHash(tt.alg, tt.value); got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}
