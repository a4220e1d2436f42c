package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/bff"
	"cloakroom/exchange"
	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/memstore"
	"cloakroom/session/redisstore"
)

// openStore chooses the engine. Redis does not have to answer yet.
func (g *grounds) openStore() error {
	if g.opened.Store.InMemory() {
		g.store, g.recordOpened = memstore.New(time.Now), func(string) {}
		return nil
	}
	operations := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloakroom_store_operations_total", Help: "Operations of the session store.",
	}, []string{"op", "outcome"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cloakroom_store_operation_duration_seconds", Help: "Time an operation of the session store takes.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	}, []string{"op"})
	g.registry.MustRegister(operations, duration)
	for _, outcome := range []string{"tampered", "torn"} {
		operations.WithLabelValues("open", outcome) // there from the start: to Prometheus a series that begins at 1 has not risen
	}
	g.recordOpened = func(outcome string) { operations.WithLabelValues("open", outcome).Inc() }
	s := g.opened.Store
	store, err := redisstore.New(redisstore.Config{
		URL: s.URL.Reveal(), Username: s.Username, Password: s.Password, Prefix: s.Prefix, Timeout: s.Timeout,
		SentinelUsername: s.SentinelUsername, SentinelPassword: s.SentinelPassword, CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile,
		Observe: func(op, outcome string, took time.Duration) {
			operations.WithLabelValues(op, outcome).Inc()
			duration.WithLabelValues(op).Observe(took.Seconds())
		},
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	g.store = store
	g.background = append(g.background, func(ctx context.Context) {
		store.Advise(ctx, func(problem, remedy string) { g.log.WarnContext(ctx, "store", "problem", problem, "remedy", remedy) })
	})
	return nil
}

// keepSessions makes the manager of the sessions' life; what it tells goes to the audit and the metrics.
func (g *grounds) keepSessions(secrets *secret.Ring) error {
	g.records = bff.NewRecords(g.registry, g.audit, g.log)
	cached := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloakroom_session_cache_total", Help: "Sessions looked up: found in memory (hit), in the store (miss), or in the store because memory could not be trusted (bypass).",
	}, []string{"result"})
	g.registry.MustRegister(cached)
	manager, err := session.NewManager(session.Config{
		Store:          g.store,
		Secrets:        secrets,
		Limits:         session.Limits{Idle: g.opened.Session.Idle, Absolute: g.opened.Session.Absolute},
		MaxPerUser:     g.opened.Session.MaxPerUser,
		RefreshBefore:  g.opened.Session.RefreshBefore,
		RefreshEvery:   g.opened.Session.RefreshEvery,
		Refresh:        bff.Refresher(g.providers, g.records),
		RefreshTimeout: g.longestRefresh(),
		RevokeOnEnd:    g.opened.Session.RevokeOnEnd == "always",
		Revoke:         bff.Revoker(g.providers, g.log),
		Now:            g.now,
		Ended:          g.records.Ended,
		RefreshFailed:  g.records.RefreshFailed,
		Unsaved:        g.records.Unsaved,
		Broken: func(ctx context.Context, id string, lasting bool, err error) {
			g.recordOpened(map[bool]string{true: "tampered", false: "torn"}[lasting])
			g.records.Broken(ctx, id, lasting, err)
		},
		Cached: func(result string) { cached.WithLabelValues(result).Inc() },
	})
	if err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	g.sessions = manager
	g.background = append(g.background, manager.Run)
	return nil
}

// longestRefresh is how long renewing tokens may take at the slowest provider: the call itself, and fetching keys that an
// ID token is signed with.
func (g *grounds) longestRefresh() time.Duration {
	longest := time.Duration(0)
	for _, p := range g.opened.Providers {
		longest = max(longest, p.Timeout)
	}
	return 2*longest + time.Second
}

// evidence finds what is known of the person behind a session's handle, for the exchange.
type evidence struct{ sessions *session.Manager }

func (e evidence) Evidence(ctx context.Context, sid string) (exchange.Evidence, error) {
	s, err := e.sessions.Find(ctx, sid)
	if err != nil {
		return exchange.Evidence{}, gone(err)
	}
	return bff.Evidence(s), nil
}

// cookieEvidence finds it by the value of the session's cookie. Whoever brings that speaks for the browser, as a front end that renders
// pages does: it is activity, and tokens that near their end are renewed.
type cookieEvidence struct {
	codec    *session.Codec
	sessions *session.Manager
}

func (e cookieEvidence) CookieEvidence(ctx context.Context, value secret.Text) (exchange.Evidence, error) {
	raw, _, err := e.codec.Decode(value.Reveal())
	if err != nil {
		return exchange.Evidence{}, fmt.Errorf("%w: %w", exchange.ErrUnacceptable, err)
	}
	var t session.Ticket
	if len(raw) != len(t) {
		return exchange.Evidence{}, fmt.Errorf("%w: not a ticket", exchange.ErrUnacceptable)
	}
	copy(t[:], raw)
	s, err := e.sessions.Load(ctx, t)
	if err != nil {
		return exchange.Evidence{}, gone(err)
	}
	switch active, err := e.sessions.Slide(ctx, s); {
	case err == nil:
		s = active
	case errors.Is(err, session.ErrNotFound):
		return exchange.Evidence{}, gone(err)
	} // where it could not be written, the session is there all the same
	if s, err = e.sessions.Fresh(ctx, t, s, exchange.MinimumLeft); err != nil {
		return exchange.Evidence{}, gone(err)
	}
	return bff.Evidence(s), nil
}

// gone says in the exchange's words that a session is not there any more.
func gone(err error) error {
	if errors.Is(err, session.ErrNotFound) {
		return fmt.Errorf("%w: %w", exchange.ErrSessionGone, err)
	}
	return err
}
