package provider

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
)

// profile is what is peculiar about a provider, as data: no code asks for a provider's name.
type profile struct {
	name string
	// issuers are the hosts that `auto` recognises; nil: none.
	issuers *regexp.Regexp
	// scopes are asked for where the configuration names none; offline beside them, where metadata offers it.
	scopes  []string
	offline string
	// logout is how a browser is signed out there.
	logout logoutStyle
	// hint: the ID token goes along at logout when the configuration leaves it to the profile.
	hint bool
	// audience, client, scope and groups name the claims of an access token that say these things: for audience all
	// count, for the others the first one present.
	audience, client, scope, groups []string
	// use is a claim that tells the kinds of token apart, where the provider has one.
	use tokenUse
	// oneSubject: ID and access token of one person always have the same `sub`.
	oneSubject bool
}

type tokenUse struct{ claim, id, access string }

type logoutStyle int

const (
	logoutRPInitiated logoutStyle = iota // OpenID Connect RP-Initiated Logout 1.0
	logoutCognito                        // GET /logout?client_id&logout_uri on the pool's domain
)

// profiles is the table; the first is what `auto` falls back to.
var profiles = []profile{
	{
		name:     "generic",
		scopes:   []string{"openid", "profile", "email"},
		offline:  "offline_access", // OIDC Core 11
		audience: []string{"aud"},
		client:   []string{"client_id", "azp"},
		scope:    []string{"scope", "scp"},
		groups:   []string{"groups"},
	},
	{
		// Access tokens have client_id and mostly no aud, scopes come from resource servers, and a refresh token is issued
		// without being asked for (exchange.md F.1).
		name:       "cognito",
		issuers:    regexp.MustCompile(`^cognito-idp\.[a-z0-9-]+\.amazonaws\.com(\.cn)?$`),
		scopes:     []string{"openid", "profile", "email"},
		logout:     logoutCognito,
		audience:   []string{"aud", "client_id"},
		client:     []string{"client_id"},
		scope:      []string{"scope"},
		groups:     []string{"cognito:groups"},
		use:        tokenUse{claim: "token_use", id: "id", access: "access"},
		oneSubject: true,
	},
}

// Profiles lists the names a configuration may use beside auto.
func Profiles() []string {
	names := make([]string, len(profiles))
	for i, one := range profiles {
		names[i] = one.name
	}
	return names
}

func findProfile(name string, issuer *url.URL) (profile, error) {
	if name == "" || name == "auto" {
		for _, one := range profiles {
			if one.issuers != nil && one.issuers.MatchString(hostOf(issuer)) {
				return one, nil
			}
		}
		return profiles[0], nil
	}
	i := slices.IndexFunc(profiles, func(one profile) bool { return one.name == name })
	if i < 0 {
		return profile{}, fmt.Errorf("unknown profile %q", name)
	}
	return profiles[i], nil
}
