package bff

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/internal/telemetry"
	"cloakroom/provider"
	"cloakroom/session"
	"cloakroom/token"
)

// badLogoutsPerMinute is how many logout tokens that are none an address may send. Good ones are not counted: a provider may
// sign out many people at once.
const badLogoutsPerMinute = 60

// backchannelLogout is where a provider says that somebody is signed out (OpenID Connect Back-Channel Logout 1.0 section 2.5).
// No browser stands behind it: it needs neither cookie nor proof, and believes nothing but the provider's signature. What could
// not be done is never answered with 200, so that the provider tries again.
func (s *Server) backchannelLogout(c echo.Context, _ visitor) {
	w, r := c.Response(), c.Request()
	p, ok := s.providers[c.Param("provider")]
	if !ok {
		s.refuse(w, r, problem{name: problemNotFound})
		return
	}
	from := s.proxies.client(r)
	if ok, retry := s.refusals.would(from); !ok {
		s.refuse(w, r, problem{name: problemRateLimited, retry: retry})
		return
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(logoutReadTime)) // anyone may begin to send
	said, err := s.readLogout(r, p)
	if err == nil {
		err = s.signedOutAt(r.Context(), p, said)
		s.recordLogout(r.Context(), p, said, err)
	}
	switch {
	case err == nil:
		w.WriteHeader(http.StatusOK)
	case errors.Is(err, provider.ErrUnavailable):
		s.refuse(w, r, problem{name: problemProviderUnavailable, err: err})
	case errors.Is(err, errLogoutToken), errors.Is(err, provider.ErrRejected):
		_, _ = s.refusals.allow(from)
		s.refuse(w, r, problem{name: problemBadRequest, err: err})
	default:
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: err})
	}
}

// errLogoutToken: what was sent is no logout token, or one that says nothing new.
var errLogoutToken = errors.New("logout token refused")

// What is read of a request: a token of the longest, with what a form adds to it, and not for ever.
const (
	maxLogoutForm  = token.MaxSize + 1<<10
	logoutReadTime = 10 * time.Second
)

// readLogout reads the form and verifies the one token in it.
func (s *Server) readLogout(r *http.Request, p LoginProvider) (provider.LogoutToken, error) {
	none := provider.LogoutToken{}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return none, fmt.Errorf("%w: not a form", errLogoutToken)
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxLogoutForm+1))
	if err != nil || len(body) > maxLogoutForm {
		return none, fmt.Errorf("%w: too long, or broken off", errLogoutToken)
	}
	form, err := url.ParseQuery(string(body)) // of the body alone: an address would stand in logs
	if err != nil || len(form["logout_token"]) != 1 {
		return none, fmt.Errorf("%w: there must be one logout_token", errLogoutToken)
	}
	return p.VerifyLogout(r.Context(), form.Get("logout_token"))
}

// signedOutAt ends what the provider says has ended: the sessions of one sign-in at the provider, or all of the person's. That there
// are none is no error, and is not told apart: whose sessions there are is nobody's business.
func (s *Server) signedOutAt(ctx context.Context, p LoginProvider, said provider.LogoutToken) error {
	mark := logoutMark(p.Issuer(), said.ID)
	before, err := s.store.Buried(ctx, []session.Index{mark})
	if err != nil {
		return fmt.Errorf("look for the logout token: %w", err)
	}
	if !before.IsZero() {
		return fmt.Errorf("%w: it was sent before", errLogoutToken)
	}
	which := session.Selector{Issuer: p.Issuer(), Subject: said.Subject}
	if said.SID != "" {
		which = session.Selector{Issuer: p.Issuer(), ProviderSID: said.SID}
		found, err := s.sessions.Select(ctx, which)
		if err != nil {
			return fmt.Errorf("find sessions: %w", err)
		}
		for _, one := range found {
			if said.Subject != "" && one.Subject != said.Subject {
				return fmt.Errorf("%w: its sid is of another person than its sub", errLogoutToken)
			}
		}
	}
	if _, err := s.sessions.EndAll(ctx, which, "backchannel"); err != nil {
		return fmt.Errorf("end sessions: %w", err)
	}
	// Only now: had it been marked first, and ending failed, the provider's next attempt would be taken for a replay.
	if err := s.store.Bury(ctx, mark, s.now(), said.Expires.Sub(s.now())+time.Minute); err != nil {
		return fmt.Errorf("mark the logout token as used: %w", err)
	}
	return nil
}

// logoutMark is what the store knows a logout token by.
func logoutMark(issuer, id string) session.Index {
	sum := sha256.Sum256([]byte(issuer + "\x00" + id))
	return session.Index("logout-token:" + base64.RawURLEncoding.EncodeToString(sum[:]))
}

func (s *Server) recordLogout(ctx context.Context, p LoginProvider, said provider.LogoutToken, err error) {
	e := telemetry.Event{Outcome: "ok", Provider: p.Name(), Issuer: p.Issuer(), Subject: said.Subject}
	switch {
	case errors.Is(err, errLogoutToken):
		e.Outcome, e.Reason = "refused", err.Error()
	case err != nil:
		e.Outcome, e.Reason = "failed", err.Error()
	}
	s.records.saidSignedOut(ctx, e)
}
