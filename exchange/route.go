package exchange

import (
	"context"
	"fmt"
	"time"

	"cloakroom/token"
)

// RouteRequest asks for the token that an upstream of the browser's side gets.
type RouteRequest struct {
	Audience     string
	Scope        token.Scope // nil: everything policy grants; otherwise an upper bound
	AsService    bool        // for Cloakroom itself, not for the user
	PerRequest   bool        // policy decides about this very request, and nothing is cached
	Method, Path string      // of it; only looked at with PerRequest
	Evidence     Evidence    // of the signed-in person; not looked at with AsService
	Anew         bool        // a token minted before will not do: its audience refused it
}

// MintForRoute mints, or returns a token minted before for the same session and request. The error is an *Error:
// Forbidden, Expired, TemporarilyUnavailable, or ServerError for a mistake of the configuration.
func (s *Service) MintForRoute(ctx context.Context, r RouteRequest) (Minted, error) {
	now := s.cfg.Now()
	key, cachable := s.cacheKey(&r)
	if cachable && !r.Anew {
		if m, ok := s.cache.get(key, now); ok {
			return m, nil
		}
	}
	q, d := s.judgeRoute(&r, now)
	if d.Err != nil && d.Err.Code != Forbidden && d.Err.Code != Expired {
		d.Err = &Error{Code: ServerError, Description: "try again", Err: fmt.Errorf("route for audience %q: %w", r.Audience, d.Err)}
	}
	m, err := s.finish(ctx, &q, d, now)
	if err != nil {
		return Minted{}, err
	}
	if cachable {
		s.cache.put(key, m, now)
	}
	return m, nil
}

// ExplainRoute is what MintForRoute would do and why, past its cache: nothing is minted and nobody is told.
func (s *Service) ExplainRoute(r RouteRequest) Decision {
	_, d := s.judgeRoute(&r, s.cfg.Now())
	return d
}

func (s *Service) judgeRoute(r *RouteRequest, now time.Time) (Question, Decision) {
	q := Question{
		Client: RouteClient, Route: true, Audience: []string{r.Audience}, Scope: r.Scope, TokenID: newID(), Now: now,
	}
	if r.AsService {
		q.Subject = ServiceSubject(s.cfg.Policy.issuer, RouteClient)
	} else {
		q.Subject = SessionSubject(r.Evidence)
	}
	if r.PerRequest {
		q.Method, q.Path = r.Method, r.Path
	}
	return q, s.cfg.Policy.Decide(q)
}
