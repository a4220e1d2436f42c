package token

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	jose "github.com/go-jose/go-jose/v4"
)

// Rules are what a token of one issuer must be.
type Rules struct {
	// Issuer is `iss`, compared byte by byte. Mandatory.
	Issuer string
	// Algorithms the issuer may sign with. Mandatory; symmetric ones and `none` never count.
	Algorithms []string
	// Types are the values of `typ` allowed, compared without case and "application/"; "" allows its absence. Nil allows its
	// absence and "JWT", which says nothing: no kind of token that names itself passes for another (RFC 8725 section 3.11).
	Types []string
	// Skew is how far the issuer's clock may be off ours, either way.
	Skew time.Duration
	// Audiences: one of them must be in `aud`. Empty: the caller checks.
	Audiences []string
}

// Verify reads a token and verifies it: algorithm, type, issuer, signature, times and audience. Everything but a clean pass is
// an error: an *Invalid, or one that wraps ErrUnavailable when the keys cannot be had and nothing can be said.
func Verify(ctx context.Context, raw string, r Rules, keys Keys, now time.Time) (Header, Claims, error) {
	u, err := Read(raw)
	if err != nil {
		return Header{}, nil, err
	}
	claims, err := u.Verify(ctx, r, keys, now)
	if err != nil {
		return Header{}, nil, err
	}
	return u.header, claims, nil
}

// Verify verifies a token that was read, as the function Verify does.
func (u *Unverified) Verify(ctx context.Context, r Rules, keys Keys, now time.Time) (Claims, error) {
	alg := u.header.Algorithm
	if !verifiable(alg) || !slices.Contains(r.Algorithms, alg) {
		return nil, invalid("alg is not one of the issuer's")
	}
	if !r.allowsType(u.header.Type) {
		return nil, invalid("typ is not of the kind expected")
	}
	// The issuer comes before the keys: a token of somebody else never causes a look-up.
	if r.Issuer == "" || u.Issuer() != r.Issuer {
		return nil, invalid("iss is not the issuer expected")
	}
	if err := u.signed(ctx, keys); err != nil {
		return nil, err
	}
	if err := r.checkTimes(u.claims, now); err != nil {
		return nil, err
	}
	if err := r.checkAudience(u.claims); err != nil {
		return nil, err
	}
	if err := checkSubject(u.claims); err != nil {
		return nil, err
	}
	return u.claims, nil
}

// signed checks the signature against the keys that may have made it.
func (u *Unverified) signed(ctx context.Context, keys Keys) error {
	candidates, err := keys.Candidates(ctx, u.header.KeyID, u.header.Algorithm)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return &Invalid{Reason: "signed with a key that is not in the issuer's set", cause: ErrUnknownKey}
	case errors.Is(err, ErrUnavailable):
		return fmt.Errorf("verify token: %w", err)
	case err != nil:
		return fmt.Errorf("verify token: %w: %w", ErrUnavailable, err)
	}
	jws, err := jose.ParseSignedCompact(u.raw, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(u.header.Algorithm)})
	if err != nil {
		return invalid("not a signed token")
	}
	for _, key := range candidates[:min(len(candidates), MaxCandidates)] {
		if !fits(key, u.header.Algorithm) { // whatever Keys hands out: an HMAC secret, or a key of another algorithm, is none
			continue
		}
		if _, err := jws.Verify(key.Key); err == nil {
			return nil
		}
	}
	return invalid("signature does not verify")
}

func (r Rules) allowsType(typ string) bool {
	if r.Types == nil {
		return typ == "" || typ == "jwt"
	}
	return slices.ContainsFunc(r.Types, func(one string) bool { return mediaType(one) == typ })
}

const (
	maxDate    = 253402300799 // the last second of the year 9999: a NumericDate beyond it is a mistake or an attack
	maxSubject = 2048         // bytes; the longest subject known is a SPIFFE ID
)

// checkTimes checks `exp`, which is mandatory and a whole number, `nbf` and `iat` (RFC 7519 section 4.1).
func (r Rules) checkTimes(c Claims, now time.Time) error {
	exp, ok := c["exp"].(int64)
	switch {
	case c["exp"] == nil:
		return invalid("no exp")
	case !ok || exp < 0 || exp > maxDate:
		return invalid("exp is not a date")
	case !now.Before(time.Unix(exp, 0).Add(r.Skew)): // "on or after" it is expired
		return invalid("expired")
	}
	if early, err := r.inFuture(c, "nbf", now); err != nil {
		return err
	} else if early {
		return invalid("nbf: not valid yet")
	}
	if early, err := r.inFuture(c, "iat", now); err != nil {
		return err
	} else if early {
		return invalid("iat lies in the future")
	}
	return nil
}

// inFuture tells whether a date, where there is one, lies ahead by more than the skew.
func (r Rules) inFuture(c Claims, name string, now time.Time) (bool, error) {
	value, there := c[name]
	if !there {
		return false, nil
	}
	var seconds float64
	switch n := value.(type) {
	case int64:
		seconds = float64(n)
	case float64:
		seconds = n
	default:
		return false, invalid(name + " is not a date")
	}
	if seconds < 0 || seconds > maxDate {
		return false, invalid(name + " is not a date")
	}
	return now.Add(r.Skew).Before(time.Unix(int64(seconds), 0)), nil
}

// checkAudience refuses an `aud` that is neither a string nor a list of strings in any case, since a reader that skipped it
// would take the token for one without an audience.
func (r Rules) checkAudience(c Claims) error {
	audience := c.Audience()
	if _, there := c["aud"]; there && audience == nil {
		return invalid("aud is neither a string nor a list of strings")
	}
	if len(r.Audiences) == 0 {
		return nil
	}
	for _, one := range r.Audiences {
		if one != "" && slices.Contains(audience, one) {
			return nil
		}
	}
	return invalid("aud is not the audience expected")
}

// checkSubject refuses a `sub` that could be mistaken for another once it is logged, joined or compared. Not every token has
// one.
func checkSubject(c Claims) error {
	value, there := c["sub"]
	if !there {
		return nil
	}
	sub, ok := value.(string)
	if !ok || sub == "" || len(sub) > maxSubject || strings.ContainsFunc(sub, unicode.IsControl) {
		return invalid("sub is not the name of a subject")
	}
	return nil
}
