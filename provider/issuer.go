package provider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"cloakroom/token"
)

// IssuerConfig says which issuer is trusted, and for what.
type IssuerConfig struct {
	Name       string     // what the configuration calls it; labels errors and metrics
	Issuer     string     // exact: `iss` of its tokens
	JWKSURI    string     // "" = from its metadata (OpenID Connect Discovery 1.0)
	Keys       token.Keys // its keys, where they are configured; nil = fetched
	Audiences  []string   // its tokens must have one of them; mandatory
	Algorithms []string   // nil = RS256, ES256

	ClockSkew time.Duration  // 0 = 60 s
	Timeout   time.Duration  // of a whole call, 0 = 5 s
	Egress    []netip.Prefix // link-local, metadata or loopback addresses that it may have all the same

	Now     func() time.Time
	Observe func(endpoint, outcome string)
}

// Issuer is a further issuer whose tokens are trusted at the exchange. Nobody signs in there, so that its keys are all that
// is asked of it. Its methods may be called concurrently.
type Issuer struct {
	party
	cfg  IssuerConfig
	keys token.Keys
}

// NewIssuer checks the configuration. It asks nothing of the network.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	i := &Issuer{}
	if err := i.configure(cfg); err != nil {
		return nil, fmt.Errorf("issuer %s: %w", cfg.Name, err)
	}
	return i, nil
}

func (i *Issuer) configure(cfg IssuerConfig) error {
	// What the two have in common has the same defaults.
	common := Config{Name: cfg.Name, Algorithms: cfg.Algorithms, ClockSkew: cfg.ClockSkew, Timeout: cfg.Timeout, Egress: cfg.Egress, Now: cfg.Now, Observe: cfg.Observe}
	if cfg.Algorithms == nil {
		common.Algorithms = []string{"RS256", "ES256"}
	}
	if cfg.JWKSURI != "" {
		common.Endpoints = map[string]string{EndpointJWKS: cfg.JWKSURI}
	}
	setDefaults(&common)
	cfg.Algorithms, cfg.ClockSkew, cfg.Timeout, cfg.Now, cfg.Observe = common.Algorithms, common.ClockSkew, common.Timeout, common.Now, common.Observe
	i.cfg, i.who, i.keys = cfg, "issuer "+cfg.Name, cfg.Keys
	if len(cfg.Audiences) == 0 || slices.Contains(cfg.Audiences, "") {
		return errors.New("no audiences: a token for anybody would do")
	}
	var err error
	if i.issuer, err = parseIssuer(cfg.Issuer); err != nil {
		return err
	}
	if i.client, err = newClient(common, i.issuer); err != nil {
		return err
	}
	if cfg.Keys == nil {
		i.keys = &keySet{now: cfg.Now, fetch: i.fetchKeys}
	}
	if cfg.JWKSURI != "" {
		return i.checkEndpoint(EndpointJWKS, cfg.JWKSURI)
	}
	return nil
}

// Name is what the configuration calls the issuer.
func (i *Issuer) Name() string { return i.cfg.Name }

// Issuer is `iss` of its tokens, exactly.
func (i *Issuer) Issuer() string { return i.cfg.Issuer }

// Verify verifies a token of this issuer that somebody presents as a JWT (RFC 8693 section 3): a ticket about a person, and
// none of the tokens that have another use.
func (i *Issuer) Verify(ctx context.Context, t *token.Unverified) (Subject, error) {
	rules := token.Rules{Issuer: i.cfg.Issuer, Algorithms: i.cfg.Algorithms, Types: accessTypes, Skew: i.cfg.ClockSkew, Audiences: i.cfg.Audiences}
	claims, err := t.Verify(ctx, rules, i.keys, i.cfg.Now())
	if err != nil {
		return Subject{}, i.judged("token", err)
	}
	s, err := i.Subject(claims)
	s.Algorithm = t.Header().Algorithm
	return s, err
}

// Subject judges and normalises the claims of a token of this issuer. Signature, issuer and times are Verify's.
func (i *Issuer) Subject(claims token.Claims) (Subject, error) {
	reason := notAnyKind(claims)
	if !overlap(claims.Audience(), i.cfg.Audiences) {
		reason = "its audience is none of audiences"
	}
	for _, name := range bindings {
		if _, there := claims[name]; there {
			reason = "an ID token: it has " + name
		}
	}
	if slices.Contains(notAccessKinds, claims.Text("typ")) {
		reason = "its claim typ says that it has another use"
	}
	if reason != "" {
		return Subject{}, i.reject("token: " + reason)
	}
	if err := checkNames(claims); err != nil {
		return Subject{}, i.reject("token: " + err.Error())
	}
	plain := profiles[0] // spelled as the standards have it
	s := Subject{Claims: plain.access(claims), Client: plain.clientOf(claims), Scope: plain.scopeOf(claims)}
	s.Expiry, _ = claims.Time("exp")
	return s, nil
}

// fetchKeys asks the issuer for its key set, and first where that is, unless it is configured.
func (i *Issuer) fetchKeys(ctx context.Context) (token.Keys, error) {
	endpoint := i.cfg.JWKSURI
	if endpoint == "" {
		var err error
		endpoint, err = i.discover(ctx)
		i.cfg.Observe(endpointDiscovery, outcome(err))
		if err != nil {
			return nil, err
		}
	}
	keys, err := i.askKeys(ctx, endpoint)
	i.cfg.Observe(EndpointJWKS, outcome(err))
	return keys, err
}

func (i *Issuer) discover(ctx context.Context) (endpoint string, err error) {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, i.client.at(endpointDiscovery)), i.cfg.Issuer)
	if err != nil {
		return "", i.failed(endpointDiscovery, err)
	}
	var doc document
	if err := found.Claims(&doc); err != nil {
		return "", i.fail(ErrNonsense, endpointDiscovery, "a member of the metadata has the wrong type")
	}
	if err := i.checkEndpoint(EndpointJWKS, doc.JWKS); err != nil {
		return "", i.fail(ErrNonsense, endpointDiscovery, err.Error())
	}
	return doc.JWKS, nil
}
