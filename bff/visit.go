package bff

import (
	"net/http"
	"time"

	"cloakroom/exchange"
)

// Visit is a request to a route, as far as the route's `allow` and its token depend on it. The Server makes it of a request,
// `cloakroom explain` of claims.
type Visit struct {
	Person       *exchange.Evidence // who is signed in; nil: nobody
	Method, Path string             // only looked at where the token is per request
	Now          time.Time
}

func (s *Server) visit(r *http.Request, v visitor, path string) Visit {
	visit := Visit{Method: r.Method, Path: path, Now: s.now()}
	if v.session != nil {
		e := Evidence(v.session)
		visit.Person = &e
	}
	return visit
}

// Allows asks the route's `allow`. An error says why it had no answer, which means no.
func (route *Route) Allows(v Visit) (bool, error) {
	if route.Allow == nil {
		return true, nil
	}
	var subject exchange.Subject
	if v.Person != nil {
		subject = exchange.SessionSubject(*v.Person)
	}
	ctx := ruleContext(subject, v.Now)
	if route.Token.Kind == TokenMinted {
		ctx.Request.Audience, ctx.Request.Scope = []string{route.Token.Audience}, route.Token.Scope
	}
	if route.Token.PerRequest {
		ctx.Request.Method, ctx.Request.Path = v.Method, v.Path
	}
	return route.Allow.Holds(ctx)
}

// Request is what the exchange is asked for; ok is false where no token is minted, as where nobody is signed in.
func (plan TokenPlan) Request(v Visit) (req exchange.RouteRequest, ok bool) {
	if plan.Kind != TokenMinted || v.Person == nil && !plan.AsService {
		return exchange.RouteRequest{}, false
	}
	req = exchange.RouteRequest{Audience: plan.Audience, Scope: plan.Scope, AsService: plan.AsService, PerRequest: plan.PerRequest}
	if plan.PerRequest {
		req.Method, req.Path = v.Method, v.Path
	}
	if !plan.AsService {
		req.Evidence = *v.Person
	}
	return req, true
}
