package bff

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"cloakroom/secret"
)

// Why Cloakroom closes a WebSocket (RFC 6455 section 7.4.1): 1001 says that it may be opened again, here or at another replica, 1008 that
// it may not before the person signs in again.
var (
	goingAway     = goodbye{1001, "shutting down"}
	noAnswer      = goodbye{1001, "no answer to a ping"}
	replacedByNew = goodbye{1001, "signed in anew"}
	sessionEnded  = goodbye{1008, "session ended"}
	messageTooBig = goodbye{1009, "message too big"}
)

// serveSocket lets a WebSocket through to a route's upstream. Bytes pass without being looked at only once the upstream has
// answered this very handshake with a 101; until then, and after any other answer, neither connection is anything but HTTP,
// and both are closed (CVE-2026-118264).
func (s *Server) serveSocket(w http.ResponseWriter, r *http.Request, v visitor, route *compiledRoute, path string, bearer secret.Text, fwd forwarded) {
	if err := checkHandshake(r); err != nil {
		p := problem{name: problemBadRequest, err: err}
		if errors.Is(err, errOtherVersion) {
			p.status = http.StatusUpgradeRequired
			w.Header().Set("Sec-Websocket-Version", "13")
			w.Header().Set("Upgrade", "websocket")
		}
		w.Header().Set("Connection", "close")
		s.refuse(w, r, p)
		return
	}
	leave, refused := s.stay(v)
	if refused != nil {
		s.refuse(w, r, *refused)
		return
	}
	t, ok := s.openTunnel(w, r, v, route, path, bearer, fwd)
	if !ok {
		leave()
		return
	}
	if a, ours := w.(*answer); ours {
		a.code = http.StatusSwitchingProtocols
	}
	go func(ctx context.Context) { // the request is answered; Close waits for what goes on
		defer leave()
		s.records.socketOpened()
		defer s.records.socketClosed()
		s.carry(ctx, v, t)
	}(context.WithoutCancel(r.Context()))
}

// openTunnel asks the upstream for the WebSocket and completes the browser's handshake. When ok is false, the request has been
// answered.
func (s *Server) openTunnel(w http.ResponseWriter, r *http.Request, v visitor, route *compiledRoute, path string, bearer secret.Text, fwd forwarded) (t *tunnel, ok bool) {
	u := route.upstream
	res, upstream, err := u.upgrade(r.Context(), r, path, bearer, &fwd) //nolint:bodyclose // the tunnel closes it, or whoever has the refusal
	if again, fresh := s.upgradeAgain(r, err, bearer, fwd); again {
		bearer = fresh
		res, upstream, err = u.upgrade(r.Context(), r, path, bearer, &fwd) //nolint:bodyclose // likewise
	}
	if no, isRefusal := errors.AsType[*refusal](err); isRefusal {
		defer func() { _ = no.res.Body.Close() }()
		w.Header().Set("Connection", "close")
		if no.res.StatusCode != http.StatusUnauthorized || bearer == "" {
			u.passRefusal(w, no.res, v.session != nil)
			return nil, false
		}
		if step := parseBearerChallenge(no.res.Header["Www-Authenticate"]).stepUp(fwd.Provider); step != nil {
			u.fail(w, r, problemStepUp, step)
			return nil, false
		}
		u.fail(w, r, problemUpstreamRefused, errTokenRefused)
		return nil, false
	}
	if err != nil {
		u.failUpgrade(w, r, err)
		return nil, false
	}
	browser, err := accept(w, r, res, u.cookies)
	if err != nil {
		_ = upstream.Close()
		s.log.InfoContext(r.Context(), "websocket not opened", "path", route.Path, "error", err)
		panic(http.ErrAbortHandler)
	}
	return &tunnel{browser: browser, upstream: upstream, limit: u.maxBody, silence: s.pingAfter}, true
}

// upgradeAgain tells whether the upstream calls the token invalid, and makes another in its place, once.
func (s *Server) upgradeAgain(r *http.Request, err error, bearer secret.Text, fwd forwarded) (bool, secret.Text) {
	no, isRefusal := errors.AsType[*refusal](err)
	if !isRefusal || no.res.StatusCode != http.StatusUnauthorized || bearer == "" || fwd.Remint == nil ||
		parseBearerChallenge(no.res.Header["Www-Authenticate"]).err != "invalid_token" {
		return false, ""
	}
	fresh, err := fwd.Remint(r.Context())
	if err != nil {
		s.log.InfoContext(r.Context(), "no other token", "error", fmt.Errorf("mint another token: %w", err))
		return false, ""
	}
	_ = no.res.Body.Close()
	return true, fresh
}

// carry runs the tunnel for as long as the session behind it lives and Cloakroom runs.
func (s *Server) carry(ctx context.Context, v visitor, t *tunnel) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.sockets, cancel) //nolint:contextcheck // two contexts end it
	defer stop()
	bye := make(chan goodbye, 1)
	attended := make(chan struct{})
	go func() {
		defer close(attended)
		reason, ended := s.attend(ctx, v, func(news) error { return nil })
		switch {
		case ended && reason == replaced:
			bye <- replacedByNew
		case ended:
			bye <- sessionEnded
		case s.sockets.Err() != nil:
			bye <- goingAway
		}
	}()
	t.run(bye)
	cancel()
	<-attended
}
