package provider

import "errors"

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
)

// Error is what every method returns. Reason is for the operator: it never holds a token, a code, a secret or a piece of
// the provider's answer beyond a registered error code.
type Error struct {
	Party    string // "provider main", or "issuer support-desk"
	Endpoint string // discovery, jwks, token, userinfo, revocation, introspection; "" where none was asked
	Reason   string
	kinds    []error
}

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
	switch {
	case err == nil:
		return "ok"
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
