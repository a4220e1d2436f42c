package bff

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/internal/telemetry"
	"cloakroom/internal/urlpath"
	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/web"
)

// Server is the browser's side of Cloakroom, for one frontend.
type Server struct {
	frontend       Frontend
	origin         string   // of the public URL
	allowedOrigins []string // further ones
	cookies        *cookies
	providers      map[string]LoginProvider
	routes         *routes
	headers        *securityHeaders // of everything
	pageHeaders    *pageHeaders     // of a route's pages
	devHeaders     *pageHeaders     // of those that come from a dev server
	pages          *web.Pages
	endpoints      *echo.Echo
	handler, busy  http.Handler

	sessions *session.Manager
	store    Marks
	mint     Minter
	secrets  *secret.Ring
	records  *Records
	http     *telemetry.HTTP
	log      *slog.Logger
	proxies  proxies
	limiter  *limiter // of sign-ins
	now      func() time.Time
	unslid   atomic.Int64 // when the store last refused to extend a session, in Unix nanoseconds; 0: never

	lookEvery time.Duration // at a session that something is open for
	pingAfter time.Duration // of silence on a WebSocket
	*life
}

// New checks the whole configuration and makes a Server of it. It does not touch the network.
func New(cfg Config) (*Server, error) {
	cfg.fillIn()
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("browser's side: %w", err)
	}
	f := cfg.Frontend
	origin, err := originOf(f.URL)
	if err != nil {
		return nil, fmt.Errorf("browser's side: public URL: %w", err)
	}
	s := &Server{
		frontend: f, origin: origin, allowedOrigins: f.AllowedOrigins,
		cookies:   newCookies(f, cfg.Secrets),
		providers: map[string]LoginProvider{},
		sessions:  cfg.Sessions, store: cfg.Store, mint: cfg.Mint, secrets: cfg.Secrets, records: cfg.Records, http: cfg.HTTP,
		log: cfg.Log, proxies: cfg.TrustedProxies, limiter: newLimiter(cfg.LoginPerMinute, cfg.Now), now: cfg.Now,
		lookEvery: lookEvery, pingAfter: pingAfter,
	}
	if s.life = newLife(newLimiter(badLogoutsPerMinute, cfg.Now)); cfg.After != nil {
		s.life = cfg.After.life
		if cfg.After.limiter.perMinute == cfg.LoginPerMinute {
			s.limiter = cfg.After.limiter
		}
	}
	for _, p := range f.Providers {
		s.providers[p.Name()] = p
	}
	if s.headers, err = newSecurityHeaders(f.Headers); err != nil {
		return nil, fmt.Errorf("browser's side: %w", err)
	}
	if s.pageHeaders, err = newPageHeaders(f.Headers); err != nil {
		return nil, fmt.Errorf("browser's side: %w", err)
	}
	fromDevServer := f.Headers
	fromDevServer.devServer = true
	if s.devHeaders, err = newPageHeaders(fromDevServer); err != nil {
		return nil, fmt.Errorf("browser's side: %w", err)
	}
	if s.pages, err = web.NewPages(f.Pages); err != nil {
		return nil, fmt.Errorf("browser's side: %w", err)
	}
	s.routes, err = newRoutes(f.Routes, routeConfig{
		Fail: s.fail, Cookies: []string{s.cookies.sessionName, s.cookies.loginName}, Egress: cfg.EgressAllow, Log: cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("browser's side: %w", err)
	}
	s.mount()
	s.handler = s.answering(s.serve)
	s.busy = s.answering(func(a *answer, r *http.Request) { s.refuse(a, r, problem{name: problemOverloaded}) })
	return s, nil
}

const (
	loginPath     = ownPath + "/login"
	callbackPath  = ownPath + "/callback/"
	loggedOutPath = ownPath + "/logged-out"
	sessionsPath  = ownPath + "/sessions"

	backchannelPath = ownPath + "/backchannel-logout/"
)

// mount is the table of Cloakroom's own endpoints.
func (s *Server) mount() {
	s.endpoints = echo.New()
	s.endpoints.HTTPErrorHandler = s.endpointError
	read, get, post, remove := []string{"GET", "HEAD"}, []string{"GET"}, []string{"POST"}, []string{"DELETE"}

	s.endpoint(loginPath, demand{methods: read, session: None, proof: noProof, page: true}, s.login)
	s.endpoint(callbackPath+":provider", demand{methods: get, session: None, proof: noProof, page: true}, s.callback)
	s.endpoint(ownPath+"/user", demand{methods: read, session: Required, proof: byHeader}, s.user)
	s.endpoint(ownPath+"/logout", demand{methods: post, session: Optional, proof: byHeaderOrForm}, s.logout)
	s.endpoint(backchannelPath+":provider", demand{methods: post, session: None, proof: noProof}, s.backchannelLogout)
	s.endpoint(sessionsPath, demand{methods: append(remove, read...), session: Required, proof: byHeader}, s.ownSessions)
	s.endpoint(sessionsPath+"/:id", demand{methods: remove, session: Required, proof: byHeader}, s.endOwnSession)
	s.endpoint(ownPath+"/events", demand{methods: get, session: Required, proof: byOriginOrBrowse}, s.events)
	s.endpoint(loggedOutPath, demand{methods: read, session: None, proof: noProof, page: true}, s.loggedOut)
	s.endpoint(ownPath+"/client.js", demand{methods: read, session: None, proof: noProof}, client)
	s.endpoint(ownPath+"/client.d.ts", demand{methods: read, session: None, proof: noProof}, client)
}

// endpoint mounts one endpoint behind the guard. Echo finds it by its path alone: methods are the guard's to refuse, when
// their turn has come.
func (s *Server) endpoint(path string, d demand, serve func(echo.Context, visitor)) {
	s.endpoints.RouteNotFound(path, func(c echo.Context) error {
		setLabel(c.Response(), path)
		h := c.Response().Header()
		h.Set("Cache-Control", "no-store")
		h.Set("Referrer-Policy", "no-referrer") // addresses here hold a code and a state
		if v, ok := s.admit(c.Response(), c.Request(), d); ok {
			serve(c, v)
		}
		return nil
	})
}

func client(c echo.Context, _ visitor) { web.Client(c.Response(), c.Request()) }

func (s *Server) endpointError(err error, c echo.Context) {
	name := problemInternal
	if refused, ok := errors.AsType[*echo.HTTPError](err); ok && refused.Code == http.StatusNotFound {
		name = problemNotFound
	}
	s.refuse(c.Response(), c.Request(), problem{name: name, err: err})
}

// Handler answers the public listener.
func (s *Server) Handler() http.Handler { return s.handler }

// Busy answers it where there is no room for one more connection.
func (s *Server) Busy() http.Handler { return s.busy }

// answering is what is common to everything that is answered.
func (s *Server) answering(serve func(*answer, *http.Request)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := s.now()
		r = s.http.Begin(r, s.proxies.trust(peer(r)))
		a := &answer{ResponseWriter: w, route: "none"}
		defer func() { s.http.Observe(r, "public", a.route, a.status(), s.now().Sub(began)) }()
		defer s.recover(a, r)
		s.headers.apply(a.Header())
		serve(a, r)
	})
}

// serve is the guard's first half, for everything: one canonical path, then what stands there.
func (s *Server) serve(a *answer, r *http.Request) {
	if s.closed.Load() {
		s.refuse(a, r, problem{name: problemDraining})
		return
	}
	path, err := canonicalPath(r)
	if err != nil && !isEncodedPath(err) {
		s.refuse(a, r, problem{name: problemBadPath, err: err})
		return
	}
	if err == nil && urlpath.Under(path, ownPath) {
		s.endpoints.ServeHTTP(a, r)
		return
	}
	if published := s.frontend.Published[path]; published != nil && err == nil {
		a.route = path
		s.publish(a, r, published)
		return
	}
	route, err := s.routes.find(path, err != nil)
	switch {
	case errors.Is(err, errNoRoute):
		s.refuse(a, r, problem{name: problemNotFound})
	case err != nil:
		s.refuse(a, r, problem{name: problemBadPath, err: err})
	default:
		a.route = route.Path
		s.dispatch(a, r, route, path)
	}
}

func (s *Server) publish(w http.ResponseWriter, r *http.Request, document http.Handler) {
	if _, ok := s.admit(w, r, demand{methods: []string{"GET", "HEAD"}, session: None, proof: noProof}); ok {
		document.ServeHTTP(w, r)
	}
}

// recover answers for a mistake in the program. What the panic says is for the log alone.
func (s *Server) recover(a *answer, r *http.Request) {
	fault := recover()
	if fault == nil {
		return
	}
	if err, ok := fault.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(fault) // the way to break off a response: net/http knows it, and does not log it
	}
	s.log.ErrorContext(r.Context(), "panic", "fault", fmt.Sprint(fault), "stack", string(debug.Stack()))
	if a.code != 0 {
		panic(http.ErrAbortHandler) // half an answer must not pass for a whole one
	}
	s.refuse(a, r, problem{name: problemInternal, err: errors.New("panic")})
}

// Close refuses further requests, ends the streams and WebSockets, telling the other side why, and waits for them and for the
// work behind the answered requests; once ctx ends that is broken off.
func (s *Server) Close(ctx context.Context) error {
	defer s.routes.close()
	return s.close(ctx)
}

// Retire is for when another Server has taken the place of this one, which still answers the requests it has: connections to
// upstreams are given up as they become idle.
func (s *Server) Retire() { s.routes.close() }

// answer remembers what became of a response.
type answer struct {
	http.ResponseWriter
	route string // label of the metrics
	code  int
}

func (a *answer) WriteHeader(code int) {
	if a.code == 0 && (code >= 200 || code == http.StatusSwitchingProtocols) {
		a.code = code
	}
	a.ResponseWriter.WriteHeader(code)
}

func (a *answer) Write(p []byte) (int, error) {
	if a.code == 0 {
		a.code = http.StatusOK
	}
	return a.ResponseWriter.Write(p)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) status() int {
	if a.code == 0 {
		return http.StatusOK
	}
	return a.code
}

// statusOf is the status of what was answered so far.
func statusOf(w http.ResponseWriter) int {
	if a, ok := w.(*answer); ok {
		return a.status()
	}
	return 0
}

// setLabel names the endpoint for the metrics.
func setLabel(w *echo.Response, route string) {
	if a, ok := w.Writer.(*answer); ok {
		a.route = route
	}
}
