package provider

import (
	"context"
	"slices"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Presented is an access token that somebody else presents.
type Presented struct {
	Raw  secret.Text
	Read *token.Unverified // Raw taken apart; nil where it is no JWT
	ID   secret.Text       // the ID token presented beside it; "" none
}

// Subject is a verified token, as the exchange takes it for subject or actor.
type Subject struct {
	Claims    token.Claims // normalised
	Client    string       // to whom it was issued; "" not known
	Scope     token.Scope  // nil: none is told
	Expiry    time.Time
	Algorithm string       // of the signature; "" where there was none to check
	UserInfo  token.Claims // normalised; nil where userinfo was not asked
}

// VerifyAccessToken verifies an access token of this provider that somebody else presents: that the provider issued it, its
// times, that it is an access token and no other kind, that it is for an accepted audience and was issued to an accepted
// client. How that is found out is configured, never guessed: by its signature, by introspection or by userinfo.
func (p *Provider) VerifyAccessToken(ctx context.Context, t Presented) (Subject, error) {
	switch {
	case p.cfg.AccessTokenValidation == ByIntrospection:
		return p.introspected(ctx, t.Raw)
	case p.cfg.AccessTokenValidation == ByUserInfo:
		return p.vouchedFor(ctx, t)
	case t.Read == nil:
		return Subject{}, p.reject("access token: not a JWT (access_token_validation)")
	}
	return p.signed(ctx, t.Read)
}

// signed is an access token that speaks for itself.
func (p *Provider) signed(ctx context.Context, t *token.Unverified) (Subject, error) {
	claims, err := t.Verify(ctx, p.accessRules(), p.keys, p.cfg.Now())
	if err != nil {
		return Subject{}, p.judged("access token", err)
	}
	s, err := p.signedSubject(t.Header().Type, claims)
	s.Algorithm = t.Header().Algorithm
	return s, err
}

// AccessSubject judges what is said of an access token, and normalises it, as VerifyAccessToken does with what it has verified:
// the claims of a JWT, what introspection answers or what userinfo answers, whichever the provider is configured for. joined:
// an ID token is presented beside it.
func (p *Provider) AccessSubject(claims token.Claims, joined bool) (Subject, error) {
	switch p.cfg.AccessTokenValidation {
	case ByIntrospection:
		return p.introspectedSubject(said{claims: claims, at: p.cfg.Now()})
	case ByUserInfo:
		if !joined {
			return Subject{}, p.rejectUnjoined()
		}
		return p.vouchedSubject(claims["sub"], said{claims: claims, at: p.cfg.Now()}), nil
	}
	return p.signedSubject("", claims)
}

// signedSubject judges and normalises the claims of a JWT of `typ`.
func (p *Provider) signedSubject(typ string, claims token.Claims) (Subject, error) {
	if reason := p.profile.notAccess(typ, claims); reason != "" {
		return Subject{}, p.reject("access token: " + reason)
	}
	if err := checkNames(claims); err != nil {
		return Subject{}, p.reject("access token: " + err.Error())
	}
	if len(p.profile.audienceOf(claims)) == 0 {
		return Subject{}, p.reject("access token: it names no audience")
	}
	s := Subject{Claims: p.profile.access(claims), Client: p.profile.clientOf(claims), Scope: p.profile.scopeOf(claims)}
	if err := p.accept(claims, s.Client, "access token"); err != nil {
		return Subject{}, err
	}
	s.Expiry, _ = claims.Time("exp")
	return s, nil
}

// accept judges for whom an access token is, where it says so, and to whom it was issued, which it must say: the token of
// somebody else's client must not become one with our clients' rights.
func (p *Provider) accept(c token.Claims, client, what string) error {
	if audience := p.profile.audienceOf(c); len(audience) > 0 && !overlap(audience, p.cfg.AcceptedAudiences) {
		return p.reject(what + ": its audience is not one of accepted_audiences")
	}
	if _, there := c["aud"]; there && c.Audience() == nil {
		return p.reject(what + ": aud is neither a string nor a list of strings")
	}
	if client == "" {
		return p.reject(what + ": it does not say which client it was issued to")
	}
	if !slices.Contains(p.cfg.AcceptedClients, client) {
		return p.reject(what + ": its client is not one of accepted_clients")
	}
	return nil
}

// VerifyIDToken verifies an ID token that a client presents at the exchange: everything but the nonce, which only the
// client that signed the user in can check. What binds it to its sign-in stays in the claims, so that it can be bound to
// the access token beside it.
func (p *Provider) VerifyIDToken(ctx context.Context, t *token.Unverified) (Subject, error) {
	id, err := p.verifyIDOf(ctx, t, p.idClients())
	if err != nil {
		return Subject{}, err
	}
	return p.idSubject(id.header.Algorithm, id.claims), nil
}

// IDSubject judges and normalises the claims of an ID token. Signature, issuer and times are VerifyIDToken's.
func (p *Provider) IDSubject(claims token.Claims) (Subject, error) {
	clients := p.idClients()
	if !overlap(claims.Audience(), clients) {
		return Subject{}, p.reject("ID token: its audience is none of our clients")
	}
	if err := p.checkID(claims, clients); err != nil {
		return Subject{}, err
	}
	return p.idSubject("", claims), nil
}

// idClients are those whose ID tokens may be presented.
func (p *Provider) idClients() []string {
	if slices.Contains(p.cfg.AcceptedClients, p.cfg.ClientID) {
		return p.cfg.AcceptedClients
	}
	return append(slices.Clone(p.cfg.AcceptedClients), p.cfg.ClientID)
}

func (p *Provider) idSubject(algorithm string, claims token.Claims) Subject {
	s := Subject{Claims: p.profile.spelled(claims), Client: claims.Text("azp"), Algorithm: algorithm}
	if audience := claims.Audience(); s.Client == "" && len(audience) == 1 {
		s.Client = audience[0]
	}
	s.Expiry, _ = claims.Time("exp")
	return s
}

// Normalised spells the claims of a signed-in person's two tokens as a sign-in does; nil stays nil.
func (p *Provider) Normalised(access, identity token.Claims) (token.Claims, token.Claims) {
	if access != nil {
		access = p.profile.access(access)
	}
	if identity != nil {
		identity = p.profile.identity(identity)
	}
	return access, identity
}

func overlap(some, others []string) bool {
	return slices.ContainsFunc(some, func(one string) bool { return one != "" && slices.Contains(others, one) })
}
