package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cloakroom/bff"
	"cloakroom/exchange"
)

// explainedRoute is a route that has a token minted.
type explainedRoute struct {
	bff.Route
	allow string // as the file has it
}

// forRoute goes through what the browser's side does for a request: session, refresh, `allow`, token.
func (x *explaining) forRoute(service *exchange.Service, behind *sessionBehind) (exchange.Decision, error) {
	switch {
	case x.minted != "" || x.ticket != "" || x.actor != "" || x.session:
		return exchange.Decision{}, errors.New("--minted, --jwt, --actor and --session are what a client presents: which? --client ID")
	case len(x.audience) != 1 || len(x.resource) > 0 || len(x.scope) > 0 || x.kind != "" || x.details != nil:
		return exchange.Decision{}, errors.New("a route names one audience and has a scope of its own, and no resource, type or details; for a service's request say --client ID")
	}
	route, err := x.route()
	if err != nil {
		return exchange.Decision{}, err
	}
	visit := bff.Visit{Method: x.method, Path: x.path, Now: x.now}
	if behind.is {
		visit.Person = &behind.evidence
	}
	wanted, mints := route.Token.Request(visit)
	switch {
	case behind.is && route.Session == bff.None:
		return exchange.Decision{}, fmt.Errorf("route %s has `session: none` and looks at nobody's tokens: leave out --access and --id", route.Path)
	case !behind.is && route.Session == bff.Required:
		return exchange.Decision{}, fmt.Errorf("route %s is for the signed-in alone: tell of who is by --access and --id", route.Path)
	case !mints:
		return exchange.Decision{}, fmt.Errorf("route %s sends no token where nobody is signed in: tell of who is by --access and --id", route.Path)
	case route.Token.PerRequest && (x.method == "" || x.path == ""):
		return exchange.Decision{}, fmt.Errorf("route %s has `per: request`: of which? --method METHOD --path PATH", route.Path)
	}
	x.note("route", "ok", route.Path)
	if !route.Token.AsService {
		x.noteRefresh(behind)
	}
	if refused := x.askAllow(route, visit); refused != nil {
		return exchange.Decision{Err: refused}, nil
	}
	return service.ExplainRoute(wanted), nil
}

func (x *explaining) askAllow(route explainedRoute, visit bff.Visit) *exchange.Error {
	const rule = "allow of route"
	yes, err := route.Allows(visit)
	if err != nil {
		x.note(rule, "error", err.Error())
	}
	if !yes {
		x.note(rule, "refused", route.Path+": "+route.allow)
		return &exchange.Error{Code: exchange.Forbidden, Description: "the route does not allow it"}
	}
	x.note(rule, "ok", route.Path+": "+route.allow)
	return nil
}

// route is the one whose token is asked about.
func (x *explaining) route() (explainedRoute, error) {
	if err := x.house.drawFrontend(); err != nil {
		return explainedRoute{}, err
	}
	audience := x.audience[0]
	var named []explainedRoute
	var audiences []string
	for i, r := range x.house.frontend.Routes {
		if r.Token.Kind != bff.TokenMinted {
			continue
		}
		audiences = append(audiences, r.Token.Audience)
		if r.Token.Audience == audience {
			named = append(named, explainedRoute{r, x.house.file.Routes[i].Allow.Source})
		}
	}
	if len(named) == 0 {
		return explainedRoute{}, fmt.Errorf("no route has a token for %q%s; what a service gets: --client ID", audience, others(audiences))
	}
	if x.path != "" {
		found, err := bff.FindRoute(x.house.frontend.Routes, x.path)
		if err != nil {
			return explainedRoute{}, fmt.Errorf("--path: %w", err)
		}
		i := slices.IndexFunc(named, func(r explainedRoute) bool { return r.Path == found.Path })
		if i < 0 {
			return explainedRoute{}, fmt.Errorf("--path: it is route %s's, which has no token for %q; %s has", found.Path, audience, paths(named))
		}
		named = named[i : i+1]
	}
	if x.method != "" {
		take := slices.DeleteFunc(slices.Clone(named), func(r explainedRoute) bool { return !slices.Contains(r.Methods, x.method) })
		if len(take) == 0 {
			return explainedRoute{}, fmt.Errorf("--method: %s does not take %s, but %s", paths(named), x.method, strings.Join(named[0].Methods, ", "))
		}
		named = take
	}
	if slices.ContainsFunc(named[1:], named[0].differs) {
		return explainedRoute{}, fmt.Errorf("the routes %s have different tokens for %q: which? --path PATH", paths(named), audience)
	}
	return named[0], nil
}

// differs tells whether two routes of one audience could explain differently.
func (r explainedRoute) differs(from explainedRoute) bool {
	return !slices.Equal(r.Token.Scope, from.Token.Scope) || r.Token.PerRequest != from.Token.PerRequest ||
		r.Token.AsService != from.Token.AsService || r.Session != from.Session || r.allow != from.allow
}

func paths(routes []explainedRoute) string {
	var all []string
	for _, r := range routes {
		all = append(all, r.Path)
	}
	return strings.Join(all, ", ")
}

// others says whose tokens could have been asked for.
func others(audiences []string) string {
	if len(audiences) == 0 {
		return ""
	}
	slices.Sort(audiences)
	return ", but for " + strings.Join(slices.Compact(audiences), ", ")
}
