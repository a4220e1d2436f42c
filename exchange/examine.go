package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/token"
)

// ownSkew is how far apart the clocks of two replicas may be.
const ownSkew = 30 * time.Second

// examine verifies what a client presented and completes the question with it.
func (s *Service) examine(ctx context.Context, r *Request, q *Question, rights *ClientConfig) *Error {
	if r.Grant != TokenExchange {
		q.Subject = ServiceSubject(s.cfg.Policy.issuer, r.Client)
		return nil
	}
	if r.SubjectToken == "" {
		return refuse(InvalidRequest, "subject_token is missing", "no subject token")
	}
	subject, err := s.subject(ctx, r, rights)
	if err != nil {
		return err
	}
	q.Subject = subject
	if r.ActorToken == "" {
		return nil
	}
	q.Actor, err = s.actor(ctx, r, rights)
	return err
}

// subject verifies the subject token.
func (s *Service) subject(ctx context.Context, r *Request, rights *ClientConfig) (Subject, *Error) {
	if r.SubjectType == SessionToken {
		return s.cookieSubject(ctx, r)
	}
	presented := Presented{Raw: r.SubjectToken, As: r.SubjectType, ID: r.SubjectIDToken}
	from, err := s.read(ctx, presented, r.SubjectIssuer, rights)
	if err != nil {
		return Subject{}, asRefusal(err, descriptionSubject, "subject token")
	}
	// The caller said whose token it is: being told otherwise by the token is a mistake worth stopping at.
	if r.SubjectIssuer != "" && r.SubjectIssuer != from.name && r.SubjectIssuer != from.issuer {
		return Subject{}, refuse(InvalidRequest, descriptionSubject, "subject_issuer is not the token's")
	}
	if r.SubjectIDToken != "" {
		return s.joined(ctx, r, from)
	}
	switch {
	case from.own != nil:
		return MintedSubject(from.own, from.session), nil
	case r.SubjectType == IDToken:
		return IdentitySubject(from.verified), nil
	}
	return ProviderSubject(from.verified, nil), nil
}

// joined is the subject of a provider's access token with the ID token that was issued beside it.
func (s *Service) joined(ctx context.Context, r *Request, access origin) (Subject, *Error) {
	if access.own != nil || access.verified.Further || r.SubjectType != AccessToken {
		return Subject{}, refuse(InvalidRequest, "subject_id_token goes only with a provider's access token", "subject_id_token with another subject")
	}
	read, err := token.Read(r.SubjectIDToken.Reveal())
	if err != nil {
		return Subject{}, asRefusal(err, descriptionID, "subject_id_token")
	}
	id, err := s.issuers[access.issuer].Verifier.Verify(ctx, Presented{Raw: r.SubjectIDToken, Read: read, As: IDToken})
	if err != nil {
		return Subject{}, asRefusal(err, descriptionID, "subject_id_token")
	}
	if err := Bind(r.SubjectToken, access.verified, id); err != nil {
		return Subject{}, refuse(InvalidRequest, descriptionID, "subject_id_token: %w", err)
	}
	id.Claims = clone(id.Claims)
	for name, value := range access.verified.UserInfo {
		if _, own := id.Claims[name]; !own {
			id.Claims[name] = value
		}
	}
	return ProviderSubject(access.verified, &id), nil
}

func (s *Service) cookieSubject(ctx context.Context, r *Request) (Subject, *Error) {
	if s.cfg.Cookies == nil || r.SubjectIDToken != "" {
		return Subject{}, refuse(InvalidRequest, descriptionSubject, "no session can be a subject here, or not with a subject_id_token")
	}
	e, err := s.cfg.Cookies.CookieEvidence(ctx, r.SubjectToken)
	if err != nil {
		return Subject{}, asRefusal(err, descriptionSubject, "session")
	}
	return SessionSubject(e), nil
}

// actor verifies the actor token.
func (s *Service) actor(ctx context.Context, r *Request, rights *ClientConfig) (*Actor, *Error) {
	if r.ActorType != AccessToken && r.ActorType != JWT {
		return nil, refuse(InvalidRequest, "actor_token_type is not one that is taken", "actor_token_type")
	}
	from, err := s.read(ctx, Presented{Raw: r.ActorToken, As: r.ActorType}, "", rights)
	if err != nil {
		return nil, asRefusal(err, descriptionActor, "actor token")
	}
	a := &Actor{}
	if own := from.own; own != nil {
		a.IDP, a.Sub, a.Claims = own.Text("idp"), own.Text("sub"), withScope(own, nil)
		a.Expires, _ = own.Time("exp")
		if from.session != nil {
			a.Sub = from.session.Subject
		}
	} else {
		v := from.verified
		a.IDP, a.Sub, a.Claims, a.Expires = v.IDP, v.Claims.Text("sub"), withScope(v.Claims, v.Scope), v.Expires
	}
	if a.IDP == "" || a.Sub == "" {
		return nil, refuse(InvalidRequest, descriptionActor, "the actor token has no sub, or no issuer")
	}
	return a, nil
}

// origin is a token that was verified: one of our own with the session behind it, or somebody else's.
type origin struct {
	name, issuer string
	own          token.Claims
	session      *Evidence // nil: none behind it
	verified     Verified
}

// read verifies a presented token by whoever issued it: a JWT says who that is, of another the caller may have said it.
func (s *Service) read(ctx context.Context, t Presented, said string, rights *ClientConfig) (origin, error) {
	var err error
	if t.Read, err = token.Read(t.Raw.Reveal()); err != nil {
		if t.As != AccessToken || !isOpaque(t.Raw.Reveal(), said != "") {
			return origin{}, err
		}
		owner, err := s.ownerOfOpaque(said)
		if err != nil {
			return origin{}, err
		}
		return s.verified(ctx, owner, t)
	}
	issuer := t.Read.Issuer()
	if issuer == s.cfg.Policy.issuer && (t.As == AccessToken || t.As == JWT) {
		claims, session, err := s.own(ctx, t.Read, rights.SubjectAudiences)
		return origin{issuer: issuer, own: claims, session: session}, err
	}
	trusted, ok := s.issuers[issuer]
	if !ok {
		return origin{}, fmt.Errorf("%w: its issuer is not trusted for this type", ErrUnacceptable)
	}
	return s.verified(ctx, trusted, t)
}

// verified lets the issuer's Verifier examine a token.
func (s *Service) verified(ctx context.Context, by TrustedIssuer, t Presented) (origin, error) {
	v, err := by.Verifier.Verify(ctx, t)
	if err != nil {
		return origin{}, err
	}
	if v.Claims.Text("iss") != by.Issuer {
		return origin{}, fmt.Errorf("%w: its issuer changed under verification", ErrUnacceptable)
	}
	return origin{name: by.Name, issuer: by.Issuer, verified: v}, nil
}

// own verifies a token of our own for one of the audiences, and that what it rests on still stands: it was not revoked,
// and the session behind it lives.
func (s *Service) own(ctx context.Context, presented *token.Unverified, audiences []string) (token.Claims, *Evidence, error) {
	if len(audiences) == 0 {
		return nil, nil, fmt.Errorf("%w: no audience of its own", ErrUnacceptable)
	}
	claims, err := presented.Verify(ctx, s.rules(audiences), s.cfg.Keys, s.cfg.Now())
	if err != nil {
		return nil, nil, err
	}
	if s.cfg.Revoked != nil {
		revoked, err := s.cfg.Revoked.IsRevoked(ctx, claims.Text("jti"))
		if err != nil {
			return nil, nil, fmt.Errorf("look for a revocation: %w", err)
		}
		if revoked {
			return nil, nil, fmt.Errorf("%w: revoked", ErrUnacceptable)
		}
	}
	sid := claims.Text("sid")
	if sid == "" {
		return claims, nil, nil
	}
	if s.cfg.Sessions == nil {
		return nil, nil, errors.New("no sessions here to look into")
	}
	e, err := s.cfg.Sessions.Evidence(ctx, sid)
	if err != nil {
		return nil, nil, fmt.Errorf("session behind it: %w", err)
	}
	if e.Issuer != claims.Text("idp") {
		return nil, nil, fmt.Errorf("%w: the session behind it is another provider's", ErrUnacceptable)
	}
	return claims, &e, nil
}

// rules are what a token of our own must be.
func (s *Service) rules(audiences []string) token.Rules {
	return token.Rules{
		Issuer: s.cfg.Policy.issuer, Algorithms: s.cfg.Keys.Algorithms(), Types: []string{typeMinted},
		Audiences: audiences, Skew: ownSkew,
	}
}

// asRefusal tells a no from a cannot-tell.
func asRefusal(err error, description, what string) *Error {
	if unacceptable(err) || errors.Is(err, ErrSessionGone) {
		return refuse(InvalidRequest, description, "%s: %w", what, err)
	}
	return cannotTell(fmt.Errorf("%s: %w", what, err))
}
