package provider

import (
	"slices"

	"cloakroom/token"
)

// Tokens of one issuer are signed with the same keys, so a signature does not tell what kind of token it is on (RFC 8725
// section 3.11, exchange.md C-021). The header's `typ` does where it is used, a claim of the profile where there is one,
// and otherwise what only one kind has.

// accessTypes may stand in an access token's header (RFC 9068 section 4, and providers before it).
var accessTypes = []string{"at+jwt", "jwt", ""}

func (p *Provider) accessRules() token.Rules {
	return token.Rules{Issuer: p.cfg.Issuer, Algorithms: p.cfg.Algorithms, Types: accessTypes, Skew: p.cfg.ClockSkew}
}

// bodyKinds are values of a claim `typ` (not the header's), by which Keycloak tells its tokens apart.
var (
	notAccessKinds = []string{"ID", "Refresh", "Offline", "Logout"}
	notIDKinds     = []string{"Bearer", "Refresh", "Offline", "Logout"}
)

// notAccess says why verified claims are not an access token's; "" where they are.
func (f profile) notAccess(headerType string, c token.Claims) string {
	if reason := notAnyKind(c); reason != "" {
		return reason
	}
	if f.use.claim != "" {
		if c.Text(f.use.claim) != f.use.access {
			return f.use.claim + " does not say that it is an access token"
		}
		return ""
	}
	if headerType == "at+jwt" {
		return ""
	}
	for _, name := range bindings {
		if _, there := c[name]; there {
			return "an ID token, not an access token: it has " + name
		}
	}
	kind := c.Text("typ")
	if slices.Contains(notAccessKinds, kind) {
		return "its claim typ does not say that it is an access token"
	}
	if !f.hasScope(c) && kind != "Bearer" {
		return "neither typ nor a scope says that it is an access token"
	}
	return ""
}

// notID says why verified claims, whose header has no typ of its own, are not an ID token's; "" where they are.
func (f profile) notID(c token.Claims) string {
	if reason := notAnyKind(c); reason != "" {
		return reason
	}
	if f.use.claim != "" {
		if c.Text(f.use.claim) != f.use.id {
			return f.use.claim + " does not say that it is an ID token"
		}
		return ""
	}
	if slices.Contains(notIDKinds, c.Text("typ")) {
		return "its claim typ does not say that it is an ID token"
	}
	bound := slices.ContainsFunc(bindings, func(name string) bool { _, there := c[name]; return there })
	if f.hasScope(c) && !bound {
		return "an access token, not an ID token: it has a scope, and no nonce or at_hash"
	}
	return ""
}

// notAnyKind recognises what is neither: logout tokens, security events, and a client's own assertion.
func notAnyKind(c token.Claims) string {
	if _, there := c["events"]; there {
		return "a logout token or security event"
	}
	if sub := c.Text("sub"); sub != "" && sub == c.Text("iss") {
		return "an assertion about its own issuer"
	}
	for _, name := range []string{"htm", "htu"} { // RFC 9449 section 4.2
		if _, there := c[name]; there {
			return "a DPoP proof"
		}
	}
	return ""
}
