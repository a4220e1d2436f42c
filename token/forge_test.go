package token

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// party is an issuer of the tests, honest or not, that can sign any bytes at all.
type party struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
	ed  ed25519.PrivateKey
}

func newParty() party {
	var p party
	var err error
	if p.rsa, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		panic(err)
	}
	if p.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		panic(err)
	}
	if _, p.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		panic(err)
	}
	return p
}

var (
	issuer   = sync.OnceValue(newParty)
	attacker = sync.OnceValue(newParty)
)

// jwks is the party's published key set: one key a kind, one for encryption, and entries nobody can use.
func (p party) jwks() []byte {
	set := jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
		{Key: &p.rsa.PublicKey, KeyID: "rsa", Use: "sig", Algorithm: "RS256"},
		{Key: &p.ec.PublicKey, KeyID: "ec", Use: "sig"},
		{Key: p.ed.Public(), KeyID: "ed"},
		{Key: &p.rsa.PublicKey, KeyID: "enc", Use: "enc"},
	}}
	raw, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	garbage := `{"keys":[null,7,"x",{},{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA","kid":"k1"},{"kty":"OKP","crv":"Ed448","x":"AA"},`
	return append([]byte(garbage), bytes.TrimPrefix(raw, []byte(`{"keys":[`))...)
}

func (p party) keys(t testing.TB) StaticKeys {
	t.Helper()
	keys, err := ParseJWKS(p.jwks())
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// signer makes the last part of a token from the first two.
type signer func(input []byte) []byte

func (p party) rs256(input []byte) []byte {
	sum := sha256.Sum256(input)
	out, err := rsa.SignPKCS1v15(nil, p.rsa, crypto.SHA256, sum[:])
	if err != nil {
		panic(err)
	}
	return out
}

func (p party) ps256(input []byte) []byte {
	sum := sha256.Sum256(input)
	out, err := rsa.SignPSS(rand.Reader, p.rsa, crypto.SHA256, sum[:], nil)
	if err != nil {
		panic(err)
	}
	return out
}

func (p party) es256(input []byte) []byte {
	sum := sha256.Sum256(input)
	r, s, err := ecdsa.Sign(rand.Reader, p.ec, sum[:])
	if err != nil {
		panic(err)
	}
	return append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
}

// es256ASN1 is the form of other protocols, which JWS does not take.
func (p party) es256ASN1(input []byte) []byte {
	sum := sha256.Sum256(input)
	out, err := ecdsa.SignASN1(rand.Reader, p.ec, sum[:])
	if err != nil {
		panic(err)
	}
	return out
}

func (p party) eddsa(input []byte) []byte { return ed25519.Sign(p.ed, input) }

// hs256 takes some form of a public key for a shared secret.
func hs256(key []byte) signer {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, key)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

func constant(signature string) signer { return func([]byte) []byte { return []byte(signature) } }

// forge makes a compact token of any three parts.
func forge(header, payload string, sign signer) string {
	b64 := base64.RawURLEncoding.EncodeToString
	input := b64([]byte(header)) + "." + b64([]byte(payload))
	return input + "." + b64(sign([]byte(input)))
}

// at is when the tests verify.
var at = time.Unix(1800000000, 0)
