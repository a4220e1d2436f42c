package exchangehttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"cloakroom/secret"
)

// Transport sends requests to the next service on behalf of whoever this service was called for: each with a token that is
// exchanged for the one this service was called with. It sends nothing without one, and passes no other Authorization on.
type Transport struct {
	Client *Client
	// Ask says what to ask for: audience, scope. Its Subject is filled in.
	Ask Request
	// Subject finds the token this service was called with; nil: the one that WithSubject put into the request's context.
	Subject func(*http.Request) (secret.Text, error)
	// Base sends; nil: http.DefaultTransport.
	Base http.RoundTripper
}

type subjectKey struct{}

// WithSubject puts the token that this service was called with, and has verified, into the context of what it does for it.
func WithSubject(ctx context.Context, verified secret.Text) context.Context {
	return context.WithValue(ctx, subjectKey{}, verified)
}

// RoundTrip implements http.RoundTripper. Its error wraps an *Error where the exchange answered without a token.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.send(r)
	if err != nil && r.Body != nil {
		_ = r.Body.Close() // whatever happens, as RoundTripper prescribes; what is closed twice does not mind
	}
	return resp, err
}

func (t *Transport) send(r *http.Request) (*http.Response, error) {
	if err := sameOrigin(r); err != nil {
		return nil, err
	}
	ask := t.Ask
	var err error
	if ask.Subject, err = t.subject(r); err != nil {
		return nil, fmt.Errorf("exchange: subject: %w", err)
	}
	exchanged, err := t.Client.Exchange(r.Context(), ask)
	if err != nil {
		return nil, err
	}
	out := r.Clone(r.Context()) // a RoundTripper must leave the request as it is
	out.Header.Set("Authorization", "Bearer "+exchanged.Value.Reveal())
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(out)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		t.Client.forget(ask, exchanged) // the next try gets a new one: keys may have changed, the session have ended
	}
	return resp, err
}

func (t *Transport) subject(r *http.Request) (secret.Text, error) {
	if t.Subject != nil {
		return t.Subject(r)
	}
	subject, _ := r.Context().Value(subjectKey{}).(secret.Text)
	if subject == "" {
		return "", errors.New("the request's context has none: WithSubject puts it there")
	}
	return subject, nil
}

// sameOrigin refuses a redirect to another place than the service that the token is for: http.Client would leave out the
// Authorization it was given, and here it would get a new one.
func sameOrigin(r *http.Request) error {
	if r.Response == nil { // no redirect led to it
		return nil
	}
	before := r.Response.Request
	if before == nil || origin(before.URL) != origin(r.URL) {
		return errors.New("exchange: redirected to another origin, which the token is not for")
	}
	return nil
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }
