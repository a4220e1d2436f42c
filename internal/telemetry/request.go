package telemetry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// request is what every log line of one HTTP request carries.
type request struct{ id, parent string }

type requestKey struct{}

// Begin gives a request its id, and the trace it belongs to: the caller's where the caller is trusted and its
// traceparent is well-formed (W3C Trace Context section 3.2), a new one otherwise. An id that came in is never believed:
// it would let a caller write into another request's log lines. A nil *HTTP does it, too. Observe ends what it begins.
func (h *HTTP) Begin(r *http.Request, trustCaller bool) *http.Request {
	var raw [32]byte
	_, _ = rand.Read(raw[:])
	ids := &request{id: hex.EncodeToString(raw[16:24])}
	ctx := context.WithValue(r.Context(), requestKey{}, ids)
	var theirs trace.SpanContext
	if trustCaller && r.Header.Get("Traceparent") != "" {
		theirs = trace.SpanContextFromContext(propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header)))
	}
	if h == nil || h.tracer == nil {
		ours := trace.SpanContextConfig{TraceID: trace.TraceID(raw[:16]), SpanID: trace.SpanID(raw[24:])}
		if theirs.IsValid() {
			ours.TraceID, ours.TraceFlags = theirs.TraceID(), theirs.TraceFlags()
		}
		ids.parent = traceparent(trace.NewSpanContext(ours))
		return r.WithContext(ctx)
	}
	if theirs.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, theirs)
	}
	ctx, span := h.tracer.Start(ctx, method(r), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("http.request.method", method(r)), attribute.String("cloakroom.request_id", ids.id),
	))
	ids.parent = traceparent(span.SpanContext())
	return r.WithContext(ctx)
}

// RequestID returns the id Begin gave, "" outside a request.
func RequestID(ctx context.Context) string {
	if ids, ok := ctx.Value(requestKey{}).(*request); ok {
		return ids.id
	}
	return ""
}

// Traceparent returns the header value for calls made on behalf of the request, "" outside one. In a step of a traced request
// it is the step's.
func Traceparent(ctx context.Context) string {
	if step := trace.SpanContextFromContext(ctx); step.IsSampled() {
		return traceparent(step)
	}
	if ids, ok := ctx.Value(requestKey{}).(*request); ok {
		return ids.parent
	}
	return ""
}

func traceparent(c trace.SpanContext) string {
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

func traceID(ctx context.Context) string {
	if ids, ok := ctx.Value(requestKey{}).(*request); ok {
		return ids.parent[3:35]
	}
	return ""
}

// method is a request's, where it is one of HTTP's own: others are a caller's words.
func method(r *http.Request) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}, r.Method) {
		return r.Method
	}
	return "_OTHER"
}
