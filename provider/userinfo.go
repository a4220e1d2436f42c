package provider

import (
	"context"
	"mime"
	"net/http"
	"slices"

	"cloakroom/secret"
	"cloakroom/token"
)

// WantsUserInfo tells whether userinfo is worth asking: when a claim that is needed is not in the ID token, and the
// provider has such an endpoint.
func (p *Provider) WantsUserInfo(id token.Claims, needed []string) bool {
	m := p.meta.Load()
	if p.cfg.UserInfo == "never" || m == nil || m.endpoints[EndpointUserInfo] == "" {
		return false
	}
	return slices.ContainsFunc(needed, func(name string) bool { _, there := id[name]; return !there })
}

// UserInfo asks for the claims about subject, normalised. An answer about anybody else is ErrRejected (OIDC Core 5.3.2);
// ErrRefused says that this access token gets none.
func (p *Provider) UserInfo(ctx context.Context, access secret.Text, subject string) (token.Claims, error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return nil, err
	}
	claims, err := p.askUserInfo(ctx, m.endpoints[EndpointUserInfo], access)
	if err == nil && (subject == "" || claims.Text("sub") != subject) {
		err = p.fail(ErrRejected, EndpointUserInfo, "its sub is not the ID token's")
	}
	p.ended(ctx, EndpointUserInfo, err)
	if err != nil {
		return nil, err
	}
	return p.profile.identity(claims), nil
}

func (p *Provider) askUserInfo(ctx context.Context, endpoint string, access secret.Text) (token.Claims, error) {
	if endpoint == "" {
		return nil, p.fail(ErrNonsense, EndpointUserInfo, "the provider has none")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, p.failed(EndpointUserInfo, err)
	}
	r.Header.Set("Authorization", "Bearer "+access.Reveal())
	r.Header.Set("Accept", "application/json, application/jwt")
	a, err := p.client.do(ctx, EndpointUserInfo, r)
	if err != nil {
		return nil, p.failed(EndpointUserInfo, err)
	}
	if kind, _, _ := mime.ParseMediaType(a.header.Get("Content-Type")); kind == "application/jwt" { // OIDC Core 5.3.2
		rules := token.Rules{Issuer: p.cfg.Issuer, Algorithms: p.cfg.Algorithms, Skew: p.cfg.ClockSkew, Audiences: []string{p.cfg.ClientID}}
		_, claims, err := token.Verify(ctx, string(a.body), rules, p.keys, p.cfg.Now())
		if err != nil {
			return nil, p.judged("userinfo", err)
		}
		return claims, nil
	}
	claims, err := token.DecodeClaims(a.body)
	if err != nil {
		return nil, p.fail(ErrNonsense, EndpointUserInfo, "not one JSON object of claims")
	}
	return claims, nil
}
