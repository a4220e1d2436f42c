package bff

import (
	"net/http"
	"strings"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
)

// loginLifetime is how long a person has to sign in, once sent to the provider.
const loginLifetime = 10 * time.Minute

// cookiePrefix makes browsers refuse the cookie from scripts, from other hosts and over plain HTTP (RFC 10017 section
// 6.1.3.2); a browser that does not know it still honours its first half.
const cookiePrefix = "__Host-Http-"

// cookies is the two cookies of a frontend: the session's, and one for the sign-ins under way in any number of tabs.
type cookies struct {
	sessionName, loginName   string
	sessionCodec, loginCodec *session.Codec
	secure                   bool // false only for development on loopback, where browsers differ about Secure
	sameSite                 http.SameSite
	sessionAge               time.Duration
}

func newCookies(f Frontend, ring *secret.Ring) *cookies {
	c := &cookies{
		sessionName: f.cookie(f.CookieName), loginName: f.cookie("login"),
		secure: f.secure(), sameSite: f.CookieSameSite, sessionAge: f.SessionAbsolute,
	}
	c.sessionCodec = f.SessionCodec(ring)
	c.loginCodec = session.NewCodec(c.loginName, loginLifetime, ring)
	return c
}

// SessionCodec opens the session's cookie of the frontend, also for who is handed its value by a service.
func (f Frontend) SessionCodec(ring *secret.Ring) *session.Codec {
	return session.NewCodec(f.cookie(f.CookieName), f.SessionAbsolute, ring)
}

// cookie is the name that a cookie bears in the browser.
func (f Frontend) cookie(name string) string {
	if f.secure() {
		return cookiePrefix + name
	}
	return name
}

func (f Frontend) secure() bool { return f.URL.Scheme == "https" }

// carried is what a browser sent of our cookies; an empty value is none.
type carried struct{ session, login string }

// read finds our cookies. single is false when the browser sent two of one name: one of them was planted, and there is no
// telling which.
func (c *cookies) read(r *http.Request) (found carried, single bool) {
	if len(r.Header["Cookie"]) == 0 {
		return carried{}, true
	}
	sessions, logins := 0, 0
	for _, cookie := range r.Cookies() {
		switch {
		case c.is(cookie.Name, c.sessionName):
			found.session = cookie.Value
			sessions++
		case c.is(cookie.Name, c.loginName):
			found.login = cookie.Value
			logins++
		}
	}
	return found, sessions <= 1 && logins <= 1
}

// is compares names. Browsers match the prefix without regard to case, so a name that differs in case alone counts as
// ours; without a prefix, it is another application's on the same loopback host.
func (c *cookies) is(name, ours string) bool {
	return name == ours || c.secure && strings.EqualFold(name, ours)
}

// ticket opens the session's cookie. ok is false without one, and for one that no configured secret opens: it may be of a
// replica that has a newer secret already, so it is nobody's to clear. stale asks for encoding it anew.
func (c *cookies) ticket(found carried) (ticket session.Ticket, stale, ok bool) {
	if found.session == "" {
		return session.Ticket{}, false, false
	}
	raw, stale, err := c.sessionCodec.Decode(found.session)
	if err != nil || len(raw) != len(ticket) {
		return session.Ticket{}, false, false
	}
	return session.Ticket(raw), stale, true
}

// seed opens the login cookie.
func (c *cookies) seed(found carried) (secret.Key, bool) {
	if found.login == "" {
		return secret.Key{}, false
	}
	raw, _, err := c.loginCodec.Decode(found.login)
	if err != nil {
		return secret.Key{}, false
	}
	seed, err := secret.ParseKey(string(raw))
	return seed, err == nil
}

func (c *cookies) setSession(w http.ResponseWriter, ticket session.Ticket) error {
	value, err := c.sessionCodec.Encode(ticket[:])
	if err != nil {
		return err
	}
	c.set(w, c.sessionName, value, c.sameSite, c.sessionAge)
	return nil
}

func (c *cookies) clearSession(w http.ResponseWriter) { c.set(w, c.sessionName, "", c.sameSite, 0) }

func (c *cookies) clearLogin(w http.ResponseWriter) {
	c.set(w, c.loginName, "", http.SameSiteLaxMode, 0)
}

// setLogin gives the browser its seed, for ten minutes from now. It is Lax: a Strict cookie would not come along when the
// provider sends the browser back.
func (c *cookies) setLogin(w http.ResponseWriter, seed secret.Key) error {
	value, err := c.loginCodec.Encode([]byte(seed.Encode().Reveal()))
	if err != nil {
		return err
	}
	c.set(w, c.loginName, value, http.SameSiteLaxMode, loginLifetime)
	return nil
}

// clear takes both cookies away, and what was planted beside them. The prefix ties its cookies to "/"; without it, in development, one
// of the same name may stand at any folder above what was asked for.
func (c *cookies) clear(w http.ResponseWriter, r *http.Request) {
	c.clearSession(w)
	c.clearLogin(w)
	if c.secure {
		return
	}
	for _, at := range folders(r.URL.EscapedPath()) {
		for _, name := range []string{c.sessionName, c.loginName} {
			http.SetCookie(w, &http.Cookie{Name: name, Path: at, MaxAge: -1, HttpOnly: true}) //nolint:gosec // at a loopback origin over http only
		}
	}
}

const maxFolders = 16

// folders are the paths below "/" that a cookie may have to be sent with a request for path (RFC 6265 section 5.1.4).
func folders(path string) []string {
	var all []string
	for i := 1; i < len(path) && len(all) < maxFolders; i++ {
		if path[i] == '/' {
			all = append(all, path[:i], path[:i+1])
		}
	}
	if len(path) > 1 && path[len(path)-1] != '/' {
		all = append(all, path)
	}
	return all
}

func (c *cookies) set(w http.ResponseWriter, name, value string, sameSite http.SameSite, age time.Duration) {
	cookie := &http.Cookie{ //nolint:gosec // without Secure at a loopback origin over http only, SameSite as configured
		Name: name, Value: value, Path: "/", MaxAge: int(age.Seconds()), HttpOnly: true, Secure: c.secure, SameSite: sameSite,
	}
	if cookie.MaxAge == 0 {
		cookie.MaxAge = -1 // "Max-Age=0": gone at once
	}
	http.SetCookie(w, cookie)
	w.Header().Set("Cache-Control", "no-store")
}
