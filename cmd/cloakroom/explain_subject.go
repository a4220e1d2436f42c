package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/exchange"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/token"
)

// sessionBehind is the session that the files tell of, if they tell of one.
type sessionBehind struct {
	is       bool
	evidence exchange.Evidence
}

// Evidence implements exchange.Sessions.
func (s *sessionBehind) Evidence(context.Context, string) (exchange.Evidence, error) {
	if !s.is {
		return exchange.Evidence{}, exchange.ErrSessionGone
	}
	return s.evidence, nil
}

// CookieEvidence implements exchange.Cookies.
func (s *sessionBehind) CookieEvidence(ctx context.Context, _ secret.Text) (exchange.Evidence, error) {
	return s.Evidence(ctx, "")
}

// evidence is what a sign-in with these two tokens would have left in the session.
func (x *explaining) evidence() (exchange.Evidence, error) {
	access, err := optionalClaims("--access", x.access)
	if err != nil {
		return exchange.Evidence{}, err
	}
	id, err := optionalClaims("--id", x.id)
	if err != nil {
		return exchange.Evidence{}, err
	}
	if access != nil && id != nil && access["sub"] != nil && access.Text("sub") != id.Text("sub") {
		return exchange.Evidence{}, errors.New("--access and --id are of two subjects")
	}
	from, err := x.providerOf(access, id)
	if err != nil {
		return exchange.Evidence{}, err
	}
	e := exchange.Evidence{
		Issuer: from.Issuer(), Subject: cmp.Or(id.Text("sub"), access.Text("sub")), SessionID: "session-handle",
		Created: x.now, SessionEnds: x.now.Add(x.house.file.Session.Absolute),
	}
	e.Access, e.ID = from.Normalised(access, id)
	e.AccessExpires, _ = access.Time("exp")
	if at, ok := id.Time("auth_time"); ok {
		e.AuthTime, e.Created = at, at
	}
	return e, nil
}

// noteRefresh tells what comes first where a session's access token has all but ended: what the provider would say in the new
// one, no file knows.
func (x *explaining) noteRefresh(behind *sessionBehind) {
	if ends := behind.evidence.AccessExpires; !ends.IsZero() && ends.Sub(x.now) < exchange.MinimumLeft {
		x.note("session", "would be refreshed first", "its access token has ended, or ends too soon")
	}
}

// providerOf finds the provider by the `iss` of the claims; without any it must be the only one.
func (x *explaining) providerOf(all ...token.Claims) (*provider.Provider, error) {
	issuer := ""
	for _, claims := range all {
		said := claims.Text("iss")
		if said != "" && issuer != "" && said != issuer {
			return nil, errors.New("--access and --id are of two issuers")
		}
		issuer = cmp.Or(issuer, said)
	}
	for _, p := range x.house.providers {
		if p.Issuer() == issuer {
			return p, nil
		}
	}
	switch {
	case issuer != "":
		return nil, fmt.Errorf("%q is the issuer of no provider", issuer)
	case len(x.house.providers) != 1:
		return nil, errors.New("whose tokens are these? the files have no iss, and there is not just one provider")
	}
	return x.house.providers[0], nil
}

// service is the exchange itself, over claims instead of tokens. sign makes a token of claims that were given for one: with a
// key of this run, which counts as our own.
func (x *explaining) service(behind *sessionBehind) (*exchange.Service, func(token.Claims) (secret.Text, error), error) {
	keys, err := token.NewKeyRing(token.KeyRingConfig{
		Secrets: []secret.Key{secret.NewKey()}, Algorithm: "ES256", Rotate: 24 * time.Hour, Now: x.house.now,
	})
	if err != nil {
		return nil, nil, err
	}
	issuers := x.house.trusted()
	for i, one := range issuers {
		switch by := one.Verifier.(type) {
		case examiner:
			issuers[i].Verifier = claimsExaminer{by}
		case ticketExaminer:
			issuers[i].Verifier = ticketClaimsExaminer{by}
		}
	}
	service, err := exchange.NewService(exchange.Config{Policy: x.policy, Keys: keys, Issuers: issuers, Sessions: behind, Cookies: behind, Now: x.house.now})
	return service, func(c token.Claims) (secret.Text, error) {
		raw, err := keys.Sign("", "at+jwt", c)
		return secret.Text(raw), err
	}, err
}

// request is what the client would send.
func (x *explaining) request(behind *sessionBehind, sign func(token.Claims) (secret.Text, error)) (exchange.Request, error) {
	r := exchange.Request{
		Client: x.client, Grant: exchange.TokenExchange, RequestedType: x.kind,
		Audience: x.audience, Resource: x.resource, Scope: x.scope, Details: x.details,
	}
	var subject token.Claims
	var err error
	joined := x.access != "" || x.id != ""
	switch {
	case x.minted != "" && (x.ticket != "" || x.session), x.ticket != "" && (x.session || joined), x.session && !joined:
		return r, errors.New("one subject: --access and/or --id, --session with them, --minted (and them), or --jwt")
	case x.session:
		r.SubjectType, r.SubjectToken = exchange.SessionToken, "session"
		x.noteRefresh(behind)
	case x.minted != "":
		r.SubjectType = exchange.AccessToken
		subject, err = x.ownToken(behind)
	case x.ticket != "":
		r.SubjectType = exchange.JWT
		subject, err = claimsIn(x.ticket)
	case x.access != "":
		r.SubjectType = exchange.AccessToken
		subject, err = x.ofProvider(x.access)
	case x.id != "":
		r.SubjectType = exchange.IDToken
		subject, err = x.ofProvider(x.id)
	default: // nobody is signed in: the client for itself
		r.Grant = exchange.ClientCredentials
	}
	if err == nil && subject != nil {
		r.SubjectToken, err = sign(subject)
	}
	if err == nil && r.SubjectType == exchange.AccessToken && x.minted == "" && x.id != "" {
		if subject, err = x.ofProvider(x.id); err == nil {
			r.SubjectIDToken, err = sign(subject)
		}
	}
	if err == nil && x.actor != "" {
		var actor token.Claims
		if actor, r.ActorType, err = x.actorToken(); err == nil {
			r.ActorToken, err = sign(actor)
		}
	}
	return r, err
}

// actorToken is a further issuer's, which is a JWT and nothing more, or one of our own, or a provider's.
func (x *explaining) actorToken() (token.Claims, exchange.TokenType, error) {
	claims, err := optionalClaims("--actor", x.actor)
	if err != nil {
		return nil, "", err
	}
	issuer := claims.Text("iss")
	for _, i := range x.house.issuers {
		if i.Issuer() == issuer {
			return claims, exchange.JWT, nil
		}
	}
	if issuer != x.policy.Issuer() {
		claims, err = x.asProvider(claims)
	}
	return claims, exchange.AccessToken, err
}

// ofProvider reads the claims of a provider's token.
func (x *explaining) ofProvider(path string) (token.Claims, error) {
	claims, err := claimsIn(path)
	if err != nil {
		return nil, err
	}
	return x.asProvider(claims)
}

// asProvider fills in the issuer. Hashes over other tokens are left out, since there are none.
func (x *explaining) asProvider(claims token.Claims) (token.Claims, error) {
	from, err := x.providerOf(claims)
	if err != nil {
		return nil, err
	}
	claims["iss"] = from.Issuer()
	if _, there := claims["at_hash"]; there {
		delete(claims, "at_hash")
		x.note("at_hash", "not examined", "claims are no token to hash")
	}
	return claims, nil
}

// ownToken reads the claims of a token of our own. What every one of them has and the file leaves out is filled in.
func (x *explaining) ownToken(behind *sessionBehind) (token.Claims, error) {
	claims, err := claimsIn(x.minted)
	if err != nil {
		return nil, err
	}
	if has := claims.Text("sid") != ""; has != behind.is {
		return nil, errors.New("--minted with a sid has a session behind it: tell of it by --access and --id; without a sid it has none")
	}
	for name, value := range map[string]any{
		"iss": x.policy.Issuer(), "iat": x.now.Unix(), "exp": x.now.Add(5 * time.Minute).Unix(), "jti": "minted",
	} {
		if _, there := claims[name]; !there {
			claims[name] = value
		}
	}
	return claims, nil
}

func optionalClaims(flag, path string) (token.Claims, error) {
	if path == "" {
		return nil, nil
	}
	claims, err := claimsIn(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flag, err)
	}
	return claims, nil
}

// claimsExaminer examines the claims of a provider's token, and takes them for signed.
type claimsExaminer struct{ examiner }

func (e claimsExaminer) Verify(_ context.Context, t exchange.Presented) (exchange.Verified, error) {
	var subject provider.Subject
	var err error
	switch t.As {
	case exchange.AccessToken:
		subject, err = e.provider.AccessSubject(t.Read.Claims(), t.ID != "")
	case exchange.IDToken:
		subject, err = e.provider.IDSubject(t.Read.Claims())
	default:
		err = fmt.Errorf("%w: %s of a provider", exchange.ErrUnacceptable, t.As)
	}
	return verified(subject, e.provider.Issuer()), judged(err)
}

// ticketClaimsExaminer examines the claims of a further issuer's token, and takes them for signed.
type ticketClaimsExaminer struct{ ticketExaminer }

func (e ticketClaimsExaminer) Verify(_ context.Context, t exchange.Presented) (exchange.Verified, error) {
	if t.As != exchange.JWT {
		return exchange.Verified{}, fmt.Errorf("%w: %s of a further issuer", exchange.ErrUnacceptable, t.As)
	}
	subject, err := e.issuer.Subject(t.Read.Claims())
	v := verified(subject, e.people)
	v.Further = true
	return v, judged(err)
}
