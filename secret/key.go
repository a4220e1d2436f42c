package secret

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// KeySize is the length of a configured secret, in bytes.
const KeySize = 32

// Key is one configured secret. It is never used itself: what seals, signs or names is derived from it by purpose.
type Key struct {
	id  string
	raw [KeySize]byte
}

// ParseKey reads a secret as the configuration spells it: base64 (standard or URL alphabet, padded or not) of 32 random
// bytes. It refuses what cannot have come from a random source.
func ParseKey(encoded string) (Key, error) {
	text := strings.TrimRight(strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimSpace(encoded)), "=")
	raw, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil {
		return Key{}, errors.New("not base64")
	}
	if len(raw) != KeySize {
		return Key{}, fmt.Errorf("%d bytes once decoded, not %d", len(raw), KeySize)
	}
	if distinct(raw) < 8 {
		return Key{}, errors.New("too regular to be random")
	}
	return newKey([KeySize]byte(raw)), nil
}

// NewKey makes a fresh random secret.
func NewKey() Key {
	var raw [KeySize]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return newKey(raw)
}

func newKey(raw [KeySize]byte) Key {
	k := Key{raw: raw}
	k.id = base64.RawURLEncoding.EncodeToString(k.Derive("key-id", nil, nil, 6))
	return k
}

// ID names the key in cookies and records without telling anything about it: 8 characters of the URL-safe alphabet.
func (k Key) ID() string { return k.id }

// Encode returns the secret as ParseKey reads it.
func (k Key) Encode() Text { return Text(base64.StdEncoding.EncodeToString(k.raw[:])) }

// Derive returns n bytes for one purpose by HKDF-SHA256 (RFC 5869): the input is the key followed by extra (such as a
// cookie's secret, when neither half alone may suffice), info is the purpose.
func (k Key) Derive(purpose string, extra, salt []byte, n int) []byte {
	out, err := hkdf.Key(sha256.New, append(k.raw[:len(k.raw):len(k.raw)], extra...), salt, "cloakroom/"+purpose, n)
	if err != nil {
		panic(fmt.Sprintf("secret: derive %d bytes: %v", n, err)) // only for n beyond 255 hashes: a mistake in the program
	}
	return out
}

func (k Key) String() string { return Redacted }

// Format answers every verb, as that of Text does.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, Redacted) }

func distinct(raw []byte) int {
	seen := map[byte]bool{}
	for _, b := range raw {
		seen[b] = true
	}
	return len(seen)
}
