package exchange

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/token"
)

// PolicyConfig is a policy as it is written. Defaults are already filled in.
type PolicyConfig struct {
	Issuer    string // `iss` of what is minted
	Providers []ProviderConfig
	Audiences []AudienceConfig
	Clients   []ClientConfig
}

// ProviderConfig is a provider that people sign in with, and who of them may.
type ProviderConfig struct {
	Issuer string
	Allow  string // CEL condition; "" is true
}

// AudienceConfig is one service that gets tokens, and what stands in them.
type AudienceConfig struct {
	Name      string
	Resource  string        // RFC 8707 alias; "" none
	Lifetime  time.Duration // at most
	Algorithm string        // that signs; "" is the key ring's default
	Scopes    ScopesConfig
	Claims    []ClaimConfig
	Allow     string // CEL condition; "" is true
	Subject   string // CEL value; "" is the public subject
}

// ScopesConfig says what may be granted. FromSubject: the subject's own scopes, less OpenID's. Otherwise the rules, of
// which there may be none: no scope at all.
type ScopesConfig struct {
	FromSubject bool
	Rules       []ScopeConfig
}

// ScopeConfig is one scope and its CEL condition; "" means that the subject must have the scope itself.
type ScopeConfig struct{ Scope, When string }

// ClaimConfig is one claim and its CEL value.
type ClaimConfig struct{ Claim, Value string }

// ClientConfig is one service that may call the exchange, and for what.
type ClientConfig struct {
	ID               string
	Grants           []Grant
	Audiences        []string      // what it may ask for
	Scopes           token.Scope   // at most; nil: whatever its audiences have
	Narrow           bool          // over-asking is narrowed instead of refused
	Lifetime         time.Duration // at most; 0: the audience's
	SubjectTypes     []TokenType
	SubjectAudiences []string // whose minted tokens it may present or introspect
	Actor            ActorMode
}

// ActorMode says whether a client acts for the subject, and who the actor is.
type ActorMode string

const (
	ActorNone     ActorMode = "none"     // nobody acts; an actor token is refused
	ActorOptional ActorMode = "optional" // whom the actor token names, if one is sent
	ActorRequired ActorMode = "required"
	ActorImplicit ActorMode = "implicit" // the client itself
)

// Policy decides. It is immutable and safe for concurrent use.
type Policy struct {
	issuer    string
	version   string
	providers map[string]*admission // by issuer; those with a rule
	audiences map[string]*audience
	resources map[string]*audience
	clients   map[string]*ClientConfig
}

// admission is who may sign in with a provider, compiled.
type admission struct {
	source string
	allow  *rule.Condition
}

// audience is an AudienceConfig, compiled.
type audience struct {
	AudienceConfig
	allow   *rule.Condition
	subject *rule.Value
	scopes  []scopeRule
	claims  []claimRule
}

type scopeRule struct {
	scope, source string
	when          *rule.Condition // nil: the subject must have it
}

type claimRule struct {
	name, source string
	value        *rule.Value
}

// NewPolicy compiles a policy. The error tells every fault.
func NewPolicy(cfg PolicyConfig) (*Policy, error) {
	p := &Policy{
		issuer: cfg.Issuer, version: versionOf(cfg),
		providers: map[string]*admission{},
		audiences: map[string]*audience{}, resources: map[string]*audience{}, clients: map[string]*ClientConfig{},
	}
	var faults []error
	if cfg.Issuer == "" {
		faults = append(faults, errors.New("no issuer"))
	}
	for _, pr := range cfg.Providers {
		if pr.Allow == "" {
			continue
		}
		allow, err := rule.CompileCondition(pr.Allow)
		if err != nil {
			faults = append(faults, fmt.Errorf("provider %q: allow: %w", pr.Issuer, err))
		}
		p.providers[pr.Issuer] = &admission{pr.Allow, allow}
	}
	for _, a := range cfg.Audiences {
		faults = append(faults, p.addAudience(a)...)
	}
	for _, c := range cfg.Clients {
		faults = append(faults, p.addClient(c)...)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("policy: %w", err)
	}
	return p, nil
}

// Version names the policy: a hash of all that it says.
func (p *Policy) Version() string { return p.version }

// Issuer is `iss` of what is minted by the policy.
func (p *Policy) Issuer() string { return p.issuer }

// Grants lists the grants that some client may use; token exchange is always among them.
func (p *Policy) Grants() []Grant {
	for _, c := range p.clients {
		if slices.Contains(c.Grants, ClientCredentials) {
			return []Grant{TokenExchange, ClientCredentials}
		}
	}
	return []Grant{TokenExchange}
}

// HasAudience tells whether tokens are minted for that audience.
func (p *Policy) HasAudience(name string) bool { return p.audiences[name] != nil }

func (p *Policy) addAudience(cfg AudienceConfig) (faults []error) {
	fault := func(what string, err error) {
		faults = append(faults, fmt.Errorf("audience %q: %s: %w", cfg.Name, what, err))
	}
	if cfg.Name == "" || p.audiences[cfg.Name] != nil {
		fault("name", errors.New("empty, or there already"))
	}
	if cfg.Lifetime < MinimumLeft {
		fault("lifetime", fmt.Errorf("shorter than %v", MinimumLeft))
	}
	a := &audience{AudienceConfig: cfg}
	var err error
	if cfg.Allow != "" {
		if a.allow, err = rule.CompileCondition(cfg.Allow); err != nil {
			fault("allow", err)
		}
	}
	if cfg.Subject != "" {
		if a.subject, err = rule.CompileValue(cfg.Subject); err != nil {
			fault("subject", err)
		}
	}
	for _, s := range cfg.Scopes.Rules {
		r := scopeRule{scope: s.Scope, source: s.When}
		if !ValidScope(s.Scope) {
			fault("scopes", fmt.Errorf("%q is not a scope (RFC 6749 section 3.3)", s.Scope))
		}
		if s.When != "" {
			if r.when, err = rule.CompileCondition(s.When); err != nil {
				fault("scope "+s.Scope, err)
			}
		}
		a.scopes = append(a.scopes, r)
	}
	for _, c := range cfg.Claims {
		r := claimRule{name: c.Claim, source: c.Value}
		if Protected(c.Claim) {
			fault("claim "+c.Claim, errors.New("is protected: no rule sets it"))
		}
		if r.value, err = rule.CompileValue(c.Value); err != nil {
			fault("claim "+c.Claim, err)
		}
		a.claims = append(a.claims, r)
	}
	p.audiences[cfg.Name] = a
	if cfg.Resource != "" {
		if p.resources[cfg.Resource] != nil {
			fault("resource", errors.New("is another audience's already"))
		}
		p.resources[cfg.Resource] = a
	}
	return faults
}

func (p *Policy) addClient(c ClientConfig) (faults []error) {
	fault := func(what string, err error) {
		faults = append(faults, fmt.Errorf("client %q: %s: %w", c.ID, what, err))
	}
	if c.ID == "" || c.ID == RouteClient || p.clients[c.ID] != nil {
		fault("name", errors.New("empty, taken, or reserved"))
	}
	for _, name := range append(slices.Clone(c.Audiences), c.SubjectAudiences...) {
		// Its own name is the default of subject_audiences, whether or not it is an audience.
		if p.audiences[name] == nil && name != c.ID {
			fault("audiences", fmt.Errorf("there is no audience %q", name))
		}
	}
	switch c.Actor {
	case ActorNone, ActorOptional, ActorRequired, ActorImplicit:
	default:
		fault("actor", fmt.Errorf("%q is not a mode", c.Actor))
	}
	p.clients[c.ID] = &c
	return faults
}

// ValidScope tells whether s is one scope token (RFC 6749 section 3.3).
func ValidScope(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '"' || c == '\\' {
			return false
		}
	}
	return s != ""
}

// Protected tells whether a claim is set by the exchange alone, so that no rule may map it.
func Protected(claim string) bool { return protected[claim] }

var protected = map[string]bool{
	"iss": true, "aud": true, "sub": true, "idp": true, "exp": true, "nbf": true, "iat": true, "jti": true,
	"client_id": true, "scope": true, "act": true, "cnf": true, "sid": true, "auth_time": true, "acr": true, "amr": true,
	"id_iat": true, "authorization_details": true, "txn": true,
}

func versionOf(cfg PolicyConfig) string {
	text, err := json.Marshal(cfg)
	if err != nil {
		panic(fmt.Sprintf("exchange: %v", err)) // texts, numbers and lists of them always marshal
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:9])
}
