package provider

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"cloakroom/internal/egress"
)

// Names of endpoints, as Config.Endpoints and Observe spell them.
const (
	EndpointAuthorization = "authorization"
	EndpointToken         = "token"
	EndpointUserInfo      = "userinfo"
	EndpointJWKS          = "jwks"
	EndpointRevocation    = "revocation"
	EndpointIntrospection = "introspection"
	EndpointEndSession    = "end_session"
	EndpointPAR           = "pushed_authorization"

	endpointDiscovery = "discovery"
)

// metadata is what is known of the provider once it was discovered. Immutable.
type metadata struct {
	endpoints      map[string]string // those it has, checked
	scopes         []string          // scopes_supported
	issuesIssParam bool              // RFC 9207: a response without iss is refused
	pkceMethods    []string          // nil: it does not say

}

// document is the part of a discovery document that matters (OpenID Connect Discovery 1.0 section 3, RFC 8414).
type document struct {
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	Revocation    string   `json:"revocation_endpoint"`
	Introspection string   `json:"introspection_endpoint"`
	EndSession    string   `json:"end_session_endpoint"`
	PAR           string   `json:"pushed_authorization_request_endpoint"`
	Scopes        []string `json:"scopes_supported"`
	PKCE          []string `json:"code_challenge_methods_supported"`
	IssParam      bool     `json:"authorization_response_iss_parameter_supported"`
}

const (
	rediscoverAfter = time.Hour
	retryFloor      = time.Second // between two tries, also on demand: a provider that is down is asked once a second
	retryCeiling    = 30 * time.Second
)

// Run discovers the provider, again and again until it is there, then hourly, until ctx ends. Nothing waits for it: every
// other method discovers on demand.
func (p *Provider) Run(ctx context.Context) {
	wait := retryFloor
	for {
		_, err := p.discover(ctx, true)
		if err == nil {
			err = p.keys.warm(ctx)
		}
		pause := rediscoverAfter
		if err != nil {
			pause = wait + rand.N(wait/2) //nolint:gosec // nobody gains by guessing it
			wait = min(2*wait, retryCeiling)
		} else {
			wait = retryFloor
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// discovered returns what is known, discovering the provider when nothing is.
func (p *Provider) discovered(ctx context.Context) (*metadata, error) {
	if m := p.meta.Load(); m != nil {
		return m, nil
	}
	return p.discover(ctx, false)
}

// discover asks the provider, again when it was asked before. Callers at the same time share one request, which none of
// them can cancel.
func (p *Provider) discover(ctx context.Context, again bool) (*metadata, error) {
	p.mu.Lock()
	if m := p.meta.Load(); m != nil && !again {
		p.mu.Unlock()
		return m, nil
	}
	if p.asking == nil && p.lastErr != nil && p.cfg.Now().Sub(p.lastDone).Abs() < retryFloor {
		defer p.mu.Unlock()
		return nil, p.lastErr
	}
	if p.asking == nil {
		p.asking = &fetching{done: make(chan struct{})}
		go p.ask(context.WithoutCancel(ctx), p.asking) // ends with the request, which the client bounds
	}
	asking := p.asking
	p.mu.Unlock()
	if err := asking.wait(ctx); err != nil {
		return nil, p.failed(endpointDiscovery, err)
	}
	return p.meta.Load(), nil
}

// ask does what discover started, and keeps the answer.
func (p *Provider) ask(ctx context.Context, asking *fetching) {
	m, err := p.fetchMetadata(ctx)
	p.ended(ctx, endpointDiscovery, err)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		p.meta.Store(m)
	}
	p.lastErr, p.lastDone, p.asking = err, p.cfg.Now(), nil
	asking.err = err
	close(asking.done)
}

// MetadataURL is where the provider describes itself (OpenID Connect Discovery 1.0 section 4.1).
func (p *Provider) MetadataURL() string {
	return strings.TrimSuffix(p.cfg.Issuer, "/") + "/.well-known/openid-configuration"
}

// Clock is what the provider's clock showed at some moment of the call, cut to the second: the Date of its answer (RFC 9110
// section 6.6.1).
func (p *Provider) Clock(ctx context.Context) (date time.Time, err error) {
	defer func() { p.ended(ctx, endpointDiscovery, err) }()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.MetadataURL(), nil)
	if err != nil {
		return time.Time{}, p.failed(endpointDiscovery, err)
	}
	a, err := p.client.do(ctx, endpointDiscovery, r)
	if err != nil {
		return time.Time{}, p.failed(endpointDiscovery, err)
	}
	date, err = http.ParseTime(a.header.Get("Date"))
	if err != nil {
		return time.Time{}, p.fail(ErrNonsense, endpointDiscovery, "the answer has no Date")
	}
	return date, nil
}

func (p *Provider) fetchMetadata(ctx context.Context) (*metadata, error) {
	found, err := oidc.NewProvider(oidc.ClientContext(ctx, p.client.at(endpointDiscovery)), p.cfg.Issuer)
	if err != nil {
		return nil, p.failed(endpointDiscovery, err)
	}
	var doc document
	if err := found.Claims(&doc); err != nil {
		return nil, p.fail(ErrNonsense, endpointDiscovery, "a member of the metadata has the wrong type")
	}
	m, err := p.check(doc)
	if err != nil {
		return nil, p.fail(ErrNonsense, endpointDiscovery, err.Error())
	}
	p.warnAbout(m)
	return m, nil
}

// check makes metadata of a document, or says what about it cannot be accepted.
func (p *Provider) check(doc document) (*metadata, error) {
	m := &metadata{
		endpoints: map[string]string{}, scopes: doc.Scopes, issuesIssParam: doc.IssParam, pkceMethods: doc.PKCE,
	}
	named := map[string]string{
		EndpointAuthorization: doc.Authorization, EndpointToken: doc.Token, EndpointUserInfo: doc.UserInfo,
		EndpointJWKS: doc.JWKS, EndpointRevocation: doc.Revocation, EndpointIntrospection: doc.Introspection,
		EndpointEndSession: doc.EndSession, EndpointPAR: doc.PAR,
	}
	maps.Copy(named, p.cfg.Endpoints)
	for _, name := range slices.Sorted(maps.Keys(named)) {
		raw := named[name]
		if raw == "" {
			continue
		}
		if err := p.checkEndpoint(name, raw); err != nil {
			return nil, err
		}
		m.endpoints[name] = raw
	}
	for _, name := range []string{EndpointAuthorization, EndpointToken, EndpointJWKS} {
		if m.endpoints[name] == "" {
			return nil, fmt.Errorf("the metadata names no %s endpoint", name)
		}
	}
	if p.cfg.RequirePKCE && m.pkceMethods != nil && !slices.Contains(m.pkceMethods, "S256") {
		return nil, errors.New("the provider says that it does not support PKCE with S256 (require_pkce)")
	}
	return m, nil
}

func (p *Provider) warnAbout(m *metadata) {
	if p.meta.Load() != nil {
		return // said at the first discovery
	}
	if m.pkceMethods == nil {
		p.cfg.Warn("provider " + p.cfg.Name + ": its metadata does not say whether it supports PKCE; S256 is used all the same")
	}
	if p.cfg.AccessTokenValidation == ByIntrospection && m.endpoints[EndpointIntrospection] == "" {
		p.cfg.Warn("provider " + p.cfg.Name + ": its metadata names no introspection endpoint, so its access tokens cannot be exchanged (access_token_validation)")
	}
	if p.issuer.Scheme != "https" && !egress.Loopback(hostOf(p.issuer)) {
		p.cfg.Warn("provider " + p.cfg.Name + ": the issuer is plain http; tokens and the client secret travel unprotected")
	}
}

// checkEndpoint accepts https. Plain http is for development: on a loopback host, or, when the issuer itself is plain
// http, on hosts that the configuration names.
func (p *party) checkEndpoint(name, raw string) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Opaque != "" {
		return fmt.Errorf("the %s endpoint is not an absolute URL without user and fragment", name)
	}
	named := p.client.egress.isNamed(hostOf(u))
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && egress.Loopback(hostOf(u)):
	case u.Scheme == "http" && p.issuer.Scheme == "http" && named:
	default:
		return fmt.Errorf("the %s endpoint is not https", name)
	}
	// The browser goes to these two; whatever Cloakroom itself connects to must be permitted as an address, too. A name is
	// judged when it is dialled.
	if name == EndpointAuthorization || name == EndpointEndSession {
		return nil
	}
	if at, err := netip.ParseAddr(hostOf(u)); err == nil && !p.client.egress.permits(named, at) {
		return fmt.Errorf("the %s endpoint: %w", name, errEgress)
	}
	return nil
}

// checkOverrides judges the configured endpoints, at start.
func (p *Provider) checkOverrides() error {
	known := []string{
		EndpointAuthorization, EndpointToken, EndpointUserInfo, EndpointJWKS, EndpointRevocation, EndpointIntrospection,
		EndpointEndSession, EndpointPAR,
	}
	for _, name := range slices.Sorted(maps.Keys(p.cfg.Endpoints)) {
		if !slices.Contains(known, name) {
			return fmt.Errorf("unknown endpoint %q, not one of %s", name, strings.Join(known, ", "))
		}
		if err := p.checkEndpoint(name, p.cfg.Endpoints[name]); err != nil {
			return err
		}
	}
	return nil
}

func parseIssuer(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return nil, errors.New("the issuer is not an absolute URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the issuer is neither https nor http")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		return nil, errors.New("the issuer has a query, a fragment or a user") // OIDC Discovery section 3
	}
	return u, nil
}
