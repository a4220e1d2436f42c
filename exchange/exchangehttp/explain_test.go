package exchangehttp_test

import (
	"errors"
	"slices"
	"testing"

	"cloakroom/exchange"
	"cloakroom/secret"
	"cloakroom/token"
)

// TestExplainIsWhatTheEndpointDoes: the same answer to the same request, its reason told rule by rule, and nobody told of it.
func TestExplainIsWhatTheEndpointDoes(t *testing.T) {
	w := newWorld(t)
	subject := func(change func(*exchange.Request)) exchange.Request {
		r := exchange.Request{
			Client: "gateway", Grant: exchange.TokenExchange, SubjectType: exchange.AccessToken, SubjectToken: w.access(nil), Audience: []string{"orders"},
		}
		change(&r)
		return r
	}
	for name, c := range map[string]struct {
		request exchange.Request
		rule    string // the last
	}{
		"granted":                   {subject(func(*exchange.Request) {}), "claim email"},
		"two tokens":                {subject(func(r *exchange.Request) { r.SubjectIDToken = w.id(nil) }), "claim email"},
		"an unknown client":         {subject(func(r *exchange.Request) { r.Client = "nobody" }), "client"},
		"a grant it may not use":    {subject(func(r *exchange.Request) { r.Grant = exchange.ClientCredentials }), "client"},
		"a bad subject token":       {subject(func(r *exchange.Request) { r.SubjectToken = "a.b.c" }), "presented"},
		"no subject token":          {subject(func(r *exchange.Request) { r.SubjectToken = "" }), "presented"},
		"an ID token of somebody's": {subject(func(r *exchange.Request) { r.SubjectIDToken = w.id(token.Claims{"sub": "bob"}) }), "presented"},
		"a session that is gone": {subject(func(r *exchange.Request) {
			r.SubjectType, r.SubjectToken = exchange.SessionToken, secret.Text("v1.gone")
		}), "presented"},
		"another's audience":           {subject(func(r *exchange.Request) { r.Audience = []string{"stock"} }), "target"},
		"policy says no":               {subject(func(r *exchange.Request) { r.Audience = []string{"private"} }), "allow"},
		"too much scope":               {subject(func(r *exchange.Request) { r.Scope = token.Scope{"orders:write"} }), "scope"},
		"a subject that ends too soon": {subject(func(r *exchange.Request) { r.SubjectToken = w.access(token.Claims{"exp": w.now.Unix() + 3}) }), "lifetime"},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(w.events)
			d := w.service.Explain(t.Context(), c.request)
			if len(w.events) != before {
				t.Error("an explanation was observed")
			}
			if last := d.Trace[len(d.Trace)-1]; last.Rule != c.rule || (last.Outcome == "refused") == d.Granted() {
				t.Errorf("ends with %+v, want %s", last, c.rule)
			}
			m, err := w.service.Exchange(t.Context(), c.request)
			if d.Granted() {
				if err != nil || !slices.Equal(m.Scope, d.Scope) || m.Claims["email"] != d.Claims["email"] {
					t.Errorf("explained %v, granted %v, %v", d.Claims, m.Claims, err)
				}
				return
			}
			var refused *exchange.Error
			if !errors.As(err, &refused) || refused.Code != d.Err.Code || refused.Description != d.Err.Description {
				t.Errorf("explained %v, answered %v", d.Err, err)
			}
		})
	}
}
