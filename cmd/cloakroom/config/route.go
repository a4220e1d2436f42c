package config

import "time"

// Route says what answers a path and everything below it.
type Route struct {
	// Path is the prefix, in its one canonical spelling. Mandatory.
	Path string `yaml:"path"`
	// Upstream is the service behind it. Mandatory, in place of spa or spa_dev.
	Upstream string `yaml:"upstream" is:"url"`
	// SPA is a folder with an index.html.
	SPA string `yaml:"spa" is:"folder"`
	// SPADev is a dev server's URL.
	SPADev string `yaml:"spa_dev" is:"url"`
	// StripPrefix is taken off the path before it is sent on. Default: nothing.
	StripPrefix string `yaml:"strip_prefix"`
	// Token is what the upstream gets as Authorization. Mandatory for upstreams.
	Token RouteToken `yaml:"token"`
	// Audience is short for `token: {audience: NAME}`. Once loaded it is empty: Token tells.
	Audience string `yaml:"audience"`
	// Session says whether there must be one. Default: required for upstreams, none for a SPA.
	Session string `yaml:"session" enum:"required optional none"`
	// NoSession is what someone without gets: 401, or login, which sends top-level navigations to sign in. Default: 401 for
	// upstreams, login for a SPA.
	NoSession NoSession `yaml:"no_session"`
	// Allow says who may use the route. Default: true.
	Allow Condition `yaml:"allow"`
	// Methods are those it takes. Default: GET, HEAD, POST, PUT, PATCH, DELETE.
	Methods []string `yaml:"methods"`
	// CSRF is what proves that the SPA sent a request: header, the X-CSRF header on every method; or fetch-metadata, GET and
	// HEAD without it when the browser says same-origin. Default: header.
	CSRF string `yaml:"csrf" enum:"header fetch-metadata"`
	// Timeout is how long the first byte of an answer may take. Default: 30s.
	Timeout time.Duration `yaml:"timeout" is:"positive"`
	// MaxBody is how long a request's body may be, and one message from the browser in a WebSocket. Default: 10MiB.
	MaxBody Size `yaml:"max_body"`
	// WebSocket lets WebSockets through. Default: false.
	WebSocket bool `yaml:"websocket"`
	// EncodedPath says what becomes of %2F, %5C and %25 in a path: refuse, or keep as they are. Default: refuse.
	EncodedPath string `yaml:"encoded_path" enum:"refuse keep"`
	// TLS is how the upstream is reached over https. Default: with the system's authorities.
	TLS RouteTLS `yaml:"tls"`
}

func (r *Route) setDefaults() {
	r.Allow = Condition{Source: "true"}
	r.Methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}
	r.CSRF, r.EncodedPath = "header", "refuse"
	r.Timeout, r.MaxBody = 30*time.Second, 10<<20
}

// settle fills in the defaults that follow from other keys.
func (r *Route) settle() {
	if r.Audience != "" && r.Token.Kind == "" {
		r.Token = RouteToken{Kind: TokenMinted, Audience: r.Audience, Per: "session", As: "user"}
		r.Audience = ""
	}
	page := r.SPA != "" || r.SPADev != ""
	if r.Session == "" {
		r.Session = "required"
		if page {
			r.Session = "none"
		}
	}
	if r.NoSession == "" {
		r.NoSession = NoSession401
		if page {
			r.NoSession = NoSessionLogin
		}
	}
}

// RouteTLS is how an upstream is reached over https.
type RouteTLS struct {
	// CAFile holds the authorities of its certificate. Default: the system's.
	CAFile string `yaml:"ca_file" is:"file"`
	// CertFile is the client certificate to show. Default: none.
	CertFile string `yaml:"cert_file" is:"file"`
	// KeyFile is that certificate's private key. Default: none.
	KeyFile string `yaml:"key_file" is:"file"`
	// ServerName is the name its certificate must have. Default: the host of the URL.
	ServerName string `yaml:"server_name"`
}

// TokenKind is which token an upstream gets.
type TokenKind string

// The kinds of tokens an upstream may get.
const (
	TokenMinted TokenKind = "minted" // one of our own
	TokenAccess TokenKind = "access" // the provider's access token
	TokenNone   TokenKind = "none"   // none
)

// RouteToken is what an upstream gets as Authorization. The file says `access`, `none`, a map of the keys below, or, short
// for `token: {audience: NAME}`, only `audience: NAME` on the route.
type RouteToken struct {
	// Kind is "" for a SPA.
	Kind TokenKind `yaml:"-"`
	// Audience names whose token is minted.
	Audience string `yaml:"audience"`
	// Scope is an upper bound. Default: nil, everything that policy grants.
	Scope ScopeList `yaml:"scope"`
	// Per is session, or request: then policy sees method and path, and nothing is cached. Default: session.
	Per string `yaml:"per" enum:"session request"`
	// As is user, or service: then it is a token for Cloakroom itself, without a user. Default: user.
	As string `yaml:"as" enum:"user service"`
}

// NoSession is what someone without a session gets.
type NoSession string

// The answers to someone without a session.
const (
	NoSession401   NoSession = "401"
	NoSessionLogin NoSession = "login"
)
