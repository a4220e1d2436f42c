package exchange

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"cloakroom/token"
)

// dice turns fuzzed bytes into choices.
type dice struct{ bytes []byte }

func (d *dice) roll(n int) int {
	if len(d.bytes) == 0 {
		return 0
	}
	b := d.bytes[0]
	d.bytes = d.bytes[1:]
	return int(b) % n
}

func (d *dice) some(from ...string) []string {
	mask, out := d.roll(256), []string{}
	for i, one := range from {
		if mask&(1<<i) != 0 {
			out = append(out, one)
		}
	}
	return out
}

func (d *dice) end() time.Time {
	if d.roll(3) == 0 {
		return time.Time{}
	}
	return at.Add(time.Duration(d.roll(256)-40) * 4 * time.Second)
}

var fuzzScopes = []string{"a", "b", "c", "openid"}

// fuzzedPolicy has claims that would overwrite the protected ones if names alone could.
func fuzzedPolicy(d *dice) PolicyConfig {
	cfg := PolicyConfig{Issuer: us}
	for _, name := range []string{"x", "y"} {
		a := AudienceConfig{Name: name, Resource: "urn:" + name, Lifetime: time.Duration(5+d.roll(250)) * time.Second, Claims: []ClaimConfig{{"everything", "access"}, {"again", "id.sub"}}}
		switch d.roll(3) {
		case 0:
			a.Scopes.FromSubject = true
		case 1:
			for _, s := range fuzzScopes[:3] {
				a.Scopes.Rules = append(a.Scopes.Rules, ScopeConfig{s, []string{"", "granted('" + s + "')", "id.email_verified"}[d.roll(3)]})
			}
		}
		cfg.Audiences = append(cfg.Audiences, a)
	}
	c := ClientConfig{
		ID: "client", Grants: []Grant{TokenExchange}, Audiences: d.some("x", "y"), Narrow: d.roll(2) == 1, SubjectTypes: []TokenType{AccessToken},
		Lifetime: time.Duration(d.roll(200)) * time.Second, Actor: []ActorMode{ActorNone, ActorOptional, ActorRequired, ActorImplicit}[d.roll(4)],
	}
	if d.roll(2) == 1 {
		c.Scopes = d.some(fuzzScopes...)
	}
	cfg.Clients = []ClientConfig{c}
	return cfg
}

func fuzzedQuestion(d *dice) Question {
	claims := token.Claims{"iss": idp, "sub": "alice", "scope": token.Scope(d.some(fuzzScopes...)).String(), "aud": "evil", "client_id": "evil", "jti": "evil", "idp": "evil", "exp": int64(1)}
	if d.roll(2) == 1 {
		claims["act"] = actors(1 + d.roll(6))
	}
	if d.roll(4) == 1 {
		claims["may_act"] = map[string]any{"iss": []string{us, idp}[d.roll(2)], "sub": []string{"client", "sam"}[d.roll(2)]}
	}
	id := token.Claims{"iss": idp, "sub": "alice", "email_verified": d.roll(2) == 1}
	access := verifiedAccess(claims)
	access.Expires = d.end()
	identity := verifiedID(id)
	identity.Expires = d.end()
	q := Question{
		Client: "client", Grant: TokenExchange, SubjectType: AccessToken, TokenID: "jti", Now: at,
		Subject: ProviderSubject(access, identity), Audience: d.some("x", "y", "z"), Scope: d.some(fuzzScopes...),
	}
	q.Subject.SessionEnds = d.end()
	if d.roll(2) == 1 {
		q.Actor = samActs()
		q.Actor.Expires = d.end()
		if d.roll(3) == 1 {
			q.Actor.Claims["act"] = actors(1 + d.roll(4))
		}
	}
	return q
}

// FuzzDecideNeverWidens: whatever the policy and the question, a token that is granted stays within all that it rests on.
func FuzzDecideNeverWidens(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("the quick brown fox jumps over the lazy dog and then some more bytes follow"))
	for i := range 64 {
		seed := make([]byte, 48)
		for j := range seed {
			seed[j] = byte(i*131 + j*j*7 + j*i)
		}
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, bytes []byte) {
		d := &dice{bytes}
		cfg := fuzzedPolicy(d)
		p, err := NewPolicy(cfg)
		if err != nil {
			t.Fatal(err)
		}
		q := fuzzedQuestion(d)
		if wrong := widened(cfg, q, p.Decide(q)); wrong != "" {
			t.Errorf("%s\npolicy %+v\nquestion %+v", wrong, cfg, q)
		}
	})
}

// widened checks a decision against the rules of names.md, written a second time and another way round.
func widened(cfg PolicyConfig, q Question, d Decision) string {
	if d.Err != nil {
		return ""
	}
	client := cfg.Clients[0]
	has := scopeOf(q.Subject.Presented)
	for _, s := range d.Scope {
		if client.Scopes != nil && !client.Scopes.Has(s) {
			return "scope beyond the client's: " + s
		}
		if len(q.Scope) > 0 && !q.Scope.Has(s) {
			return "scope beyond what was asked: " + s
		}
		grantable := false
		for _, a := range cfg.Audiences {
			if !slices.Contains(d.Audiences, a.Name) {
				continue
			}
			grantable = grantable || a.Scopes.FromSubject && has.Has(s) && s != "openid"
			for _, r := range a.Scopes.Rules {
				verified, _ := q.Subject.ID["email_verified"].(bool)
				grantable = grantable || r.Scope == s && (r.When == "id.email_verified" && verified || r.When != "id.email_verified" && has.Has(s))
			}
		}
		if !grantable {
			return "scope that no audience grants: " + s
		}
	}
	if len(q.Scope) > 0 && !client.Narrow && len(d.Scope) != len(q.Scope) {
		return "a strict client got less than it asked for, or more"
	}
	for _, name := range append(slices.Clone(q.Audience), d.Audiences...) {
		if !slices.Contains(client.Audiences, name) || !slices.Contains(d.Audiences, name) {
			return "audience not the client's, or dropped: " + name
		}
	}
	ends := []time.Time{q.Subject.Expires, q.Subject.IDExpires, q.Subject.SessionEnds}
	if q.Actor != nil {
		ends = append(ends, q.Actor.Expires)
	}
	if client.Lifetime > 0 {
		ends = append(ends, at.Add(client.Lifetime))
	}
	for _, a := range cfg.Audiences {
		if slices.Contains(d.Audiences, a.Name) {
			ends = append(ends, at.Add(a.Lifetime))
		}
	}
	for _, end := range ends {
		if !end.IsZero() && d.Expires.After(end) {
			return fmt.Sprintf("lives until %v, beyond %v", d.Expires, end)
		}
	}
	if d.Expires.Sub(q.Now) < 5*time.Second || d.Claims["exp"] != d.Expires.Unix() {
		return "lives too short, or exp is another"
	}
	return laundered(client, q, d)
}

// laundered checks who acts, and that no claim that came in stands where ours must.
func laundered(client ClientConfig, q Question, d Decision) string {
	var names []string
	for act, ok := d.Claims["act"].(map[string]any); ok; act, ok = act["act"].(map[string]any) {
		names = append(names, act["sub"].(string))
	}
	if len(names) > 5 {
		return "more than five actors"
	}
	var before []string
	for act, ok := q.Subject.Presented["act"].(map[string]any); ok; act, ok = act["act"].(map[string]any) {
		before = append(before, act["sub"].(string))
	}
	if len(before) > len(names) || !slices.Equal(names[len(names)-len(before):], before) {
		return fmt.Sprintf("actors %v were forgotten in %v", before, names)
	}
	if q.Actor != nil && (len(names) == 0 || names[0] != "sam") {
		return "the actor token's actor does not act"
	}
	if client.Actor == ActorImplicit && (len(names) == 0 || names[0] != "client") {
		return "the implicit actor does not act"
	}
	if may, ok := q.Subject.Presented["may_act"].(map[string]any); ok {
		if len(names) == 0 || names[0] != may["sub"] {
			return "may_act names another than who acts"
		}
	}
	for name, want := range map[string]any{"iss": us, "sub": "alice", "idp": idp, "jti": "jti", "client_id": "client", "iat": at.Unix()} {
		if !reflect.DeepEqual(d.Claims[name], want) {
			return fmt.Sprintf("%s = %v", name, d.Claims[name])
		}
	}
	return ""
}
