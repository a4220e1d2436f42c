package exchangehttp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	jose "github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"cloakroom/internal/egress"
	"cloakroom/secret"
	"cloakroom/token"
)

// ClientConfig is who a service is at the exchange.
type ClientConfig struct {
	Endpoint  string // of tokens: https://cloakroom:8081/oauth2/token
	PlainHTTP bool   // http is accepted for a host beyond this machine: what is in between encrypts
	ID        string // the service's name under exchange.clients

	// One of the two is what the service authenticates with. A Key has KeyID and Algorithm; it signs for Endpoint, which
	// must then be the exchange's own name for it.
	Secret secret.Text
	Key    *jose.JSONWebKey

	// HTTP sends; nil is a client with the environment's proxy and the system's roots. Redirects are never followed.
	HTTP    *http.Client
	Timeout time.Duration // of a whole call; 0: 5 s
	Cached  int           // at most so many tokens are kept; 0: 4096
}

// Client exchanges tokens for a service: it asks Cloakroom's token endpoint, and keeps the answers for as long as they are
// good. Answers are kept under everything that was asked, so that a token reaches nobody but who asked for just that; the same
// request at the same time is sent once. One Client serves the whole process, concurrently.
type Client struct {
	cfg     ClientConfig
	proof   proof
	http    *http.Client
	cache   *tokenCache
	flights singleflight.Group
}

// NewClient checks the configuration. It asks nothing of the network.
func NewClient(cfg ClientConfig) (*Client, error) {
	endpoint, err := url.Parse(cfg.Endpoint)
	switch {
	case err != nil || endpoint.Host == "" || endpoint.User != nil || endpoint.RawQuery != "" || strings.Contains(cfg.Endpoint, "#"):
		return nil, errors.New("exchange client: the endpoint is not an absolute URL without user, query and fragment")
	case endpoint.Scheme != "https" && endpoint.Scheme != "http":
		return nil, errors.New("exchange client: the endpoint is neither https nor http")
	case endpoint.Scheme == "http" && !cfg.PlainHTTP && !egress.Loopback(endpoint.Hostname()):
		return nil, errors.New("exchange client: tokens would go over plain http: use https, or set PlainHTTP")
	}
	who, err := newProof(cfg)
	if err != nil {
		return nil, fmt.Errorf("exchange client: %w", err)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Cached <= 0 {
		cfg.Cached = 4096
	}
	c := &Client{cfg: cfg, proof: who, http: &http.Client{}, cache: newTokenCache(cfg.Cached)}
	if cfg.HTTP != nil {
		*c.http = *cfg.HTTP
	}
	// Followed, a redirect would take credentials and tokens to whoever it names.
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	c.http.Jar = nil
	return c, nil
}

// Exchange returns a token for what is asked, from the cache while that is good. The error is an *Error where the exchange
// answered without a token.
func (c *Client) Exchange(ctx context.Context, r Request) (Token, error) {
	form, err := r.form()
	if err != nil {
		return Token{}, fmt.Errorf("exchange: %w", err)
	}
	t, err := c.answer(ctx, keyOf(c.cfg.ID, form), form)
	var refused *Error
	if err != nil && !errors.As(err, &refused) {
		return Token{}, fmt.Errorf("exchange: %w", err)
	}
	return t, err
}

// forget drops the token that a request was answered with, since its audience does not take it.
func (c *Client) forget(r Request, t Token) {
	if form, err := r.form(); err == nil {
		c.cache.forget(keyOf(c.cfg.ID, form), t)
	}
}

// answer finds the answer, or asks for it. Who waits for the same answer shares one call, which ends with none of them:
// whoever gives up must not take the others with it.
func (c *Client) answer(ctx context.Context, key requestKey, form url.Values) (Token, error) {
	if a, ok := c.cache.find(key, wallClock()); ok {
		return a.result()
	}
	flight := c.flights.DoChan(string(key[:]), func() (any, error) {
		if a, ok := c.cache.find(key, wallClock()); ok { // of a flight that landed just now
			return a.result()
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
		defer cancel()
		return c.ask(ctx, key, form)
	})
	select {
	case <-ctx.Done():
		return Token{}, context.Cause(ctx)
	case landed := <-flight:
		t, _ := landed.Val.(Token)
		return t, landed.Err
	}
}

// result is an answer as it was given.
func (a cached) result() (Token, error) {
	if a.refused != nil {
		refused := *a.refused
		return Token{}, &refused
	}
	return a.token, nil
}

// ask sends the request and keeps the answer.
func (c *Client) ask(ctx context.Context, key requestKey, form url.Values) (Token, error) {
	sent := wallClock()
	req, err := c.proof.request(form, sent)
	if err != nil {
		return Token{}, err
	}
	resp, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return Token{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("read the answer: %w", err)
	case len(body) > maxBody:
		return Token{}, errors.New("the answer is too large")
	}
	if resp.StatusCode != http.StatusOK {
		refused := errorOf(resp.StatusCode, resp.Header, body, wallClock())
		c.cache.keep(key, Token{}, refused, sent, wallClock())
		return cached{refused: refused}.result()
	}
	t, err := tokenOf(body, form, sent)
	if err == nil {
		c.cache.keep(key, t, nil, sent, wallClock())
	}
	return t, err
}

// maxLife bounds what is believed of `expires_in`.
const maxLife = 365 * 24 * time.Hour

// tokenOf reads an answer with a token (RFC 8693 section 2.2.1).
func tokenOf(body []byte, form url.Values, sent time.Time) (Token, error) {
	var g granted
	if err := json.Unmarshal(body, &g); err != nil {
		return Token{}, errors.New("the answer is not the JSON it must be")
	}
	switch {
	case g.Token == "" || len(g.Token) > token.MaxSize:
		return Token{}, errors.New("an answer without a token, or with one that is too long")
	case !strings.EqualFold(g.Type, "Bearer"):
		return Token{}, errors.New("token_type is not Bearer: the token cannot be used by who bears it")
	case g.Issued == "":
		return Token{}, errors.New("an answer without issued_token_type")
	}
	t := Token{Value: secret.Text(g.Token), Type: g.Issued, Scope: token.ParseScope(g.Scope)}
	if g.Scope == "" { // it is what was asked for (RFC 8693 section 2.2.1)
		t.Scope = token.ParseScope(form.Get("scope"))
	}
	if g.ExpiresIn > 0 {
		t.Expires = sent.Add(time.Duration(min(g.ExpiresIn, int64(maxLife/time.Second))) * time.Second)
	}
	return t, nil
}

// wallClock is the time without the monotonic clock, which stands still while a machine sleeps; tokens expire all the same.
func wallClock() time.Time { return time.Now().Round(0) }
