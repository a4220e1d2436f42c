package exchange

import (
	"maps"
	"reflect"
	"slices"

	"cloakroom/token"
)

// MaxActors is how deep `act` may nest, the new actor counted.
const MaxActors = 5

// actMembers are the identity claims an actor is recorded with (RFC 8693 section 4.1): what else a foreign `act` holds
// (times, audiences, rights) has no meaning there.
var actMembers = []string{"iss", "sub", "client_id", "sub_profile"}

// delegation finds who acts for the subject, whether they may, and what `act` of the new token is: the new actor
// outermost, around all who acted before (RFC 8693 section 4.1). Who acted before is never forgotten, so that a
// delegated token cannot be washed into one that looks like the subject's own.
func (d *deciding) delegation() *Error {
	earlier, ok := chain(d.q.Subject.Presented)
	if !ok {
		return d.no("act", InvalidRequest, descriptionSubject, "the subject's act is not a chain of actors")
	}
	who, err := d.whoActs()
	if err != nil {
		return err
	}
	if who != nil {
		link := token.Claims{"iss": who.IDP, "sub": who.Sub}
		before, ok := chain(who.Claims)
		if !ok {
			return d.no("act", InvalidRequest, descriptionActor, "the actor's act is not a chain of actors")
		}
		// An actor who is acted for in turn brings its own chain, which comes before the subject's.
		earlier = append(append([]token.Claims{link}, before...), earlier...)
		d.actor = withScope(who.Claims, nil)
		d.out.Actor = who.IDP + " " + who.Sub
	}
	if len(earlier) > MaxActors {
		return d.no("act", InvalidRequest, "too many actors", "the chain would be longer than five")
	}
	d.act = nest(earlier)
	if d.act != nil {
		d.step("act", "ok", d.out.Actor)
	}
	return nil
}

// whoActs finds the new actor, nil where nobody acts.
func (d *deciding) whoActs() (*Actor, *Error) {
	q := d.q
	if d.rights == nil || q.Grant != TokenExchange {
		return nil, nil // the browser's side passes its user on as it is; a client's own token is nobody else's
	}
	self := &Actor{IDP: d.p.issuer, Sub: q.Client, Claims: token.Claims{"iss": d.p.issuer, "sub": q.Client, "client_id": q.Client}}
	who := q.Actor
	switch d.rights.Actor {
	case ActorNone:
		if who != nil {
			return nil, d.no("actor", InvalidRequest, "this client may not send an actor_token", "actor: none")
		}
	case ActorImplicit:
		if who != nil {
			return nil, d.no("actor", InvalidRequest, "this client is the actor itself and may not send an actor_token", "actor: implicit")
		}
		who = self
	case ActorRequired:
		if who == nil {
			return nil, d.no("actor", InvalidRequest, "actor_token is missing", "actor: required")
		}
	}
	may, named := q.Subject.Presented["may_act"]
	if !named {
		return who, nil
	}
	// RFC 8693 section 4.4. A subject that names its actor is never exchanged by another, and not without one either:
	// leaving the actor token out must not open what naming the wrong one would not.
	if who == nil {
		who = self
	}
	if because := mismatch(may, q.Subject.Presented.Text("iss"), who); because != "" {
		return nil, d.no("may_act", InvalidRequest, "the subject_token does not name this actor", because)
	}
	d.step("may_act", "ok", who.IDP+" "+who.Sub)
	return who, nil
}

// mismatch tells why an actor is not the one that `may_act` names, "" where it is. Every member must fit; without `iss`
// the one who issued the subject token means its own people.
func mismatch(may any, issuer string, who *Actor) string {
	claims, ok := may.(map[string]any)
	if !ok {
		return "may_act is not an object"
	}
	if sub, ok := claims["sub"].(string); !ok || sub == "" {
		return "may_act has no sub"
	}
	if _, ok := claims["iss"]; !ok && issuer != who.IDP {
		return "may_act means the subject's issuer, and the actor has another"
	}
	for _, name := range slices.Sorted(maps.Keys(claims)) { // the same question has the same answer, and the same reason
		want, has := claims[name], who.Claims[name]
		switch name {
		case "iss":
			has = who.IDP
		case "sub":
			has = who.Sub
		}
		if !reflect.DeepEqual(has, want) {
			return "may_act has another " + printable(name)
		}
	}
	return ""
}

// chain reads the `act` of a token: the current actor first, then who acted before. Each must be an object with a sub,
// since an actor that could not be recorded would be one that is forgotten.
func chain(of map[string]any) ([]token.Claims, bool) {
	var out []token.Claims
	for {
		act, there := of["act"]
		if !there {
			return out, true
		}
		claims, ok := act.(map[string]any)
		if !ok || len(out) == MaxActors {
			return nil, false
		}
		link := token.Claims{}
		for _, name := range actMembers {
			value, there := claims[name]
			if !there {
				continue
			}
			if link[name], ok = value.(string); !ok {
				return nil, false
			}
		}
		if link.Text("sub") == "" {
			return nil, false
		}
		out = append(out, link)
		of = claims
	}
}

// nest is the reverse of chain.
func nest(links []token.Claims) map[string]any {
	var act map[string]any
	for _, link := range slices.Backward(links) {
		outer := map[string]any(clone(link))
		if act != nil {
			outer["act"] = act
		}
		act = outer
	}
	return act
}

// printable bounds a name that came in, for a reason.
func printable(name string) string {
	if len(name) > 32 || !ValidScope(name) {
		return "member"
	}
	return name
}
