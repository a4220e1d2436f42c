package bff

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"cloakroom/secret"
)

// upstream forwards requests to one route's upstream.
type upstream struct {
	target    *url.URL
	base      string // the target's path, encoded, with no slash at its end
	strip     string // taken off the front of a request's path, with no slash at its end
	maxBody   int64
	cookies   cookieNames
	transport http.RoundTripper
	upgrades  http.RoundTripper // nil where WebSockets are not let through
	fail      failFunc
	errorLog  *log.Logger
	passages  sync.Pool // of *passage
}

// remintFunc makes a token in place of one that an upstream calls invalid.
type remintFunc func(context.Context) (secret.Text, error)

func newUpstream(route Route, cfg routeConfig, transport http.RoundTripper) *upstream {
	logger := cfg.Log
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	u := &upstream{
		target:    route.Upstream,
		base:      strings.TrimSuffix(route.Upstream.EscapedPath(), "/"),
		strip:     strings.TrimSuffix(route.StripPrefix, "/"),
		maxBody:   route.MaxBody,
		cookies:   cfg.Cookies,
		transport: transport,
		fail:      cfg.Fail,
		errorLog:  slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	u.passages.New = func() any { return newPassage(u) }
	return u
}

var (
	errUpgrade       = errors.New("upgrade of the connection is not offered here")
	errBodyTooLarge  = errors.New("body is larger than the route's max_body")
	errTokenRefused  = errors.New("upstream answered 401 although it was sent a token")
	errUpstreamStall = errors.New("upstream took no more of the body in time")
)

// stepUp is the cause of problem step-up: what an upstream asks of the authentication (RFC 9470 section 3).
type stepUp struct {
	ACRValues, MaxAge string
	Provider          string // who is to do it; "": the default one
}

// stepUp is what the challenge asks of somebody whom provider has signed in; nil where it asks for nothing of the kind.
func (c challenge) stepUp(provider string) *stepUp {
	if c.err != "insufficient_user_authentication" {
		return nil
	}
	return &stepUp{ACRValues: c.acrValues, MaxAge: c.maxAge, Provider: provider}
}

func (*stepUp) Error() string { return "upstream wants a stronger or fresher authentication" }

// params are those of the login_url.
func (s *stepUp) params() url.Values {
	params := url.Values{}
	for name, value := range map[string]string{"acr_values": s.ACRValues, "max_age": s.MaxAge, "provider": s.Provider} {
		if value != "" {
			params.Set(name, value)
		}
	}
	return params
}

// serveUpstream forwards a request whose path is canonical and matched this route. bearer is "" when the upstream gets no token.
func (c *compiledRoute) serveUpstream(w http.ResponseWriter, r *http.Request, path string, bearer secret.Text, fwd forwarded) {
	u := c.upstream
	if len(r.Header["Upgrade"]) > 0 {
		w.Header().Set("Connection", "close") // RFC 9931: what follows on it may not be HTTP
		u.fail(w, r, problemBadRequest, errUpgrade)
		return
	}
	if r.ContentLength > u.maxBody {
		u.fail(w, r, problemBodyTooLarge, errBodyTooLarge)
		return
	}
	var body *upload
	if r.ContentLength != 0 && r.Body != nil {
		ctx, cancel := context.WithCancelCause(r.Context())
		defer cancel(nil)
		body = newUpload(r.Body, u.maxBody, c.Timeout, cancel)
		defer body.done()
		// An upstream may begin to answer while it still reads; the server would cut the body off then.
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 always is
		r = r.WithContext(ctx)
	}
	p := u.passages.Get().(*passage)
	defer p.release()
	p.w, p.r, p.path, p.fwd, p.body = w, r, path, fwd, body
	p.send(bearer)
	if p.again {
		fresh, err := fwd.Remint(r.Context())
		if err != nil {
			u.fail(w, r, problemUpstreamRefused, fmt.Errorf("mint another token: %w", err))
			return
		}
		p.fwd.Remint = nil // once
		p.send(fresh)
	}
}

// passage is one request on its way through a ReverseProxy, whose hooks have no other way to know which request they are called
// for than its context, at the price of copying the request. Passages are pooled, with the hooks bound to them: no hook is
// called after ReverseProxy.ServeHTTP has returned.
//
// It is the ResponseWriter of the proxy, too, which keeps 1xx responses away from w: with each, ReverseProxy would send all
// headers that are set on w already, and then clear them.
type passage struct {
	upstream *upstream
	proxy    httputil.ReverseProxy
	in       http.Request // what the proxy gets for r: with nothing in it that it would copy
	interim  http.Header  // what the proxy gets for w's headers, until the final ones
	final    bool         // those have been written
	trails   bool         // trailers may follow the response's body

	w      http.ResponseWriter
	r      *http.Request
	path   string
	fwd    forwarded
	body   *upload // nil without one
	bearer string  // the Authorization header's value
	again  bool    // the upstream refused the token, and the request can be sent with another

	followed func() // to be called when the answer is over; nil: its session is not followed
}

func newPassage(u *upstream) *passage {
	p := &passage{upstream: u, interim: http.Header{}}
	p.proxy = httputil.ReverseProxy{
		Rewrite:        p.rewrite,
		Transport:      u.transport,
		ModifyResponse: p.modify,
		ErrorHandler:   p.failed,
		ErrorLog:       u.errorLog,
		BufferPool:     buffers,
	}
	return p
}

// release forgets the request, so that the pool keeps nothing of it alive.
func (p *passage) release() {
	if p.followed != nil {
		p.followed()
	}
	p.w, p.r, p.path, p.fwd, p.body, p.bearer, p.again = nil, nil, "", forwarded{}, nil, "", false
	p.in, p.final, p.trails, p.followed = http.Request{}, false, false, nil
	clear(p.interim)
	p.upstream.passages.Put(p)
}

func (p *passage) send(bearer secret.Text) {
	p.again, p.bearer = false, ""
	if bearer != "" {
		p.bearer = "Bearer " + bearer.Reveal()
	}
	p.in = *p.r
	p.in.URL, p.in.Header, p.in.Trailer = noURL, nil, nil
	p.proxy.ServeHTTP(p, &p.in)
	if p.trails && p.final { // what follows may be another than was announced
		maps.DeleteFunc(p.w.Header(), func(name string, _ []string) bool { return !mayTrail(strings.TrimPrefix(name, http.TrailerPrefix)) })
	}
}

// noURL is copied by ReverseProxy, and replaced by rewrite.
var noURL = &url.URL{}

func (p *passage) rewrite(pr *httputil.ProxyRequest) {
	u, out := p.upstream, pr.Out
	*out.URL = u.address(p.r, p.path)
	out.Host = ""
	out.Header = u.requestHeaders(p.r.Header, p.bearer, &p.fwd)
	if p.body != nil {
		out.Body = p.body
	}
}

// address is where a request goes. Opaque is sent as it is: the upstream gets, byte for byte, what was decided on.
func (u *upstream) address(r *http.Request, path string) url.URL {
	path = u.base + path[len(u.strip):]
	if path == "" {
		path = "/"
	}
	return url.URL{Scheme: u.target.Scheme, Host: u.target.Host, Opaque: path, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
}

// modify is called with every response of the upstream but 1xx ones. It moves the headers to w itself, so that the proxy
// finds none to copy.
func (p *passage) modify(res *http.Response) error {
	if p.body != nil {
		p.body.done()
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		return errUpgrade // nobody asked for it
	}
	if res.StatusCode == http.StatusUnauthorized && p.bearer != "" {
		return p.refused(res)
	}
	maps.DeleteFunc(res.Trailer, func(name string, _ []string) bool { return !mayTrail(name) })
	if len(res.Trailer) > 0 {
		delete(res.Header, "Content-Length") // in HTTP/1.1 trailers follow only a body whose length was not told
	}
	p.trails = len(res.Trailer) > 0 || res.ContentLength < 0 || res.ProtoMajor == 2
	p.upstream.takeResponseHeaders(p.w.Header(), res.Header, p.fwd.Session)
	p.follow(res)
	return nil
}

const maxDrained = 4 << 10

// refused turns an upstream's 401 into what the browser may take for the truth: it is not signed out.
func (p *passage) refused(res *http.Response) error {
	if 0 < res.ContentLength && res.ContentLength <= maxDrained {
		_, _ = io.CopyN(io.Discard, res.Body, res.ContentLength) // what is read to its end leaves its connection for the next
	}
	challenge := parseBearerChallenge(res.Header["Www-Authenticate"])
	if step := challenge.stepUp(p.fwd.Provider); step != nil {
		return step
	}
	p.again = challenge.err == "invalid_token" && p.fwd.Remint != nil && p.body == nil
	return errTokenRefused
}

func (p *passage) Header() http.Header {
	if p.final {
		return p.w.Header() // of trailers
	}
	return p.interim
}

func (p *passage) WriteHeader(code int) {
	if code < 200 {
		return // the caller clears interim
	}
	maps.Copy(p.w.Header(), p.interim) // Trailer: the others are there, see modify
	p.final = true
	p.w.WriteHeader(code)
}

func (p *passage) Write(b []byte) (int, error) { return p.w.Write(b) }

// Unwrap lets http.ResponseController flush.
func (p *passage) Unwrap() http.ResponseWriter { return p.w }

// failed is called when there is no response to pass on.
func (p *passage) failed(w http.ResponseWriter, _ *http.Request, err error) {
	if p.again {
		return
	}
	network, isNetwork := errors.AsType[net.Error](err)
	_, isStepUp := errors.AsType[*stepUp](err)
	switch cause := context.Cause(p.r.Context()); {
	case p.body != nil && p.body.tooLarge.Load():
		p.upstream.fail(w, p.r, problemBodyTooLarge, errBodyTooLarge)
	case errors.Is(cause, errUpstreamStall):
		p.upstream.fail(w, p.r, problemUpstreamTimeout, errUpstreamStall)
	case p.body.clientsFault(p.r.Context()) != nil:
		w.Header().Set("Connection", "close") // where the next request begins nobody knows
		p.upstream.fail(w, p.r, problemBadRequest, p.body.clientsFault(p.r.Context()))
	case cause != nil:
		panic(http.ErrAbortHandler) // the client is gone: nobody is to blame, nobody to answer
	case isStepUp:
		p.upstream.fail(w, p.r, problemStepUp, err)
	case errors.Is(err, errTokenRefused):
		p.upstream.fail(w, p.r, problemUpstreamRefused, err)
	case isNetwork && network.Timeout():
		p.upstream.fail(w, p.r, problemUpstreamTimeout, err)
	default:
		p.upstream.fail(w, p.r, problemUpstreamUnavailable, err)
	}
}

// buffers are what response bodies are copied through.
var buffers = &bufferPool{}

type bufferPool struct{ pool sync.Pool }

type buffer [32 << 10]byte

func (b *bufferPool) Get() []byte {
	if buf, ok := b.pool.Get().(*buffer); ok {
		return buf[:]
	}
	return new(buffer)[:]
}

func (b *bufferPool) Put(buf []byte) { b.pool.Put((*buffer)(buf)) }
