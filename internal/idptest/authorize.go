package idptest

import (
	_ "embed"
	"html/template"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// browser is a person's session at the provider itself: the next authorization needs no password.
type browser struct {
	user     string
	authTime time.Time
	sid      string
}

const (
	browserCookie   = "idp"
	browserLifetime = time.Hour // managed login's, whatever the tokens live (reference/exchange.md F.1)
)

// code is an authorization code, bound to its client, redirect URI and challenge, and good for one redemption.
type code struct {
	grant       *grant
	redirectURI string
	challenge   string
	expires     time.Time
	used        bool
}

// serveAuthorize takes an authorization request (OpenID Connect Core section 3.1.2.1).
func (p *Provider) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	q := r.Form
	client, target, ok := p.requester(w, q)
	if !ok {
		return
	}
	if code, why := p.judge(client, q); code != "" {
		p.respond(w, r, target, url.Values{"error": {code}, "error_description": {why}})
		return
	}
	person, signedIn := p.browser(r)
	if signedIn && !mustSignInAgain(q, person.authTime, p.now()) {
		p.grantCode(w, r, client, target, person)
		return
	}
	if q.Get("prompt") == "none" {
		p.respond(w, r, target, url.Values{"error": {"login_required"}})
		return
	}
	q.Del("prompt") // it is being answered; the form must not ask for ever
	http.Redirect(w, r, p.URL(Login)+"?"+q.Encode(), http.StatusFound)
}

// requester finds who asks. Where the client or its redirect URI is in doubt nobody is redirected (RFC 6749 section
// 4.1.2.1).
func (p *Provider) requester(w http.ResponseWriter, q url.Values) (Client, *url.URL, bool) {
	client, known := p.client(q.Get("client_id"))
	if !known {
		page(w, http.StatusBadRequest, signIn{Problem: "This client is not registered here."})
		return Client{}, nil, false
	}
	target, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || !client.allows(client.RedirectURIs, q.Get("redirect_uri")) {
		page(w, http.StatusBadRequest, signIn{Problem: "redirect_mismatch: this return address is not registered for the client."})
		return Client{}, nil, false
	}
	return client, target, true
}

// judge returns the error of a request that its client may be told of.
func (p *Provider) judge(client Client, q url.Values) (code, why string) {
	scope := strings.Fields(q.Get("scope"))
	switch {
	case q.Get("response_type") != "code":
		return "unsupported_response_type", "response_type must be code"
	case q.Get("code_challenge") == "" && (q.Has("code_challenge_method") || client.Secret == ""):
		return "invalid_request", "code_challenge is missing"
	case q.Get("code_challenge") != "" && q.Get("code_challenge_method") != "S256":
		return "invalid_request", "code_challenge_method must be S256"
	case !slices.Contains(scope, "openid"):
		return "invalid_scope", "scope must hold openid"
	}
	for _, one := range scope {
		if !p.knows(client, one) {
			return "invalid_scope", "scope"
		}
	}
	return "", ""
}

func mustSignInAgain(q url.Values, signedIn, now time.Time) bool {
	if slices.Contains(strings.Fields(q.Get("prompt")), "login") {
		return true
	}
	age, err := strconv.Atoi(q.Get("max_age"))
	return err == nil && now.Sub(signedIn) > time.Duration(age)*time.Second
}

func (p *Provider) browser(r *http.Request) (browser, bool) {
	cookie, err := r.Cookie(browserCookie)
	if err != nil {
		return browser{}, false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	person, known := p.browsers[cookie.Value]
	return person, known && p.now().Sub(person.authTime) < browserLifetime
}

// grantCode ends a successful authorization: a code for the client.
func (p *Provider) grantCode(w http.ResponseWriter, r *http.Request, client Client, target *url.URL, person browser) {
	g := &grant{
		client: client, user: person.user, authTime: person.authTime, sid: person.sid,
		scope: strings.Fields(r.Form.Get("scope")), nonce: r.Form.Get("nonce"),
		originJTI: uuid(), eventID: uuid(),
	}
	value := uuid() // as a Cognito's
	if p.cfg.Persona == Generic {
		value = random(32)
	}
	p.mu.Lock()
	p.codes[value] = &code{
		grant: g, redirectURI: r.Form.Get("redirect_uri"), challenge: r.Form.Get("code_challenge"),
		expires: p.now().Add(p.cfg.CodeLifetime),
	}
	p.mu.Unlock()
	p.issued(value)
	p.respond(w, r, target, url.Values{"code": {value}})
}

// respond sends the authorization response (RFC 6749 section 4.1.2; RFC 9207 section 2).
func (p *Provider) respond(w http.ResponseWriter, r *http.Request, target *url.URL, params url.Values) {
	q := target.Query()
	maps.Copy(q, params)
	if state := r.Form.Get("state"); state != "" {
		q.Set("state", state)
	}
	if p.cfg.Persona == Generic && !p.cfg.NoIssInResponse {
		q.Set("iss", p.cfg.Issuer)
	}
	to := *target
	if alter := p.manners().Redirect; alter != nil {
		alter(&to, q)
	}
	to.RawQuery = q.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	http.Redirect(w, r, to.String(), http.StatusFound)
}

// serveLogin shows the sign-in page and takes what a person enters there.
func (p *Provider) serveLogin(w http.ResponseWriter, r *http.Request) {
	client, target, ok := p.requester(w, r.Form)
	if !ok {
		return
	}
	if code, why := p.judge(client, r.Form); code != "" {
		p.respond(w, r, target, url.Values{"error": {code}, "error_description": {why}})
		return
	}
	form := signIn{Action: p.URL(Login) + "?" + r.URL.RawQuery, Name: r.Form.Get("login_hint")}
	if p.cfg.ShowUsers {
		form.Users = p.users()
	}
	if r.Method != http.MethodPost {
		page(w, http.StatusOK, form)
		return
	}
	p.mu.Lock()
	user, known := p.user(r.PostForm.Get("username"))
	p.mu.Unlock()
	if !known || user.Disabled || user.Password != r.PostForm.Get("password") {
		form.Name = r.PostForm.Get("username")
		form.Problem = "Incorrect username or password."
		page(w, http.StatusOK, form) // a Cognito shows the page again, with 200
		return
	}
	person := browser{user: user.Name, authTime: p.now(), sid: uuid()}
	handle := random(32)
	p.mu.Lock()
	p.browsers[handle] = person
	p.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: browserCookie, Value: handle, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(p.cfg.URL, "https:"), MaxAge: int(browserLifetime.Seconds()),
	})
	p.grantCode(w, r, client, target, person)
}

//go:embed pages/sign-in.html
var signInHTML string

//go:embed pages/sign-in.css
var signInCSS string

// signIn is what the sign-in page shows; without an Action only the problem.
type signIn struct {
	Action, Name, Problem string
	Users                 []User
}

func page(w http.ResponseWriter, status int, form signIn) {
	t, err := template.New("sign-in").Parse(signInHTML)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; img-src data:; frame-ancestors 'none'; base-uri 'none'")
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(status)
	_ = t.Execute(w, form) // the reader has gone: nobody is left to tell
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write([]byte(signInCSS))
}
