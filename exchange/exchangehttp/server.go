package exchangehttp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
	"cloakroom/internal/telemetry"
	"cloakroom/token"
)

// Config is what a Server is made of.
type Config struct {
	Service *exchange.Service
	Keys    *token.KeyRing
	Clients []Caller
	Markers Markers // remember client assertions; nil: none is taken, so no client may have keys
	URL     string  // where services reach this listener: the endpoints in the metadata stand below it
	// TokensPerSecond is how often a client may ask at the token endpoint; 0: as often as it likes.
	TokensPerSecond int
	// Observe is told of clients that failed to authenticate or asked too often; the service itself tells of the rest.
	Observe func(context.Context, exchange.Event)
	HTTP    *telemetry.HTTP
	Log     *slog.Logger
	Now     func() time.Time // nil: time.Now
}

// Server answers services. It is safe for concurrent use; a new configuration makes a new one.
type Server struct {
	cfg      Config
	clients  *callers
	limits   *limits
	metadata document
	paths    []string // of the metadata
}

// New refuses what cannot work.
func New(cfg Config) (*Server, error) {
	if cfg.Service == nil || cfg.Keys == nil || cfg.Log == nil {
		return nil, errors.New("exchangehttp: no service, no keys, or no log")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Observe == nil {
		cfg.Observe = func(context.Context, exchange.Event) {}
	}
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Scheme == "" || base.Host == "" {
		return nil, fmt.Errorf("exchangehttp: %q is no URL services could reach", cfg.URL)
	}
	known, err := newCallers(cfg.Clients)
	if err != nil {
		return nil, fmt.Errorf("exchangehttp: %w", err)
	}
	if known.assertions, err = newAssertions(cfg); err != nil {
		return nil, fmt.Errorf("exchangehttp: %w", err)
	}
	s := &Server{cfg: cfg, clients: known, limits: newLimits(cfg.TokensPerSecond, cfg.Clients, cfg.Now)}
	if s.metadata, err = s.describe(); err != nil {
		return nil, fmt.Errorf("exchangehttp: metadata: %w", err)
	}
	s.paths = metadataPaths(cfg.Service.Policy().Issuer())
	return s, nil
}

// Handler is the internal listener's.
func (s *Server) Handler() http.Handler {
	e := s.router("internal")
	e.Any("/oauth2/token", only(s.token, http.MethodPost))
	e.Any("/oauth2/introspect", only(s.introspect, http.MethodPost))
	if s.cfg.Service.CanRevoke() {
		e.Any("/oauth2/revoke", only(s.revoke, http.MethodPost))
	}
	s.publish(e)
	return e
}

// Busy answers where there is no room for one more connection.
func (s *Server) Busy() http.Handler {
	e := s.router("internal")
	e.RouteNotFound("/*", func(echo.Context) error {
		return &exchange.Error{Code: exchange.TemporarilyUnavailable, Description: "too many connections: try again"}
	})
	return e
}

// Published is what the public listener shows as well, with `public.publish_keys`, by path: keys and metadata.
func (s *Server) Published() map[string]http.Handler {
	e := s.router("public")
	s.publish(e)
	all := map[string]http.Handler{jwksPath: e}
	for _, path := range s.paths {
		all[path] = e
	}
	return all
}

func (s *Server) publish(e *echo.Echo) {
	e.Any(jwksPath, only(s.jwks, http.MethodGet, http.MethodHead))
	for _, path := range s.paths {
		e.Any(path, only(s.describeItself, http.MethodGet, http.MethodHead))
	}
}

func (s *Server) router(listener string) *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = func(err error, c echo.Context) { s.failed(c, err) }
	e.Use(s.measured(listener))
	return e
}

// measured gives each request its ids, counts it, and turns a panic into an answer.
func (s *Server) measured(listener string) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c echo.Context) (err error) {
			began := s.cfg.Now()
			// A service is inside the trust boundary: its trace goes on in ours.
			c.SetRequest(s.cfg.HTTP.Begin(c.Request(), listener == "internal"))
			defer func() {
				if p := recover(); p != nil {
					if p == http.ErrAbortHandler { //nolint:errorlint // a sentinel to be compared: net/http does the same
						panic(p)
					}
					s.cfg.Log.ErrorContext(c.Request().Context(), "handler panicked", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
					err = errors.New("panic")
				}
				if err != nil {
					s.failed(c, err)
					err = nil
				}
				s.cfg.HTTP.Observe(c.Request(), listener, route(c), c.Response().Status, s.cfg.Now().Sub(began))
			}()
			return next(c)
		}
	}
}

// route is the endpoint a request was for, one name for all that there is none for.
func route(c echo.Context) string {
	if c.Path() == "" || c.Path() == "/*" {
		return "none"
	}
	return c.Path()
}

// only refuses other methods (RFC 6749 section 3.2 allows POST alone at the token endpoint).
func only(h echo.HandlerFunc, methods ...string) echo.HandlerFunc {
	allowed := strings.Join(methods, ", ")
	return func(c echo.Context) error {
		for _, m := range methods {
			if c.Request().Method == m {
				return h(c)
			}
		}
		c.Response().Header().Set("Allow", allowed)
		return answerError(c, http.StatusMethodNotAllowed, &exchange.Error{Code: exchange.InvalidRequest, Description: "this endpoint takes " + allowed})
	}
}

// failed answers what a handler returned as an error.
func (s *Server) failed(c echo.Context, err error) {
	if c.Response().Committed {
		return
	}
	var refusal *exchange.Error
	var routing *echo.HTTPError
	switch {
	case errors.As(err, &refusal):
		err = s.refuse(c, refusal)
	case errors.As(err, &routing) && routing.Code < http.StatusInternalServerError:
		err = answerError(c, routing.Code, bad("there is no such endpoint"))
	default:
		err = s.refuse(c, &exchange.Error{Code: exchange.ServerError, Description: "try again", Err: err})
	}
	if err != nil {
		s.cfg.Log.DebugContext(c.Request().Context(), "answer not written", "error", err.Error())
	}
}
