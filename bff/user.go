package bff

import (
	"errors"
	"math"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
	"cloakroom/session"
)

// user tells the SPA who is signed in. Its answer is made of claims that the configuration lists, never of tokens.
func (s *Server) user(c echo.Context, v visitor) {
	w, r := c.Response(), c.Request()
	if r.URL.Query().Get("slide") != "false" {
		var ok bool
		if v.session, ok = s.slide(w, r, v, demand{}); !ok {
			return
		}
	}
	answer := s.userClaims(r, v.session)
	answer["sub"] = v.session.Subject
	answer["session"] = s.describe(v.session)
	writeJSON(w, http.StatusOK, "application/json", answer)
}

// slidePause is how long no session is extended after the store refused to extend one: each refusal may take its time.
const slidePause = time.Second

// slide extends the idle time of a session that is being used. A store that has just given it and takes no writes, as in a
// fail-over, is no reason to refuse whoever has it: then it ends when it would have.
func (s *Server) slide(w http.ResponseWriter, r *http.Request, v visitor, d demand) (*session.Session, bool) {
	if at := s.unslid.Load(); at != 0 {
		if since := s.now().Sub(time.Unix(0, at)); 0 <= since && since < slidePause {
			return v.session, true
		}
	}
	found, err := s.sessions.Slide(r.Context(), v.session)
	switch {
	case err == nil:
		return found, true
	case errors.Is(err, session.ErrNotFound):
		s.lostSession(w, r, v.ticket, d, err)
		return nil, false
	}
	if r.Context().Err() == nil { // otherwise the browser did not wait
		s.unslid.Store(s.now().UnixNano())
		s.log.WarnContext(r.Context(), "session in use not extended", "error", err)
	}
	return v.session, true
}

func (s *Server) userClaims(r *http.Request, found *session.Session) map[string]any {
	claims := map[string]any{}
	for _, name := range s.frontend.UserClaims.Names {
		if value, ok := found.Identity[name]; ok {
			claims[name] = value
		}
	}
	if len(s.frontend.UserClaims.Values) == 0 {
		return claims
	}
	ctx := ruleContext(exchange.SessionSubject(Evidence(found)), s.now())
	for name, value := range s.frontend.UserClaims.Values {
		got, err := value.Of(ctx)
		if err != nil {
			s.log.DebugContext(r.Context(), "user claim left out", "claim", name, "error", err)
			continue
		}
		if got != nil {
			claims[name] = got
		}
	}
	return claims
}

// sessionInfo is what the SPA may know of the session.
type sessionInfo struct {
	ID            string `json:"id"` // public handle, not the cookie's secret
	Provider      string `json:"provider"`
	CreatedAt     string `json:"created_at"`
	ExpiresAt     string `json:"expires_at"`
	IdleExpiresAt string `json:"idle_expires_at"`
	ExpiresIn     int64  `json:"expires_in"`
	IdleExpiresIn int64  `json:"idle_expires_in"`
	AuthTime      *int64 `json:"auth_time,omitempty"` // NumericDate, as the claim is
}

func (s *Server) describe(found *session.Session) sessionInfo {
	now := s.now()
	left := func(until time.Time) int64 { return int64(math.Max(0, math.Floor(until.Sub(now).Seconds()))) }
	info := sessionInfo{
		ID: found.ID, Provider: found.Provider,
		CreatedAt:     found.Created.UTC().Format(time.RFC3339),
		ExpiresAt:     found.Expires.UTC().Format(time.RFC3339),
		IdleExpiresAt: found.IdleExpires.UTC().Format(time.RFC3339),
		ExpiresIn:     left(found.Expires),
		IdleExpiresIn: left(found.IdleExpires),
	}
	if !found.AuthTime.IsZero() {
		seconds := found.AuthTime.Unix()
		info.AuthTime = &seconds
	}
	return info
}
