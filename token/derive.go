package token

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/secret"
)

// KeySetDocument is a key set as it is served.
type KeySetDocument struct {
	JSON   []byte        // must not be changed
	ETag   string        // with its quotes; the same on every replica
	MaxAge time.Duration // how long it may be cached
}

// derive makes the keys of an epoch: of every secret and algorithm the previous, the current and the next one are published,
// so that neither a token signed just before the change nor a cache filled before it nor a replica whose clock is ahead
// meets a key that is not in the set.
func (k *KeyRing) derive(epoch int64) (*epochKeys, error) {
	keys := &epochKeys{epoch: epoch, sign: map[string]*signingKey{}, byID: map[string]jose.JSONWebKey{}}
	publish := func(key *signingKey, of PublishedKey) {
		keys.public = append(keys.public, key.public)
		keys.byID[key.public.KeyID] = key.public
		of.ID, of.Algorithm = key.public.KeyID, key.alg
		keys.published = append(keys.published, of)
	}
	for _, alg := range k.algorithms {
		if alg == RS256 {
			continue
		}
		for i, s := range k.secrets {
			for _, e := range []int64{epoch, epoch - 1, epoch + 1} {
				key, err := derivedKey(s, alg, e)
				if err != nil {
					return nil, fmt.Errorf("derive %s key: %w", alg, err)
				}
				signs := i == 0 && e == epoch
				if signs {
					keys.sign[alg] = key
				}
				publish(key, PublishedKey{Secret: s.ID(), Epoch: e, Signs: signs})
			}
		}
	}
	for i, key := range k.rsa {
		publish(key, PublishedKey{Signs: i == 0 && slices.Contains(k.algorithms, RS256)})
	}
	if slices.Contains(k.algorithms, RS256) {
		keys.sign[RS256] = k.rsa[0]
	}
	raw, err := json.Marshal(jose.JSONWebKeySet{Keys: keys.public})
	if err != nil {
		return nil, fmt.Errorf("encode key set: %w", err)
	}
	sum := sha256.Sum256(raw)
	keys.document = KeySetDocument{
		JSON:   raw,
		ETag:   `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`,
		MaxAge: min(time.Hour, k.rotate/2),
	}
	return keys, nil
}

// derivedKey is the private key of one secret, algorithm and epoch. What it computes must never change: every replica, old or
// new, must arrive at the same key (testdata/derived_keys.json).
func derivedKey(s secret.Key, alg string, epoch int64) (*signingKey, error) {
	purpose := fmt.Sprintf("signing-key/%s/%d", alg, epoch)
	if alg == EdDSA {
		return newSigningKey(alg, ed25519.NewKeyFromSeed(s.Derive(purpose, nil, nil, ed25519.SeedSize)))
	}
	// 48 bytes, 16 more than the order has, make the bias of the reduction negligible (FIPS 186-5 A.2.1). ecdsa.GenerateKey
	// would not do: it takes its randomness elsewhere, whatever reader it is given.
	one := big.NewInt(1)
	scalar := new(big.Int).SetBytes(s.Derive(purpose, nil, nil, 48))
	scalar.Mod(scalar, new(big.Int).Sub(elliptic.P256().Params().N, one))
	scalar.Add(scalar, one)
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar.FillBytes(make([]byte, 32)))
	if err != nil {
		return nil, err
	}
	return newSigningKey(alg, private)
}
