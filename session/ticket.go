package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"

	"cloakroom/secret"
)

// Ticket is what the cookie holds: 32 random bytes that never change during a session. It is half of the key that the
// tokens are sealed under, so it is kept nowhere but in the browser, and never printed.
type Ticket [32]byte

func newTicket() Ticket {
	var t Ticket
	_, _ = rand.Read(t[:]) // never fails: crypto/rand ends the process instead
	return t
}

// ID is the public handle of the ticket's session. It opens nothing.
func (t Ticket) ID() string { return t.key().String() }

func (t Ticket) key() Key { return sha256.Sum256(t[:]) }

func (t Ticket) String() string               { return secret.Redacted }
func (t Ticket) LogValue() slog.Value         { return slog.StringValue(secret.Redacted) }
func (t Ticket) MarshalText() ([]byte, error) { return []byte(secret.Redacted), nil }

// Format answers every verb: by the others, the bytes would be printed as numbers.
func (t Ticket) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, secret.Redacted) }

// Key names a session's record in the store: SHA-256 of its ticket. A plain hash does for 256 random bits.
type Key [sha256.Size]byte

// String is the key as a handle: 43 characters of the URL-safe alphabet.
func (k Key) String() string { return base64.RawURLEncoding.EncodeToString(k[:]) }

var handle = base64.RawURLEncoding.Strict()

// parseHandle reads a handle, which may come from anyone. Each key has one spelling only.
func parseHandle(id string) (key Key, ok bool) {
	if len(id) != handle.EncodedLen(len(key)) {
		return Key{}, false
	}
	n, err := handle.Decode(key[:], []byte(id))
	return key, err == nil && n == len(key)
}
