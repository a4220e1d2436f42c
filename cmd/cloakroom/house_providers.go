package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange"
	"cloakroom/provider"
	"cloakroom/token"
)

// meetProviders makes a client of each provider; none has to answer yet.
func (g *grounds) meetProviders() error {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloakroom_provider_requests_total", Help: "Requests to OpenID providers and further issuers.",
	}, []string{"provider", "endpoint", "outcome"})
	g.registry.MustRegister(requests)
	g.countRequests = func(name string) func(endpoint, outcome string) {
		return func(endpoint, outcome string) { requests.WithLabelValues(name, endpoint, outcome).Inc() }
	}
	for _, c := range g.opened.Providers {
		p, err := provider.New(provider.Config{
			Name: c.Name, Issuer: c.Issuer, Profile: c.Profile, ClientID: c.ClientID, ClientSecret: c.ClientSecret, AuthMethod: c.AuthMethod,
			Scopes: c.Scopes, Audience: c.Audience, Resource: c.Resource, AuthorizationParams: c.AuthorizationParams,
			Algorithms: c.Algorithms, RequirePKCE: c.RequirePKCE, UserInfo: c.UserInfo, IDTokenHint: c.IDTokenHint,
			AccessTokenValidation: c.AccessTokenValidation, AcceptedAudiences: c.AcceptedAudiences, AcceptedClients: c.AcceptedClients,
			Endpoints: c.Endpoints, ClockSkew: c.ClockSkew, Timeout: c.Timeout, CAFile: c.CAFile, Proxy: c.Proxy.Reveal(),
			Egress: g.opened.Limits.EgressAllow, Now: g.now,
			Observe: g.countRequests(c.Name),
			Warn:    func(message string) { g.log.Warn(message, "provider", c.Name) }, //nolint:sloglint // one of provider's own sentences
		})
		if err != nil {
			return err
		}
		g.providers = append(g.providers, p)
	}
	return nil
}

// meetIssuers makes the further issuers that tokens are accepted of, beside the providers.
func (h *house) meetIssuers() error {
	for _, c := range h.file.Issuers {
		cfg := provider.IssuerConfig{
			Name: c.Name, Issuer: c.Issuer, JWKSURI: c.JWKSURI, Audiences: c.Audiences, Algorithms: c.Algorithms,
			Egress: h.file.Limits.EgressAllow, Now: h.now, Observe: h.countRequests(c.Name),
		}
		if kept := h.keptIssuer(c); kept != nil {
			h.issuers = append(h.issuers, kept)
			continue
		}
		if c.JWKSFile != "" {
			content, err := os.ReadFile(c.JWKSFile)
			if err != nil {
				return fmt.Errorf("issuer %s: jwks_file: %w", c.Name, err)
			}
			if cfg.Keys, err = token.ParseJWKS(content); err != nil {
				return fmt.Errorf("issuer %s: jwks_file: %w", c.Name, err)
			}
		}
		issuer, err := provider.NewIssuer(cfg)
		if err != nil {
			return err
		}
		h.issuers = append(h.issuers, issuer)
	}
	return nil
}

// keptIssuer is the issuer of the house before, where nothing has changed for it: it has the keys already, and may be down.
func (h *house) keptIssuer(c config.Issuer) *provider.Issuer {
	if h.before == nil || c.JWKSFile != "" || !slices.Equal(h.before.file.Limits.EgressAllow, h.file.Limits.EgressAllow) {
		return nil
	}
	for i, was := range h.before.file.Issuers {
		if reflect.DeepEqual(was, c) {
			return h.before.issuers[i]
		}
	}
	return nil
}

// trusted lets the exchange examine the tokens of the providers and of the further issuers.
func (h *house) trusted() []exchange.TrustedIssuer {
	var all []exchange.TrustedIssuer
	for _, p := range h.providers {
		all = append(all, exchange.TrustedIssuer{Name: p.Name(), Issuer: p.Issuer(), Verifier: examiner{p}, Opaque: p.TakesOpaque()})
	}
	for i, further := range h.issuers {
		people := further.Issuer()
		for _, p := range h.providers {
			if p.Name() == h.file.Issuers[i].SubjectIssuer {
				people = p.Issuer()
			}
		}
		all = append(all, exchange.TrustedIssuer{Name: further.Name(), Issuer: further.Issuer(), Verifier: ticketExaminer{further, people}})
	}
	return all
}

// examiner examines a provider's tokens for the exchange.
type examiner struct{ provider *provider.Provider }

func (e examiner) Verify(ctx context.Context, t exchange.Presented) (exchange.Verified, error) {
	var subject provider.Subject
	var err error
	switch t.As {
	case exchange.AccessToken:
		subject, err = e.provider.VerifyAccessToken(ctx, provider.Presented{Raw: t.Raw, Read: t.Read, ID: t.ID})
	case exchange.IDToken:
		subject, err = e.provider.VerifyIDToken(ctx, t.Read)
	default:
		err = fmt.Errorf("%w: %s of a provider", exchange.ErrUnacceptable, t.As)
	}
	return verified(subject, e.provider.Issuer()), judged(err)
}

// ticketExaminer examines a further issuer's tokens for the exchange. They are JWTs and nothing more: what such an issuer
// calls an access token or an ID token is for others.
type ticketExaminer struct {
	issuer *provider.Issuer
	people string // the issuer of the people they speak of
}

func (e ticketExaminer) Verify(ctx context.Context, t exchange.Presented) (exchange.Verified, error) {
	if t.As != exchange.JWT {
		return exchange.Verified{}, fmt.Errorf("%w: %s of a further issuer", exchange.ErrUnacceptable, t.As)
	}
	subject, err := e.issuer.Verify(ctx, t.Read)
	v := verified(subject, e.people)
	v.Further = true
	return v, judged(err)
}

// verified is a verified token in the exchange's words.
func verified(s provider.Subject, people string) exchange.Verified {
	return exchange.Verified{
		Claims: s.Claims, Client: s.Client, Scope: s.Scope, Expires: s.Expiry, IDP: people, Algorithm: s.Algorithm, UserInfo: s.UserInfo,
	}
}

// judged keeps apart what was refused and what could not be examined.
func judged(err error) error {
	if errors.Is(err, provider.ErrRejected) {
		return fmt.Errorf("%w: %w", exchange.ErrUnacceptable, err)
	}
	return err
}
