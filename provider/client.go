package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"cloakroom/internal/retryafter"
	"cloakroom/internal/roots"
	"cloakroom/internal/span"
)

// maxAnswer bounds an answer once it is decompressed: a few hundred KiB of gzip can otherwise become a GiB
// (security.md 0.6, B3.9).
const maxAnswer = 1 << 20

// client is the one way to a party: bounded in time and size, without redirects, over TLS 1.2 or later, to addresses
// that egress permits. go-oidc and x/oauth2 get it too, since they bound nothing themselves.
type client struct {
	name      string // of the party, as the configuration calls it
	transport *http.Transport
	timeout   time.Duration
	egress    *boundary
}

func newClient(cfg Config, issuer *url.URL) (*client, error) {
	authorities, err := roots.Read(cfg.CAFile)
	if err != nil {
		return nil, fmt.Errorf("ca file: %w", err)
	}
	out := newBoundary(cfg, issuer)
	proxy, err := proxyFor(cfg.Proxy, out)
	if err != nil {
		return nil, err
	}
	return &client{name: cfg.Name, timeout: cfg.Timeout, egress: out, transport: &http.Transport{
		Proxy:                  proxy,
		DialContext:            out.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities},
		TLSHandshakeTimeout:    cfg.Timeout,
		ResponseHeaderTimeout:  cfg.Timeout,
		MaxResponseHeaderBytes: 64 << 10,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        90 * time.Second,
		ForceAttemptHTTP2:      true,
	}}, nil
}

// proxyFor yields the proxy only the operator chooses: the configured one, otherwise the environment's. Its host counts
// as named by the configuration.
func proxyFor(configured string, out *boundary) (func(*http.Request) (*url.URL, error), error) {
	choose := http.ProxyFromEnvironment
	if configured != "" {
		u, err := url.Parse(configured)
		if err != nil || u.Host == "" {
			return nil, errors.New("proxy is not a URL")
		}
		choose = http.ProxyURL(u)
	}
	return func(r *http.Request) (*url.URL, error) {
		u, err := choose(r)
		if err == nil && u != nil {
			out.name(u)
		}
		return u, err
	}, nil
}

var (
	jsonEndpoints     = map[string]bool{EndpointToken: true, endpointDiscovery: true}
	refusingEndpoints = map[string]bool{EndpointToken: true, EndpointRevocation: true, EndpointIntrospection: true} // their 4xx say why (RFC 6749 section 5.2)
)

// at returns the client for one endpoint.
func (c *client) at(endpoint string) *http.Client {
	return &http.Client{
		// box makes an error of a redirect before this is asked; that none is followed must not hang on box alone.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport:     &box{party: c.name, endpoint: endpoint, transport: c.transport, json: jsonEndpoints[endpoint], refusals: refusingEndpoints[endpoint]},
		Timeout:       c.timeout,
	}
}

// answer is a whole answer, read.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do sends a request of our own.
func (c *client) do(ctx context.Context, endpoint string, r *http.Request) (answer, error) {
	resp, err := c.at(endpoint).Do(r.WithContext(ctx))
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body) // box has read it already
	return answer{resp.StatusCode, resp.Header, body}, err
}

var (
	errTooBig = errors.New("the answer is larger than 1 MiB")
	errBroken = errors.New("the answer breaks off or does not decompress")
)

// statusError is an answer whose status alone decides.
type statusError struct {
	status int
	after  time.Duration // it asks to be left alone for
}

func (e statusError) Error() string { return answered(e.status) }

func answered(status int) string { return "answered " + strconv.Itoa(status) }

const (
	mostPatience = time.Hour
	usualPause   = time.Second // where 429 comes without a word about when
)

func statusOf(resp *http.Response) statusError {
	e := statusError{status: resp.StatusCode}
	switch resp.StatusCode {
	case http.StatusTooManyRequests:
		e.after = max(retryafter.From(resp.Header, time.Now(), mostPatience), usualPause)
	case http.StatusServiceUnavailable:
		e.after = retryafter.From(resp.Header, time.Now(), mostPatience)
	}
	return e
}

// box is the transport that go-oidc and x/oauth2 see. Beyond what a transport may do, it turns into errors what these
// libraries would take for an answer: a redirect, a failing server, a body without end. They then never hold a byte of it.
type box struct {
	party, endpoint string // what it is for

	transport http.RoundTripper
	json      bool // an answer is JSON, whatever it calls itself
	refusals  bool // a 4xx answer is read
}

func (b *box) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, step := span.Begin(r.Context(), "provider", b.endpoint, "provider", b.party)
	if step.Traced() {
		r = r.WithContext(ctx)
	}
	resp, err := b.transport.RoundTrip(r)
	if err != nil {
		step.Answered(0)
		return nil, err
	}
	defer step.Answered(resp.StatusCode)
	defer func() { _ = resp.Body.Close() }()
	good := resp.StatusCode >= 200 && resp.StatusCode < 300
	if !good && !(b.refusals && isRefusal(resp.StatusCode)) {
		return nil, statusOf(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, gzip.ErrHeader), errors.Is(err, gzip.ErrChecksum):
		return nil, errBroken
	case err != nil:
		return nil, err
	case len(body) > maxAnswer:
		return nil, errTooBig
	}
	if b.json {
		// x/oauth2 would read a text/plain or form-encoded body as a token response; by RFC 6749 section 5.1 it is JSON.
		resp.Header.Set("Content-Type", "application/json")
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	return resp, nil
}

// isRefusal: a 4xx that is about the request, not about the server's load.
func isRefusal(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// failed says what an error of a call means. Texts of the libraries are not passed on: some hold the answer's body.
func (p *party) failed(endpoint string, err error) error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if status, ok := errors.AsType[statusError](err); ok {
		return p.failedStatus(endpoint, status)
	}
	if refusal, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return p.failedOAuth(endpoint, refusal)
	}
	if mismatch, ok := errors.AsType[*oidc.IssuerMismatchError](err); ok {
		return p.fail(ErrNonsense, endpoint, fmt.Sprintf("its metadata says issuer %.200q, not %q", mismatch.Discovered, mismatch.Provided))
	}
	for _, nonsense := range []error{errTooBig, errBroken, errEgress} {
		if errors.Is(err, nonsense) {
			return p.lost(ErrNonsense, endpoint, nonsense.Error(), err)
		}
	}
	_, transport := errors.AsType[*url.Error](err)
	if transport || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return p.lost(ErrUnavailable, endpoint, transportReason(err), err)
	}
	return p.fail(ErrNonsense, endpoint, "the answer is not what it must be")
}

// lost is fail, for a call without a whole answer.
func (p *party) lost(kind error, endpoint, reason string, err error) error {
	e := &Error{Party: p.who, Endpoint: endpoint, Reason: reason, kinds: []error{kind}}
	if endpoint == EndpointToken && !errors.Is(err, errTooBig) && !unsent(err) {
		e.kinds = append(e.kinds, ErrUncertain)
	}
	return e
}

func (p *party) failedStatus(endpoint string, answer statusError) error {
	reason, status := answer.Error(), answer.status
	switch {
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return &Error{Party: p.who, Endpoint: endpoint, Reason: reason, kinds: []error{ErrUnavailable}, after: answer.after}
	case endpoint == EndpointUserInfo && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return p.fail(ErrRefused, endpoint, reason)
	case status >= 300 && status < 400:
		return p.fail(ErrNonsense, endpoint, reason+", and redirects are not followed")
	}
	return p.fail(ErrNonsense, endpoint, reason)
}

// transportReason describes a connection's failure without quoting what came over it.
func transportReason(err error) string {
	if cert, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return cert.Error()
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return dns.Error()
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "the caller went away"
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return op.Error()
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return "it does not speak TLS"
	}
	return "the connection broke"
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// unsent tells that a request provably did not leave: no connection came about.
func unsent(err error) bool {
	if _, stranger := errors.AsType[*tls.CertificateVerificationError](err); stranger {
		return true
	}
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}
