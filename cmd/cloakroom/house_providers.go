package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/exchange"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/token"
)

// meetProviders makes a client of each provider; none has to answer yet.
func (h *house) meetProviders() error {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloakroom_provider_requests_total", Help: "Requests to OpenID providers.",
	}, []string{"provider", "endpoint", "outcome"})
	h.registry.MustRegister(requests)
	for _, c := range h.file.Providers {
		p, err := provider.New(provider.Config{
			Name: c.Name, Issuer: c.Issuer, Profile: c.Profile, ClientID: c.ClientID, ClientSecret: c.ClientSecret, AuthMethod: c.AuthMethod,
			Scopes: c.Scopes, Audience: c.Audience, Resource: c.Resource, AuthorizationParams: c.AuthorizationParams,
			Algorithms: c.Algorithms, RequirePKCE: c.RequirePKCE, UserInfo: c.UserInfo, IDTokenHint: c.IDTokenHint,
			AccessTokenValidation: c.AccessTokenValidation, AcceptedAudiences: c.AcceptedAudiences, AcceptedClients: c.AcceptedClients,
			Endpoints: c.Endpoints, ClockSkew: c.ClockSkew, Timeout: c.Timeout, CAFile: c.CAFile, Proxy: c.Proxy.Reveal(),
			Egress: h.file.Limits.EgressAllow, Now: time.Now,
			Observe: func(endpoint, outcome string) { requests.WithLabelValues(c.Name, endpoint, outcome).Inc() },
			Warn:    func(message string) { h.log.Warn(message, "provider", c.Name) },
		})
		if err != nil {
			return err
		}
		h.providers = append(h.providers, p)
	}
	return nil
}

// trusted lets the exchange examine the tokens of the providers.
func (h *house) trusted() []exchange.TrustedIssuer {
	var all []exchange.TrustedIssuer
	for _, p := range h.providers {
		all = append(all, exchange.TrustedIssuer{Name: p.Name(), Issuer: p.Issuer(), Verifier: examiner{p}})
	}
	return all
}

// examiner examines a provider's tokens for the exchange.
type examiner struct{ provider *provider.Provider }

func (e examiner) Verify(ctx context.Context, raw secret.Text, as exchange.TokenType) (exchange.Verified, error) {
	header, _, err := token.Inspect(raw.Reveal())
	if err != nil {
		return exchange.Verified{}, err
	}
	v := exchange.Verified{IDP: e.provider.Issuer(), Algorithm: header.Algorithm}
	switch as {
	case exchange.AccessToken:
		subject, err := e.provider.VerifyAccessToken(ctx, raw.Reveal())
		if err != nil {
			return v, judged(err)
		}
		v.Claims, v.Client, v.Scope, v.Expires = subject.Claims, subject.Client, subject.Scope, subject.Expiry
	case exchange.IDToken:
		claims, err := e.provider.VerifyIDToken(ctx, raw.Reveal(), provider.IDTokenOptions{})
		if err != nil {
			return v, judged(err)
		}
		v.Claims, v.Client = claims, claims.Text("azp")
		if audience := claims.Audience(); v.Client == "" && len(audience) == 1 {
			v.Client = audience[0]
		}
		v.Expires, _ = claims.Time("exp")
	default:
		return v, fmt.Errorf("%w: %s of a provider", exchange.ErrUnacceptable, as)
	}
	return v, nil
}

// judged keeps apart what was refused and what could not be examined.
func judged(err error) error {
	if errors.Is(err, provider.ErrRejected) {
		return fmt.Errorf("%w: %w", exchange.ErrUnacceptable, err)
	}
	return err
}
