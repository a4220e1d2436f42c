package provider

import (
	"errors"
	"time"
)

// What callers branch on. Every error of this package is one of them, by errors.Is.
var (
	// ErrUnavailable: the provider cannot tell. It did not answer, answered 5xx or 429, or does not know us
	// (invalid_client: our misconfiguration must not sign anybody out, security.md B3.18).
	ErrUnavailable = errors.New("provider unavailable")
	// ErrRefused: the provider says that the code or the refresh token is no good (invalid_grant); of userinfo, that the
	// access token is not for it (401, 403), as one that is for a resource alone is not (RFC 8707).
	ErrRefused = errors.New("provider refused the grant")
	// ErrNonsense: an answer that is not what it must be.
	ErrNonsense = errors.New("provider answered nonsense")
	// ErrRejected: a token or a response that fails validation.
	ErrRejected = errors.New("rejected")
	// ErrUncertain stands beside ErrUnavailable or ErrNonsense where a code or refresh token was sent and no whole answer came:
	// it may be used up.
	ErrUncertain = errors.New("what was sent may have been used")
)

// Error is what every method returns. Reason is for the operator: it never holds a token, a code, a secret or a piece of
// the provider's answer beyond a registered error code.
type Error struct {
	Party    string // "provider main", or "issuer support-desk"
	Endpoint string // discovery, jwks, token, userinfo, revocation, introspection; "" where none was asked
	Reason   string
	kinds    []error
	after    time.Duration
}

// RetryAfter is how long the provider asks to be left alone (429, or 503 with Retry-After), an hour at most; 0: it does not.
func (e *Error) RetryAfter() time.Duration { return e.after }

func (e *Error) Error() string {
	where := e.Party
	if e.Endpoint != "" {
		where += ": " + e.Endpoint
	}
	return where + ": " + e.kinds[0].Error() + ": " + e.Reason
}

// Unwrap yields the sentinels.
func (e *Error) Unwrap() []error { return e.kinds }

// outcome is the word metrics use for an error.
func outcome(err error) string {
	own, _ := errors.AsType[*Error](err)
	switch {
	case err == nil:
		return "ok"
	case own != nil && own.after > 0:
		return "throttled"
	case errors.Is(err, ErrRejected):
		return "rejected"
	case errors.Is(err, ErrRefused):
		return "refused"
	case errors.Is(err, ErrNonsense):
		return "nonsense"
	default:
		return "unavailable"
	}
}
