package provider

import (
	"context"
	"errors"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"cloakroom/secret"
	"cloakroom/token"
)

const (
	defaultLifetime = 5 * time.Minute // where the provider does not say, or says nothing sensible
	maxLifetime     = 24 * time.Hour
	maxTokenSize    = 256 << 10
)

// response is a successful token response (RFC 6749 section 5.1), its form checked and its tokens not yet verified.
type response struct {
	access, refresh, id secret.Text // refresh, id: empty where there is none
	expiry              time.Time
	scope               token.Scope // nil: not told, so what was asked for
}

// askToken calls the token endpoint. Neither a code nor a rotated refresh token can be had twice, so a caller who goes away
// cancels nothing (security.md 0.5d); the client's own timeout ends it.
func (p *Provider) askToken(ctx context.Context, call func(ctx context.Context) (*oauth2.Token, error)) (response, error) {
	got, err := call(p.boxed(context.WithoutCancel(ctx), EndpointToken))
	var r response
	if err != nil {
		err = p.failed(EndpointToken, err)
	} else {
		r, err = p.read(got)
	}
	p.ended(ctx, EndpointToken, err)
	return r, err
}

// read checks the form of what x/oauth2 lets pass.
func (p *Provider) read(got *oauth2.Token) (response, error) {
	nonsense := func(reason string) (response, error) {
		return response{}, p.fail(ErrNonsense, EndpointToken, reason)
	}
	if !strings.EqualFold(got.TokenType, "Bearer") {
		return nonsense("token_type is not Bearer")
	}
	r := response{access: secret.Text(got.AccessToken)}
	for _, one := range []struct {
		name string
		into *secret.Text
	}{{"refresh_token", &r.refresh}, {"id_token", &r.id}} {
		switch value := got.Extra(one.name).(type) {
		case nil:
		case string:
			*one.into = secret.Text(value)
		default:
			return nonsense(one.name + " is not a string")
		}
	}
	for _, one := range []secret.Text{r.access, r.refresh, r.id} {
		if len(one) > maxTokenSize || strings.ContainsFunc(one.Reveal(), func(c rune) bool { return c <= ' ' || c > '~' }) {
			return nonsense("a token is too long, or not of printable characters")
		}
	}
	switch scope := got.Extra("scope").(type) {
	case nil:
	case string:
		if scope != "" {
			r.scope = token.ParseScope(scope)
		}
	default:
		return nonsense("scope is not a string")
	}
	r.expiry = p.cfg.Now().Add(lifetime(got))
	return r, nil
}

// lifetime reads expires_in (security.md B3.13). To x/oauth2 a missing one means "for ever".
func lifetime(got *oauth2.Token) time.Duration {
	var seconds float64
	switch n := got.Extra("expires_in").(type) {
	case float64:
		seconds = n
	case string: // x/oauth2 read it as a number already
		seconds = float64(got.ExpiresIn)
	}
	if math.IsNaN(seconds) || seconds <= 0 {
		return defaultLifetime
	}
	return time.Duration(min(seconds, maxLifetime.Seconds())) * time.Second
}

// errorCodes are what an error response may say (RFC 6749 section 5.2, RFC 8707, RFC 7009, OIDC Core 3.1.2.6); anything
// else a provider writes stays out of our logs.
var errorCodes = []string{
	"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
	"invalid_target", "unsupported_token_type", "access_denied", "server_error", "temporarily_unavailable", "slow_down",
}

func (p *party) failedOAuth(endpoint string, refusal *oauth2.RetrieveError) error {
	status := http.StatusOK
	if refusal.Response != nil {
		status = refusal.Response.StatusCode
	}
	return p.failedCode(endpoint, status, refusal.ErrorCode)
}

// failedCode says what an error response means. What is wrong with us as a client is the operator's to mend, so sessions
// outlive it (security.md B3.18).
func (p *party) failedCode(endpoint string, status int, code string) error {
	reason := answered(status)
	if slices.Contains(errorCodes, code) {
		reason += ", " + code
	} else if code != "" {
		reason += ", an error code of its own"
	}
	if status < 400 { // an error with 200
		return p.fail(ErrNonsense, endpoint, reason)
	}
	switch {
	case endpoint == EndpointIntrospection && code == "unsupported_token_type": // oidc-provider's word for a JWT
		return p.fail(ErrRejected, endpoint, reason)
	case code == "invalid_grant":
		return p.fail(ErrRefused, endpoint, reason)
	case code == "invalid_client", code == "unauthorized_client", code == "" && status == http.StatusUnauthorized:
		return p.fail(ErrUnavailable, endpoint, reason+": the provider does not accept our client id, secret or authentication method")
	case code == "server_error", code == "temporarily_unavailable", code == "slow_down":
		return p.fail(ErrUnavailable, endpoint, reason)
	}
	return p.fail(ErrNonsense, endpoint, reason)
}

// redeem spends a code. It is sent once, whatever happens.
func (p *Provider) redeem(ctx context.Context, m *metadata, r Redemption) (response, error) {
	return p.askToken(ctx, func(ctx context.Context) (*oauth2.Token, error) {
		options := []oauth2.AuthCodeOption{oauth2.VerifierOption(r.Verifier)}
		if p.cfg.Resource != "" {
			options = append(options, oauth2.SetAuthURLParam("resource", p.cfg.Resource))
		}
		return p.oauth(m, r.RedirectURI).Exchange(ctx, r.Code, options...)
	})
}

// renew spends a refresh token. It is sent a second time only where the first provably did not leave (security.md B3.11).
func (p *Provider) renew(ctx context.Context, m *metadata, refresh secret.Text) (response, error) {
	r, err := p.askToken(ctx, func(ctx context.Context) (*oauth2.Token, error) {
		source := func() oauth2.TokenSource {
			return p.oauth(m, "").TokenSource(ctx, &oauth2.Token{RefreshToken: refresh.Reveal()})
		}
		got, err := source().Token()
		if err != nil && unsent(err) && !errors.Is(err, errEgress) {
			got, err = source().Token()
		}
		return got, err
	})
	if err == nil && r.refresh == "" {
		r.refresh = refresh // not rotated (B3.17)
	}
	return r, err
}
