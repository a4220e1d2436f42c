package bff

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/internal/urlpath"
	"cloakroom/token"
)

// ownPath is where Cloakroom's own endpoints are; no route may be there.
const ownPath = "/bff"

// Route is one path prefix of the public listener and what stands behind it: an upstream or an SPA.
type Route struct {
	Path string // a prefix on segment boundaries: "/api" is "/api" and "/api/x", not "/apix"

	Upstream    *url.URL // where requests go; nil for an SPA
	StripPrefix string   // taken off the path before it is forwarded; a prefix of Path
	DevServer   bool     // Upstream is an SPA's dev server, with a WebSocket to tell its pages of changes. Only at a loopback origin
	SPA         fs.FS    // a folder with index.html; nil for an upstream. Folders are opened by os.Root, which keeps links inside

	Token            TokenPlan
	Session          Need
	LoginOnNoSession bool            // a navigation without a session is sent to sign in, instead of a 401
	Allow            *rule.Condition // nil allows everyone

	Methods           []string      // nil: GET HEAD POST PUT PATCH DELETE, or GET HEAD for an SPA
	CSRFFetchMetadata bool          // GET and HEAD may come without the header when the browser says same-origin
	Timeout           time.Duration // to the first byte of the response; 0: 30 s
	MaxBody           int64         // of a request, and of one message from the browser in a WebSocket; 0: 10 MiB
	KeepEncodedPath   bool          // %2F %5C %25 are forwarded as they came, instead of refused
	WebSocket         bool          // WebSockets are let through
	TLS               *tls.Config   // towards the upstream; nil: system roots
}

// TokenPlan says what an upstream gets as its bearer token.
type TokenPlan struct {
	Kind       TokenKind
	Audience   string      // of a minted token
	Scope      token.Scope // upper bound; nil: everything policy grants
	PerRequest bool        // policy sees method and path, nothing is cached
	AsService  bool        // a token for Cloakroom itself, with no user
}

// TokenKind is whose token an upstream gets.
type TokenKind int

const (
	TokenNone   TokenKind = iota // none
	TokenMinted                  // one that Cloakroom mints for it
	TokenAccess                  // the provider's access token
)

// Need says whether a route wants a session.
type Need int

const (
	Required Need = iota
	Optional
	None
)

// failFunc answers a request that ends here. problem names its type (contract/names.md), err is for the log alone; a
// *stepUp among its causes carries what login_url must ask for.
type failFunc func(w http.ResponseWriter, r *http.Request, problem string, err error)

// routeConfig is what all routes of a frontend share.
type routeConfig struct {
	Fail    failFunc
	Cookies []string       // names of Cloakroom's own cookies: never sent upstream, never set from there
	Egress  []netip.Prefix // link-local and metadata addresses that an upstream may have all the same
	Log     *slog.Logger   // of responses that broke off half-way; nil: nowhere
}

// routes finds the route of a path. It is immutable.
type routes struct {
	byPath     map[string]*compiledRoute // "" is the route "/"
	deepest    int                       // most segments of any route: how far match has to look
	transports transports
}

// compiledRoute is a Route made ready to serve.
type compiledRoute struct {
	Route
	upstream *upstream
	spa      *spa
}

// newRoutes checks the routes, all of them, and makes them ready to serve.
func newRoutes(list []Route, cfg routeConfig) (*routes, error) {
	rs := &routes{byPath: make(map[string]*compiledRoute, len(list)), transports: newTransports(cfg.Egress)}
	var faults []error
	for _, route := range list {
		compiled, err := rs.compile(route, cfg)
		if err != nil {
			faults = append(faults, fmt.Errorf("route %q: %w", route.Path, err))
			continue
		}
		key := strings.TrimSuffix(route.Path, "/") // of "/"
		if rs.byPath[key] != nil {
			faults = append(faults, fmt.Errorf("route %q: there is another for this path", route.Path))
			continue
		}
		rs.byPath[key] = compiled
		rs.deepest = max(rs.deepest, strings.Count(key, "/"))
	}
	return rs, errors.Join(faults...)
}

func (rs *routes) compile(route Route, cfg routeConfig) (*compiledRoute, error) {
	if err := route.check(); err != nil {
		return nil, err
	}
	if route.Timeout == 0 {
		route.Timeout = 30 * time.Second
	}
	if route.MaxBody == 0 {
		route.MaxBody = 10 << 20
	}
	if route.Methods == nil {
		route.Methods = []string{http.MethodGet, http.MethodHead}
		if route.Upstream != nil && !route.DevServer {
			route.Methods = append(route.Methods, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete)
		}
	}
	route.WebSocket = route.WebSocket || route.DevServer
	c := &compiledRoute{Route: route}
	if route.SPA != nil {
		c.spa = newSPA(route, cfg.Fail)
		return c, nil
	}
	c.upstream = newUpstream(route, cfg, rs.transports.of(route.TLS, route.Timeout))
	if route.WebSocket {
		c.upstream.upgrades = rs.transports.once(route.TLS, route.Timeout)
	}
	return c, nil
}

func (route *Route) check() error {
	if err := urlpath.CheckPrefix(route.Path); err != nil {
		return err
	}
	if urlpath.Under(route.Path, ownPath) {
		return fmt.Errorf("%s is Cloakroom's own", ownPath)
	}
	if (route.Upstream == nil) == (route.SPA == nil) {
		return errors.New("needs either an upstream or an SPA")
	}
	if slices.Contains(route.Methods, http.MethodConnect) || slices.Contains(route.Methods, http.MethodTrace) {
		return errors.New("CONNECT and TRACE are never forwarded")
	}
	if route.Upstream != nil {
		return route.checkUpstream()
	}
	if route.Token.Kind != TokenNone {
		return errors.New("an SPA gets no token")
	}
	if route.WebSocket {
		return errors.New("an SPA has no WebSockets")
	}
	return nil
}

func (route *Route) checkUpstream() error {
	up := route.Upstream
	if up.Scheme != "http" && up.Scheme != "https" || up.Host == "" || up.User != nil || up.RawQuery != "" || up.Fragment != "" {
		return errors.New("upstream must be http(s)://host[:port][/path]")
	}
	if path := up.EscapedPath(); path != "" {
		if encoded, err := urlpath.Check(path); err != nil {
			return fmt.Errorf("upstream: %w", err)
		} else if encoded {
			return fmt.Errorf("upstream: %w", urlpath.ErrEncoded)
		}
	}
	if route.StripPrefix != "" {
		if err := urlpath.CheckPrefix(route.StripPrefix); err != nil {
			return fmt.Errorf("strip prefix: %w", err)
		}
		if !urlpath.Under(route.Path, route.StripPrefix) {
			return errors.New("strip prefix is not a prefix of the path")
		}
	}
	plan := route.Token
	if route.DevServer && plan.Kind != TokenNone {
		return errors.New("a dev server gets no token")
	}
	if plan.Kind == TokenMinted && plan.Audience == "" {
		return errors.New("a minted token needs an audience")
	}
	ofUser := plan.Kind == TokenAccess || plan.Kind == TokenMinted && !plan.AsService
	if ofUser && route.Session == None {
		return errors.New("a user's token needs a session")
	}
	return nil
}

// match finds the route with the longest prefix of path, a canonical path, on segment boundaries.
func (rs *routes) match(path string) (*compiledRoute, bool) {
	best := rs.byPath[""]
	for i, depth := 1, 0; i <= len(path) && depth < rs.deepest; i++ {
		if i < len(path) && path[i] != '/' {
			continue
		}
		depth++
		if found := rs.byPath[path[:i]]; found != nil {
			best = found
		}
	}
	return best, best != nil
}

var errNoRoute = errors.New("no route has this path")

// find is the route that takes a path as urlpath.Check found it: encoded, only one that keeps it does. The error is errNoRoute or
// urlpath.ErrEncoded.
func (rs *routes) find(path string, encoded bool) (*compiledRoute, error) {
	route, found := rs.match(path)
	switch {
	case encoded && (!found || !route.KeepEncodedPath || urlpath.Under(path, ownPath)):
		return nil, urlpath.ErrEncoded
	case !found:
		return nil, errNoRoute
	}
	return route, nil
}

// FindRoute is the route that a Server of these would take for a path, which is as a browser sends it.
func FindRoute(list []Route, path string) (Route, error) {
	encoded, err := urlpath.Check(path)
	if err != nil {
		return Route{}, err
	}
	rs, err := newRoutes(list, routeConfig{})
	if err != nil {
		return Route{}, err
	}
	if urlpath.Under(path, ownPath) {
		return Route{}, errNoRoute
	}
	found, err := rs.find(path, encoded)
	if err != nil {
		return Route{}, err
	}
	return found.Route, nil
}

// close gives up the idle connections to the upstreams; requests in flight keep theirs.
func (rs *routes) close() { rs.transports.closeIdle() }
