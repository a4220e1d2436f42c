package idptest

// LogoutToken makes a logout token as the provider sends it to a client's back channel (OpenID Connect Back-Channel Logout
// 1.0 section 2.4). sub or sid may be "". A claim of change is set over the others; one that is nil is left out.
func (p *Provider) LogoutToken(client, sub, sid string, change map[string]any) string {
	now := p.now()
	claims := map[string]any{
		"iss": p.cfg.Issuer, "aud": client, "iat": now.Unix(), "exp": now.Unix() + 120, "jti": uuid(),
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}
	for name, value := range map[string]string{"sub": sub, "sid": sid} {
		if value != "" {
			claims[name] = value
		}
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return p.Sign(IDToken, map[string]any{"typ": "logout+jwt"}, claims)
}
