package bff

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"cloakroom/session"
)

const csrfHeader = "X-Csrf"

// demand is what the guard asks of a request before the endpoint or route it is for gets to see it.
type demand struct {
	methods []string
	session Need
	proof   proof
	page    bool // a navigation here is one to a page: it needs no proof, and is sent to sign in
}

// proof is how a request shows that our own pages made it.
type proof int

const (
	byHeader         proof = iota // X-CSRF: 1, which no other origin's page can send without asking first
	byHeaderOrBrowse              // or, for GET and HEAD, the browser's word that it is same-origin
	byHeaderOrForm                // or, for a form post, the browser's word; due also where there is no session
	byOriginOrBrowse              // or the Origin, or the browser's word: an EventSource can set no header
	byOrigin                      // the Origin, exactly: a WebSocket can set no header, and its browser says no more; always due
	noProof                       // none is due
)

// visitor is who the guard let in. session is nil for the anonymous.
type visitor struct {
	ticket  session.Ticket
	session *session.Session
}

// admit runs the checks of contract/names.md that follow path and route, in their order: method, CSRF, session. When ok is false,
// the request has been answered.
func (s *Server) admit(w http.ResponseWriter, r *http.Request, d demand) (v visitor, ok bool) {
	if s.cors(w, r, d) || !s.allowMethod(w, r, d) {
		return visitor{}, false
	}
	if d.session == None && d.proof == noProof {
		return visitor{}, true
	}
	found, ok := s.ownCookies(w, r)
	if !ok {
		return visitor{}, false
	}
	if d.session == Required || found.session != "" || d.proof == byHeaderOrForm || d.proof == byOrigin {
		if err := s.prove(r, d); err != nil {
			s.refuse(w, r, problem{name: problemCSRF, err: err})
			return visitor{}, false
		}
	}
	if d.session == None {
		return visitor{}, true
	}
	ticket, stale, opens := s.cookies.ticket(found)
	if !opens {
		if d.session == Required {
			var err error
			if found.session != "" {
				err = errForeignCookie
			}
			s.noSession(w, r, d, err)
			return visitor{}, false
		}
		return visitor{}, true
	}
	loaded, err := s.sessions.Load(r.Context(), ticket)
	switch {
	case err == nil:
	case errors.Is(err, session.ErrNotFound) && d.session == Optional:
		s.forget(w, ticket)
		return visitor{}, true
	default:
		s.lostSession(w, r, ticket, d, err)
		return visitor{}, false
	}
	if stale {
		if err := s.cookies.setSession(w, ticket); err != nil {
			s.refuse(w, r, problem{name: problemInternal, err: err})
			return visitor{}, false
		}
	}
	return visitor{ticket, loaded}, true
}

// cors answers preflights of the allowed origins, and tells browsers that their pages may read the other answers. No
// other origin is ever answered to: the reason why a custom header is a proof.
func (s *Server) cors(w http.ResponseWriter, r *http.Request, d demand) (answered bool) {
	if len(s.allowedOrigins) == 0 {
		return false
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origins := r.Header["Origin"]
	if len(origins) != 1 || !slices.Contains(s.allowedOrigins, origins[0]) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origins[0])
	h.Set("Access-Control-Allow-Credentials", "true")
	method := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || !slices.Contains(d.methods, method) {
		return false
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(d.methods, ", "))
	if names := r.Header.Get("Access-Control-Request-Headers"); isHeaderList(names) {
		h.Set("Access-Control-Allow-Headers", names)
	}
	h.Set("Access-Control-Max-Age", "600")
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	w.WriteHeader(http.StatusNoContent)
	return true
}

func isHeaderList(s string) bool {
	return s != "" && len(s) <= 1<<10 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-, ") == ""
}

func (s *Server) allowMethod(w http.ResponseWriter, r *http.Request, d demand) bool {
	if slices.Contains(d.methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(d.methods, ", "))
	s.refuse(w, r, problem{name: problemMethodNotAllowed})
	return false
}

// ownCookies reads our cookies, and refuses a request with two of one name, taking both away.
func (s *Server) ownCookies(w http.ResponseWriter, r *http.Request) (found carried, ok bool) {
	if found, ok = s.cookies.read(r); !ok {
		s.cookies.clear(w, r)
		s.refuse(w, r, problem{name: problemBadRequest, text: "There were two cookies of one name. Both are removed.", err: errDoubledCookie})
	}
	return found, ok
}

var (
	errDoubledCookie = errors.New("two cookies of one of our names")
	errForeignOrigin = errors.New("comes from another origin")
	errNoCSRFHeader  = errors.New("lacks the X-CSRF header")
	errNoOrigin      = errors.New("does not say from which origin it comes")
	errForeignCookie = errors.New("cookie opens under no configured secret")
)

// prove checks that a page of ours, or of an allowed origin, made the request.
func (s *Server) prove(r *http.Request, d demand) error {
	if d.proof == noProof || d.page && isNavigation(r) {
		return nil
	}
	if d.proof == byHeaderOrForm && isFormPost(r) {
		return s.proveForm(r.Header)
	}
	if s.isForeign(r.Header) {
		return errForeignOrigin
	}
	ours := len(r.Header["Origin"]) != 0 // as it is not foreign
	if d.proof == byOrigin {
		if !ours {
			return errNoOrigin
		}
		return nil
	}
	if only(r.Header, csrfHeader, "1") || d.proof == byOriginOrBrowse && (ours || only(r.Header, "Sec-Fetch-Site", "same-origin")) {
		return nil
	}
	if d.proof == byHeaderOrBrowse && (r.Method == http.MethodGet || r.Method == http.MethodHead) && only(r.Header, "Sec-Fetch-Site", "same-origin") {
		return nil
	}
	return errNoCSRFHeader
}

// isForeign tells whether the browser itself says that another origin made the request.
func (s *Server) isForeign(h http.Header) bool {
	origins := h["Origin"]
	allowed := len(origins) == 1 && slices.Contains(s.allowedOrigins, origins[0])
	if len(origins) != 0 && !allowed && !only(h, "Origin", s.origin) {
		return true
	}
	return len(h["Sec-Fetch-Site"]) != 0 && !only(h, "Sec-Fetch-Site", "same-origin") && !allowed
}

// proveForm checks a form post, which cannot set headers: the browser must say that it is same-origin. Under the policy
// no-referrer, browsers send "Origin: null" with it (Fetch section 3.2), so where there is Fetch Metadata that goes first.
func (s *Server) proveForm(h http.Header) error {
	if len(h["Sec-Fetch-Site"]) != 0 {
		if only(h, "Sec-Fetch-Site", "same-origin") && (len(h["Origin"]) == 0 || only(h, "Origin", s.origin) || only(h, "Origin", "null")) {
			return nil
		}
		return errForeignOrigin
	}
	if only(h, "Origin", s.origin) {
		return nil
	}
	return errForeignOrigin
}

// noSession answers a request that needs a session and has none; err says what became of the one it may have brought. A
// navigation to a page is sent to sign in, but not before it came from our own origin: until then a Strict cookie may
// just not have been sent.
func (s *Server) noSession(w http.ResponseWriter, r *http.Request, d demand, err error) {
	if !d.page || !isNavigation(r) {
		s.refuse(w, r, problem{name: problemNoSession, err: err})
		return
	}
	if found, _ := s.cookies.read(r); found.session == "" && hidesStrictCookies(r) {
		s.bounce(w, r)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	redirect(w, http.StatusFound, loginURL(r.URL.RequestURI(), nil))
}

// lostSession answers a request whose session cannot be had. Only what the store said costs a cookie: what it did not say is
// no reason to sign anyone out.
func (s *Server) lostSession(w http.ResponseWriter, r *http.Request, ticket session.Ticket, d demand, err error) {
	if !errors.Is(err, session.ErrNotFound) {
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
		return
	}
	s.forget(w, ticket)
	s.noSession(w, r, d, err)
}

// replaced is the reason for which a later sign-in in the same browser ends a session. The browser is signed in: its cookie is not
// cleared, and it is not told of an end.
const replaced = "replaced"

// forget clears the cookie of a session that is gone. Where a later one has replaced it, the browser may have that one's cookie already
// when this answer comes, and would lose it.
func (s *Server) forget(w http.ResponseWriter, ticket session.Ticket) {
	changes, stop := s.sessions.Watch(ticket.ID())
	defer stop()
	select {
	case change := <-changes:
		if change.Reason == replaced {
			return
		}
	default:
	}
	s.cookies.clearSession(w)
}

// redirect sends the browser to a location that is ours or a provider's, never to what a caller sent unchecked.
func redirect(w http.ResponseWriter, status int, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}
