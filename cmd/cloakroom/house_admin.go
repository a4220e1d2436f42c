package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloakroom/internal/egress"
	"cloakroom/internal/telemetry"
	"cloakroom/session"
)

// adminSession is what an operator may know of a session.
type adminSession struct {
	ID            string `json:"id"`
	Provider      string `json:"provider"`
	Issuer        string `json:"issuer"`
	Subject       string `json:"sub"`
	CreatedAt     string `json:"created_at"`
	LastSeenAt    string `json:"last_seen_at"`
	ExpiresAt     string `json:"expires_at"`
	IdleExpiresAt string `json:"idle_expires_at"`
	UserAgent     string `json:"user_agent"`
	Address       string `json:"address"`
}

// adminKey is what an operator may know of a signing key.
type adminKey struct {
	ID        string `json:"kid"`
	Algorithm string `json:"alg"`
	Signs     bool   `json:"signs"`            // now; the others only verify
	Secret    string `json:"secret,omitempty"` // id of the secret it is derived from; none for a key from a file
	Epoch     int64  `json:"epoch,omitempty"`
}

// administer mounts what operators do to a running Cloakroom.
func (g *grounds) administer(mux *http.ServeMux) {
	mux.Handle("GET /admin/sessions", g.operator(g.listSessions))
	mux.Handle("DELETE /admin/sessions", g.operator(g.endSessions))
	mux.Handle("GET /admin/keys", g.operator(g.listKeys))
}

// operator lets in who has the token, where one is configured. Where none is, the listener is a loopback one, which a browser on
// this machine reaches too: a page of another origin says so itself, and one whose name was bound to this address anew (DNS rebinding), which
// is not told from us by the browser, bears that name as Host.
func (g *grounds) operator(serve http.HandlerFunc) http.Handler {
	want := sha256.Sum256([]byte(g.opened.Admin.Token.Reveal()))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if g.opened.Admin.Token != "" {
			scheme, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			if got := sha256.Sum256([]byte(bearer)); !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
				w.Header().Set("WWW-Authenticate", `Bearer realm="cloakroom admin"`)
				g.recordAdmin(r, adminAct{outcome: "refused", reason: "no token, or not the configured one"})
				adminProblem(w, http.StatusUnauthorized, "unauthorized", "Send the configured admin.token as bearer token.")
				return
			}
		} else if r.Header.Get("Origin") != "" || r.Header.Get("Sec-Fetch-Site") != "" || !isOurselves(r.Host) {
			adminProblem(w, http.StatusForbidden, "csrf", "Without admin.token this is not for browsers. Ask by a loopback address or localhost.")
			return
		}
		serve(w, r)
	})
}

// isOurselves tells whether a Host names this machine, to itself.
func isOurselves(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return egress.Loopback(strings.Trim(host, "[]"))
}

func (g *grounds) listSessions(w http.ResponseWriter, r *http.Request) {
	which, fault := g.selected(r, false)
	if fault != "" {
		adminProblem(w, http.StatusBadRequest, "bad-request", fault)
		return
	}
	list := []adminSession{}
	for _, one := range which {
		found, err := g.sessions.Select(r.Context(), one)
		if err != nil {
			g.adminFailed(w, r, "list", which, err)
			return
		}
		for _, s := range found {
			list = append(list, adminSession{
				ID: s.ID, Provider: s.Provider, Issuer: s.Issuer, Subject: s.Subject, CreatedAt: stamp(s.Created), LastSeenAt: stamp(s.Seen),
				ExpiresAt: stamp(s.Expires), IdleExpiresAt: stamp(s.IdleExpires), UserAgent: s.UserAgent, Address: s.Address,
			})
		}
	}
	slices.SortFunc(list, func(a, b adminSession) int { return strings.Compare(b.LastSeenAt, a.LastSeenAt) })
	g.recordAdmin(r, adminAct{which: which, outcome: "ok", reason: fmt.Sprintf("list sessions: %d found", len(list))})
	adminAnswer(w, map[string]any{"sessions": list})
}

func (g *grounds) endSessions(w http.ResponseWriter, r *http.Request) {
	which, fault := g.selected(r, true)
	if fault != "" {
		adminProblem(w, http.StatusBadRequest, "bad-request", fault)
		return
	}
	ended := 0
	for _, one := range which {
		n, err := g.sessions.EndAll(r.Context(), one, "revoked")
		switch {
		case errors.Is(err, session.ErrNotAllTold):
			g.log.WarnContext(r.Context(), "a replica may serve a session that has ended for some seconds", "error", err)
		case err != nil:
			g.adminFailed(w, r, "end", which, err)
			return
		}
		ended += n
	}
	g.recordAdmin(r, adminAct{which: which, outcome: "ok", reason: fmt.Sprintf("end sessions: %d ended", ended)})
	adminAnswer(w, map[string]int{"ended": ended})
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// selected reads which sessions are meant: one by id, a person's by sub and, where they sign in at several providers, issuer,
// or, to end them, everyone's that began before a time. What could be read in two ways is refused: it may end sessions.
func (g *grounds) selected(r *http.Request, ending bool) (which []session.Selector, fault string) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "The query cannot be read."
	}
	for name, values := range query {
		if !slices.Contains([]string{"sub", "issuer", "id", "before"}, name) {
			return nil, fmt.Sprintf("There is no parameter %.32q.", name)
		}
		if len(values) != 1 || values[0] == "" {
			return nil, fmt.Sprintf("Say %s once, and with a value.", name)
		}
	}
	one := session.Selector{ID: query.Get("id"), Issuer: query.Get("issuer"), Subject: query.Get("sub")}
	if query.Has("before") {
		if one.Before, err = time.Parse(time.RFC3339, query.Get("before")); err != nil {
			return nil, "before is a time like 2026-11-25T08:00:00Z."
		}
	}
	switch {
	case query.Has("issuer") && !query.Has("sub"):
		return nil, "issuer goes with sub."
	case query.Has("id") && (query.Has("sub") || query.Has("before")):
		return nil, "id goes alone."
	case !query.Has("id") && !query.Has("sub") && (!ending || !query.Has("before")):
		return nil, "Say which: by id, or by sub and issuer; to end them, also by before."
	case one.Subject == "" || one.Issuer != "":
		return []session.Selector{one}, ""
	}
	// the same sub at another provider is another person, but an operator who does not know means all
	for _, p := range g.providers {
		one.Issuer = p.Issuer()
		which = append(which, one)
	}
	return which, ""
}

func (g *grounds) listKeys(w http.ResponseWriter, r *http.Request) {
	ring, keys := g.current.Load().keys, []adminKey{}
	for _, k := range ring.Published() {
		keys = append(keys, adminKey{ID: k.ID, Algorithm: k.Algorithm, Signs: k.Signs, Secret: k.Secret, Epoch: k.Epoch})
	}
	g.recordAdmin(r, adminAct{outcome: "ok", reason: "list keys"})
	adminAnswer(w, map[string]any{"epoch": ring.Epoch(), "keys": keys})
}

// adminAct is what an operator did.
type adminAct struct {
	which           []session.Selector
	outcome, reason string
}

// recordAdmin writes the audit line. Who it was is not known beyond where they came from: the token is one for all operators.
func (g *grounds) recordAdmin(r *http.Request, act adminAct) {
	e := telemetry.Event{Name: "admin", Outcome: act.outcome, Actor: r.RemoteAddr, Reason: act.reason}
	if len(act.which) == 0 {
		g.audit.Record(r.Context(), e)
	}
	for _, one := range act.which {
		e.Issuer, e.Subject, e.SID = one.Issuer, one.Subject, one.ID
		if !one.Before.IsZero() {
			e.Reason = act.reason + ", before " + stamp(one.Before)
		}
		g.audit.Record(r.Context(), e)
	}
}

func (g *grounds) adminFailed(w http.ResponseWriter, r *http.Request, what string, which []session.Selector, err error) {
	if errors.Is(err, context.Canceled) {
		return // the operator is gone
	}
	g.recordAdmin(r, adminAct{which: which, outcome: "failed", reason: what + " sessions: " + err.Error()})
	w.Header().Set("Retry-After", "2")
	adminProblem(w, http.StatusServiceUnavailable, "store-unavailable", "The store does not answer. Sessions may live on: try again.")
}

func adminAnswer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a broken connection is the operator's affair
}

func adminProblem(w http.ResponseWriter, status int, name, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "urn:cloakroom:problem:" + name, "title": http.StatusText(status), "status": status, "detail": detail,
	})
}
