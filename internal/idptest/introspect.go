package idptest

import (
	"maps"
	"net/http"
	"strings"
)

// serveIntrospect is RFC 7662, for every client of the provider. It describes refresh tokens too, and these, as at
// oidc-provider, differ only by the token_type they lack.
func (p *Provider) serveIntrospect(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "invalid_request", "use POST")
		return
	}
	if _, ok := p.authenticate(w, r); !ok {
		return
	}
	body := p.described(r.PostForm.Get("token"))
	if alter := p.manners().Introspection; alter != nil {
		alter(body)
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, body)
}

func (p *Provider) described(value string) map[string]any {
	now := p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	inactive := map[string]any{"active": false}
	if made, known := p.accesses[value]; known {
		user, there := p.user(made.grant.user)
		if made.grant.revoked || !there || user.Disabled || !now.Before(made.expires) {
			return inactive
		}
		body := maps.Clone(made.claims)
		maps.Copy(body, map[string]any{"active": true, "token_type": "Bearer"})
		return body
	}
	refresh, known := p.refreshes[value]
	if !known || refresh.grant.revoked || !now.Before(refresh.expires) {
		return inactive
	}
	user, _ := p.user(refresh.grant.user)
	return map[string]any{
		"active": true, "sub": user.Subject, "client_id": refresh.grant.client.ID, "iss": p.cfg.Issuer,
		"exp": refresh.expires.Unix(), "iat": now.Unix(), "scope": strings.Join(refresh.grant.scope, " "),
	}
}
