package bff

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/provider"
	"cloakroom/secret"
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
	if v.session, err = s.whole(r.Context(), v); err != nil {
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
		return
	}
	location, err := s.farewell(v, returnTo)
	if err != nil {
		s.refuse(w, r, problem{name: problemInternal, err: err})
		return
	}
	if v.session != nil {
		if err := s.sessions.End(r.Context(), v.session.ID, "logout"); err != nil {
			s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
			return
		}
		s.records.signedOut(r.Context(), v.session)
		if p, ok := s.providers[v.session.Provider]; ok {
			s.revokeLater(p, v.session.Tokens.Refresh)
		}
	}
	s.cookies.clearSession(w)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	if isFormPost(r) {
		redirect(w, http.StatusSeeOther, location)
		return
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]string{"logout_url": location})
}

// whole is the visitor's session with all its tokens, of which requests have the access token alone.
func (s *Server) whole(ctx context.Context, v visitor) (*session.Session, error) {
	if v.session == nil {
		return nil, nil
	}
	tokens, err := s.sessions.Tokens(ctx, v.ticket)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return v.session, nil // it has just ended
	case err != nil:
		return nil, err
	}
	found := *v.session
	found.Tokens = tokens
	return &found, nil
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

// revokeLater tells the provider that a refresh token is of no more use (RFC 7009), without keeping the browser waiting.
// It is tried a few times: the provider may be down, which must not keep anyone from signing out.
func (s *Server) revokeLater(p LoginProvider, refresh secret.Text) {
	if refresh == "" {
		return
	}
	s.later(func(ctx context.Context) {
		for _, pause := range []time.Duration{0, time.Second, 5 * time.Second} {
			select {
			case <-ctx.Done():
				s.log.Warn("refresh token not revoked", "provider", p.Name(), "error", ctx.Err())
				return
			case <-time.After(pause):
			}
			err := p.Revoke(ctx, refresh)
			if err == nil {
				return
			}
			s.log.Warn("revoke refresh token", "provider", p.Name(), "error", err)
			if !errors.Is(err, provider.ErrUnavailable) {
				return // it would say the same again
			}
		}
	})
}
