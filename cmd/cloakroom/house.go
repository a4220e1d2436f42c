package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
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

// grounds is what the house stands on, and what stays when it is arranged anew: what listens, what remembers, what counts.
type grounds struct {
	opened   *config.File // the first one: a later one may only differ in what the house is made of
	now      func() time.Time
	log      *slog.Logger
	registry *prometheus.Registry
	http     *telemetry.HTTP
	audit    *telemetry.Audit

	store        session.Store
	recordOpened func(outcome string)    // counts records that did not open
	background   []func(context.Context) // what runs while it is open
	sessions     *session.Manager
	providers    []*provider.Provider
	records      *bff.Records
	observe      func(context.Context, exchange.Event) // of every token minted and every refusal
	health       *daemon.Health
	certificates map[string]*daemon.Certificate // by listener
	reloads      *reloadMetrics

	countRequests func(name string) func(endpoint, outcome string) // to a provider or further issuer

	current atomic.Pointer[house] // the one that new requests enter
}

// house is Cloakroom put together by one configuration: every room, each knowing only what it was handed. This is the one place
// where the knots are tied. Once it is arranged nothing of it changes; a reload makes another one, on the same grounds, and
// whoever is in this one leaves by its own door.
type house struct {
	*grounds
	file   *config.File
	before *house // while it is arranged: the one whose place it takes, or nil

	secrets      *secret.Ring
	issuers      []*provider.Issuer // further ones, in the order of the file
	keySets      map[keySetID]token.Keys
	keys         *token.KeyRing
	exchange     *exchange.Service
	services     *exchangehttp.Server
	inside       http.Handler // the internal listener's
	noRoomInside http.Handler // its answer to one connection too many
	frontend     bff.Frontend
	browser      *bff.Server // nil where the public listener is off
}

// assemble builds everything and opens nothing: neither the store nor a provider has to answer yet.
func assemble(file *config.File, log *slog.Logger) (*house, error) {
	g := &grounds{opened: file, now: time.Now, log: log, registry: prometheus.NewRegistry(), certificates: map[string]*daemon.Certificate{}}
	g.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	g.http = telemetry.NewHTTP(g.registry)
	g.observe = g.observer()
	g.reloads = newReloadMetrics(g.registry)
	secrets, err := g.openSecrets(file, nil)
	if err != nil {
		return nil, err
	}
	g.audit = telemetry.NewAudit(log, secrets.First())
	for _, part := range []func() error{g.openStore, g.meetProviders, func() error { return g.keepSessions(secrets) }} {
		if err := part(); err != nil {
			return nil, err
		}
	}
	checks := []daemon.Check{{Name: "store", Probe: g.store.Ping}}
	for _, p := range g.providers {
		checks = append(checks, daemon.Check{Name: "provider " + p.Name(), Probe: func(context.Context) error { return p.Ready() }})
	}
	g.health = daemon.NewHealth(checks...)
	h, err := g.arrange(file, secrets)
	if err != nil {
		return nil, err
	}
	g.current.Store(h)
	return h, nil
}

// arrange builds a house by a configuration. Nobody enters it yet, and nothing has changed for those in the present one.
func (g *grounds) arrange(file *config.File, secrets *secret.Ring) (*house, error) {
	h := &house{grounds: g, file: file, before: g.current.Load(), secrets: secrets, keySets: map[keySetID]token.Keys{}}
	for _, room := range []func() error{h.meetIssuers, h.cutKeys, h.drawFrontend, h.openExchange, h.serveServices, h.faceBrowser} {
		if err := room(); err != nil {
			return nil, err
		}
	}
	h.before = nil // or no house would ever be gone
	return h, nil
}

// openSecrets takes the configured secrets. Where the configuration may do without, it keeps those there are, or makes one.
func (g *grounds) openSecrets(file *config.File, present *secret.Ring) (*secret.Ring, error) {
	keys := file.Secrets
	if len(keys) == 0 && present != nil {
		return present, nil
	}
	if len(keys) == 0 {
		keys = []secret.Key{secret.NewKey()}
		g.log.Warn("no secrets configured: one was made for this run; every session ends with it")
	}
	ring, err := secret.NewRing(keys...)
	if err != nil {
		return nil, fmt.Errorf("secrets: %w", err)
	}
	return ring, nil
}

// open listens and serves until ctx ends.
func (g *grounds) open(ctx context.Context) (*daemon.Daemon, error) {
	listeners, err := g.listeners() //nolint:contextcheck // handlers have their requests'
	if err != nil {
		return nil, err
	}
	options := daemon.Options{
		Listeners: listeners, Health: g.health, Delay: g.opened.Drain.Delay, Timeout: g.opened.Drain.Timeout, Log: g.log,
	}
	if g.opened.Public.Listen != config.Off {
		options.Drained = append(options.Drained, func(ctx context.Context) error { return g.current.Load().browser.Close(ctx) })
	}
	options.Drained = append(options.Drained, g.sessions.Close, func(context.Context) error { return g.store.Close() })
	options.Background = append(options.Background, g.background...)
	for _, p := range g.providers {
		options.Background = append(options.Background, p.Run)
	}
	if endpoint := g.opened.Telemetry.OTLPEndpoint; endpoint != "" {
		traces, err := telemetry.NewTraces(endpoint, thisBuild().version, g.log) //nolint:contextcheck // they are sent beyond ctx
		if err != nil {
			return nil, err
		}
		g.http.Trace(traces)
		options.Drained = append(options.Drained, traces.Close)
	}
	d, err := daemon.Start(ctx, options)
	if err != nil {
		return nil, err
	}
	opened := []any{"version", thisBuild().version}
	for _, l := range listeners {
		opened = append(opened, l.Name, d.Address(l.Name).String())
	}
	g.log.Info("ready", opened...)
	return d, nil
}

// observed counts and times what a listener other than the public one answers; the public one knows its routes itself.
func (g *grounds) observed(listener string, mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		r = g.http.Begin(r, true)
		status := &statusWriter{ResponseWriter: w, code: http.StatusOK}
		_, route := mux.Handler(r)
		if route == "" {
			route = "none"
		}
		mux.ServeHTTP(status, r)
		g.http.Observe(r, listener, route, status.code, time.Since(began))
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
