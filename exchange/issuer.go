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
}

// Verifier examines the tokens of one issuer: signature, `iss`, times, audience or client, and that the token is of the
// type it is presented as. A refusal wraps ErrUnacceptable or is a *token.Invalid; any other error means that it could
// not be examined now.
type Verifier interface {
	Verify(ctx context.Context, raw secret.Text, as TokenType) (Verified, error)
}

// Verified is what a verified token of somebody else says.
type Verified struct {
	Claims  token.Claims // normalised; those that bind an ID token to its flow may be gone
	Client  string       // whom it was issued to: `client_id`, `azp`, `cid`, an ID token's `azp` or only `aud`; "" unknown
	Scope   token.Scope  // nil: the claims' own
	Expires time.Time
	IDP     string // the issuer of the people it speaks of
	Further bool   // of a further issuer, not of a provider people sign in with
	// Algorithm is that of the signature, by which an ID token's hashes are made (OpenID Connect Core section 3.1.3.6).
	Algorithm string
}

// unacceptable tells whether an examination ended in a no, rather than not at all.
func unacceptable(err error) bool {
	var invalid *token.Invalid
	return errors.Is(err, ErrUnacceptable) || errors.As(err, &invalid) || errors.Is(err, token.ErrUnknownKey)
}
