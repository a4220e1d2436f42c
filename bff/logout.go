package bff

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/provider"
	"cloakroom/session"
)

// logout ends the session here, and says where to end it at the provider. Nothing is claimed that did not happen: when the
// store does not answer, neither the cookie nor the session is touched.
func (s *Server) logout(c echo.Context, v visitor) {
	w, r := c.Response(), c.Request()
	query, err := singleValues(r)
	if err != nil {
		s.refuse(w, r, problem{name: problemBadRequest, err: err})
		return
	}
	returnTo := ""
	if query.Has("returnTo") {
		clean, ok := cleanReturnTo(query.Get("returnTo"))
		if !ok {
			s.refuse(w, r, problem{name: problemBadReturnTo})
			return
		}
		returnTo = clean
	}
	if v.session != nil {
		if v.session, err = s.endOwn(r.Context(), v, "logout"); err != nil {
			s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
			return
		}
		s.records.signedOut(r.Context(), v.session)
	}
	location, err := s.farewell(v, returnTo)
	if err != nil {
		s.refuse(w, r, problem{name: problemInternal, err: err})
		return
	}
	s.cookies.clearSession(w)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	if isFormPost(r) {
		redirect(w, http.StatusSeeOther, location)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"logout_url": location})
}

// endOwn ends the visitor's session, revokes the refresh token that it had at its end, and returns it with its last tokens;
// without, where it was gone already.
func (s *Server) endOwn(ctx context.Context, v visitor, reason string) (*session.Session, error) {
	last := *v.session
	var err error
	last.Tokens, err = s.sessions.SignOut(ctx, v.ticket, reason)
	if p, ok := s.providers[last.Provider]; ok {
		s.revokeLater(p, last.Tokens.Refresh) // also where another replica could not be told
	}
	return &last, s.hasEnded(ctx, err)
}

// hasEnded makes nothing of the error of ending where that was done: that another replica could not be told yet is the
// operator's business, and nobody is still signed in for it.
func (s *Server) hasEnded(ctx context.Context, err error) error {
	if !errors.Is(err, session.ErrNotAllTold) {
		return err
	}
	s.log.WarnContext(ctx, "a replica may serve a session that has ended for some seconds", "error", err)
	return nil
}

// farewell is where the browser goes to sign out at the provider as well (OpenID Connect RP-Initiated Logout 1.0 section 2).
func (s *Server) farewell(v visitor, returnTo string) (string, error) {
	state := ""
	if returnTo != "" {
		var err error
		if state, err = seal(s.secrets, logoutState, farewell{ReturnTo: returnTo, Started: s.now().Truncate(time.Second)}); err != nil {
			return "", err
		}
	}
	if v.session != nil {
		if p, ok := s.providers[v.session.Provider]; ok {
			location, ok := p.LogoutURL(provider.Logout{ReturnURL: s.origin + loggedOutPath, State: state, IDToken: v.session.Tokens.ID})
			if ok {
				return location, nil
			}
		}
	}
	if state == "" {
		return loggedOutPath, nil
	}
	return loggedOutPath + "?" + url.Values{"state": {state}}.Encode(), nil
}

// loggedOut is where the provider sends the browser back to. It asks for nothing, and does nothing: anyone may call it.
func (s *Server) loggedOut(c echo.Context, _ visitor) {
	w, r := c.Response(), c.Request()
	target := "/"
	var f farewell
	if err := unseal(s.secrets, logoutState, r.URL.Query().Get("state"), &f); err == nil && s.now().Sub(f.Started) <= logoutLifetime {
		target = f.ReturnTo
	}
	redirect(w, http.StatusSeeOther, target)
}
