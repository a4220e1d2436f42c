package rule

import (
	"fmt"
	"time"

	"cel.dev/cel-go/cel"

	"cloakroom/token"
)

// Context is all a rule can see. A rule does not change it, so one Context serves every rule of a decision.
type Context struct {
	Access  token.Claims // claims of the access token, normalised; empty where there is none
	ID      token.Claims // claims of the ID token with userinfo's; empty where there is none
	Subject token.Claims // the subject token's claims as presented
	Actor   token.Claims // nil is null: nobody acts for the subject
	Client  string       // id of the client that asks
	Request Request
	Session *Session // nil is null: outside a session
	Now     time.Time
}

// Request is what is asked for.
type Request struct {
	Audience, Resource []string
	Scope              token.Scope
	Details            map[string]any // `request_details`, {} where none was sent
	Method, Path       string         // of the browser's request, for a route with `per: request`; otherwise ""
}

// Session is the browser session behind a request.
type Session struct {
	ID       string
	Created  time.Time
	AuthTime time.Time // zero: the provider did not say
}

// client is what a rule sees of the client.
type client struct{ id string }

// ResolveName gives a rule its variables by name; Context is its own activation.
func (c *Context) ResolveName(name string) (any, bool) {
	switch name {
	case "access":
		return claims(c.Access), true
	case "id":
		return claims(c.ID), true
	case "subject":
		return claims(c.Subject), true
	case "actor":
		if c.Actor == nil {
			return nil, true
		}
		return map[string]any(c.Actor), true
	case "client":
		return object{"cloakroom.Client", client{c.Client}}, true
	case "request":
		return object{"cloakroom.Request", &c.Request}, true
	case "session":
		if c.Session == nil {
			return nil, true
		}
		return object{"cloakroom.Session", c.Session}, true
	case "now":
		return c.Now, true
	}
	return nil, false
}

// Parent is nil: there is nothing around a Context.
func (c *Context) Parent() cel.Activation { return nil }

func claims(c token.Claims) map[string]any {
	if c == nil {
		return map[string]any{}
	}
	return c
}

// fields are the members of the objects a rule sees, with their types, so that a misspelt one is found at load.
var fields = map[string]map[string]field{
	"cloakroom.Client": {
		"id": {cel.StringType, func(o any) (any, bool) { c, ok := o.(client); return c.id, ok }},
	},
	"cloakroom.Request": {
		"audience": {cel.ListType(cel.StringType), func(o any) (any, bool) { return list(o.(*Request).Audience), true }},
		"resource": {cel.ListType(cel.StringType), func(o any) (any, bool) { return list(o.(*Request).Resource), true }},
		"scope":    {cel.ListType(cel.StringType), func(o any) (any, bool) { return list(o.(*Request).Scope), true }},
		"details": {cel.MapType(cel.StringType, cel.DynType), func(o any) (any, bool) {
			return claims(o.(*Request).Details), true
		}},
		"method": {cel.StringType, func(o any) (any, bool) { r := o.(*Request); return r.Method, r.Method != "" }},
		"path":   {cel.StringType, func(o any) (any, bool) { r := o.(*Request); return r.Path, r.Path != "" }},
	},
	"cloakroom.Session": {
		"id":        {cel.StringType, func(o any) (any, bool) { return o.(*Session).ID, true }},
		"created":   {cel.TimestampType, func(o any) (any, bool) { return o.(*Session).Created, true }},
		"auth_time": {cel.TimestampType, func(o any) (any, bool) { s := o.(*Session); return s.AuthTime, !s.AuthTime.IsZero() }},
	},
}

type field struct {
	typ *cel.Type
	get func(object any) (value any, known bool)
}

func list(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}

func missing(name string) error { return fmt.Errorf("no such key: %s", name) }
