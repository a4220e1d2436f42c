package bff

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"cloakroom/internal/telemetry"
	"cloakroom/provider"
	"cloakroom/session"
)

// Records counts and writes down what becomes of sign-ins and sessions. It exists before the session manager, whose
// hooks are its methods. A nil *Records keeps none.
type Records struct {
	audit   *telemetry.Audit
	log     *slog.Logger
	started *prometheus.CounterVec
	ended   *prometheus.CounterVec
	refresh *prometheus.CounterVec
	sockets prometheus.Gauge
}

// NewRecords registers the metrics of sessions.
func NewRecords(reg prometheus.Registerer, audit *telemetry.Audit, log *slog.Logger) *Records {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "cloakroom_" + name, Help: help}, labels)
	}
	rec := &Records{
		audit: audit, log: log,
		started: counter("sessions_started_total", "Sessions started by a sign-in.", "provider"),
		ended:   counter("sessions_ended_total", "Sessions ended, by what ended them.", "reason"),
		refresh: counter("refresh_total", "Refreshes of a session's tokens.", "provider", "outcome"),
	}
	rec.sockets = prometheus.NewGauge(prometheus.GaugeOpts{Name: "cloakroom_websocket_connections", Help: "WebSockets that are open."})
	reg.MustRegister(rec.started, rec.ended, rec.refresh, rec.sockets)
	return rec
}

// Ended is session.Config.Ended.
func (rec *Records) Ended(ctx context.Context, s *session.Session, reason string) {
	if rec == nil {
		return
	}
	rec.ended.WithLabelValues(reason).Inc()
	rec.audit.Record(ctx, about(s, telemetry.Event{Name: "session-ended", Outcome: "ok", Reason: reason}))
}

// RefreshFailed is session.Config.RefreshFailed.
func (rec *Records) RefreshFailed(ctx context.Context, s *session.Session, err error) {
	if rec == nil {
		return
	}
	rec.log.WarnContext(ctx, "refresh failed", "provider", s.Provider, "error", err)
	rec.audit.Record(ctx, about(s, telemetry.Event{Name: "refresh-failed", Outcome: refreshOutcome(err), Reason: err.Error()}))
}

// Unsaved is session.Config.Unsaved.
func (rec *Records) Unsaved(ctx context.Context, s *session.Session, err error) {
	if rec != nil {
		rec.log.ErrorContext(ctx, "renewed tokens are in memory alone: the store does not take them", "provider", s.Provider, "sid", s.ID, "error", err)
	}
}

// Broken is session.Config.Broken.
func (rec *Records) Broken(ctx context.Context, id string, lasting bool, err error) {
	switch {
	case rec == nil:
	case lasting:
		rec.log.ErrorContext(ctx, "security: a session's record does not open, so it counts as none: it was tampered with, or sealed under a secret that is not configured here", "sid", id, "error", err)
	default:
		rec.log.WarnContext(ctx, "a session's record did not open until it was read again", "sid", id, "error", err)
	}
}

func (rec *Records) refreshed(name string, err error) {
	if rec != nil {
		rec.refresh.WithLabelValues(name, refreshOutcome(err)).Inc()
	}
}

func (rec *Records) signedIn(ctx context.Context, s *session.Session, remark string) {
	if rec == nil {
		return
	}
	rec.started.WithLabelValues(s.Provider).Inc()
	rec.audit.Record(ctx, about(s, telemetry.Event{Name: "login", Outcome: "ok", Reason: remark}))
}

// notSignedIn tells of a sign-in that came to nothing, and of whom, where that is known.
func (rec *Records) notSignedIn(ctx context.Context, e telemetry.Event) {
	if rec != nil {
		rec.audit.Record(ctx, e)
	}
}

func (rec *Records) signedOut(ctx context.Context, s *session.Session) {
	if rec != nil {
		rec.audit.Record(ctx, about(s, telemetry.Event{Name: "logout", Outcome: "ok"}))
	}
}

// saidSignedOut tells of a provider that said by its back channel that a person is signed out.
func (rec *Records) saidSignedOut(ctx context.Context, e telemetry.Event) {
	if rec != nil {
		e.Name = "backchannel-logout"
		rec.audit.Record(ctx, e)
	}
}

func (rec *Records) socketOpened() {
	if rec != nil {
		rec.sockets.Inc()
	}
}

func (rec *Records) socketClosed() {
	if rec != nil {
		rec.sockets.Dec()
	}
}

// about fills in who the session is of.
func about(s *session.Session, e telemetry.Event) telemetry.Event {
	e.Provider, e.Issuer, e.Subject, e.SID = s.Provider, s.Issuer, s.Subject, s.ID
	return e
}

func refreshOutcome(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, session.ErrRefused), errors.Is(err, provider.ErrRefused):
		return "refused"
	case errors.Is(err, session.ErrUncertain), errors.Is(err, provider.ErrUncertain):
		return "uncertain"
	case patience(err) > 0:
		return "throttled"
	case errors.Is(err, provider.ErrUnavailable):
		return "unavailable"
	}
	return "failed"
}
