package token

import (
	"slices"
	"strings"
)

// Scope is a set of scope tokens (RFC 6749 section 3.3) in the order they were given.
type Scope []string

// OpenIDScopes are OpenID's own: they authorize nothing at an API (OpenID Connect Core section 5.4, offline_access in
// section 11).
var OpenIDScopes = Scope{"openid", "profile", "email", "address", "phone", "offline_access"}

// ParseScope splits a space-separated scope and drops repetitions.
func ParseScope(s string) Scope {
	var out Scope
	for one := range strings.FieldsSeq(s) {
		if !out.Has(one) {
			out = append(out, one)
		}
	}
	return out
}

// Has tells whether one is in the scope.
func (s Scope) Has(one string) bool { return slices.Contains(s, one) }

// Within returns what of s is in other as well, in the order of s.
func (s Scope) Within(other Scope) Scope {
	return slices.DeleteFunc(slices.Clone(s), func(one string) bool { return !other.Has(one) })
}

// Without returns what of s is not in other, in the order of s.
func (s Scope) Without(other Scope) Scope {
	return slices.DeleteFunc(slices.Clone(s), other.Has)
}

func (s Scope) String() string { return strings.Join(s, " ") }
