package provider

import (
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Redemption is an authorization code with what proves that it is ours.
type Redemption struct {
	Code, Verifier, Nonce, RedirectURI string
	MaxAge                             *time.Duration // as it was asked for; nil: it was not
	Iss                                string         // `iss` of the response (RFC 9207), "" where it had none
}

// Grant is what a redemption or a refresh yields, all of it verified.
type Grant struct {
	Access, Refresh, IDToken secret.Text  // Refresh: empty where there is none
	Expiry                   time.Time    // of Access
	Scope                    token.Scope  // what the provider granted; what was asked for where it did not say
	AccessClaims             token.Claims // normalised, when Access is a JWT that verifies; nil when it is opaque to us
	Identity                 token.Claims // the ID token's, normalised, without bindings; nil when a refresh brought none
	Subject, SID             string
	AuthTime                 time.Time // zero: not known
}

// Was is what a session holds already, for the ID token of a refresh to agree with (OIDC Core 12.2).
type Was struct {
	Subject  string
	AuthTime time.Time   // zero: not known
	IDToken  secret.Text // the last one, for its nonce and azp; may be empty
	Scope    token.Scope
}

// Redeem exchanges the code, and accepts the answer as a whole or not at all: nothing in it is used before the ID token
// with its nonce is verified (RFC 9700 section 4.5.3.2).
func (p *Provider) Redeem(ctx context.Context, r Redemption) (Grant, error) {
	if r.Code == "" || r.Nonce == "" || r.Verifier == "" {
		return Grant{}, p.reject("a redemption without code, nonce or verifier")
	}
	if r.Iss != "" {
		if err := p.CheckResponse(r.Iss, true); err != nil { //nolint:contextcheck // asks nobody
			return Grant{}, err
		}
	}
	m, err := p.prepared(ctx)
	if err != nil {
		return Grant{}, err
	}
	got, err := p.redeem(ctx, m, r)
	if err != nil {
		return Grant{}, err
	}
	if got.id == "" {
		return Grant{}, p.reject("the token response has no ID token")
	}
	if got.scope == nil {
		got.scope = token.Scope(slices.Clone(p.scopes(m)))
	} else if lacksOpenID(got.scope) {
		return Grant{}, p.reject("the granted scope lacks openid")
	}
	id, err := p.verifyID(ctx, got.id)
	if err != nil {
		return Grant{}, err
	}
	if err := id.fromLogin(p.cfg.Now(), p.cfg.ClockSkew, got.access, r); err != nil {
		return Grant{}, p.reject("ID token: " + err.Error())
	}
	return p.grant(ctx, got, id)
}

// Refresh renews. An answer whose ID token speaks of somebody else is dropped whole; the error is then ErrRejected and
// ErrRefused at once, and the session must end (security.md B3.16). Every other error but ErrRefused leaves it alone.
func (p *Provider) Refresh(ctx context.Context, refresh secret.Text, was Was) (Grant, error) {
	if refresh == "" {
		return Grant{}, p.reject("a refresh without a refresh token")
	}
	m, err := p.prepared(ctx)
	if err != nil {
		return Grant{}, err
	}
	got, err := p.renew(ctx, m, refresh)
	if err != nil {
		return Grant{}, err
	}
	if got.scope == nil {
		got.scope = was.Scope
	}
	// The answer is in: what verifies it must not end with the caller either.
	ctx = context.WithoutCancel(ctx)
	if got.id == "" {
		return p.withoutID(ctx, got, was)
	}
	id, err := p.verifyID(ctx, got.id)
	if err != nil {
		if p.ofAnother(got.id) {
			return Grant{}, p.rejectSubject("the renewed ID token has another issuer or audience")
		}
		return Grant{}, err
	}
	if err := id.fromRefresh(got.access, was); err != nil {
		if errors.Is(err, errAnother) {
			return Grant{}, p.rejectSubject("renewed ID token: " + err.Error())
		}
		return Grant{}, p.reject("renewed ID token: " + err.Error())
	}
	g, err := p.grant(ctx, got, id)
	switch {
	case errors.Is(err, ErrRejected):
		return Grant{}, p.rejectSubject("the renewed access token is somebody else's")
	case err != nil:
		return Grant{}, err
	}
	if g.AuthTime.IsZero() {
		g.AuthTime = was.AuthTime
	}
	return g, nil
}

// withoutID is a refresh that brought no ID token, as many providers do: who it is stays as it was.
func (p *Provider) withoutID(ctx context.Context, got response, was Was) (Grant, error) {
	g, err := p.grant(ctx, got, nil)
	if err != nil {
		return Grant{}, err
	}
	if p.profile.oneSubject && g.AccessClaims != nil && g.AccessClaims.Text("sub") != was.Subject {
		return Grant{}, p.rejectSubject("the renewed access token is somebody else's")
	}
	g.IDToken, g.Subject, g.AuthTime = was.IDToken, was.Subject, was.AuthTime
	return g, nil
}

// prepared makes sure that an answer could be verified, before something is spent on it that can be spent once.
func (p *Provider) prepared(ctx context.Context) (*metadata, error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.keys.warm(ctx); err != nil {
		return nil, p.failed(EndpointJWKS, err)
	}
	return m, nil
}

// grant joins the parts; id is nil when there was no ID token.
func (p *Provider) grant(ctx context.Context, got response, id *idToken) (Grant, error) {
	g := Grant{Access: got.access, Refresh: got.refresh, IDToken: got.id, Expiry: got.expiry, Scope: got.scope}
	access, err := p.readAccess(ctx, got.access)
	if err != nil {
		return Grant{}, err
	}
	if id != nil {
		g.Identity = p.profile.identity(id.claims)
		g.Subject, g.SID = id.claims.Text("sub"), id.claims.Text("sid")
		g.AuthTime, _ = id.claims.Time("auth_time")
		if access != nil && access.Text("sub") != g.Subject {
			if p.profile.oneSubject {
				return Grant{}, p.reject("ID token and access token are of two subjects")
			}
			access = nil // of one person under two names, or of two: what cannot be joined is opaque
		}
	}
	if access != nil {
		g.AccessClaims = p.profile.access(access)
		if exp, ok := access.Time("exp"); ok && exp.Before(g.Expiry) {
			g.Expiry = exp
		}
	}
	return g, nil
}

// readAccess returns the claims of an access token that is a JWT of this provider and verifies. Any other is opaque, which
// is no error: an access token is the API's to read, not the client's (security.md B2.23).
func (p *Provider) readAccess(ctx context.Context, raw secret.Text) (token.Claims, error) {
	unverified, err := token.Read(raw.Reveal())
	if err != nil || unverified.Issuer() != p.cfg.Issuer {
		return nil, nil //nolint:nilerr // opaque
	}
	claims, err := unverified.Verify(ctx, p.accessRules(), p.keys, p.cfg.Now())
	switch {
	case errors.Is(err, token.ErrUnavailable):
		return nil, p.judged("access token", err)
	case err != nil, p.profile.notAccess(unverified.Header().Type, claims) != "":
		return nil, nil //nolint:nilerr // opaque
	}
	return claims, nil
}

// lacksOpenID tells whether a granted scope says that the sign-in was not granted (security.md B3.13): it lists some of
// OpenID's own scopes, but not openid. One that lists none of them is a resource's (RFC 8707): the access token is then for
// that resource alone, and the ID token beside it speaks for itself.
func lacksOpenID(granted token.Scope) bool {
	return !granted.Has("openid") && len(granted.Within(token.OpenIDScopes)) > 0
}
