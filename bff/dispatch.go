package bff

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"time"

	"cloakroom/exchange"
	"cloakroom/internal/span"
	"cloakroom/internal/telemetry"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/session"
)

// dispatch takes a request through what a route asks for: session, allow, token, and then what stands behind it.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request, route *compiledRoute, path string) {
	socket := route.WebSocket && r.Method == http.MethodGet && isUpgrade(r)
	d := route.demand(socket)
	v, ok := s.admit(w, r, d)
	if !ok {
		return
	}
	if v.session != nil {
		if v.session, ok = s.slide(w, r, v, d); !ok {
			return
		}
		if v.session, ok = s.freshen(w, r, v, route, d); !ok {
			return
		}
	}
	if !s.allowed(w, r, v, route, path) {
		return
	}
	navigation := isNavigation(r)
	if headers := s.headersOf(route); navigation || route.DevServer {
		if err := headers.apply(w.Header(), s.signOutOrigins()); err != nil {
			s.refuse(w, r, problem{name: problemInternal, err: err})
			return
		}
	}
	if route.SPA != nil {
		route.serveSPA(w, r, path, navigation)
		return
	}
	bearer, err := s.bearer(r, v, route, path, false)
	if err != nil {
		s.refuseToken(w, r, err)
		return
	}
	if ctx, step := span.Begin(r.Context(), "upstream", route.Path); step.Traced() {
		r = r.WithContext(ctx)
		defer func() { step.Answered(statusOf(w)) }()
	}
	fwd := forwarded{
		For: s.proxies.client(r).String(), Proto: s.frontend.URL.Scheme, Host: s.frontend.URL.Host,
		RequestID: telemetry.RequestID(r.Context()), Traceparent: telemetry.Traceparent(r.Context()), Session: v.session != nil,
	}
	if v.session != nil {
		fwd.Follow = func(ctx context.Context, cut func()) func() { return s.follow(ctx, v, cut) }
		if name := v.session.Provider; name != s.frontend.Providers[0].Name() {
			fwd.Provider = name
		}
	}
	if route.Token.Kind == TokenMinted && bearer != "" {
		fwd.Remint = func(ctx context.Context) (secret.Text, error) {
			return s.another(r.WithContext(ctx), v, route, path, bearer)
		}
	}
	if socket {
		s.serveSocket(w, r, v, route, path, bearer, fwd)
		return
	}
	route.serveUpstream(w, r, path, bearer, fwd)
}

// headersOf are the headers of a route's pages.
func (s *Server) headersOf(route *compiledRoute) *pageHeaders {
	if route.DevServer {
		return s.devHeaders
	}
	return s.pageHeaders
}

// demand is what the guard asks on behalf of a route, of a WebSocket or of any other request.
func (c *compiledRoute) demand(socket bool) demand {
	d := demand{methods: c.Methods, session: c.Session, page: !socket && (c.SPA != nil || c.DevServer || c.LoginOnNoSession)}
	switch {
	case c.Session == None && !(socket && c.DevServer): // a dev server's socket tells about the source
		d.proof = noProof
	case socket:
		d.proof = byOrigin
	case c.CSRFFetchMetadata, c.SPA != nil, c.DevServer: // a page's scripts, styles and images cannot set a header
		d.proof = byHeaderOrBrowse
	}
	return d
}

// freshen sees to an access token that lives, where the route's token comes from it.
func (s *Server) freshen(w http.ResponseWriter, r *http.Request, v visitor, route *compiledRoute, d demand) (*session.Session, bool) {
	plan := route.Token
	if plan.Kind == TokenNone || plan.Kind == TokenMinted && plan.AsService {
		return v.session, true
	}
	found, err := s.sessions.Fresh(r.Context(), v.ticket, v.session, exchange.MinimumLeft)
	switch {
	case err == nil && !found.AccessExpiry.IsZero() && found.AccessExpiry.Sub(s.now()) < exchange.MinimumLeft:
		s.refuse(w, r, problem{name: problemProviderUnavailable, err: errDeadToken})
	case err == nil:
		return found, true
	case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrUnavailable):
		s.lostSession(w, r, v.ticket, d, err)
	case errors.Is(err, provider.ErrNonsense), errors.Is(err, provider.ErrRejected):
		s.refuse(w, r, problem{name: problemLoginFailed, status: http.StatusBadGateway, err: err})
	default:
		s.refuse(w, r, problem{name: problemProviderUnavailable, retry: int(math.Ceil(patience(err).Seconds())), err: err})
	}
	return nil, false
}

// patience is how long the provider asks to be left alone; 0: it does not.
func patience(err error) time.Duration {
	own, ok := errors.AsType[*provider.Error](err)
	if !ok {
		return 0
	}
	return min(own.RetryAfter(), session.MostAsked)
}

var errDeadToken = errors.New("access token has expired and cannot be renewed now")

func (s *Server) allowed(w http.ResponseWriter, r *http.Request, v visitor, route *compiledRoute, path string) bool {
	if route.Allow == nil {
		return true
	}
	yes, err := route.Allows(s.visit(r, v, path))
	if err != nil {
		s.log.InfoContext(r.Context(), "rule has no answer, which means no", "rule", "allow of route "+route.Path, "error", err)
	}
	if !yes {
		s.refuse(w, r, problem{name: problemForbidden})
	}
	return yes
}

// bearer is the token that the upstream gets; "" for none, as where nobody is signed in. anew asks for another than before.
func (s *Server) bearer(r *http.Request, v visitor, route *compiledRoute, path string, anew bool) (secret.Text, error) {
	if route.Token.Kind == TokenAccess && v.session != nil {
		return sendable(v.session.Tokens.Access)
	}
	req, ok := route.Token.Request(s.visit(r, v, path))
	if !ok {
		return "", nil
	}
	req.Anew = anew
	ctx, step := span.Begin(r.Context(), "exchange", req.Audience)
	minted, err := s.mint.MintForRoute(ctx, req)
	step.End(exchange.Outcome(err), exchange.Outcome(err) != exchange.Granted)
	if err != nil {
		return "", err
	}
	return sendable(minted.Token)
}

// maxBearer is the longest token that is sent to an upstream: servers take 8 to 64 KiB of headers, and what they say to more of
// them helps nobody to find out why.
const maxBearer = 16 << 10

// tooLong is a token's length where that is beyond maxBearer.
type tooLong int

func (n tooLong) Error() string {
	return fmt.Sprintf("token for the upstream is too long for a header: %d bytes, at most %d", int(n), maxBearer)
}

func sendable(bearer secret.Text) (secret.Text, error) {
	if n := len(bearer.Reveal()); n > maxBearer {
		return "", tooLong(n)
	}
	return bearer, nil
}

var errSameToken = errors.New("there is no other token")

// another makes a token in place of one that the upstream called invalid.
func (s *Server) another(r *http.Request, v visitor, route *compiledRoute, path string, refused secret.Text) (secret.Text, error) {
	fresh, err := s.bearer(r, v, route, path, true)
	if err == nil && fresh == refused {
		return "", errSameToken
	}
	return fresh, err
}

// refuseToken answers a request for whose upstream there is no token.
func (s *Server) refuseToken(w http.ResponseWriter, r *http.Request, err error) {
	p := problem{name: problemInternal, err: err}
	if _, ok := errors.AsType[tooLong](err); ok {
		p.name = problemUpstreamUnavailable
	}
	if refused, ok := errors.AsType[*exchange.Error](err); ok {
		switch refused.Code {
		case exchange.Forbidden:
			p.name = problemForbidden
		case exchange.Expired, exchange.TemporarilyUnavailable:
			p.name = problemProviderUnavailable
		}
	}
	s.refuse(w, r, p)
}
