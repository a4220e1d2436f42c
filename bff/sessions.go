package bff

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/session"
)

// ownSession is what a person may know of one of their sessions.
type ownSession struct {
	ID         string `json:"id"`
	Current    bool   `json:"current"`
	Provider   string `json:"provider"`
	CreatedAt  string `json:"created_at"`
	LastSeenAt string `json:"last_seen_at"`
	ExpiresAt  string `json:"expires_at"`
	UserAgent  string `json:"user_agent"`
	Address    string `json:"address"`
}

// ownSessions lists the sessions of the person who asks, the last used first, or ends all but this one.
func (s *Server) ownSessions(c echo.Context, v visitor) {
	w, r := c.Response(), c.Request()
	query, err := singleValues(r)
	if err != nil {
		s.refuse(w, r, problem{name: problemBadRequest, err: err})
		return
	}
	var ok bool
	if v.session, ok = s.slide(w, r, v, demand{}); !ok {
		return
	}
	if r.Method == http.MethodDelete {
		if query.Get("others") != "true" {
			s.refuse(w, r, problem{name: problemBadRequest, text: "Say which: /bff/sessions/{id}, or ?others=true."})
			return
		}
		which := session.Selector{Issuer: v.session.Issuer, Subject: v.session.Subject, Except: v.session.ID}
		if err := s.endAll(r.Context(), which); err != nil {
			s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
			return
		}
		w.WriteHeader(http.StatusNoContent)
		return
	}
	found, err := s.sessions.Select(r.Context(), session.Selector{Issuer: v.session.Issuer, Subject: v.session.Subject})
	if err != nil {
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
		return
	}
	slices.SortFunc(found, func(a, b *session.Session) int { return b.Seen.Compare(a.Seen) })
	list := make([]ownSession, 0, len(found))
	for _, one := range found {
		list = append(list, ownSession{
			ID: one.ID, Current: one.ID == v.session.ID, Provider: one.Provider,
			CreatedAt: stamp(one.Created), LastSeenAt: stamp(one.Seen), ExpiresAt: stamp(one.Expires),
			UserAgent: one.UserAgent, Address: one.Address,
		})
	}
	writeJSON(w, http.StatusOK, "application/json", map[string]any{"sessions": list})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// endOwnSession ends one of the sessions of the person who asks, this one too. That of somebody else is not there.
func (s *Server) endOwnSession(c echo.Context, v visitor) {
	w, r := c.Response(), c.Request()
	var ok bool
	if v.session, ok = s.slide(w, r, v, demand{}); !ok {
		return
	}
	found, err := s.sessions.Find(r.Context(), c.Param("id"))
	switch {
	case errors.Is(err, session.ErrNotFound), err == nil && (found.Issuer != v.session.Issuer || found.Subject != v.session.Subject):
		s.refuse(w, r, problem{name: problemNotFound})
		return
	case err != nil:
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
		return
	}
	own := found.ID == v.session.ID
	if own {
		_, err = s.endOwn(r.Context(), v, "revoked")
	} else {
		err = s.endAll(r.Context(), session.Selector{ID: found.ID})
	}
	if err != nil {
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
		return
	}
	if own {
		s.cookies.clearSession(w)
	}
	w.WriteHeader(http.StatusNoContent)
}

// endAll ends sessions whose cookies are elsewhere.
func (s *Server) endAll(ctx context.Context, which session.Selector) error {
	_, err := s.sessions.EndAll(ctx, which, "revoked")
	return s.hasEnded(ctx, err)
}
