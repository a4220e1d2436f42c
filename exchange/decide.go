package exchange

import (
	"slices"
	"strings"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/token"
)

// Decision is the answer to a Question: the claims of the token to mint, or the refusal, and why.
type Decision struct {
	Err *Error // nil: granted

	Audiences []string // resolved, also of a refusal that came after that
	Scope     token.Scope
	Issued    time.Time
	Expires   time.Time
	Type      TokenType // becomes `issued_token_type`
	Algorithm string    // that signs; "" is the key ring's default
	Claims    token.Claims
	Actor     string // who acts, as "issuer subject"; "" nobody

	Trace  []Step
	Failed []Failure // rules that could not be evaluated: a claim left out, a scope not granted, a no
}

// Step is one rule of a decision, for `cloakroom explain`.
type Step struct {
	Rule    string `json:"rule"`
	Outcome string `json:"outcome"`
	Because string `json:"because"`
}

// Failure is a rule that could not be evaluated.
type Failure struct {
	Rule string // with its audience
	Err  error
}

// Granted tells whether a token is to be minted.
func (d *Decision) Granted() bool { return d.Err == nil }

// Decide answers a question. It is a function of values: no clock, no chance, no I/O. The rules run in the order of
// this list, and the first that refuses ends the decision.
func (p *Policy) Decide(q Question) Decision {
	d := &deciding{p: p, q: &q}
	for _, next := range []func() *Error{
		d.client,       // may this client use the grant and bring such a subject? RFC 6749 section 5.2
		d.subject,      // is the subject well-formed, and not bound to a key that was not shown? RFC 7800
		d.requested,    // can the kind of token be had? RFC 8693 section 2.1
		d.target,       // which audiences? RFC 8693 section 2.1, RFC 8707 section 2
		d.delegation,   // who acts, and may they? RFC 8693 sections 4.1 and 4.4
		d.admission,    // may the person sign in with that provider at all?
		d.allow,        // does the audience's policy allow it?
		d.scope,        // what may be done? RFC 6749 section 3.3
		d.lifetime,     // until when?
		d.subjectValue, // under which name is the subject known there?
		d.claims,       // what else is told?
	} {
		if d.out.Err = next(); d.out.Err != nil {
			d.out.Claims, d.out.Scope = nil, nil
			break
		}
	}
	return d.out
}

// deciding is one decision in the making.
type deciding struct {
	p   *Policy
	q   *Question
	out Decision

	rights    *ClientConfig // nil on a route: it may have all that policy grants the subject
	audiences []*audience
	actor     token.Claims // for rules; nil: nobody
	act       map[string]any
	sub       string
	context   *rule.Context
}

func (d *deciding) step(rule, outcome, because string) {
	d.out.Trace = append(d.out.Trace, Step{rule, outcome, because})
}

// no ends the decision. because is for the operator and the trace, description for the caller.
func (d *deciding) no(rule string, code Code, description, because string) *Error {
	d.step(rule, "refused", because)
	return refuse(code, description, "%s: %s", rule, because)
}

// policySays is the code of a refusal by an audience's policy: RFC 8693 section 2.2.2 has "unacceptable based on policy"
// as invalid_request; on a route it is for the browser.
func (d *deciding) policySays(code Code) Code {
	if d.q.Route {
		return Forbidden
	}
	return code
}

// client: an authenticated client may still not use the grant (unauthorized_client, RFC 6749 section 5.2), or not bring
// a subject of that kind.
func (d *deciding) client() *Error {
	if d.q.Route {
		d.step("client", "ok", "a route of the browser's side")
		return nil
	}
	c := d.p.clients[d.q.Client]
	if c == nil {
		return d.no("client", InvalidClient, "client authentication failed", "not configured")
	}
	d.rights = c
	if !slices.Contains(c.Grants, d.q.Grant) {
		return d.no("client", UnauthorizedClient, "this client may not use this grant", "its grants do not have "+string(d.q.Grant))
	}
	if d.q.Grant == TokenExchange && !slices.Contains(c.SubjectTypes, d.q.SubjectType) {
		return d.no("client", InvalidRequest, "this client may not present a subject_token of this type", "its subject_types do not have it")
	}
	d.step("client", "ok", c.ID)
	return nil
}

// subject: a token bound to a key (`cnf`, RFC 7800) is only good with proof of that key, and dropping the binding would
// turn it into a bearer token. No proof can be shown yet, so a presented one is refused. A session's own token is not
// presented: its cookie is what was shown.
func (d *deciding) subject() *Error {
	s := &d.q.Subject
	if s.Sub == "" || s.IDP == "" {
		return d.no("subject", InvalidRequest, descriptionSubject, "no sub, or no issuer")
	}
	if _, bound := s.Presented["cnf"]; bound && s.Kind != OfSession {
		return d.no("subject", InvalidRequest, descriptionSubject, "bound to a key by cnf, and no proof of it can be checked")
	}
	if d.q.Actor != nil {
		if _, bound := d.q.Actor.Claims["cnf"]; bound {
			return d.no("subject", InvalidRequest, descriptionActor, "the actor token is bound to a key by cnf")
		}
	}
	d.step("subject", "ok", s.IDP+" "+s.Sub)
	return nil
}

// requested: RFC 8693 section 2.1 leaves the type to us where none is asked for. A JWT is what the access token is anyway.
func (d *deciding) requested() *Error {
	switch d.q.RequestedType {
	case "", AccessToken:
		d.out.Type = AccessToken
	case JWT:
		d.out.Type = JWT
	default:
		return d.no("requested_token_type", InvalidRequest, "requested_token_type cannot be issued here", "not one that is issued")
	}
	return nil
}

// target: all or nothing (RFC 8693 section 2.2.2 invalid_target); one answer for unknown and for not allowed. `aud` is
// always the audience's name, also when asked for by its resource (RFC 8707 section 2).
func (d *deciding) target() *Error {
	const description = "audience and resource must name targets this client may ask for"
	var wanted []*audience
	add := func(a *audience) bool {
		if a == nil || d.rights != nil && !slices.Contains(d.rights.Audiences, a.Name) {
			return false
		}
		if !slices.Contains(wanted, a) {
			wanted = append(wanted, a)
		}
		return true
	}
	for _, name := range d.q.Audience {
		if !add(d.p.audiences[name]) {
			return d.no("target", InvalidTarget, description, "an audience that is unknown, or not this client's")
		}
	}
	for _, uri := range d.q.Resource {
		if !add(d.p.resources[uri]) {
			return d.no("target", InvalidTarget, description, "a resource that is unknown, or not this client's")
		}
	}
	if len(wanted) == 0 {
		if d.rights == nil || len(d.rights.Audiences) != 1 || !add(d.p.audiences[d.rights.Audiences[0]]) {
			return d.no("target", InvalidTarget, "name an audience or a resource", "none was named, and the client has not just one")
		}
	}
	for _, a := range wanted[1:] {
		if !a.agrees(wanted[0]) {
			return d.no("target", InvalidTarget, "these targets cannot share a token", "algorithm, subject or claims of "+a.Name+" and "+wanted[0].Name+" differ")
		}
	}
	d.audiences = wanted
	for _, a := range wanted {
		d.out.Audiences = append(d.out.Audiences, a.Name)
	}
	d.out.Algorithm = wanted[0].Algorithm
	d.step("target", "ok", strings.Join(d.out.Audiences, " "))
	return nil
}

// agrees tells whether one token can serve both audiences: nothing is told to one that only the other is to know.
func (a *audience) agrees(b *audience) bool {
	byName := func(x, y ClaimConfig) int { return strings.Compare(x.Claim, y.Claim) }
	return a.Algorithm == b.Algorithm && a.Subject == b.Subject &&
		slices.Equal(slices.SortedFunc(slices.Values(a.Claims), byName), slices.SortedFunc(slices.Values(b.Claims), byName))
}

// rules returns what the audiences' rules see. It is made once the actor is known.
func (d *deciding) rules() *rule.Context {
	if d.context == nil {
		q := d.q
		d.context = &rule.Context{
			Access: q.Subject.Access, ID: q.Subject.ID, Subject: q.Subject.Presented, Actor: d.actor,
			Client: q.Client, Session: q.Subject.Session, Now: q.Now,
			Request: rule.Request{
				Audience: d.out.Audiences, Resource: q.Resource, Scope: q.Scope, Details: q.Details,
				Method: q.Method, Path: q.Path,
			},
		}
	}
	return d.context
}

// admission: whom the provider's own rule keeps out at sign-in does not come in by the exchange (GHSA-7qjx-gp9h-65qj). A
// session's person was asked at sign-in, and one of a token of ours when that was minted. An access token alone may leave
// a rule that reads `id` without an answer: it is about signing in, and what the audience is told is for its own rules,
// which then say no (docs/decisions/0007).
func (d *deciding) admission() *Error {
	s := &d.q.Subject
	at := d.p.providers[s.IDP]
	if s.Kind != OfProvider || at == nil {
		return nil
	}
	holds, err := at.allow.Holds(d.rules())
	if err != nil && s.ID == nil {
		d.step("provider", "no answer without an ID token", at.source)
		return nil
	}
	if err != nil {
		d.out.Failed = append(d.out.Failed, Failure{"provider " + s.IDP + ": allow", err})
		d.step("provider", "error", err.Error())
	}
	if !holds {
		return d.no("provider", InvalidRequest, "policy does not allow it", s.IDP+": "+at.source)
	}
	d.step("provider", "ok", at.source)
	return nil
}

// allow asks every target's condition. One that cannot be evaluated is a no.
func (d *deciding) allow() *Error {
	for _, a := range d.audiences {
		if a.allow == nil {
			continue
		}
		holds, err := a.allow.Holds(d.rules())
		if err != nil {
			d.failed(a, "allow", err)
		}
		if !holds {
			return d.no("allow", d.policySays(InvalidRequest), "policy does not allow it", a.Name+": "+a.Allow)
		}
		d.step("allow", "ok", a.Name+": "+a.Allow)
	}
	return nil
}

func (d *deciding) failed(a *audience, rule string, err error) {
	d.out.Failed = append(d.out.Failed, Failure{"audience " + a.Name + ": " + rule, err})
	d.step(rule, "error", err.Error())
}

// What the caller is told of a token that does not do: the same for every reason, so that nothing is learnt by trying.
const (
	descriptionSubject = "subject_token is not acceptable"
	descriptionActor   = "actor_token is not acceptable"
	descriptionID      = "subject_id_token is not acceptable with this subject_token"
)
