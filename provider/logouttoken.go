package provider

import (
	"context"
	"slices"
	"time"

	"cloakroom/token"
)

// LogoutToken is a provider's verified word that somebody is signed out (OpenID Connect Back-Channel Logout 1.0 section 2.4).
// At least one of Subject and SID is set.
type LogoutToken struct {
	Subject string
	SID     string    // one sign-in at the provider; "": all of the subject's
	ID      string    // `jti`: no other logout token of the issuer has it
	Expires time.Time // VerifyLogout does not take the token after that
}

const (
	logoutEvent  = "http://schemas.openid.net/event/backchannel-logout"
	maxLogoutAge = 2 * time.Minute // a logout token is sent when it is made
)

// logoutTypes may stand in a logout token's header; before the final specification there was none (section 2.4).
var logoutTypes = []string{"logout+jwt", "JWT", ""}

// VerifyLogout verifies a logout token (section 2.6). Whether it was sent before is the caller's to know. The error is
// ErrRejected, or ErrUnavailable when the provider's keys cannot be had.
func (p *Provider) VerifyLogout(ctx context.Context, raw string) (LogoutToken, error) {
	read, err := token.Read(raw)
	if err != nil {
		return LogoutToken{}, p.judged("logout token", err)
	}
	// Before any key is looked for: what says itself that it is no logout token costs nothing.
	if reason := notLogout(read.Claims()); reason != "" {
		return LogoutToken{}, p.reject("logout token: " + reason)
	}
	claims, err := read.Verify(ctx, token.Rules{
		Issuer: p.cfg.Issuer, Algorithms: p.cfg.Algorithms, Types: logoutTypes, Skew: p.cfg.ClockSkew, Audiences: []string{p.cfg.ClientID},
	}, p.keys, p.cfg.Now())
	if err != nil {
		return LogoutToken{}, p.judged("logout token", err)
	}
	for _, one := range claims.Audience() {
		if one != p.cfg.ClientID && !slices.Contains(p.cfg.AcceptedAudiences, one) {
			return LogoutToken{}, p.reject("logout token: aud has an audience beside us that is not trusted")
		}
	}
	iat, there := claims.Time("iat")
	if !there || p.cfg.Now().Sub(iat) > maxLogoutAge+p.cfg.ClockSkew {
		return LogoutToken{}, p.reject("logout token: iat is missing, or too long ago")
	}
	exp, _ := claims.Time("exp")
	if last := iat.Add(maxLogoutAge); last.Before(exp) {
		exp = last
	}
	return LogoutToken{
		Subject: claims.Text("sub"), SID: claims.Text("sid"), ID: claims.Text("jti"), Expires: exp.Add(p.cfg.ClockSkew),
	}, nil
}

// notLogout says why claims are not a logout token's; "" where they are.
func notLogout(c token.Claims) string {
	events, _ := c["events"].(map[string]any)
	if _, there := events[logoutEvent].(map[string]any); !there {
		return "events does not say that it is one"
	}
	if _, there := c["nonce"]; there {
		return "it has a nonce, which is forbidden: it could pass for an ID token"
	}
	for _, name := range []string{"sub", "sid"} {
		if value, there := c[name]; there {
			if text, ok := value.(string); !ok || !isName(text) {
				return name + " is not a short string"
			}
		}
	}
	if c.Text("sub") == "" && c.Text("sid") == "" {
		return "it names neither sub nor sid"
	}
	if !isName(c.Text("jti")) {
		return "jti is missing, or not a short string"
	}
	return ""
}
