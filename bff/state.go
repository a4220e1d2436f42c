package bff

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cloakroom/secret"
)

const (
	loginState  = "login-state" // purposes of sealing: one state never passes for the other
	logoutState = "logout-state"

	maxState       = 4 << 10
	logoutLifetime = time.Hour // the person may be asked by the provider whether to sign out
)

// transaction is one sign-in on its way. It travels sealed, as the `state` parameter, so that the server keeps nothing and
// a sign-in outlives a restart. It is bound to the browser by the seed in the login cookie, from which the nonce and
// the PKCE verifier are derived too: who sees the state alone can neither finish nor learn anything.
type transaction struct {
	ID       []byte    `json:"t"` // 128 random bits
	Binding  []byte    `json:"b"` // proves knowledge of the seed
	Provider string    `json:"p"`
	ReturnTo string    `json:"r"`
	Older    string    `json:"o,omitempty"` // public handle of the session that the browser had; a Strict cookie does not reach the callback
	Started  time.Time `json:"s"`
	MaxAge   *int64    `json:"m,omitempty"` // in seconds, as asked of the provider
	ACR      []string  `json:"a,omitempty"` // any of these, as asked of the provider
	Silent   bool      `json:"q,omitempty"` // prompt=none
}

// newTransaction begins a sign-in in the browser that has the seed.
func newTransaction(seed secret.Key, now time.Time) transaction {
	t := transaction{ID: make([]byte, 16), Started: now.Truncate(time.Millisecond)}
	_, _ = rand.Read(t.ID)
	t.Binding = seed.Derive("login-binding", nil, t.ID, 16)
	return t
}

// boundTo tells whether the transaction began in the browser that has the seed.
func (t *transaction) boundTo(seed secret.Key) bool {
	return subtle.ConstantTimeCompare(t.Binding, seed.Derive("login-binding", nil, t.ID, 16)) == 1
}

// nonce is what the ID token must repeat (OpenID Connect Core section 3.1.2.1).
func (t *transaction) nonce(seed secret.Key) string {
	return base64.RawURLEncoding.EncodeToString(seed.Derive("login-nonce", nil, t.ID, 32))
}

// verifier is the PKCE code verifier (RFC 7636 section 4.1): 43 characters.
func (t *transaction) verifier(seed secret.Key) string {
	return base64.RawURLEncoding.EncodeToString(seed.Derive("login-verifier", nil, t.ID, 32))
}

// marker names the transaction in the store, once it is used.
func (t *transaction) marker() string { return "login:" + base64.RawURLEncoding.EncodeToString(t.ID) }

// expired tells whether the time to sign in is over. A state from the future is of a replica whose clock is ahead.
func (t *transaction) expired(now time.Time) bool { return now.Sub(t.Started) > loginLifetime }

// farewell is a sign-out on its way to the provider and back.
type farewell struct {
	ReturnTo string    `json:"r"`
	Started  time.Time `json:"s"`
}

// seal makes a state parameter of v.
func seal(ring *secret.Ring, purpose string, v any) (string, error) {
	var plain bytes.Buffer
	enc := json.NewEncoder(&plain)
	enc.SetEscapeHTML(false) // or every "&" of a return path takes six bytes
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("seal %s: %w", purpose, err)
	}
	return base64.RawURLEncoding.EncodeToString(ring.Seal(purpose, nil, nil, plain.Bytes())), nil
}

// unseal reads a state parameter that seal made.
func unseal(ring *secret.Ring, purpose, state string, v any) error {
	if state == "" || len(state) > maxState {
		return errors.New("state is missing or too long")
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil {
		return errors.New("state is not base64url")
	}
	plain, err := ring.Open(purpose, nil, nil, sealed)
	if err != nil {
		return fmt.Errorf("open %s: %w", purpose, err)
	}
	if err := json.Unmarshal(plain, v); err != nil {
		return fmt.Errorf("read %s: %w", purpose, err)
	}
	return nil
}
