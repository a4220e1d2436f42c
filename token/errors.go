package token

import "errors"

// Errors of finding keys. They are two answers: a key that is not there, and a set that cannot be had.
var (
	// ErrUnknownKey: the issuer's key set has no such key.
	ErrUnknownKey = errors.New("token: unknown key")
	// ErrUnavailable: the issuer's keys cannot be had now, so nothing can be said about the token.
	ErrUnavailable = errors.New("token: keys unavailable")
)

// Invalid says why a token is refused. Reason is for the operator and the audit line, not for the caller; it holds no part
// of the token.
type Invalid struct {
	Reason string
	cause  error
}

func (e *Invalid) Error() string { return "invalid token: " + e.Reason }

// Unwrap gives ErrUnknownKey where that was the reason.
func (e *Invalid) Unwrap() error { return e.cause }

func invalid(reason string) *Invalid { return &Invalid{Reason: reason} }
