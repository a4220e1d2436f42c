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
func (h *house) operators() http.Handler {
	h.registerEpoch()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.health.Live)
	mux.HandleFunc("GET /readyz", h.health.Ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{Registry: h.registry}))
	h.administer(mux)
	return h.observed("admin", mux)
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
	return err
}

// listeners are those that the configuration opens.
func (h *house) listeners() ([]daemon.Listener, error) {
	all := []daemon.Listener{{Name: "admin", Address: h.file.Admin.Listen, Handler: h.operators()}}
	if h.browser != nil {
		all = append(all, daemon.Listener{Name: "public", Address: h.file.Public.Listen, Handler: h.browser.Handler(), Closing: h.browser.EndStreams})
	}
	if h.file.Internal.Listen != config.Off {
		all = append(all, daemon.Listener{Name: "internal", Address: h.file.Internal.Listen, Handler: h.services.Handler()})
	}
	files := map[string][2]string{
		"public":   {h.file.Public.TLS.CertFile, h.file.Public.TLS.KeyFile},
		"internal": {h.file.Internal.TLS.CertFile, h.file.Internal.TLS.KeyFile},
	}
	for i, l := range all {
		if files[l.Name][0] == "" {
			continue
		}
		certificate, err := daemon.LoadCertificate(files[l.Name][0], files[l.Name][1], func(err error) {
			h.log.Error("certificate not reloaded: the previous one is served", "listener", l.Name, "error", err)
		})
		if err != nil {
			return nil, fmt.Errorf("%s.tls: %w", l.Name, err)
		}
		all[i].TLS = certificate
	}
	return all, nil
}
