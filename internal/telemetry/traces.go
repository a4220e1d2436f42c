package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Traces sends spans to an OpenTelemetry collector, in the background and in batches. What the collector does not take in time
// is dropped: no request waits for it.
type Traces struct {
	*sdktrace.TracerProvider
	exporter sdktrace.SpanExporter
}

// Bounds of what a collector that is down costs.
const (
	exportTimeout = 5 * time.Second  // for one attempt
	exportFor     = 20 * time.Second // and for all of a batch's
	flushTime     = 2 * time.Second  // when the process ends
	complainEvery = time.Minute
)

// NewTraces sends to the collector whose base URL is given, by OTLP over HTTP, at /v1/traces below it. It asks nothing of the
// network. The variables of OpenTelemetry's SDK (OTEL_TRACES_SAMPLER, OTEL_EXPORTER_OTLP_HEADERS, …) hold for all else.
func NewTraces(endpoint, version string, log *slog.Logger) (*Traces, error) {
	base, err := url.Parse(endpoint)
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	base.Path = strings.TrimSuffix(base.Path, "/") + "/v1/traces"
	ctx := context.Background()
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(base.String()), otlptracehttp.WithTimeout(exportTimeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
			Enabled: true, InitialInterval: time.Second, MaxInterval: exportTimeout, MaxElapsedTime: exportFor,
		}))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "cloakroom"), attribute.String("service.version", version)), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, fmt.Errorf("traces: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(&complaining{SpanExporter: exporter, log: log}), sdktrace.WithResource(about))
	return &Traces{provider, exporter}, nil
}

// Close sends what there is, for two seconds at most. That a collector does not take it is no failure of ours.
func (t *Traces) Close(ctx context.Context) error {
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		_ = t.Shutdown(context.WithoutCancel(ctx)) // what is lost, complaining tells of
	}()
	patience, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	select {
	case <-flushed:
	case <-patience.Done():
		_ = t.exporter.Shutdown(context.WithoutCancel(ctx)) // breaks off what is under way
		<-flushed
	}
	return nil
}

// Trace has the spans of requests begin in t, from now on. It is not for use while requests are served.
func (h *HTTP) Trace(t *Traces) { h.tracer = t.Tracer("cloakroom") }

// complaining tells of what could not be sent, now and then.
type complaining struct {
	sdktrace.SpanExporter
	log  *slog.Logger
	last atomic.Int64 // when it was told of, in Unix nanoseconds
}

func (c *complaining) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	now, last := time.Now().UnixNano(), c.last.Load()
	if now-last >= int64(complainEvery) && c.last.CompareAndSwap(last, now) {
		c.log.Warn("traces are lost: the collector does not take them", "spans", len(spans), "error", err)
	}
	return nil // or the SDK would tell of it as well, to standard error and in its own words
}
