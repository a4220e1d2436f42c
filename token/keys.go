package token

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"

	jose "github.com/go-jose/go-jose/v4"
)

// Keys finds the keys that may have signed a token of one issuer.
type Keys interface {
	// Candidates returns the public keys with that `kid` which fit alg; for kid "", all that fit alg. They are at most
	// MaxCandidates. It returns ErrUnknownKey when the issuer's set has none, and an error that wraps ErrUnavailable when the
	// set cannot be had.
	Candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error)
}

const (
	// MaxCandidates bounds the signatures checked for one token.
	MaxCandidates = 10

	maxKeySetSize = 1 << 20 // bytes
	maxKeys       = 256
)

// StaticKeys is a key set as it was read: public keys only, each fit to verify a signature.
type StaticKeys []jose.JSONWebKey

// ParseJWKS reads a key set (RFC 7517 section 5). Keys that are not understood, not for signatures, or not strong enough are
// skipped; one good key is enough.
func ParseJWKS(raw []byte) (StaticKeys, error) {
	if len(raw) > maxKeySetSize {
		return nil, errors.New("key set: longer than 1 MiB")
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &set); err != nil {
		return nil, errors.New("key set: not a JSON object with an array `keys`")
	}
	if len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("key set: more than %d keys", maxKeys)
	}
	var out StaticKeys
	for _, one := range set.Keys {
		if key, ok := parseKey(one); ok {
			out = append(out, key)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("key set: no usable key")
	}
	return out, nil
}

// parseKey reads one key without its certificates: nothing here trusts them, and one that cannot be parsed must not cost the
// key.
func parseKey(raw []byte) (key jose.JSONWebKey, ok bool) {
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil {
		return key, false
	}
	for _, name := range []string{"x5c", "x5u", "x5t", "x5t#S256"} {
		delete(members, name)
	}
	bare, err := json.Marshal(members)
	if err != nil || key.UnmarshalJSON(bare) != nil {
		return jose.JSONWebKey{}, false
	}
	return key, usable(key)
}

// usable refuses private and symmetric keys, which have no place in a published set, and what is too weak (RFC 7518
// section 3.3).
func usable(key jose.JSONWebKey) bool {
	if key.Use != "" && key.Use != "sig" || key.Algorithm != "" && !verifiable(key.Algorithm) {
		return false
	}
	switch public := key.Key.(type) {
	case *rsa.PublicKey:
		return public.N.BitLen() >= minRSABits && public.E >= 3 && public.E%2 == 1
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return key.Valid()
	}
	return false
}

// Candidates implements Keys.
func (s StaticKeys) Candidates(_ context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	var out []jose.JSONWebKey
	for _, key := range s {
		if (kid == "" || key.KeyID == kid) && fits(key, alg) {
			out = append(out, key)
			if len(out) == MaxCandidates {
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, ErrUnknownKey
	}
	return out, nil
}
