package idptest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// refreshToken is one refresh token of a grant's family.
type refreshToken struct {
	grant   *grant
	expires time.Time
	retired time.Time // when a successor took over; zero: it is the current one
}

// serveToken is the token endpoint: authorization_code and refresh_token.
func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		refuse(w, http.StatusMethodNotAllowed, "invalid_request", "use POST")
		return
	}
	client, ok := p.authenticate(w, r)
	if !ok {
		return
	}
	switch r.PostForm.Get("grant_type") {
	case "authorization_code":
		p.redeem(w, r, client)
	case "refresh_token":
		p.refresh(w, r, client)
	default:
		refuse(w, http.StatusBadRequest, "unsupported_grant_type", "")
	}
}

// authenticate takes client_secret_basic and client_secret_post (RFC 6749 section 2.3.1), not both at once.
func (p *Provider) authenticate(w http.ResponseWriter, r *http.Request) (Client, bool) {
	id, secret := r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	if user, password, basic := r.BasicAuth(); basic {
		var errs [2]error
		user, errs[0] = url.QueryUnescape(user)
		password, errs[1] = url.QueryUnescape(password)
		if errs != [2]error{} || secret != "" || id != "" && id != user {
			refuse(w, http.StatusBadRequest, "invalid_request", "one way of authentication, please")
			return Client{}, false
		}
		id, secret = user, password
	}
	client, known := p.client(id)
	if !known || subtle.ConstantTimeCompare([]byte(client.Secret), []byte(secret)) != 1 {
		status := http.StatusBadRequest // a Cognito's answer
		if p.cfg.Persona == Generic {
			status = http.StatusUnauthorized
			w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		}
		refuse(w, status, "invalid_client", "")
		return Client{}, false
	}
	return client, true
}

// redeem exchanges a code. A code seen twice ends what its first use gave (RFC 6749 section 4.1.2).
func (p *Provider) redeem(w http.ResponseWriter, r *http.Request, client Client) {
	form := r.PostForm
	p.mu.Lock()
	c, known := p.codes[form.Get("code")]
	why := ""
	switch {
	case !known || c.grant.client.ID != client.ID:
		why = "unknown code"
	case c.used:
		c.grant.revoked = true
		why = "the code was used before"
	case !p.now().Before(c.expires):
		why = "the code has expired"
	case c.redirectURI != form.Get("redirect_uri"):
		why = "redirect_uri is another"
	case c.challenge != "" && c.challenge != challenge(form.Get("code_verifier")):
		why = "code_verifier does not fit"
	case c.challenge == "" && form.Has("code_verifier"):
		why = "code_verifier without a challenge" // RFC 9700 section 4.8.2: no downgrade
	default:
		c.used = true
	}
	p.mu.Unlock()
	if why != "" {
		refuse(w, http.StatusBadRequest, "invalid_grant", p.told(why))
		return
	}
	user, ok := p.live(c.grant)
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid_grant", "")
		return
	}
	refresh := ""
	if p.cfg.Persona == Cognito || slices.Contains(c.grant.scope, "offline_access") {
		refresh = p.newRefresh(c.grant, p.now().Add(p.cfg.RefreshLifetime))
	}
	p.answerTokens(w, c.grant, user, refresh, true, true)
}

// told keeps a Cognito's silence: its invalid_grant has no description.
func (p *Provider) told(why string) string {
	if p.cfg.Persona == Cognito {
		return ""
	}
	return why
}

func (p *Provider) newRefresh(g *grant, expires time.Time) string {
	value := p.refreshSecret()
	p.mu.Lock()
	p.refreshes[value] = &refreshToken{grant: g, expires: expires}
	p.mu.Unlock()
	p.issued(value)
	return value
}

// refresh renews both tokens. With rotation, a token used again after its grace ends the family (RFC 9700 section 4.14.2).
func (p *Provider) refresh(w http.ResponseWriter, r *http.Request, client Client) {
	now := p.now()
	p.mu.Lock()
	token, known := p.refreshes[r.PostForm.Get("refresh_token")]
	good := known && token.grant.client.ID == client.ID && !token.grant.revoked && now.Before(token.expires)
	if good && !token.retired.IsZero() && now.Sub(token.retired) >= p.cfg.ReuseGrace {
		token.grant.revoked = true
		good = false
	}
	if good && p.cfg.RotateRefresh && token.retired.IsZero() {
		token.retired = now
	}
	p.mu.Unlock()
	if !good {
		refuse(w, http.StatusBadRequest, "invalid_grant", p.told("the refresh token is unknown, used or revoked"))
		return
	}
	user, ok := p.live(token.grant)
	if !ok {
		refuse(w, http.StatusBadRequest, "invalid_grant", p.told("the user is disabled"))
		return
	}
	next := ""
	if p.cfg.RotateRefresh {
		next = p.newRefresh(token.grant, token.expires)
	}
	withID := p.cfg.Persona == Cognito || !p.cfg.NoIDTokenAtRefresh
	p.answerTokens(w, token.grant, user, next, withID, false)
}

// live reads a grant's account anew: what changed since the sign-in is in the next token.
func (p *Provider) live(g *grant) (User, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, known := p.user(g.user)
	return user, known && !user.Disabled
}

// answerTokens mints and answers. A Cognito does not repeat the scope; Generic does (RFC 6749 section 5.1).
func (p *Provider) answerTokens(w http.ResponseWriter, g *grant, user User, refresh string, withID, withNonce bool) {
	access, id := p.pair(g, user, withID, withNonce)
	body := map[string]any{
		"access_token": access,
		"token_type":   "Bearer",
		"expires_in":   int(p.cfg.AccessLifetime.Seconds()),
	}
	if id != "" {
		body["id_token"] = id
	}
	if refresh != "" {
		body["refresh_token"] = refresh
	}
	if p.cfg.Persona == Generic {
		body["scope"] = strings.Join(g.scope, " ")
	}
	if alter := p.manners().TokenResponse; alter != nil {
		alter(body)
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Pragma", "no-cache")
	writeJSON(w, http.StatusOK, body)
}

// challenge is S256 (RFC 7636 section 4.2).
func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
