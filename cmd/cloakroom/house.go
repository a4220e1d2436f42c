package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"cloakroom/bff"
	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/internal/daemon"
	"cloakroom/internal/telemetry"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/token"
)

// house is Cloakroom put together: every room, each knowing only what it was handed. This is the one place where the
// knots are tied.
type house struct {
	file     *config.File
	now      func() time.Time
	log      *slog.Logger
	registry *prometheus.Registry
	http     *telemetry.HTTP
	audit    *telemetry.Audit

	secrets    *secret.Ring
	store      session.Store
	background []func(context.Context) // what runs while it is open
	sessions   *session.Manager
	providers  []*provider.Provider
	issuers    []*provider.Issuer // further ones, in the order of the file
	keys       *token.KeyRing     // nil where nothing is minted
	exchange   *exchange.Service
	observe    func(context.Context, exchange.Event) // of every token minted and every refusal

	countRequests func(name string) func(endpoint, outcome string) // to a provider or further issuer
	services      *exchangehttp.Server
	records       *bff.Records
	frontend      bff.Frontend
	browser       *bff.Server // nil where the public listener is off
	health        *daemon.Health
}

// assemble builds everything and opens nothing: neither the store nor a provider has to answer yet.
func assemble(file *config.File, log *slog.Logger) (*house, error) {
	h := &house{file: file, now: time.Now, log: log, registry: prometheus.NewRegistry()}
	h.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	h.http = telemetry.NewHTTP(h.registry)
	for _, room := range []func() error{
		h.openSecrets, h.openStore, h.meetProviders, h.meetIssuers, h.keepSessions, h.cutKeys, h.drawFrontend, h.openExchange, h.serveServices, h.faceBrowser,
	} {
		if err := room(); err != nil {
			return nil, err
		}
	}
	checks := []daemon.Check{{Name: "store", Probe: h.store.Ping}}
	for _, p := range h.providers {
		checks = append(checks, daemon.Check{Name: "provider " + p.Name(), Probe: func(context.Context) error { return p.Ready() }})
	}
	h.health = daemon.NewHealth(checks...)
	return h, nil
}

// openSecrets takes the configured secrets, or makes one where the configuration may do without.
func (h *house) openSecrets() error {
	keys := h.file.Secrets
	if len(keys) == 0 {
		keys = []secret.Key{secret.NewKey()}
		h.log.Warn("no secrets configured: one was made for this run; every session ends with it")
	}
	ring, err := secret.NewRing(keys...)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	h.secrets = ring
	h.audit = telemetry.NewAudit(h.log, ring.First())
	return nil
}

// open listens and serves until ctx ends.
func (h *house) open(ctx context.Context) (*daemon.Daemon, error) {
	listeners, err := h.listeners() //nolint:contextcheck // handlers have their requests'
	if err != nil {
		return nil, err
	}
	options := daemon.Options{
		Listeners: listeners, Health: h.health, Delay: h.file.Drain.Delay, Timeout: h.file.Drain.Timeout, Log: h.log,
	}
	if h.browser != nil {
		options.Drained = append(options.Drained, h.browser.Close)
	}
	options.Drained = append(options.Drained, h.sessions.Close, func(context.Context) error { return h.store.Close() })
	options.Background = append(options.Background, h.background...)
	for _, p := range h.providers {
		options.Background = append(options.Background, p.Run)
	}
	d, err := daemon.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	opened := []any{"version", buildInfo().Main.Version}
	for _, l := range listeners {
		opened = append(opened, l.Name, d.Address(l.Name).String())
	}
	h.log.Info("ready", opened...)
	return d, nil
}

// observed counts and times what a listener other than the public one answers; the public one knows its routes itself.
func (h *house) observed(listener string, mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		r = telemetry.Begin(r, true)
		status := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		_, route := mux.Handler(r)
		if route == "" {
			route = "none"
		}
		mux.ServeHTTP(status, r)
		h.http.Observe(listener, route, status.code, time.Since(began))
	})
}

// statusWriter remembers the code of an answer.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController reach flushing and deadlines.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
