package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"testing"
	"time"

	"cloakroom/secret"
)

var minted = Claims{
	"iss": "https://cloakroom:8081", "aud": "orders", "sub": "6f1c7a0e-1d2b-4a57-9d7d-0a2f0f8a2b11", "idp": "https://idp.example.com/pool",
	"exp": int64(1800000300), "iat": int64(1800000000), "jti": "Zm9vYmFyYmF6cXV4Zm9vYg", "client_id": "bff", "scope": "orders:read orders:write",
	"sid": "tvA2rwMkKFvU8u9ZxkQAmcTdnyPKeGJcOPeF3OZp7Uo", "auth_time": int64(1799999000), "email": "alice@example.com", "email_verified": true,
	"act": map[string]any{"iss": "https://cloakroom:8081", "sub": "orders"}, "groups": []any{"customer", "beta"},
}

func benchRing(b *testing.B) *KeyRing {
	ring, err := NewKeyRing(KeyRingConfig{
		Secrets: []secret.Key{secret.NewKey()}, Algorithm: ES256, Also: []string{EdDSA, RS256}, RSAKeys: []*rsa.PrivateKey{issuer().rsa}, Rotate: 720 * time.Hour,
		Now: func() time.Time { return time.Unix(1800000000, 0) },
	})
	if err != nil {
		b.Fatal(err)
	}
	return ring
}

// BenchmarkBareES256 is what BenchmarkSign is measured against: the signature alone.
func BenchmarkBareES256(b *testing.B) {
	key := benchRing(b).keys().sign[ES256].private.(*ecdsa.PrivateKey)
	sum := sha256.Sum256([]byte("x"))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := key.Sign(rand.Reader, sum[:], nil); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareVerification is what BenchmarkVerify is measured against.
func BenchmarkBareVerification(b *testing.B) {
	p := issuer()
	input := []byte("x")
	sum := sha256.Sum256(input)
	b.Run(ES256, func(b *testing.B) {
		signature := p.es256ASN1(input)
		for b.Loop() {
			if !ecdsa.VerifyASN1(&p.ec.PublicKey, sum[:], signature) {
				b.Fatal("does not verify")
			}
		}
	})
	b.Run(RS256, func(b *testing.B) {
		signature := p.rs256(input)
		for b.Loop() {
			if err := rsa.VerifyPKCS1v15(&p.rsa.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	for _, alg := range []string{ES256, EdDSA} {
		b.Run(alg, func(b *testing.B) {
			ring := benchRing(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := ring.Sign(alg, "at+jwt", minted); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncodeClaims(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := EncodeClaims(minted); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	raw, err := benchRing(b).Sign(ES256, "at+jwt", minted)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, alg := range []string{ES256, EdDSA, RS256} {
		b.Run(alg, func(b *testing.B) {
			ring := benchRing(b)
			raw, err := ring.Sign(alg, "at+jwt", minted)
			if err != nil {
				b.Fatal(err)
			}
			rules := Rules{Issuer: "https://cloakroom:8081", Algorithms: []string{alg}, Types: []string{"at+jwt"}}
			b.ReportAllocs()
			for b.Loop() {
				if _, _, err := Verify(context.Background(), raw, rules, ring, time.Unix(1800000000, 0)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
