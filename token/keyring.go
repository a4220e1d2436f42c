package token

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/secret"
)

// KeyRingConfig is what a key ring is made from.
type KeyRingConfig struct {
	// Secrets the keys are derived from: the first signs, all are published. At most secret.MaxKeys.
	Secrets []secret.Key
	// Algorithm signs where an audience asks for none: ES256, EdDSA or RS256.
	Algorithm string
	// Also are further algorithms some audience uses.
	Also []string
	// Rotate is how long an epoch is. The caller sees to it that it is at least twice the longest lifetime of a token.
	Rotate time.Duration
	// RSAKeys: the first signs RS256, all are published.
	RSAKeys []*rsa.PrivateKey
	Now     func() time.Time
}

// KeyRing is the keys Cloakroom signs with. They are derived, not stored: from a secret, the algorithm and the epoch, which
// is the number of rotation periods since 1970, so that replicas agree without talking and a restart keeps every key. The
// keys of an epoch are derived once, when it begins; signing derives nothing. All methods may be used concurrently.
type KeyRing struct {
	algorithms []string // the default first
	secrets    []secret.Key
	rsa        []*signingKey
	rotate     time.Duration
	now        func() time.Time

	current  atomic.Pointer[epochKeys]
	deriving sync.Mutex
}

// epochKeys is all there is to sign and verify with during one epoch. It is immutable but for the header caches of its keys.
type epochKeys struct {
	epoch     int64
	sign      map[string]*signingKey // by algorithm
	public    StaticKeys             // in the order of publication
	published []PublishedKey         // the same keys
	byID      map[string]jose.JSONWebKey
	document  KeySetDocument
}

// NewKeyRing derives the keys of the present epoch.
func NewKeyRing(cfg KeyRingConfig) (*KeyRing, error) {
	k := &KeyRing{secrets: slices.Clone(cfg.Secrets), rotate: cfg.Rotate, now: cfg.Now}
	if k.now == nil {
		return nil, errors.New("key ring: no clock")
	}
	if k.rotate <= 0 {
		return nil, errors.New("key ring: no rotation period")
	}
	if len(k.secrets) > 0 {
		if _, err := secret.NewRing(k.secrets...); err != nil {
			return nil, fmt.Errorf("key ring: %w", err)
		}
	}
	for _, alg := range append([]string{cfg.Algorithm}, cfg.Also...) {
		switch {
		case alg == RS256 && len(cfg.RSAKeys) == 0:
			return nil, errors.New("key ring: RS256 needs an RSA key")
		case alg != RS256 && alg != ES256 && alg != EdDSA:
			return nil, fmt.Errorf("key ring: no signing with %q", alg)
		case alg != RS256 && len(k.secrets) == 0:
			return nil, fmt.Errorf("key ring: no secret to derive %s keys from", alg)
		case !slices.Contains(k.algorithms, alg):
			k.algorithms = append(k.algorithms, alg)
		}
	}
	seen := map[string]bool{}
	for _, private := range cfg.RSAKeys {
		key, err := newSigningKey(RS256, private)
		if err != nil {
			return nil, fmt.Errorf("key ring: %w", err)
		}
		if seen[key.public.KeyID] {
			return nil, errors.New("key ring: the same RSA key twice")
		}
		seen[key.public.KeyID] = true
		k.rsa = append(k.rsa, key)
	}
	keys, err := k.derive(k.Epoch())
	if err != nil {
		return nil, fmt.Errorf("key ring: %w", err)
	}
	k.current.Store(keys)
	return k, nil
}

// Epoch is the number of the present epoch.
func (k *KeyRing) Epoch() int64 { return k.now().UnixNano() / int64(k.rotate) }

// Algorithms lists what the ring signs with, the default first.
func (k *KeyRing) Algorithms() []string { return slices.Clone(k.algorithms) }

// CurrentID is the `kid` that the default algorithm signs with now.
func (k *KeyRing) CurrentID() string { return k.keys().sign[k.algorithms[0]].public.KeyID }

// JWKS is the key set to publish now.
func (k *KeyRing) JWKS() KeySetDocument { return k.keys().document }

// PublishedKey is what there is to know of a key of the set, beside the key.
type PublishedKey struct {
	ID        string // `kid`
	Algorithm string
	Secret    string // id of the secret it is derived from; "" for one from a file
	Epoch     int64  // it is derived for; 0 for one from a file
	Signs     bool   // now; the others only verify
}

// Published tells of the keys that JWKS holds.
func (k *KeyRing) Published() []PublishedKey { return slices.Clone(k.keys().published) }

// Candidates implements Keys for our own tokens. It does no I/O and never returns ErrUnavailable.
func (k *KeyRing) Candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	keys := k.keys()
	if kid == "" {
		return keys.public.Candidates(ctx, kid, alg)
	}
	key, ok := keys.byID[kid]
	if !ok || !fits(key, alg) {
		return nil, ErrUnknownKey
	}
	return []jose.JSONWebKey{key}, nil
}

// Sign mints a token of that `typ`. An empty alg is the default one.
func (k *KeyRing) Sign(alg, typ string, claims Claims) (string, error) {
	if alg == "" {
		alg = k.algorithms[0]
	}
	key, ok := k.keys().sign[alg]
	if !ok {
		return "", fmt.Errorf("sign token: no %s key", alg)
	}
	payload, err := EncodeClaims(claims)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	raw, err := key.sign(typ, payload)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return raw, nil
}

// keys returns the keys of the present epoch. Whoever comes first in a new epoch derives them; the others wait for him, a
// millisecond at most.
func (k *KeyRing) keys() *epochKeys {
	epoch := k.Epoch()
	if keys := k.current.Load(); keys.epoch == epoch {
		return keys
	}
	k.deriving.Lock()
	defer k.deriving.Unlock()
	if keys := k.current.Load(); keys.epoch == epoch {
		return keys
	}
	keys, err := k.derive(epoch)
	if err != nil {
		panic(fmt.Sprintf("token: %v", err)) // what was derived for one epoch can be derived for every other
	}
	k.current.Store(keys)
	return keys
}
