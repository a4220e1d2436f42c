package idptest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Persona is whose manners a provider has.
type Persona string

const (
	// Cognito signs access and ID tokens with two RS256 keys, keeps the e-mail out of the access token, which has no
	// audience, answers the token endpoint without `scope`, and logs out at /logout (reference/exchange.md F.1).
	Cognito Persona = "cognito"
	// Generic follows OpenID Connect Core to the letter: refresh tokens for offline_access only, RFC 9207 `iss`,
	// RP-initiated logout, and what Config asks for beyond that.
	Generic Persona = "generic"
)

// Config says what a provider is. The zero value is a Cognito with the users alice and sam and one client.
type Config struct {
	Persona Persona // default Cognito
	// URL is the origin of the endpoints, as the browser sees it: "http://127.0.0.1:8090". Start fills it in.
	URL string
	// Issuer defaults to URL + "/eu-west-1_Cloakroom" (Cognito: the issuer's own path, and in reality its own host) or to
	// URL (Generic). Its metadata is served at its path on this very listener.
	Issuer  string
	Clients []Client // default: DefaultClient
	Users   []User   // default: DefaultUsers
	// Scopes are the API scopes that exist beside OpenID's own; default: those of the sample services.
	Scopes []string
	Now    func() time.Time // default time.Now

	AccessLifetime  time.Duration // default 1h
	IDLifetime      time.Duration // default 1h
	RefreshLifetime time.Duration // default 30 days
	CodeLifetime    time.Duration // default 5m

	// RotateRefresh gives a new refresh token at every refresh. The old one still works for ReuseGrace; after that it
	// is refused, and its whole family ends with it.
	RotateRefresh bool
	ReuseGrace    time.Duration

	// What follows is for Generic; a Cognito has no choice.
	OpaqueAccess       bool   // access tokens are random strings
	AccessAudience     string // `aud` of JWT access tokens; default: the client id
	EmailInUserInfo    bool   // the ID token has sub only; what the scopes allow is in userinfo
	NoIDTokenAtRefresh bool   // a refresh answers without an ID token
	NoIssInResponse    bool   // leaves RFC 9207's `iss` out of the authorization response

	ShowUsers bool // the sign-in page names its users and their passwords
	Misbehave Misbehave
}

// Provider is one OpenID provider. It is safe for concurrent use.
type Provider struct {
	cfg Config
	now func() time.Time

	mu        sync.Mutex
	routes    map[string]Endpoint
	misbehave Misbehave
	keys      keys
	codes     map[string]*code
	refreshes map[string]*refreshToken
	accesses  map[string]*accessToken
	browsers  map[string]browser
	record    record
}

// New makes a provider; it listens nowhere yet. It makes two RSA keys, which takes about a tenth of a second.
func New(cfg Config) *Provider {
	fill(&cfg)
	p := &Provider{
		cfg:       cfg,
		now:       cfg.Now,
		misbehave: cfg.Misbehave,
		keys:      newKeys(),
		codes:     map[string]*code{},
		refreshes: map[string]*refreshToken{},
		accesses:  map[string]*accessToken{},
		browsers:  map[string]browser{},
		record:    newRecord(),
	}
	if cfg.URL != "" {
		p.bind(cfg.URL)
	}
	return p
}

func fill(cfg *Config) {
	if cfg.Persona == "" {
		cfg.Persona = Cognito
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Clients == nil {
		cfg.Clients = []Client{DefaultClient()}
	}
	if cfg.Users == nil {
		cfg.Users = DefaultUsers()
	}
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"orders-api/read", "orders-api/write", "payments-api/read"}
	}
	for _, life := range []struct {
		of  *time.Duration
		def time.Duration
	}{
		{&cfg.AccessLifetime, time.Hour},
		{&cfg.IDLifetime, time.Hour},
		{&cfg.RefreshLifetime, 30 * 24 * time.Hour},
		{&cfg.CodeLifetime, 5 * time.Minute},
	} {
		if *life.of == 0 {
			*life.of = life.def
		}
	}
}

// bind fixes the provider's address, and with it its issuer and which path is which endpoint.
func (p *Provider) bind(origin string) {
	p.cfg.URL = strings.TrimSuffix(origin, "/")
	if p.cfg.Issuer == "" {
		p.cfg.Issuer = p.cfg.URL
		if p.cfg.Persona == Cognito {
			p.cfg.Issuer += "/eu-west-1_Cloakroom"
		}
	}
	path := ""
	if u, err := url.Parse(p.cfg.Issuer); err == nil {
		path = strings.TrimSuffix(u.Path, "/")
	}
	p.routes = map[string]Endpoint{
		path + "/.well-known/openid-configuration": Discovery,
		path + "/.well-known/jwks.json":            JWKS,
		"/login":                                   Login,
		"/sign-in.css":                             style,
	}
	for endpoint, path := range paths(p.cfg.Persona) {
		p.routes[path] = endpoint
	}
}

// T is the part of testing.TB that Start uses; the package is in the product's binary, so it must not import testing.
type T interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start listens on a free loopback port until the test ends, and returns the issuer.
func (p *Provider) Start(t T) string {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("idptest: %v", err)
	}
	if p.cfg.URL == "" {
		p.bind("http://" + listener.Addr().String())
	}
	server := &http.Server{Handler: p.Handler(), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		closeErr := server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) || closeErr != nil {
			t.Fatalf("idptest: %v", fmt.Errorf("%w, %w", err, closeErr))
		}
	})
	return p.cfg.Issuer
}

// Issuer returns the issuer; "" before the provider has a URL.
func (p *Provider) Issuer() string { return p.cfg.Issuer }

// URL returns the absolute address of an endpoint; "" before the provider has a URL.
func (p *Provider) URL(endpoint Endpoint) string {
	if p.cfg.URL == "" {
		return ""
	}
	for path, is := range p.routes {
		if is == endpoint {
			return p.cfg.URL + path
		}
	}
	return ""
}

// Handler serves every endpoint. The provider must have a URL by the first request.
func (p *Provider) Handler() http.Handler {
	serve := map[Endpoint]http.HandlerFunc{
		Discovery: p.serveDiscovery,
		JWKS:      p.serveJWKS,
		Authorize: p.serveAuthorize,
		Login:     p.serveLogin,
		Token:     p.serveToken,
		UserInfo:  p.serveUserInfo,
		Revoke:    p.serveRevoke,
		Logout:    p.serveLogout,
		style:     serveStyle,

		Introspect: p.serveIntrospect,
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		endpoint, known := p.routes[r.URL.Path]
		if !known {
			http.NotFound(w, r)
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
		if err := r.ParseForm(); err != nil {
			http.Error(w, "the form cannot be read", http.StatusBadRequest)
			return
		}
		p.note(endpoint, r)
		m := p.manners()
		if m.Answer != nil && m.Answer(endpoint, w, r) {
			return
		}
		if m.LoseAnswer != nil && m.LoseAnswer(endpoint, r) {
			serve[endpoint](lost{http.Header{}}, r)
			panic(http.ErrAbortHandler)
		}
		serve[endpoint](w, r)
	})
}
