package config

import (
	"slices"

	"cloakroom/exchange/rule"
	"cloakroom/secret"
)

// Size is a number of bytes: 512, 64KiB, 10MiB, 1GiB.
type Size int64

// ScopeList is scope tokens as one space-separated text.
type ScopeList []string

// Texts is one secret text, or a list of them.
type Texts []secret.Text

// Condition is a CEL rule that says yes or no.
type Condition struct {
	// Source is the rule as the file has it.
	Source string
	// Rule is what it compiles to; nil for `true`, which needs no asking, and where there is no source.
	Rule *rule.Condition
}

// Value is a CEL rule that yields a claim's value. The zero Value is none.
type Value struct {
	// Source is the rule as the file has it.
	Source string
	// Rule is what it compiles to; nil where there is no source.
	Rule *rule.Value
}

// ClaimRules are claims and their rules, in the order of the file.
type ClaimRules []ClaimRule

// ClaimRule is a claim and the rule that yields it.
type ClaimRule struct {
	Name  string
	Value Value
}

// mergeClaims adds own to common; own wins by name.
func mergeClaims(common, own ClaimRules) ClaimRules {
	out := make(ClaimRules, 0, len(common)+len(own))
	for _, c := range common {
		if !slices.ContainsFunc(own, func(o ClaimRule) bool { return o.Name == c.Name }) {
			out = append(out, c)
		}
	}
	return append(out, own...)
}

// UserClaims are what /bff/user tells. Where a rule has no source, it is the claim of that name.
type UserClaims []ClaimRule

// Scopes are what an audience may be granted: those of the subject, or each by its rule. Neither: none, and no scope claim.
type Scopes struct {
	// FromSubject grants the subject token's scopes less OpenID's own.
	FromSubject bool
	// Rules grant one scope each, in the order of the file.
	Rules []ScopeRule
}

// ScopeRule grants one scope.
type ScopeRule struct {
	Scope string
	// When is the rule. Without a source, the scope must be in subject.scope.
	When Condition
}

// SubjectKind is where `sub` comes from.
type SubjectKind string

// The kinds of subjects.
const (
	SubjectPublic   SubjectKind = "public"   // the subject token's
	SubjectPairwise SubjectKind = "pairwise" // another for every audience
	SubjectRule     SubjectKind = "rule"     // what a rule yields
)

// Subject is `sub` of an audience's tokens.
type Subject struct {
	Kind SubjectKind
	// Rule is that of SubjectRule.
	Rule Value
}
