package provider

import (
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"

	"cloakroom/token"
)

// bindings are the claims that tie an ID token to one sign-in. They are checked here, and mean nothing elsewhere.
var bindings = []string{"nonce", "at_hash", "c_hash", "s_hash"}

// identity spells an ID token's or userinfo's claims one way: without bindings, groups under one name, verified flags as
// booleans. Originals stay beside what is derived from them.
func (f profile) identity(c token.Claims) token.Claims {
	out := f.spelled(c)
	for _, one := range bindings {
		delete(out, one)
	}
	return out
}

// access spells an access token's claims one way: what identity does, and scope always as a list.
func (f profile) access(c token.Claims) token.Claims {
	out := f.spelled(c)
	out["scope"] = list(f.scopeOf(c))
	return out
}

// spelled is what all kinds of claims have in common. An e-mail that is no address is left out, and nobody verified it.
func (f profile) spelled(c token.Claims) token.Claims {
	out := maps.Clone(c)
	for _, name := range f.groups {
		if groups := out.Strings(name); groups != nil {
			out["groups"] = list(groups)
			break
		}
	}
	for _, name := range []string{"email_verified", "phone_number_verified"} { // Cognito's userinfo has strings
		switch out[name] {
		case "true":
			out[name] = true
		case "false":
			out[name] = false
		}
	}
	if email, there := out["email"]; there && !isAddress(email) {
		delete(out, "email")
		if _, said := out["email_verified"]; said {
			out["email_verified"] = false
		}
	}
	return out
}

// isAddress tells whether a claim is one e-mail address and nothing else, so that what a rule compares, its end or what follows the @, is its
// domain: "a@evil.example@example.com" is none (CVE-2026-40574). Nor, here, is one that is not written in atoms and dots
// (RFC 5322 section 3.4.1): `"a@evil.example"@example.com` is of example.com, but not to whoever splits it at the first @. Where the dots
// stand does not matter: there are people with two in a row.
func isAddress(claim any) bool {
	text, _ := claim.(string)
	local, domain, _ := strings.Cut(text, "@")
	return local != "" && domain != "" && utf8.ValidString(text) && !strings.ContainsFunc(local+domain, isNoAtom) &&
		!strings.Contains(local, "=?") // RFC 2047 section 5: an address has no encoded words
}

func isNoAtom(r rune) bool {
	return strings.ContainsRune(`()<>[]:;@\,"`, r) || unicode.IsSpace(r) || !unicode.IsPrint(r)
}

// scopeOf reads the scope whether it is spelled as one string or as a list.
func (f profile) scopeOf(c token.Claims) token.Scope {
	for _, name := range f.scope {
		if _, there := c[name]; !there {
			continue
		}
		var out token.Scope
		for _, one := range c.Strings(name) {
			for _, s := range token.ParseScope(one) {
				if !out.Has(s) {
					out = append(out, s)
				}
			}
		}
		return out
	}
	return nil
}

func (f profile) hasScope(c token.Claims) bool {
	for _, name := range f.scope {
		if _, there := c[name]; there {
			return true
		}
	}
	return false
}

// clientOf names the client an access token was issued to, "" where it does not say.
func (f profile) clientOf(c token.Claims) string {
	for _, name := range f.client {
		if s := c.Text(name); s != "" {
			return s
		}
	}
	return ""
}

func (f profile) audienceOf(c token.Claims) []string {
	var out []string
	for _, name := range f.audience {
		out = append(out, c.Strings(name)...)
	}
	return out
}

// list is a list as DecodeClaims would have made it.
func list(values []string) []any {
	out := make([]any, len(values))
	for i, one := range values {
		out[i] = one
	}
	return out
}
