package main

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// exchangeMetrics counts and times decisions of the exchange.
type exchangeMetrics struct {
	total    *prometheus.CounterVec
	duration prometheus.Histogram
}

func newExchangeMetrics(reg prometheus.Registerer) *exchangeMetrics {
	m := &exchangeMetrics{
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cloakroom_exchange_total", Help: "Tokens minted and refused.",
		}, []string{"client", "audience", "outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cloakroom_exchange_duration_seconds", Help: "Time from a question to its token or refusal.",
			Buckets: []float64{.00005, .0001, .00025, .0005, .001, .0025, .005, .01, .025, .1, .5, 1},
		}),
	}
	reg.MustRegister(m.total, m.duration)
	return m
}

// observe counts one decision. Clients ask for audiences in any combination they like, and must not make a series of each.
func (m *exchangeMetrics) observe(client, audience, outcome string, took time.Duration) {
	if strings.Contains(audience, " ") {
		audience = "several"
	}
	m.total.WithLabelValues(client, audience, outcome).Inc()
	m.duration.Observe(took.Seconds())
}

// registerEpoch publishes which epoch signs now.
func (g *grounds) registerEpoch() {
	g.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "cloakroom_signing_key_epoch", Help: "Rotation epoch of the key that signs.",
	}, func() float64 { return float64(g.current.Load().keys.Epoch()) }))
}
