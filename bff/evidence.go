package bff

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/exchange"
	"cloakroom/exchange/rule"
	"cloakroom/internal/span"
	"cloakroom/provider"
	"cloakroom/session"
	"cloakroom/token"
)

// Evidence is what a session proves to the exchange about its person.
func Evidence(s *session.Session) exchange.Evidence {
	return exchange.Evidence{
		Issuer: s.Issuer, Subject: s.Subject,
		Access: s.Access, Scope: responseScope(s.Access, s.Scope), ID: s.Identity,
		SessionID: s.ID, Generation: s.Generation,
		Created: s.Created, AuthTime: s.AuthTime, SessionEnds: s.Expires, AccessExpires: s.AccessExpiry,
	}
}

// responseScope is the token response's scope, where the access token does not tell its own: a JWT that verified knows
// better than a response, which may leave the scope out (RFC 6749 section 5.1).
func responseScope(access token.Claims, scope token.Scope) token.Scope {
	if len(access.Strings("scope")) != 0 {
		return nil
	}
	return scope
}

// ruleContext is what the rules of this side see of a person: the same as the exchange's rules do.
func ruleContext(subject exchange.Subject, now time.Time) *rule.Context {
	return &rule.Context{
		Access: subject.Access, ID: subject.ID, Subject: subject.Presented, Session: subject.Session,
		Client: exchange.RouteClient, Now: now,
	}
}

// Refresher renews the tokens of sessions at the providers they came from. A session of a provider that is no longer
// configured keeps its tokens for as long as they live.
func Refresher(providers []*provider.Provider, records *Records) session.RefreshFunc {
	byName := make(map[string]*provider.Provider, len(providers))
	for _, p := range providers {
		byName[p.Name()] = p
	}
	return func(ctx context.Context, s *session.Session) (session.Renewal, error) {
		p := byName[s.Provider]
		if p == nil || p.Issuer() != s.Issuer {
			return session.Renewal{}, fmt.Errorf("refresh: provider %q is not configured", s.Provider)
		}
		ctx, step := span.Begin(ctx, "refresh", s.Provider)
		grant, err := p.Refresh(ctx, s.Tokens.Refresh, provider.Was{
			Subject: s.Subject, AuthTime: s.AuthTime, IDToken: s.Tokens.ID, Scope: s.Scope,
		})
		step.End(refreshOutcome(err), err != nil)
		records.refreshed(s.Provider, err)
		switch {
		case err == nil:
			return session.Renewal{Tokens: tokens(grant), Access: grant.AccessClaims, Identity: grant.Identity}, nil
		case errors.Is(err, provider.ErrRefused):
			return session.Renewal{}, fmt.Errorf("%w: %w", session.ErrRefused, err)
		}
		if errors.Is(err, provider.ErrUnavailable) {
			err = fmt.Errorf("%w: %w", session.ErrAway, err)
		}
		if errors.Is(err, provider.ErrUncertain) {
			err = fmt.Errorf("%w: %w", session.ErrUncertain, err)
		}
		return session.Renewal{}, err
	}
}

func tokens(g provider.Grant) session.Tokens {
	return session.Tokens{Access: g.Access, Refresh: g.Refresh, ID: g.IDToken, Expiry: g.Expiry, Scope: g.Scope}
}
