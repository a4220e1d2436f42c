package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"

	"cloakroom/secret"
	"cloakroom/token"
)

// How a client proves itself at the token endpoint.
const (
	AuthBasic = "client_secret_basic"
	AuthPost  = "client_secret_post"
	AuthNone  = "none"
)

// Config says which provider, and who we are there.
type Config struct {
	Name         string      // what the configuration calls it; labels errors and metrics
	Issuer       string      // exact: `iss` of its tokens, and where discovery starts
	Profile      string      // "" and "auto": from the issuer; otherwise a name of Profiles
	ClientID     string      // who we are there
	ClientSecret secret.Text // empty only with AuthMethod "none"
	AuthMethod   string      // "" = client_secret_basic

	Scopes              []string          // nil = the profile's, with what makes it issue a refresh token
	Audience            string            // `audience` of the authorization request
	Resource            string            // RFC 8707
	AuthorizationParams map[string]string // fixed extra parameters of the authorization request

	Algorithms  []string // of its ID and access tokens; nil = RS256
	RequirePKCE bool     // metadata that lists other PKCE methods but not S256 is then an error
	UserInfo    string   // "auto" (also "") or "never"
	IDTokenHint string   // at logout: "auto" (also ""; by profile), "never" or "always"

	AccessTokenValidation string // how a subject token is understood: ByJWT (also ""), ByIntrospection or ByUserInfo

	AcceptedAudiences []string // of subject tokens; nil = the client id
	AcceptedClients   []string // whose tokens may be exchanged; nil = the client id

	Endpoints map[string]string // overrides of discovery, by the names of Endpoint…
	ClockSkew time.Duration     // 0 = 60 s
	Timeout   time.Duration     // of a whole call, 0 = 5 s
	CAFile    string            // PEM; these are then the only roots
	Proxy     string            // URL; "" = the environment's
	// Egress lists link-local, metadata or loopback addresses that the provider may have all the same. AllowEgress changes it.
	Egress []netip.Prefix

	Now     func() time.Time               // nil = time.Now
	Observe func(endpoint, outcome string) // one call of the provider ended: ok, unavailable, refused, nonsense, rejected
	Warn    func(message string)           // something the operator should know, that stops nothing
}

// Provider is one OpenID provider. Its methods may be called concurrently.
type Provider struct {
	party
	cfg     Config
	profile profile
	keys    *keySet
	asked   *memory

	meta     atomic.Pointer[metadata]
	trouble  atomic.Pointer[trouble] // nil: there is none
	mu       sync.Mutex              // guards what follows
	asking   *fetching               // the discovery under way, nil for none
	lastErr  error                   // of the last discovery, nil when it succeeded
	lastDone time.Time
}

// New checks the configuration. It asks nothing of the network: the provider may be down.
func New(cfg Config) (*Provider, error) {
	p := &Provider{}
	if err := p.configure(cfg); err != nil {
		return nil, fmt.Errorf("provider %s: %w", cfg.Name, err)
	}
	return p, nil
}

func (p *Provider) configure(cfg Config) error {
	var err error
	p.who = "provider " + cfg.Name
	if p.issuer, err = parseIssuer(cfg.Issuer); err != nil {
		return err
	}
	if p.profile, err = findProfile(cfg.Profile, p.issuer); err != nil {
		return err
	}
	if cfg.ClientID == "" {
		return errors.New("no client id")
	}
	if cfg.AuthMethod == "" {
		cfg.AuthMethod = AuthBasic
	}
	switch cfg.AuthMethod {
	case AuthBasic, AuthPost:
		if cfg.ClientSecret == "" {
			return fmt.Errorf("%s needs a client secret", cfg.AuthMethod)
		}
	case AuthNone:
		cfg.ClientSecret = ""
	default:
		return fmt.Errorf("unknown client authentication %q", cfg.AuthMethod)
	}
	if cfg.Scopes != nil && !slices.Contains(cfg.Scopes, "openid") {
		return errors.New("scopes without openid")
	}
	for _, name := range slices.Sorted(maps.Keys(cfg.AuthorizationParams)) {
		if reservedParams[name] {
			return fmt.Errorf("authorization parameter %q is Cloakroom's own", name)
		}
	}
	for _, setting := range []struct {
		name, value string
		allowed     []string
	}{
		{"userinfo", cfg.UserInfo, []string{"", "auto", "never"}},
		{"id_token_hint", cfg.IDTokenHint, []string{"", "auto", "never", "always"}},
		{"access_token_validation", cfg.AccessTokenValidation, []string{"", ByJWT, ByIntrospection, ByUserInfo}},
	} {
		if !slices.Contains(setting.allowed, setting.value) {
			return fmt.Errorf("unknown %s %q", setting.name, setting.value)
		}
	}
	if cfg.AccessTokenValidation == ByIntrospection && cfg.AuthMethod == AuthNone {
		return errors.New("introspection needs a way to authenticate") // RFC 7662 section 2.1
	}
	setDefaults(&cfg)
	p.cfg = cfg
	if p.client, err = newClient(cfg, p.issuer); err != nil {
		return err
	}
	p.keys = &keySet{now: cfg.Now, fetch: p.fetchKeys}
	p.asked = newMemory()
	return p.checkOverrides()
}

func setDefaults(cfg *Config) {
	if cfg.Algorithms == nil {
		cfg.Algorithms = []string{"RS256"}
	}
	if cfg.AcceptedAudiences == nil {
		cfg.AcceptedAudiences = []string{cfg.ClientID}
	}
	if cfg.AcceptedClients == nil {
		cfg.AcceptedClients = []string{cfg.ClientID}
	}
	if cfg.AccessTokenValidation == "" {
		cfg.AccessTokenValidation = ByJWT
	}
	if cfg.ClockSkew == 0 {
		cfg.ClockSkew = time.Minute
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(string, string) {}
	}
	if cfg.Warn == nil {
		cfg.Warn = func(string) {}
	}
}

// Name is what the configuration calls the provider.
func (p *Provider) Name() string { return p.cfg.Name }

// Issuer is `iss` of its tokens, exactly.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// Keys is the provider's key set, for tokens that are verified elsewhere (logout tokens).
func (p *Provider) Keys() token.Keys { return p.keys }

// rejectSubject is for a refresh whose answer speaks of somebody else: not only rejected, the session must end
// (OIDC Core 12.2, security.md B3.16).
func (p *Provider) rejectSubject(reason string) error {
	return &Error{Party: p.who, Reason: reason, kinds: []error{ErrRejected, ErrRefused}}
}

// oauth is x/oauth2's view of the client. The style is always set: left to find it out, x/oauth2 sends a code or refresh
// token twice (security.md 0.5).
func (p *Provider) oauth(m *metadata, redirectURI string) *oauth2.Config {
	style := oauth2.AuthStyleInParams
	if p.cfg.AuthMethod == AuthBasic {
		style = oauth2.AuthStyleInHeader
	}
	return &oauth2.Config{
		ClientID:     p.cfg.ClientID,
		ClientSecret: p.cfg.ClientSecret.Reveal(),
		Endpoint:     oauth2.Endpoint{AuthURL: m.endpoints[EndpointAuthorization], TokenURL: m.endpoints[EndpointToken], AuthStyle: style},
		RedirectURL:  redirectURI,
		Scopes:       p.scopes(m),
	}
}

// boxed hands x/oauth2 and go-oidc our own client for one endpoint.
func (p *Provider) boxed(ctx context.Context, endpoint string) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, p.client.at(endpoint))
}

// post asks an endpoint as the client we are there (RFC 6749 section 2.3). An answer that is no 2xx is an error.
func (p *Provider) post(ctx context.Context, name, endpoint string, form url.Values) (answer, error) {
	if p.cfg.AuthMethod != AuthBasic {
		form.Set("client_id", p.cfg.ClientID)
	}
	if p.cfg.AuthMethod == AuthPost {
		form.Set("client_secret", p.cfg.ClientSecret.Reveal())
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, p.failed(name, err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Accept", "application/json")
	if p.cfg.AuthMethod == AuthBasic { // form-encoded first (RFC 6749 section 2.3.1)
		r.SetBasicAuth(url.QueryEscape(p.cfg.ClientID), url.QueryEscape(p.cfg.ClientSecret.Reveal()))
	}
	a, err := p.client.do(ctx, name, r)
	if err != nil {
		return answer{}, p.failed(name, err)
	}
	if a.status < 300 {
		return a, nil
	}
	var said struct {
		Error string `json:"error"`
	}
	_ = json.Unmarshal(a.body, &said) // without a body the status has to do
	return answer{}, p.failedCode(name, a.status, said.Error)
}
