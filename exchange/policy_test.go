package exchange

import (
	"strings"
	"testing"
	"time"

	"cloakroom/token"
)

func TestPolicyTellsEveryFault(t *testing.T) {
	_, err := NewPolicy(PolicyConfig{
		Providers: []ProviderConfig{{Issuer: "https://idp", Allow: "1"}},
		Audiences: []AudienceConfig{
			{Name: "a", Lifetime: time.Second, Allow: "user.x", Subject: "id.", Resource: "urn:a",
				Scopes: ScopesConfig{Rules: []ScopeConfig{{"two words", ""}, {"a:read", "1"}}},
				Claims: []ClaimConfig{{"sub", "id.email"}, {"email", "client"}}},
			{Name: "a", Lifetime: time.Minute, Resource: "urn:a"},
			{Name: "", Lifetime: time.Minute},
		},
		Clients: []ClientConfig{
			{ID: "bff", Actor: ActorNone}, {ID: "c", Actor: "both", Audiences: []string{"nowhere"}}, {ID: "c", Actor: ActorNone}, {ID: "", Actor: ActorNone},
		},
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, says := range []string{
		"no issuer",
		`provider "https://idp": allow: yields int, not a bool`,
		`audience "a": lifetime: shorter than 5s`,
		`audience "a": allow: column 1: undeclared reference to 'user'`,
		`audience "a": subject: `,
		`audience "a": scopes: "two words" is not a scope`,
		`audience "a": scope a:read: yields int, not a bool`,
		`audience "a": claim sub: is protected`,
		`audience "a": claim email: yields cloakroom.Client, not a value`,
		`audience "a": name: empty, or there already`,
		`audience "a": resource: is another audience's already`,
		`audience "": name`,
		`client "bff": name: empty, taken, or reserved`,
		`client "c": actor: "both" is not a mode`,
		`client "c": audiences: there is no audience "nowhere"`,
		`client "c": name: empty, taken, or reserved`,
		`client "": name`,
	} {
		if !strings.Contains(err.Error(), says) {
			t.Errorf("does not say %q in\n%v", says, err)
		}
	}
}

func TestProtectedClaims(t *testing.T) {
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "cnf", "client_id", "scope", "idp", "sid", "auth_time", "acr", "amr", "id_iat", "authorization_details", "txn"} {
		if !Protected(name) {
			t.Errorf("C-094: %s can be mapped", name)
		}
	}
	for _, name := range []string{"email", "groups", "roles", "may_act", ""} {
		if Protected(name) {
			t.Errorf("%s cannot be mapped", name)
		}
	}
}

func TestPolicyVersionChangesWithAnything(t *testing.T) {
	first := mustPolicy(t, examplePolicy()).Version()
	if again := mustPolicy(t, examplePolicy()).Version(); again != first {
		t.Errorf("%s, then %s", first, again)
	}
	for name, change := range map[string]func(*PolicyConfig){
		"issuer":         func(c *PolicyConfig) { c.Issuer += "/" },
		"a lifetime":     func(c *PolicyConfig) { c.Audiences[0].Lifetime++ },
		"a rule":         func(c *PolicyConfig) { c.Audiences[0].Allow = "true" },
		"a scope's rule": func(c *PolicyConfig) { c.Audiences[0].Scopes.Rules[0].When = "true" },
		"client scopes":  func(c *PolicyConfig) { c.Clients[0].Scopes = token.Scope{} },
		"an actor mode":  func(c *PolicyConfig) { c.Clients[0].Actor = ActorNone },
	} {
		cfg := examplePolicy()
		change(&cfg)
		if mustPolicy(t, cfg).Version() == first {
			t.Errorf("%s does not change the version", name)
		}
	}
}

func TestValidScope(t *testing.T) {
	for scope, want := range map[string]bool{
		"orders:read": true, "!": true, "~": true, "": false, "a b": false, `a"b`: false, `a\b`: false, "a\x7f": false, "é": false, "a\n": false,
	} {
		if ValidScope(scope) != want {
			t.Errorf("ValidScope(%q) = %v", scope, !want)
		}
	}
}
