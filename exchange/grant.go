package exchange

import (
	"encoding/json"
	"strings"
	"time"
	"unicode"

	"cloakroom/token"
)

// MinimumLeft is the least a minted token may have to live: less is refused, never stretched.
const MinimumLeft = 5 * time.Second

// maxSubject bounds a subject's name, in bytes, as the readers of tokens do.
const maxSubject = 2048

// scope: what the audiences' rules grant the subject, within what the client may have, within what is asked. Nothing that
// is in fewer than all three ever gets in.
func (d *deciding) scope() *Error {
	granted := token.Scope{}
	for _, a := range d.audiences {
		of := d.grantedBy(a)
		if len(of) == 0 && len(a.scopes) > 0 {
			return d.no("scope", d.policySays(InvalidScope), "policy grants no scope", a.Name+" has scopes, and grants none of them")
		}
		granted = append(granted, of.Without(granted)...)
	}
	asked := d.q.Scope
	if over := asked.Without(granted); len(over) > 0 && d.rights != nil && !d.rights.Narrow {
		return d.no("scope", InvalidScope, "scope asks for more than is granted", "more is asked for than is granted")
	}
	if len(asked) > 0 {
		granted = granted.Within(asked)
		if len(granted) == 0 {
			return d.no("scope", d.policySays(InvalidScope), "policy grants no scope", "nothing of what is asked for is granted")
		}
	}
	d.out.Scope = granted
	d.step("scope", "ok", granted.String())
	return nil
}

// grantedBy is what one audience grants, within what the client may have.
func (d *deciding) grantedBy(a *audience) token.Scope {
	subjects := scopeOf(d.q.Subject.Presented)
	var granted token.Scope
	if a.Scopes.FromSubject {
		granted = subjects.Without(token.OpenIDScopes)
		d.step("scopes of "+a.Name, "granted", "the subject's own: "+granted.String())
	}
	for _, r := range a.scopes {
		holds, because := subjects.Has(r.scope), "in subject.scope"
		if r.when != nil {
			var err error
			because = r.source
			if holds, err = r.when.Holds(d.rules()); err != nil {
				d.failed(a, "scope "+r.scope, err)
				continue
			}
		}
		if !holds {
			d.step("scope "+r.scope, "not granted", because)
			continue
		}
		d.step("scope "+r.scope, "granted", because)
		granted = append(granted, r.scope)
	}
	if d.rights != nil && d.rights.Scopes != nil {
		granted = granted.Within(d.rights.Scopes)
	}
	return granted
}

// lifetime is the only place where the end of a token is computed. It is the earliest of all that the token rests on,
// in whole seconds, rounded down; the stored ID token of a session is evidence from the sign-in and does not bound.
func (d *deciding) lifetime() *Error {
	q := d.q
	issued := time.Unix(q.Now.Unix(), 0)
	expires, because := time.Time{}, ""
	atMost := func(end time.Time, why string) {
		if end = time.Unix(end.Unix(), 0); because == "" || end.Before(expires) {
			expires, because = end, why
		}
	}
	for _, a := range d.audiences {
		atMost(issued.Add(a.Lifetime), "lifetime of audience "+a.Name)
	}
	if d.rights != nil && d.rights.Lifetime > 0 {
		atMost(issued.Add(d.rights.Lifetime), "lifetime of client "+d.rights.ID)
	}
	if end := q.Subject.Expires; !end.IsZero() {
		atMost(end, "the subject token ends")
	}
	if end := q.Subject.IDExpires; !end.IsZero() {
		atMost(end, "the subject_id_token ends")
	}
	if end := q.Subject.SessionEnds; !end.IsZero() {
		atMost(end, "the session ends")
	}
	if q.Actor != nil && !q.Actor.Expires.IsZero() {
		atMost(q.Actor.Expires, "the actor token ends")
	}
	if expires.Sub(q.Now) < MinimumLeft {
		code := InvalidRequest
		if q.Route {
			code = Expired
		}
		return d.no("lifetime", code, "what was presented ends too soon", because+" too soon")
	}
	d.out.Issued, d.out.Expires = issued, expires
	d.step("lifetime", expires.Sub(issued).String(), because)
	return nil
}

// subjectValue: the name under which the targets know the subject.
func (d *deciding) subjectValue() *Error {
	d.sub = d.q.Subject.Sub
	a := d.audiences[0] // all targets agree on it
	if a.subject == nil {
		return nil
	}
	value, err := a.subject.Of(d.rules())
	if err != nil {
		d.failed(a, "subject", err)
	}
	sub, _ := value.(string)
	if sub == "" || len(sub) > maxSubject || strings.ContainsFunc(sub, unicode.IsControl) {
		return d.no("subject", d.policySays(InvalidRequest), "policy has no name for the subject", a.Name+": "+a.Subject)
	}
	d.sub = sub
	d.step("subject", "ok", a.Name+": "+a.Subject)
	return nil
}

// claims assembles the token (RFC 9068 section 2.2): first what always stands in it and cannot be mapped, then what the
// audience's rules tell.
func (d *deciding) claims() *Error {
	q, known := d.q, d.q.Subject.Known
	c := token.Claims{
		"iss": d.p.issuer, "aud": audienceClaim(d.out.Audiences), "sub": d.sub, "idp": q.Subject.IDP,
		"exp": d.out.Expires.Unix(), "iat": d.out.Issued.Unix(), "jti": q.TokenID, "client_id": q.Client,
	}
	if len(d.out.Scope) > 0 {
		c["scope"] = d.out.Scope.String()
	}
	if sid := q.Subject.sessionID(); sid != "" {
		c["sid"] = sid
	}
	if known.AuthTime != 0 {
		c["auth_time"] = known.AuthTime
	}
	if known.ACR != "" {
		c["acr"] = known.ACR
	}
	if len(known.AMR) > 0 {
		c["amr"] = known.AMR
	}
	if known.IDIssued != 0 {
		c["id_iat"] = known.IDIssued
	}
	if d.act != nil {
		c["act"] = d.act
	}
	a := d.audiences[0] // all targets agree on them
	for _, r := range a.claims {
		value, err := r.value.Of(d.rules())
		switch {
		case err != nil:
			d.failed(a, "claim "+r.name, err)
		case value == nil:
			d.step("claim "+r.name, "left out", r.source)
		default:
			c[r.name] = value
			d.step("claim "+r.name, "set", r.source)
		}
	}
	d.out.Claims = c
	return nil
}

func audienceClaim(names []string) any {
	if len(names) == 1 {
		return names[0]
	}
	return names
}

// MarshalJSON writes a decision as `cloakroom explain --json` prints it.
func (d Decision) MarshalJSON() ([]byte, error) {
	out := struct {
		Granted     bool         `json:"granted"`
		Error       Code         `json:"error,omitempty"`
		Description string       `json:"error_description,omitempty"`
		Claims      token.Claims `json:"claims,omitempty"`
		Trace       []Step       `json:"trace"`
	}{Granted: d.Granted(), Claims: d.Claims, Trace: d.Trace}
	if d.Err != nil {
		out.Error, out.Description = d.Err.Code, d.Err.Description
	}
	return json.Marshal(out)
}
