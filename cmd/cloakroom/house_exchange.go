package main

import (
	"context"
	"crypto/rsa"
	"fmt"
	"os"
	"slices"
	"time"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange"
	"cloakroom/internal/telemetry"
	"cloakroom/token"
)

// cutKeys derives the signing keys.
func (h *house) cutKeys() error {
	signing := h.file.Exchange.Signing
	secrets := signing.Secrets
	if len(secrets) == 0 {
		secrets = h.secrets.Keys()
	}
	var rsaKeys []*rsa.PrivateKey
	for _, name := range signing.RSAKeyFiles {
		content, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("exchange.signing.rsa_key_files: %w", err)
		}
		keys, err := token.LoadRSAKeys(content)
		if err != nil {
			return fmt.Errorf("exchange.signing.rsa_key_files: %s: %w", name, err)
		}
		rsaKeys = append(rsaKeys, keys...)
	}
	var also []string
	for _, a := range h.file.Exchange.Audiences {
		if a.Algorithm != signing.Algorithm && !slices.Contains(also, a.Algorithm) {
			also = append(also, a.Algorithm)
		}
	}
	keys, err := token.NewKeyRing(token.KeyRingConfig{
		Secrets: secrets, Algorithm: signing.Algorithm, Also: also, Rotate: signing.Rotate, RSAKeys: rsaKeys, Now: time.Now,
	})
	if err != nil {
		return fmt.Errorf("exchange.signing: %w", err)
	}
	h.keys = keys
	return nil
}

// policy turns the configuration's audiences and clients into the exchange's policy.
func (h *house) policy() (*exchange.Policy, error) {
	cfg := exchange.PolicyConfig{Issuer: h.file.Exchange.Issuer}
	for _, p := range h.file.Providers {
		cfg.Providers = append(cfg.Providers, exchange.ProviderConfig{Issuer: p.Issuer, Allow: p.Allow.Source})
	}
	for _, a := range h.audiences() {
		cfg.Audiences = append(cfg.Audiences, audienceConfig(a))
	}
	for _, c := range h.file.Exchange.Clients {
		cfg.Clients = append(cfg.Clients, clientConfig(c))
	}
	if cfg.Issuer == "" { // nothing is minted: the configuration demands an issuer where anything is
		cfg.Issuer = h.file.Public.URL
	}
	policy, err := exchange.NewPolicy(cfg)
	if err != nil {
		return nil, fmt.Errorf("exchange: %w", err)
	}
	return policy, nil
}

// openExchange puts policy, keys, issuers and sessions together.
func (h *house) openExchange() error {
	policy, err := h.policy()
	if err != nil {
		return err
	}
	h.exchange, err = exchange.NewService(exchange.Config{
		Policy: policy, Keys: h.keys, Issuers: h.trusted(), Sessions: evidence{h.sessions},
		Cookies: cookieEvidence{h.frontend.SessionCodec(h.secrets), h.sessions}, Revoked: revocations{h.store, time.Now}, Now: time.Now, Observe: h.observe,
	})
	return err
}

// audiences are the configured ones, and those that only a route names, which have the defaults.
func (h *house) audiences() []config.Audience {
	all := slices.Clone(h.file.Exchange.Audiences)
	for _, r := range h.file.Routes {
		named := func(a config.Audience) bool { return a.Name == r.Token.Audience }
		if r.Token.Kind == config.TokenMinted && !slices.ContainsFunc(all, named) {
			all = append(all, h.file.Exchange.Audience(r.Token.Audience))
		}
	}
	return all
}

func audienceConfig(a config.Audience) exchange.AudienceConfig {
	out := exchange.AudienceConfig{
		Name: a.Name, Resource: a.Resource, Lifetime: a.Lifetime, Algorithm: a.Algorithm, Allow: a.Allow.Source,
		Scopes: exchange.ScopesConfig{FromSubject: a.Scopes.FromSubject},
	}
	for _, s := range a.Scopes.Rules {
		out.Scopes.Rules = append(out.Scopes.Rules, exchange.ScopeConfig{Scope: s.Scope, When: s.When.Source})
	}
	for _, c := range a.Claims {
		out.Claims = append(out.Claims, exchange.ClaimConfig{Claim: c.Name, Value: c.Value.Source})
	}
	if a.Subject.Kind == config.SubjectRule {
		out.Subject = a.Subject.Rule.Source
	}
	return out
}

var grants = map[string]exchange.Grant{"token-exchange": exchange.TokenExchange, "client_credentials": exchange.ClientCredentials}

var subjectTypes = map[string]exchange.TokenType{
	"access_token": exchange.AccessToken, "id_token": exchange.IDToken, "jwt": exchange.JWT, "session": exchange.SessionToken,
}

func clientConfig(c config.Client) exchange.ClientConfig {
	out := exchange.ClientConfig{
		ID: c.Name, Audiences: c.Audiences, Scopes: c.Scopes, Narrow: c.ScopeMode == "narrow", Lifetime: c.Lifetime,
		SubjectAudiences: c.SubjectAudiences, Actor: exchange.ActorMode(c.Actor),
	}
	for _, g := range c.Grants {
		out.Grants = append(out.Grants, grants[g])
	}
	for _, t := range c.SubjectTypes {
		out.SubjectTypes = append(out.SubjectTypes, subjectTypes[t])
	}
	return out
}

// observer writes the audit line of every token minted and every refusal, and counts them.
func (g *grounds) observer() func(context.Context, exchange.Event) {
	count := newExchangeMetrics(g.registry)
	return func(ctx context.Context, e exchange.Event) {
		line := telemetry.Event{
			Name: "exchange", Outcome: exchange.Granted, Client: e.Client, Issuer: e.Issuer, Subject: e.Subject, Actor: e.Actor,
			Audience: e.Audience, Scope: e.Scope, Policy: e.Policy, Reason: e.Reason, SID: e.SID,
		}
		if !e.Minted {
			line.Name, line.Outcome = "exchange-refused", string(e.Code)
		}
		g.audit.Record(ctx, line)
		for _, failed := range e.Failed {
			g.log.WarnContext(ctx, "a rule could not be evaluated", "audience", e.Audience, "rule", failed.Rule, "error", failed.Err)
		}
		count.observe(e.Client, e.Audience, line.Outcome, e.Took)
	}
}
