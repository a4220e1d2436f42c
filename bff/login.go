package bff

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"cloakroom/provider"
	"cloakroom/secret"
)

// maxLoginParam bounds what /bff/login passes on, each.
const maxLoginParam = 512

// loginRequest is what a browser asks of /bff/login.
type loginRequest struct {
	provider LoginProvider
	returnTo string
	params   url.Values // passed on to the provider
	maxAge   *int64
}

// login sends a navigation to the provider (OpenID Connect Core section 3.1.2.1). Whether there is a session already does
// not matter: signing in anew is how it is replaced.
func (s *Server) login(c echo.Context, _ visitor) {
	w, r := c.Response(), c.Request()
	if isPrefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	found, ok := s.ownCookies(w, r)
	if !ok {
		return
	}
	req, bad := s.readLogin(r)
	if bad != nil {
		s.refuse(w, r, *bad)
		return
	}
	if !isNavigation(r) {
		p := problem{name: problemNoSession, login: url.Values{}}
		if name := r.URL.Query().Get("provider"); name != "" {
			p.login.Set("provider", name)
		}
		s.refuse(w, r, p)
		return
	}
	if ok, retry := s.limiter.allow(s.proxies.client(r)); !ok {
		s.refuse(w, r, problem{name: problemRateLimited, retry: retry})
		return
	}
	seed, ok := s.cookies.seed(found)
	if !ok {
		seed = secret.NewKey()
	}
	location, err := s.begin(r, req, found, seed)
	if err == nil {
		err = s.cookies.setLogin(w, seed)
	}
	switch {
	case errors.Is(err, provider.ErrUnavailable):
		s.refuse(w, r, problem{name: problemProviderUnavailable, err: err, link: link{"", "try-again"}})
	case errors.Is(err, provider.ErrNonsense): // for its metadata, by which it would be asked
		s.refuse(w, r, problem{name: problemLoginFailed, status: http.StatusBadGateway, words: "login-failed.provider", err: err, link: link{"", "try-again"}})
	case err != nil:
		s.refuse(w, r, problem{name: problemInternal, err: err})
	default:
		redirect(w, http.StatusFound, location)
	}
}

// begin starts a transaction in the browser that has the seed, and returns where at the provider it goes on.
func (s *Server) begin(r *http.Request, req loginRequest, found carried, seed secret.Key) (location string, err error) {
	t := newTransaction(seed, s.now())
	t.Provider, t.ReturnTo, t.MaxAge = req.provider.Name(), req.returnTo, req.maxAge
	t.ACR = strings.Fields(req.params.Get("acr_values"))
	t.Silent = req.params.Get("prompt") == "none"
	if ticket, _, ok := s.cookies.ticket(found); ok {
		t.Older = ticket.ID()
	}
	state, err := seal(s.secrets, loginState, t)
	if err != nil {
		return "", err
	}
	location, err = req.provider.AuthURL(r.Context(), provider.AuthRequest{
		State: state, Nonce: t.nonce(seed), Verifier: t.verifier(seed), RedirectURI: s.redirectURI(t.Provider), Params: req.params,
	})
	if err != nil {
		return "", fmt.Errorf("begin a sign-in: %w", err)
	}
	return location, nil
}

// redirectURI is one per provider: a second wall against mix-up (RFC 9700 section 4.4.2).
func (s *Server) redirectURI(provider string) string { return s.origin + callbackPath + provider }

// readLogin reads the parameters of /bff/login. What is not on the provider's list is not passed on.
func (s *Server) readLogin(r *http.Request) (loginRequest, *problem) {
	query, err := singleValues(r)
	if err != nil {
		return loginRequest{}, &problem{name: problemBadRequest, text: "Each parameter may be given once.", err: err}
	}
	req := loginRequest{provider: s.frontend.Providers[0], returnTo: "/", params: url.Values{}}
	if query.Has("provider") {
		named, ok := s.providers[query.Get("provider")]
		if !ok {
			return loginRequest{}, &problem{name: problemBadRequest, text: "There is no such provider."}
		}
		req.provider = named
	}
	if query.Has("returnTo") {
		clean, ok := cleanReturnTo(query.Get("returnTo"))
		if !ok {
			return loginRequest{}, &problem{name: problemBadReturnTo}
		}
		req.returnTo = clean
	}
	for _, name := range req.provider.LoginParams {
		value := query.Get(name)
		if value == "" {
			continue
		}
		if len(value) > maxLoginParam {
			return loginRequest{}, &problem{name: problemBadRequest, text: "A parameter is too long."}
		}
		if name == "max_age" {
			seconds, err := strconv.ParseInt(value, 10, 32)
			if err != nil || seconds < 0 {
				return loginRequest{}, &problem{name: problemBadRequest, text: "max_age is a number of seconds."}
			}
			req.maxAge = &seconds
		}
		req.params.Set(name, value)
	}
	return req, nil
}

var errDoubledParameter = errors.New("a parameter is given twice")

// singleValues reads a query in which nothing is said twice: of two values, two readers may take different ones.
func singleValues(r *http.Request) (url.Values, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, errors.New("query cannot be parsed") // the error would quote it
	}
	for _, values := range query {
		if len(values) > 1 {
			return nil, errDoubledParameter
		}
	}
	return query, nil
}
