package idptest

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// serveRevoke is RFC 7009. A Cognito revokes refresh tokens only, and with one all that hangs on it.
func (p *Provider) serveRevoke(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "invalid_request", "use POST")
		return
	}
	client, ok := p.authenticate(w, r)
	if !ok {
		return
	}
	value := r.PostForm.Get("token")
	if value == "" {
		refuse(w, http.StatusBadRequest, "invalid_request", "token is missing")
		return
	}
	p.mu.Lock()
	var g *grant
	if refresh, known := p.refreshes[value]; known {
		g = refresh.grant
	}
	access, isAccess := p.accesses[value]
	if isAccess && p.cfg.Persona == Generic {
		g = access.grant
	}
	if g != nil && g.client.ID == client.ID {
		g.revoked = true
	}
	p.mu.Unlock()
	if isAccess && p.cfg.Persona == Cognito {
		refuse(w, http.StatusBadRequest, "unsupported_token_type", "")
		return
	}
	w.WriteHeader(http.StatusOK) // an unknown token is no error (RFC 7009 section 2.2)
}

// serveLogout ends the browser's session at the provider.
func (p *Provider) serveLogout(w http.ResponseWriter, r *http.Request) {
	back := p.logoutURI
	if p.cfg.Persona == Generic {
		back = p.postLogoutURI
	}
	target, problem := back(r)
	if problem != "" {
		page(w, http.StatusBadRequest, signIn{Problem: problem})
		return
	}
	if cookie, err := r.Cookie(browserCookie); err == nil {
		p.mu.Lock()
		delete(p.browsers, cookie.Value)
		p.mu.Unlock()
	}
	http.SetCookie(w, &http.Cookie{Name: browserCookie, Path: "/", MaxAge: -1, HttpOnly: true})
	if target == "" {
		page(w, http.StatusOK, signIn{Problem: "You are signed out."})
		return
	}
	http.Redirect(w, r, target, http.StatusFound)
}

// logoutURI is Cognito's own way: client_id and a registered logout_uri; OpenID's parameters mean nothing to it.
func (p *Provider) logoutURI(r *http.Request) (target, problem string) {
	client, known := p.client(r.Form.Get("client_id"))
	switch {
	case r.Method != http.MethodGet:
		return "", "Use GET."
	case !r.Form.Has("client_id"):
		return "", "Required String parameter 'client_id' is not present"
	case !known:
		return "", "This client is not registered here."
	case !client.allows(client.LogoutURIs, r.Form.Get("logout_uri")):
		return "", "logout_uri is not registered for the client."
	}
	return r.Form.Get("logout_uri"), ""
}

// postLogoutURI is OpenID Connect RP-Initiated Logout 1.0 section 2: the client by client_id or by a hint.
func (p *Provider) postLogoutURI(r *http.Request) (target, problem string) {
	to := r.Form.Get("post_logout_redirect_uri")
	if to == "" {
		return "", ""
	}
	id := r.Form.Get("client_id")
	if hint := r.Form.Get("id_token_hint"); hint != "" {
		hinted, ok := p.hinted(hint)
		if !ok || id != "" && id != hinted {
			return "", "id_token_hint is not one of this provider's for this client."
		}
		id = hinted
	}
	client, known := p.client(id)
	if !known || !client.allows(client.LogoutURIs, to) {
		return "", "post_logout_redirect_uri is not registered for the client."
	}
	u, err := url.Parse(to)
	if err != nil {
		return "", "post_logout_redirect_uri cannot be read."
	}
	if state := r.Form.Get("state"); state != "" {
		q := u.Query()
		q.Set("state", state)
		u.RawQuery = q.Encode()
	}
	return u.String(), ""
}

// hinted returns whom an ID token was for. Only a token that this provider gave out counts; an old one does too.
func (p *Provider) hinted(raw string) (client string, ok bool) {
	p.mu.Lock()
	known := p.record.secrets[raw]
	p.mu.Unlock()
	parts := strings.Split(raw, ".")
	if !known || len(parts) != 3 {
		return "", false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", false
	}
	var claims struct {
		Audience string `json:"aud"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", false
	}
	return claims.Audience, true
}
