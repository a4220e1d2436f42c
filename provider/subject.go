package provider

import (
	"context"
	"slices"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Subject is a verified access token, as the exchange takes it for subject or actor.
type Subject struct {
	Claims token.Claims // normalised
	Client string       // to whom it was issued
	Scope  token.Scope
	Expiry time.Time
}

// VerifyAccessToken verifies an access token of this provider that somebody else presents: signature, issuer, times, that
// it is an access token and no other kind, that it is for an accepted audience and was issued to an accepted client.
func (p *Provider) VerifyAccessToken(ctx context.Context, raw string) (Subject, error) {
	header, claims, err := token.Verify(ctx, raw, p.accessRules(), p.keys, p.cfg.Now())
	if err != nil {
		return Subject{}, p.judged("access token", err)
	}
	if reason := p.profile.notAccess(header.Type, claims); reason != "" {
		return Subject{}, p.reject("access token: " + reason)
	}
	if err := checkNames(claims); err != nil {
		return Subject{}, p.reject("access token: " + err.Error())
	}
	if !overlap(p.profile.audienceOf(claims), p.cfg.AcceptedAudiences) {
		return Subject{}, p.reject("access token: its audience is not one of accepted_audiences")
	}
	s := Subject{Claims: p.profile.access(claims), Client: p.profile.clientOf(claims), Scope: p.profile.scopeOf(claims)}
	if s.Client == "" {
		return Subject{}, p.reject("access token: it does not say which client it was issued to")
	}
	if !slices.Contains(p.cfg.AcceptedClients, s.Client) {
		return Subject{}, p.reject("access token: its client is not one of accepted_clients")
	}
	s.Expiry, _ = claims.Time("exp")
	return s, nil
}

// IDTokenOptions say how an ID token is presented.
type IDTokenOptions struct {
	Access secret.Text // the access token beside it, with which its at_hash, where it has one, must agree
}

// VerifyIDToken verifies an ID token that a client presents at the exchange: everything but the nonce, which only the
// client that signed the user in can check. It returns the claims normalised and without bindings.
func (p *Provider) VerifyIDToken(ctx context.Context, raw string, options IDTokenOptions) (token.Claims, error) {
	clients := p.cfg.AcceptedClients
	if !slices.Contains(clients, p.cfg.ClientID) {
		clients = append(slices.Clone(clients), p.cfg.ClientID)
	}
	id, err := p.verifyIDOf(ctx, secret.Text(raw), clients)
	if err != nil {
		return nil, err
	}
	if options.Access != "" {
		if err := id.checkHash("at_hash", options.Access.Reveal()); err != nil {
			return nil, p.reject("ID token: " + err.Error())
		}
	}
	return p.profile.identity(id.claims), nil
}

func overlap(some, others []string) bool {
	return slices.ContainsFunc(some, func(one string) bool { return one != "" && slices.Contains(others, one) })
}
