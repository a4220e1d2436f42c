package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"strings"

	jose "github.com/go-jose/go-jose/v4"
)

// The algorithms Cloakroom signs with.
const (
	ES256 = "ES256"
	EdDSA = "EdDSA"
	RS256 = "RS256"
)

// verifiable are the algorithms a token may be verified with: asymmetric ones only, so that neither `none` nor a public
// key taken for an HMAC secret can come up, whatever a configuration lists (RFC 8725 section 3.1).
func verifiable(alg string) bool {
	switch alg {
	case "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA":
		return true
	}
	return false
}

// fits tells whether a key is one for that algorithm: by its type, its curve, and what the set says of its `alg` and `use`.
func fits(key jose.JSONWebKey, alg string) bool {
	if !verifiable(alg) || key.Algorithm != "" && key.Algorithm != alg || key.Use != "" && key.Use != "sig" {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return alg == "ES256"
		case elliptic.P384():
			return alg == "ES384"
		case elliptic.P521():
			return alg == "ES512"
		}
	case ed25519.PublicKey:
		return alg == "EdDSA"
	}
	return false
}

// HalfHash is the value of `at_hash` or `c_hash` for an access token or code in an ID token signed with alg (OpenID Connect
// Core 3.1.3.6): the left half of the algorithm's hash. It is "" for an algorithm that is not known.
func HalfHash(alg, value string) string {
	var sum []byte
	switch alg {
	case "RS256", "PS256", "ES256":
		full := sha256.Sum256([]byte(value))
		sum = full[:]
	case "RS384", "PS384", "ES384":
		full := sha512.Sum384([]byte(value))
		sum = full[:]
	case "RS512", "PS512", "ES512", "EdDSA": // Ed25519 hashes with SHA-512 (RFC 8032 section 5.1)
		full := sha512.Sum512([]byte(value))
		sum = full[:]
	default:
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}
