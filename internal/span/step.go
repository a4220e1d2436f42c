package span

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Step is one step of a request. The zero Step is of one that is not traced.
type Step struct{ span trace.Span }

// Begin begins a step of the request that ctx comes from, also where that has been answered meanwhile. what and which name it:
// "store", "load". Labels are name, value, name, value. All of these are Cloakroom's own words or the configuration's: what a
// caller, a provider or an upstream says never goes into a span.
func Begin(ctx context.Context, what, which string, labels ...string) (context.Context, Step) {
	parent := trace.SpanFromContext(ctx)
	if !parent.SpanContext().IsSampled() {
		return ctx, Step{}
	}
	attributes := make([]attribute.KeyValue, 0, len(labels)/2)
	for i := 0; i < len(labels); i += 2 {
		attributes = append(attributes, attribute.String(labels[i], labels[i+1]))
	}
	ctx, own := parent.TracerProvider().Tracer("cloakroom").Start(ctx, what+" "+which,
		trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
	return ctx, Step{own}
}

// Traced tells whether the step goes into a trace.
func (s Step) Traced() bool { return s.span != nil }

// End ends the step, with what came of it, in a word. failed is for what should not have come of it.
func (s Step) End(outcome string, failed bool) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(attribute.String("outcome", outcome))
	if failed {
		s.span.SetStatus(codes.Error, outcome)
	}
	s.span.End()
}

// Answered ends a step that was a call over HTTP, with the status of the answer; 0 is for none.
func (s Step) Answered(status int) {
	if s.span == nil {
		return
	}
	if status == 0 {
		s.End("no answer", true)
		return
	}
	s.span.SetAttributes(attribute.Int("http.response.status_code", status))
	if status >= 500 {
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}

// Without is for what goes on long after the request, and would make an endless trace of it: event streams and WebSockets.
func Without(ctx context.Context) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, trace.SpanContext{})
}
