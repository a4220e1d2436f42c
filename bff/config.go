package bff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloakroom/exchange"
	"cloakroom/exchange/rule"
	"cloakroom/internal/egress"
	"cloakroom/internal/telemetry"
	"cloakroom/internal/urlpath"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/web"
)

// Config is what a Server is made of.
type Config struct {
	Frontend Frontend
	Sessions *session.Manager
	Store    Marks // where sign-ins and logout tokens are marked as used
	Mint     Minter
	Secrets  *secret.Ring
	Records  *Records // audit lines and metrics; nil: none
	HTTP     *telemetry.HTTP
	Log      *slog.Logger

	TrustedProxies []netip.Prefix // whose Forwarded and X-Forwarded-For are believed
	EgressAllow    []netip.Prefix // link-local and metadata addresses that an upstream may have all the same
	LoginPerMinute int            // sign-ins begun, per client address; 0: 600
	Now            func() time.Time

	// After is the Server whose place the new one takes: what it has open stays open. nil: there was none.
	After *Server
}

// Frontend is what belongs to one browser origin.
type Frontend struct {
	URL             *url.URL        // the one origin the browser sees: https, or http on a loopback host
	AllowedOrigins  []string        // further origins that may call with the session's cookie; http only beside such a URL
	CookieName      string          // "": session
	CookieSameSite  http.SameSite   // 0: Strict
	SessionAbsolute time.Duration   // longest life of a session, and of its cookie; 0: 12 h
	Providers       []LoginProvider // the first is the default
	Routes          []Route
	UserClaims      UserClaims
	NeededIdentity  []string // identity claims that any rule or user claim reads: what userinfo is asked for
	Headers         SecurityHeaders
	Pages           web.Brand

	// Published is further documents by path, for anyone to GET: key set and metadata, where they are public.
	Published map[string]http.Handler
}

// LoginProvider is a provider as people sign in with it.
type LoginProvider struct {
	*provider.Provider
	LoginParams []string        // of /bff/login, passed on; nil: prompt login_hint acr_values max_age ui_locales
	Allow       *rule.Condition // over `id` and `access`: who may sign in; nil: everyone
}

// UserClaims is what /bff/user tells about a person, beside `sub`: claims of the ID token by name, or computed ones.
type UserClaims struct {
	Names  []string
	Values map[string]*rule.Value
}

// Marks remembers what may be used once (session.Store does). An error means that there is no telling.
type Marks interface {
	// Claim tells whether name is attempt's: the first to claim it has it for ttl, and the same attempt is told so
	// again. It is for what is used up by the attempt, whatever comes of it.
	Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (mine bool, err error)

	// Bury marks an index for ttl, and Buried tells when any of them was last marked, zero for none. They are for what is
	// used up only by success, so that it can be tried again.
	Bury(ctx context.Context, index session.Index, at time.Time, ttl time.Duration) error
	Buried(ctx context.Context, indexes []session.Index) (at time.Time, err error)
}

// Minter makes the token that an upstream gets (exchange.Service does).
type Minter interface {
	MintForRoute(ctx context.Context, req exchange.RouteRequest) (exchange.Minted, error)
}

const defaultLoginPerMinute = 600

var defaultLoginParams = []string{"prompt", "login_hint", "acr_values", "max_age", "ui_locales"}

func (cfg *Config) fillIn() {
	f := &cfg.Frontend
	if f.CookieName == "" {
		f.CookieName = "session"
	}
	if f.CookieSameSite == 0 {
		f.CookieSameSite = http.SameSiteStrictMode
	}
	if f.SessionAbsolute == 0 {
		f.SessionAbsolute = 12 * time.Hour
	}
	if cfg.LoginPerMinute == 0 {
		cfg.LoginPerMinute = defaultLoginPerMinute
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	for i := range f.Providers {
		if f.Providers[i].LoginParams == nil {
			f.Providers[i].LoginParams = defaultLoginParams
		}
	}
}

func (cfg *Config) check() error {
	f := &cfg.Frontend
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	if _, err := originOf(f.URL); err != nil {
		fault("public URL: %w", err)
	}
	for _, origin := range f.AllowedOrigins {
		u, _ := url.Parse(origin)
		if spelt, err := originOf(u); err != nil || spelt != origin {
			fault("allowed origin %q: not https://host[:port] as a browser spells it, or http on a loopback host", origin)
		} else if u.Scheme == "http" && f.URL != nil && f.URL.Scheme != "http" {
			fault("allowed origin %q: not https, as the public URL is", origin)
		}
	}
	if f.CookieName == "login" || strings.Trim(f.CookieName, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		fault("cookie name %q: letters, digits, - and _, and not login", f.CookieName)
	}
	if f.CookieSameSite != http.SameSiteStrictMode && f.CookieSameSite != http.SameSiteLaxMode {
		fault("cookie same-site: strict or lax")
	}
	if len(f.Providers) == 0 {
		fault("no provider")
	}
	names := map[string]bool{}
	for _, p := range f.Providers {
		name := p.Name()
		if name == "" || url.PathEscape(name) != name || strings.Contains(name, ";") || names[name] {
			fault("provider name %q: must be one segment of a path, and no other's", name)
		}
		names[name] = true
	}
	if _, reserved := f.UserClaims.Values["session"]; reserved || slices.Contains(f.UserClaims.Names, "session") {
		fault("user claim `session` is Cloakroom's own")
	}
	if _, reserved := f.UserClaims.Values["sub"]; reserved {
		fault("user claim `sub` is the provider's own")
	}
	for _, route := range f.Routes {
		if route.DevServer && f.URL != nil && !egress.Loopback(f.URL.Hostname()) {
			fault("route %q: a dev server is for development at a loopback host", route.Path)
		}
	}
	for path := range f.Published {
		if encoded, err := urlpath.Check(path); err != nil || encoded || urlpath.Under(path, ownPath) {
			fault("published path %q: not canonical, or under %s", path, ownPath)
		}
	}
	if cfg.Sessions == nil || cfg.Store == nil || cfg.Mint == nil || cfg.Secrets == nil {
		fault("sessions, store, mint and secrets are mandatory")
	}
	return errors.Join(faults...)
}

// originOf serialises the origin of the public URL as browsers do (RFC 6454 section 6.2).
func originOf(u *url.URL) (string, error) {
	if u == nil || u.Host == "" || u.User != nil || u.Opaque != "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("must be scheme://host[:port]")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	switch {
	case u.Scheme == "https":
	case u.Scheme == "http" && egress.Loopback(host):
	default:
		return "", errors.New("must be https, or http on a loopback host")
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port == "" || u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		return u.Scheme + "://" + host, nil
	}
	return u.Scheme + "://" + host + ":" + port, nil
}
