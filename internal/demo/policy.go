package demo

import (
	"fmt"
	"slices"
	"strings"
)

// audience is the policy for one service's tokens. The configuration is written from it, and so is what each service says
// about where a claim came from: the two cannot drift apart.
type audience struct {
	name   string
	scopes []rule
	claims []rule
}

// rule is one name and the CEL expression behind it.
type rule struct{ name, cel string }

// The two services' audiences.
const (
	orders   = "orders"
	payments = "payments"
)

func policy() []audience {
	return []audience{
		{
			name:   orders,
			scopes: []rule{{"orders:read", `granted("orders-api/read")`}},
			claims: []rule{{"email", "id.email"}},
		},
		{
			name: payments,
			scopes: []rule{
				{"payments:read", `granted("payments-api/read")`},
				{"payments:read.any", `"support" in access.groups`},
			},
			claims: []rule{{"email", "id.email"}},
		},
	}
}

func policyOf(name string) audience {
	all := policy()
	return all[slices.IndexFunc(all, func(a audience) bool { return a.name == name })]
}

// Source says where a claim of a minted token came from.
type Source struct {
	From string `json:"from"` // "access token", "ID token", or "Cloakroom" itself
	Rule string `json:"rule"`
}

const (
	fromAccess    = "access token"
	fromID        = "ID token"
	fromCloakroom = "Cloakroom"
)

// source tells where the claim `name` of this audience's tokens comes from (contract/names.md, "Claims always").
func (a audience) source(name string, value any) Source {
	switch name {
	case "scope":
		return Source{fromAccess, a.scopeRules(value)}
	case "sub":
		return Source{fromAccess, "the same in both tokens, or nothing is minted"}
	case "idp":
		return Source{fromAccess, "its issuer: who speaks of this person"}
	case "auth_time":
		return Source{fromID, "when the person signed in"}
	case "id_iat":
		return Source{fromID, "how old the ID token is"}
	case "iss":
		return Source{fromCloakroom, "the only issuer this service knows"}
	case "aud":
		return Source{fromCloakroom, "this service, and no other"}
	case "client_id":
		return Source{fromCloakroom, "who asked for the token"}
	case "act":
		return Source{fromCloakroom, "the client that asked, authenticated by its secret"}
	case "sid":
		return Source{fromCloakroom, "the session: its end is the token’s end"}
	case "exp":
		return Source{fromCloakroom, "at most 5 minutes, never longer than the access token"}
	case "iat", "jti":
		return Source{fromCloakroom, "made with the token"}
	}
	for _, claim := range a.claims {
		if claim.name == name {
			return Source{origin(claim.cel), claim.cel}
		}
	}
	return Source{fromCloakroom, ""}
}

// scopeRules lists the rules behind the scopes that were granted.
func (a audience) scopeRules(value any) string {
	granted, _ := value.(string)
	var out []string
	for _, scope := range a.scopes {
		if slices.Contains(strings.Fields(granted), scope.name) {
			out = append(out, fmt.Sprintf("%s: %s", scope.name, scope.cel))
		}
	}
	return strings.Join(out, "; ")
}

func origin(cel string) string {
	if strings.HasPrefix(cel, "id.") {
		return fromID
	}
	return fromAccess
}
