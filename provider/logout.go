package provider

import (
	"context"
	"net/url"

	"cloakroom/secret"
)

// Logout is a sign-out that the browser continues at the provider.
type Logout struct {
	ReturnURL string      // where the provider sends the browser afterwards; registered there
	State     string      // comes back with it, where the provider supports that
	IDToken   secret.Text // sent as a hint only where policy says so: it ends up in histories
}

// LogoutURL is where the browser signs out; false where the provider has nothing for that, or was never reached: a
// provider that is down does not hold up a sign-out.
func (p *Provider) LogoutURL(l Logout) (string, bool) {
	m := p.meta.Load()
	if m == nil {
		return "", false
	}
	endpoint := m.endpoints[EndpointEndSession]
	query := url.Values{"client_id": {p.cfg.ClientID}}
	switch p.profile.logout {
	case logoutCognito:
		if endpoint == "" {
			endpoint = besides(m.endpoints[EndpointAuthorization], "/logout")
		}
		query.Set("logout_uri", l.ReturnURL)
	default: // RP-Initiated Logout 1.0 section 2
		query.Set("post_logout_redirect_uri", l.ReturnURL)
		if l.State != "" {
			query.Set("state", l.State)
		}
		if l.IDToken != "" && p.hints() {
			query.Set("id_token_hint", l.IDToken.Reveal())
		}
	}
	u, err := url.Parse(endpoint)
	if endpoint == "" || err != nil {
		return "", false
	}
	fixed := u.Query()
	for name := range query {
		fixed.Set(name, query.Get(name))
	}
	u.RawQuery = fixed.Encode()
	return u.String(), true
}

func (p *Provider) hints() bool {
	switch p.cfg.IDTokenHint {
	case "always":
		return true
	case "never":
		return false
	}
	return p.profile.hint
}

// besides is another path on an endpoint's host.
func besides(endpoint, path string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: path}).String()
}

// Revoke revokes a refresh token, and with it what was issued by it (RFC 7009). It is done when the provider says so, also
// for a token it does not know, and when it has no revocation. ErrUnavailable is worth trying again.
func (p *Provider) Revoke(ctx context.Context, refresh secret.Text) error {
	m, err := p.discovered(ctx)
	if err != nil {
		return err
	}
	endpoint := m.endpoints[EndpointRevocation]
	if endpoint == "" || refresh == "" {
		return nil
	}
	err = p.askRevocation(ctx, endpoint, refresh)
	p.ended(ctx, EndpointRevocation, err)
	return err
}

func (p *Provider) askRevocation(ctx context.Context, endpoint string, refresh secret.Text) error {
	_, err := p.post(ctx, EndpointRevocation, endpoint, url.Values{"token": {refresh.Reveal()}, "token_type_hint": {"refresh_token"}})
	return err
}
