package provider

import (
	"context"
	"net/url"
	"slices"

	"golang.org/x/oauth2"
)

// AuthRequest is one authorization request. State, Nonce and Verifier are the caller's, fresh for each.
type AuthRequest struct {
	State, Nonce, Verifier, RedirectURI string
	Params                              url.Values // what the browser may add; already allow-listed
}

// reservedParams are decided here and by nobody else: neither a fixed parameter nor one from the browser replaces them.
var reservedParams = map[string]bool{
	"client_id": true, "response_type": true, "response_mode": true, "redirect_uri": true, "scope": true, "state": true,
	"nonce": true, "code_challenge": true, "code_challenge_method": true, "request": true, "request_uri": true,
	"client_secret": true, "dpop_jkt": true,
}

// AuthURL is where the browser is sent to sign in: code flow (RFC 9700 section 2.1.1), S256 always (RFC 7636).
func (p *Provider) AuthURL(ctx context.Context, r AuthRequest) (string, error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{
		oauth2.S256ChallengeOption(r.Verifier),
		oauth2.SetAuthURLParam("nonce", r.Nonce),
	}
	add := func(name, value string) {
		if value != "" && !reservedParams[name] {
			options = append(options, oauth2.SetAuthURLParam(name, value))
		}
	}
	for name := range r.Params {
		add(name, r.Params.Get(name))
	}
	// What the configuration fixes wins over what the browser asks for.
	add("audience", p.cfg.Audience)
	add("resource", p.cfg.Resource)
	for name, value := range p.cfg.AuthorizationParams {
		add(name, value)
	}
	return p.oauth(m, r.RedirectURI).AuthCodeURL(r.State, options...), nil
}

// scopes is what is asked for: the configured ones, otherwise the profile's, with what makes the provider issue a refresh
// token where it offers that.
func (p *Provider) scopes(m *metadata) []string {
	if p.cfg.Scopes != nil {
		return p.cfg.Scopes
	}
	if p.profile.offline != "" && slices.Contains(m.scopes, p.profile.offline) {
		return append(slices.Clone(p.profile.scopes), p.profile.offline)
	}
	return p.profile.scopes
}

// CheckResponse judges `iss` of an authorization response (RFC 9207 section 2.4), error responses too, before anything is
// redeemed: exactly our issuer where it is present, and present where the provider says that it always sends it.
func (p *Provider) CheckResponse(iss string, hasIss bool) error {
	if hasIss {
		if iss != p.cfg.Issuer {
			return p.reject("the response names another issuer (RFC 9207)")
		}
		return nil
	}
	m, err := p.discovered(context.Background())
	if err != nil {
		return err
	}
	if m.issuesIssParam {
		return p.reject("the response names no issuer although the provider always does (RFC 9207)")
	}
	return nil
}
