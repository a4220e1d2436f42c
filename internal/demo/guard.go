package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// guard is how a service checks the tokens it is sent: signature and key set, issuer, audience, lifetime, and that the
// token is an access token at all. Nothing here is Cloakroom's own; any Go backend can do the same.
type guard struct {
	issuer   string
	policy   audience
	verifier *oidc.IDTokenVerifier
}

// newGuard fetches no key yet: the key set is read when the first token comes, and again when an unknown key signs.
func newGuard(ctx context.Context, issuer, keySet string, policy audience, now func() time.Time) guard {
	return guard{
		issuer: issuer,
		policy: policy,
		verifier: oidc.NewVerifier(issuer, oidc.NewRemoteKeySet(ctx, keySet), &oidc.Config{
			ClientID:             policy.name, // go-oidc's word for the audience
			SupportedSigningAlgs: []string{oidc.ES256},
			Now:                  now,
		}),
	}
}

// refused says why a token does not count. Each reason stands for itself.
type refused struct{ reasons []string }

func (e *refused) Error() string { return strings.Join(e.reasons, "; ") }

// maxToken bounds what is parsed at all.
const maxToken = 16 << 10

// verify returns the bearer token of a request and its claims, or a *refused.
func (g guard) verify(r *http.Request) (raw string, claims map[string]any, err error) {
	raw, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !bearer || raw == "":
		return "", nil, &refused{[]string{"no token was sent"}}
	case len(raw) > maxToken:
		return "", nil, &refused{[]string{"the token is too long"}}
	}
	token, err := g.verifier.Verify(r.Context(), raw)
	if reasons := g.objections(raw, err); len(reasons) > 0 {
		return "", nil, &refused{reasons}
	}
	if err := token.Claims(&claims); err != nil {
		return "", nil, &refused{[]string{"its claims cannot be read"}}
	}
	return raw, claims, nil
}

// objections words what is wrong with a token. go-oidc stops at the first fault; who learns from this page wants them all.
// One check is added to go-oidc's: `typ`, so that no other kind of token passes for an access token (RFC 9068 section 4).
func (g guard) objections(raw string, verdict error) []string {
	var out []string
	header, claims, err := peek(raw)
	if err != nil {
		return []string{"it is not a signed token"}
	}
	if !slices.Contains(claims.Audience, g.policy.name) {
		out = append(out, fmt.Sprintf("aud is %s, not %s", list(claims.Audience), g.policy.name))
	}
	if claims.Issuer != g.issuer {
		out = append(out, fmt.Sprintf("iss is %s, not Cloakroom", claims.Issuer))
	}
	if typ, _ := header.ExtraHeaders[jose.HeaderType].(string); !strings.EqualFold(strings.TrimPrefix(typ, "application/"), "at+jwt") {
		out = append(out, fmt.Sprintf("typ is %s, not at+jwt", named(typ)))
	}
	if header.Algorithm != oidc.ES256 {
		out = append(out, fmt.Sprintf("alg is %s, not ES256", header.Algorithm))
	}
	if expired, ok := errors.AsType[*oidc.TokenExpiredError](verdict); ok {
		out = append(out, lapsed(expired.Expiry))
	}
	if verdict != nil && len(out) == 0 {
		out = append(out, strings.TrimPrefix(verdict.Error(), "oidc: "))
	}
	return out
}

type peeked struct {
	Issuer   string      `json:"iss"`
	Audience textOrTexts `json:"aud"`
}

// peek reads an unverified token, to word a refusal and for nothing else.
func peek(raw string) (jose.Header, peeked, error) {
	var claims peeked
	jws, err := jose.ParseSignedCompact(raw, []jose.SignatureAlgorithm{jose.ES256, jose.RS256, jose.EdDSA})
	if err != nil {
		return jose.Header{}, claims, fmt.Errorf("parse token: %w", err)
	}
	if err := json.Unmarshal(jws.UnsafePayloadWithoutVerification(), &claims); err != nil {
		return jose.Header{}, claims, fmt.Errorf("parse claims: %w", err)
	}
	return jws.Signatures[0].Protected, claims, nil
}

// textOrTexts is a string or a list of them, as `aud` may be (RFC 7519 section 4.1.3).
type textOrTexts []string

func (t *textOrTexts) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = textOrTexts{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

func list(values []string) string {
	if len(values) == 0 {
		return "missing"
	}
	return strings.Join(values, ", ")
}

// lapsed words an `exp` that is over; go-oidc takes a missing one for the year 1.
func lapsed(expiry time.Time) string {
	if expiry.IsZero() {
		return "exp is missing"
	}
	return "it expired at " + expiry.UTC().Format(time.RFC3339)
}

func named(value string) string {
	if value == "" {
		return "missing"
	}
	return value
}

// Verified is one claim that a service checked, and where it came from.
type Verified struct {
	Claim string `json:"claim"`
	Value any    `json:"value"`
	Source
}

// report lists a token's claims: first those that decide, then the rest by name.
func (g guard) report(claims map[string]any) []Verified {
	first := []string{"aud", "scope", "email", "act", "sub", "idp", "client_id", "iss"}
	names := slices.Sorted(maps.Keys(claims))
	var out []Verified
	add := func(name string) {
		out = append(out, Verified{name, claims[name], g.policy.source(name, claims[name])})
	}
	for _, name := range first {
		if _, has := claims[name]; has {
			add(name)
		}
	}
	for _, name := range names {
		if !slices.Contains(first, name) {
			add(name)
		}
	}
	return out
}

// has tells whether the token's scope holds one of those named.
func has(claims map[string]any, any ...string) bool {
	scope, _ := claims["scope"].(string)
	return slices.ContainsFunc(strings.Fields(scope), func(s string) bool { return slices.Contains(any, s) })
}
