package config

import (
	"fmt"
	"math"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"cloakroom/secret"
	"cloakroom/token"
)

// The values below may be written in several ways; each type reads itself.

var size = regexp.MustCompile(`^([0-9]{1,15})(|B|KiB|MiB|GiB)$`)

func (s *Size) decode(d *decoder, n *node, path string) {
	m := size.FindStringSubmatch(n.text)
	if m == nil || n.kind != kindText && n.kind != kindNumber {
		d.at(path, n.shown()+" is not a size", "write it as 512KiB, 10MiB or 1GiB, or as a number of bytes")
		return
	}
	count, _ := strconv.ParseInt(m[1], 10, 64) // 15 digits always fit
	unit := map[string]int64{"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}[m[2]]
	if count > math.MaxInt64/unit {
		d.at(path, n.shown()+" is too large", "write what a request may really have")
		return
	}
	*s = Size(count * unit)
}

func (l *ScopeList) decode(d *decoder, n *node, path string) {
	text := d.text(n, path)
	if d.broken(path) {
		return
	}
	for one := range strings.FieldsSeq(text) {
		if !scopeToken.MatchString(one) {
			d.at(path, n.shown()+" is not a scope", scopeRemedy)
			return
		}
	}
	*l = ScopeList(token.ParseScope(text))
}

func (t *Texts) decode(d *decoder, n *node, path string) {
	if n.kind != kindList {
		*t = Texts{secret.Text(d.text(n, path))}
		return
	}
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		if item.broken {
			continue
		}
		*t = append(*t, secret.Text(d.text(item, at)))
	}
}

func (c *Condition) decode(d *decoder, n *node, path string) {
	if n.kind == kindBool { // `allow: true` is what anyone would write for 'true'
		n = &node{kind: kindText, text: n.text}
	}
	if text := d.text(n, path); !d.broken(path) {
		d.condition(c, text, n, path)
	}
}

func (v *Value) decode(d *decoder, n *node, path string) {
	if text := d.text(n, path); !d.broken(path) && text != "" {
		d.compile(v, text, n, path)
	}
}

func (u *UserClaims) decode(d *decoder, n *node, path string) {
	*u = UserClaims{}
	switch n.kind {
	case kindMap:
		*u = d.claimRules(n, path)
	case kindList:
		var names []string
		d.list(reflect.ValueOf(&names).Elem(), n, path, "")
		for _, name := range names {
			*u = append(*u, ClaimRule{Name: name})
		}
	default:
		d.at(path, n.kind.says()+" where a list of claims, or a map from claim to rule, is wanted", "write [sub, name, email], or {email: id.email}")
	}
}

func (d *decoder) claimRules(n *node, path string) []ClaimRule {
	out := []ClaimRule{}
	for _, e := range n.entries {
		rule := ClaimRule{Name: e.name}
		at := child(path, e.name)
		d.value(reflect.ValueOf(&rule.Value).Elem(), e.value, at, "")
		if rule.Value.Source == "" {
			d.at(at, "has an empty rule", "write a CEL value such as id.email, or take the claim out")
		}
		out = append(out, rule)
	}
	return out
}

func (c *ClaimRules) decode(d *decoder, n *node, path string) {
	if d.want(n, path, kindMap) {
		*c = d.claimRules(n, path)
	}
}

func (s *Scopes) decode(d *decoder, n *node, path string) {
	*s = Scopes{}
	switch {
	case n.kind == kindText && n.text == "subject":
		s.FromSubject = true
	case n.kind == kindList:
		var names []string
		d.list(reflect.ValueOf(&names).Elem(), n, path, "")
		for i, name := range names {
			d.scopeName(name, fmt.Sprintf("%s[%d]", path, i))
			s.Rules = append(s.Rules, ScopeRule{Scope: name})
		}
	case n.kind == kindMap && len(n.entries) == 0:
		d.at(path, "is an empty map, by which nothing could ever be granted", "write [] for no scopes, or `subject` for the subject's")
	case n.kind == kindMap:
		for _, e := range n.entries {
			at := child(path, e.name)
			d.scopeName(e.name, at)
			rule := ScopeRule{Scope: e.name}
			d.value(reflect.ValueOf(&rule.When).Elem(), e.value, at, "")
			if rule.When.Source == "" {
				d.at(at, "has an empty rule", "write a CEL condition such as 'true', or take the scope out")
			}
			s.Rules = append(s.Rules, rule)
		}
	default:
		d.at(path, n.kind.says()+" that is not `subject`, a list of scopes or a map from scope to rule", `write subject, [orders:read], or {orders:read: 'granted("orders:read")'}`)
	}
}

// A scope token is printable ASCII without space, quote and backslash (RFC 6749 section 3.3).
var scopeToken = regexp.MustCompile(`^[\x21\x23-\x5B\x5D-\x7E]+$`)

const scopeRemedy = "a scope has no spaces, quotes, backslashes or letters beyond ASCII"

func (d *decoder) scopeName(name, path string) {
	if name != "" && !scopeToken.MatchString(name) {
		d.at(path, "is not a scope", scopeRemedy)
	}
}

func (s *Subject) decode(d *decoder, n *node, path string) {
	*s = Subject{Kind: SubjectPublic}
	text := d.text(n, path)
	switch {
	case d.broken(path) || text == string(SubjectPublic):
	case text == string(SubjectPairwise):
		s.Kind = SubjectPairwise
	case text == "":
		d.at(path, "is empty", "write public, pairwise or a CEL value")
	default:
		s.Kind = SubjectRule
		d.compile(&s.Rule, text, n, path)
	}
}

func (t *RouteToken) decode(d *decoder, n *node, path string) {
	switch {
	case n.kind == kindText && n.text == string(TokenAccess):
		t.Kind = TokenAccess
	case n.kind == kindText && n.text == string(TokenNone):
		t.Kind = TokenNone
	case n.kind == kindMap:
		t.Kind, t.Per, t.As = TokenMinted, "session", "user"
		d.fields(reflect.ValueOf(t).Elem(), n, path)
		if t.Audience == "" {
			d.at(child(path, "audience"), "is missing", "name the audience the token is for: {audience: orders}")
		}
	default:
		d.at(path, "is none of: a map with an audience, access, none", "write {audience: orders} for a minted token")
	}
}

func (s *NoSession) decode(d *decoder, n *node, path string) {
	if n.kind == kindNumber || n.kind == kindText {
		switch answer := NoSession(n.text); answer {
		case NoSession401, NoSessionLogin:
			*s = answer
			return
		}
	}
	d.at(path, "is neither 401 nor login", "write 401 or login")
}
