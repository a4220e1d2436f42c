package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
)

// ErrBroken: not what was sealed, not for this purpose and context, or under a secret that is not configured (any more). Which
// of them, only its text tells.
var ErrBroken = errors.New("secret: does not open")

var errUnknownKey = fmt.Errorf("%w: sealed under an unknown key", ErrBroken)

// MaxKeys is how many secrets may be configured at once: the current one, and those being phased in or out.
const MaxKeys = 3

// Ring is the configured secrets: the first seals and signs, all open and verify. It is immutable; a reload makes a new one.
type Ring struct{ keys []Key }

// NewRing refuses an empty or overfull list, and one that names a secret twice.
func NewRing(keys ...Key) (*Ring, error) {
	if len(keys) == 0 || len(keys) > MaxKeys {
		return nil, fmt.Errorf("%d secrets, not 1 to %d", len(keys), MaxKeys)
	}
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.id] {
			return nil, errors.New("the same secret twice")
		}
		seen[k.id] = true
	}
	return &Ring{keys: append([]Key(nil), keys...)}, nil
}

// First is the secret that seals and signs.
func (r *Ring) First() Key { return r.keys[0] }

// Keys lists all secrets, the first first. The caller must not change the list.
func (r *Ring) Keys() []Key { return r.keys }

// Find returns the secret of that id.
func (r *Ring) Find(id string) (Key, bool) {
	for _, k := range r.keys {
		if k.id == id {
			return k, true
		}
	}
	return Key{}, false
}

const (
	idSize    = 8 // length of Key.ID
	nonceSize = 12
)

// Seal encrypts plaintext with AES-256-GCM under the first secret, for one purpose, bound to context. extra is further
// key material that opening will need too; nil where the server's secret alone is to suffice. The result names its key.
func (r *Ring) Seal(purpose string, extra, context, plaintext []byte) []byte {
	k := r.First()
	out := make([]byte, idSize+nonceSize, idSize+nonceSize+len(plaintext)+16)
	copy(out, k.id)
	nonce := out[idSize:]
	_, _ = rand.Read(nonce)
	return aead(k, purpose, extra).Seal(out, nonce, plaintext, aad(k.id, context))
}

// Open reverses Seal under whichever configured secret sealed. The error is ErrBroken.
func (r *Ring) Open(purpose string, extra, context, sealed []byte) ([]byte, error) {
	if len(sealed) < idSize+nonceSize {
		return nil, ErrBroken
	}
	k, ok := r.Find(string(sealed[:idSize]))
	if !ok {
		return nil, errUnknownKey
	}
	plaintext, err := aead(k, purpose, extra).Open(nil, sealed[idSize:idSize+nonceSize], sealed[idSize+nonceSize:], aad(k.id, context))
	if err != nil {
		return nil, ErrBroken
	}
	return plaintext, nil
}

func aead(k Key, purpose string, extra []byte) cipher.AEAD {
	block, err := aes.NewCipher(k.Derive(purpose, extra, nil, 32))
	if err != nil {
		panic(fmt.Sprintf("secret: %v", err)) // the key is 32 bytes by construction
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		panic(fmt.Sprintf("secret: %v", err))
	}
	return gcm
}

func aad(id string, context []byte) []byte { return append([]byte(id), context...) }
