package main

import (
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/internal/daemon"
)

// operators is the admin listener.
func (g *grounds) operators() http.Handler {
	g.registerEpoch()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", g.health.Live)
	mux.HandleFunc("GET /readyz", g.health.Ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(g.registry, promhttp.HandlerOpts{Registry: g.registry}))
	g.administer(mux)
	return g.observed("admin", mux)
}

// serveServices makes the services' side. It is there also where its listener is not opened: the public one may publish
// its keys.
func (h *house) serveServices() error {
	clients, err := h.callers()
	if err != nil {
		return err
	}
	url := h.file.Internal.URL
	if url == "" {
		url = h.exchange.Policy().Issuer()
	}
	h.services, err = exchangehttp.New(exchangehttp.Config{
		Service: h.exchange, Keys: h.keys, Clients: clients, Markers: h.store, URL: url, TokensPerSecond: h.file.Limits.TokenPerSecond,
		Observe: h.observe, HTTP: h.http, Log: h.log,
	})
	if err != nil {
		return err
	}
	h.inside, h.noRoomInside = h.services.Handler(), h.services.Busy()
	return nil
}

// listeners are those that the configuration opens.
func (g *grounds) listeners() ([]daemon.Listener, error) {
	all := []daemon.Listener{{Name: "admin", Address: g.opened.Admin.Listen, Handler: g.operators()}}
	if g.opened.Public.Listen != config.Off {
		all = append(all, daemon.Listener{
			Name: "public", Address: g.opened.Public.Listen, Handler: g.inPresent(func(h *house) http.Handler { return h.browser.Handler() }),
			Busy:    g.inPresent(func(h *house) http.Handler { return h.browser.Busy() }),
			Closing: func() { g.current.Load().browser.EndStreams() },
		})
	}
	if g.opened.Internal.Listen != config.Off {
		all = append(all, daemon.Listener{
			Name: "internal", Address: g.opened.Internal.Listen, Handler: g.inPresent(func(h *house) http.Handler { return h.inside }),
			Busy: g.inPresent(func(h *house) http.Handler { return h.noRoomInside }),
		})
	}
	var err error
	if g.certificates, err = g.loadCertificates(g.opened); err != nil {
		return nil, err
	}
	for i, l := range all {
		all[i].TLS = g.certificates[l.Name]
	}
	return all, nil
}

// inPresent lets each request into the house that stands when it comes. It stays there to its end.
func (g *grounds) inPresent(door func(*house) http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { door(g.current.Load()).ServeHTTP(w, r) })
}

// loadCertificates reads those of the listeners that have one.
func (g *grounds) loadCertificates(file *config.File) (map[string]*daemon.Certificate, error) {
	all := map[string]*daemon.Certificate{}
	for listener, files := range map[string][2]string{
		"public":   {file.Public.TLS.CertFile, file.Public.TLS.KeyFile},
		"internal": {file.Internal.TLS.CertFile, file.Internal.TLS.KeyFile},
	} {
		if files[0] == "" {
			continue
		}
		certificate, err := daemon.LoadCertificate(files[0], files[1], func(err error) {
			g.log.Error("certificate not reloaded: the previous one is served", "listener", listener, "error", err)
		})
		if err != nil {
			return nil, fmt.Errorf("%s.tls: %w", listener, err)
		}
		all[listener] = certificate
	}
	return all, nil
}
