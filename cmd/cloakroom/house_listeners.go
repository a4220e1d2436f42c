package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cloakroom/exchange/exchangehttp"
)

// operators is the admin listener.
func (h *house) operators() http.Handler {
	h.registerEpoch()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", h.health.Live)
	mux.HandleFunc("GET /readyz", h.health.Ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.registry, promhttp.HandlerOpts{Registry: h.registry}))
	return h.observed("admin", mux)
}

// services is the internal listener.
func (h *house) services() (http.Handler, error) {
	var clients []exchangehttp.Client
	for _, c := range h.file.Exchange.Clients {
		clients = append(clients, exchangehttp.Client{ID: c.Name, Secrets: c.Auth.Secrets})
	}
	url := h.file.Internal.URL
	if url == "" {
		url = h.exchange.Policy().Issuer()
	}
	server, err := exchangehttp.New(exchangehttp.Config{
		Service: h.exchange, Keys: h.keys, Clients: clients, URL: url, TokensPerSecond: h.file.Limits.TokenPerSecond,
		Observe: h.observe, HTTP: h.http, Log: h.log,
	})
	if err != nil {
		return nil, err
	}
	return server.Handler(), nil
}
