package exchange

import (
	"context"
	"errors"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// TrustedIssuer is somebody else whose tokens may be presented.
type TrustedIssuer struct {
	Name     string // as configured
	Issuer   string // `iss` of its tokens, exact
	Verifier Verifier
	// Opaque: its access tokens need not be JWTs, since the Verifier asks it about them.
	Opaque bool
}

// Presented is a token of somebody else, as it came.
type Presented struct {
	Raw  secret.Text
	Read *token.Unverified // Raw taken apart; nil where it is opaque, as only an access token may be
	As   TokenType
	ID   secret.Text // the ID token that came beside an access token; "" none
}

// Verifier examines the tokens of one issuer: signature, `iss`, times, audience or client, and that the token is of the
// type it is presented as. A refusal wraps ErrUnacceptable or is a *token.Invalid; any other error means that it could
// not be examined now.
type Verifier interface {
	Verify(ctx context.Context, t Presented) (Verified, error)
}

// Verified is what a verified token of somebody else says.
type Verified struct {
	Claims  token.Claims // normalised; an ID token's with at_hash, origin_jti and auth_time, by which it is bound
	Client  string       // whom it was issued to: `client_id`, `azp`, `cid`, an ID token's `azp` or only `aud`; "" unknown
	Scope   token.Scope  // nil: the claims' own
	Expires time.Time
	IDP     string // the issuer of the people it speaks of
	Further bool   // of a further issuer, not of a provider people sign in with
	// Algorithm is that of the signature, by which an ID token's hashes are made (OpenID Connect Core section 3.1.3.6).
	Algorithm string
	// UserInfo is what userinfo told, normalised, where the token could only be understood by asking it; otherwise nil.
	UserInfo token.Claims
}

// unacceptable tells whether an examination ended in a no, rather than not at all.
func unacceptable(err error) bool {
	var invalid *token.Invalid
	return errors.Is(err, ErrUnacceptable) || errors.As(err, &invalid) || errors.Is(err, token.ErrUnknownKey)
}
