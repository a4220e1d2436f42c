package telemetry

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// HTTP counts and times the requests of all listeners. A nil *HTTP observes nothing.
type HTTP struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
}

// NewHTTP registers the metrics of HTTP.
func NewHTTP(reg prometheus.Registerer) *HTTP {
	h := &HTTP{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cloakroom_http_requests_total", Help: "HTTP requests answered.",
		}, []string{"listener", "route", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "cloakroom_http_request_duration_seconds", Help: "Time from a request's arrival to the end of its answer.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"listener", "route"}),
	}
	reg.MustRegister(h.requests, h.duration)
	return h
}

// Observe counts one answered request. route is the configured route or endpoint, never the path as sent: the number of
// series must not depend on callers.
func (h *HTTP) Observe(listener, route string, code int, took time.Duration) {
	if h == nil {
		return
	}
	h.requests.WithLabelValues(listener, route, strconv.Itoa(code)).Inc()
	h.duration.WithLabelValues(listener, route).Observe(took.Seconds())
}
