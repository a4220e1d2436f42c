package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// HTTP counts, times and traces the requests of all listeners. A nil *HTTP observes nothing.
type HTTP struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	tracer   trace.Tracer // nil: they are not traced
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

// Observe counts one answered request, and ends its span. route is the configured route or endpoint, never the path as sent:
// the number of series must not depend on callers, and a path may hold what nobody else is to see.
func (h *HTTP) Observe(r *http.Request, listener, route string, code int, took time.Duration) {
	if h == nil {
		return
	}
	if h.tracer != nil {
		span := trace.SpanFromContext(r.Context())
		span.SetName(method(r) + " " + route)
		span.SetAttributes(attribute.String("cloakroom.listener", listener), attribute.String("http.route", route), attribute.Int("http.response.status_code", code))
		if code >= 500 {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
	h.requests.WithLabelValues(listener, route, strconv.Itoa(code)).Inc()
	h.duration.WithLabelValues(listener, route).Observe(took.Seconds())
}
