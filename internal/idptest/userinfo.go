package idptest

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// serveUserInfo answers OpenID Connect Core section 5.3. A Cognito says email_verified as a string here, and "username".
func (p *Provider) serveUserInfo(w http.ResponseWriter, r *http.Request) {
	raw, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	p.mu.Lock()
	made, known := p.accesses[raw]
	good := bearer && known && !made.grant.revoked && p.now().Before(made.expires)
	p.mu.Unlock()
	var user User
	if good {
		user, good = p.live(made.grant)
	}
	if !good || !slices.Contains(made.grant.scope, "openid") {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		refuse(w, http.StatusUnauthorized, "invalid_token", "Access token is invalid, expired or revoked.")
		return
	}
	body := map[string]any{"sub": user.Subject}
	maps.Copy(body, profileClaims(made.grant.scope, user))
	if p.cfg.Persona == Cognito {
		body["username"] = user.Subject
		if verified, has := body["email_verified"].(bool); has {
			body["email_verified"] = strconv.FormatBool(verified)
		}
	}
	if alter := p.manners().UserInfo; alter != nil {
		alter(body)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, body)
}
