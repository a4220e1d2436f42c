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
func (h *house) openStore() error {
	if h.file.Store.InMemory() {
		h.store = memstore.New(time.Now)
		return nil
	}
	operations := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "cloakroom_store_operations_total", Help: "Operations of the session store.",
	}, []string{"op", "outcome"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "cloakroom_store_operation_duration_seconds", Help: "Time an operation of the session store takes.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1},
	}, []string{"op"})
	h.registry.MustRegister(operations, duration)
	s := h.file.Store
	store, err := redisstore.New(redisstore.Config{
		URL: s.URL.Reveal(), Username: s.Username, Password: s.Password, Prefix: s.Prefix, Timeout: s.Timeout,
		CAFile: s.CAFile, CertFile: s.CertFile, KeyFile: s.KeyFile,
		Observe: func(op, outcome string, took time.Duration) {
			operations.WithLabelValues(op, outcome).Inc()
			duration.WithLabelValues(op).Observe(took.Seconds())
		},
	})
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	h.store = store
	return nil
}

// keepSessions makes the manager of the sessions' life; what it tells goes to the audit and the metrics.
func (h *house) keepSessions() error {
	h.records = bff.NewRecords(h.registry, h.audit, h.log)
	manager, err := session.NewManager(session.Config{
		Store:         h.store,
		Secrets:       h.secrets,
		Limits:        session.Limits{Idle: h.file.Session.Idle, Absolute: h.file.Session.Absolute},
		RefreshBefore: h.file.Session.RefreshBefore,
		Refresh:       bff.Refresher(h.providers, h.records),
		Now:           time.Now,
		Ended:         h.records.Ended,
		RefreshFailed: h.records.RefreshFailed,
	})
	if err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	h.sessions = manager
	return nil
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

// cookieEvidence finds it by the value of the session's cookie.
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
	if copy(t[:], raw) != len(raw) || len(raw) != len(t) {
		return exchange.Evidence{}, fmt.Errorf("%w: not a ticket", exchange.ErrUnacceptable)
	}
	s, err := e.sessions.Load(ctx, t)
	if err != nil {
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
