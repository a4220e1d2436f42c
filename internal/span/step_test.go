package span_test

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"cloakroom/internal/span"
)

// traced is a request that is, and the steps that it led to.
func traced(t *testing.T) (context.Context, trace.Span, *tracetest.SpanRecorder) {
	t.Helper()
	seen := tracetest.NewSpanRecorder()
	ctx, request := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen)).Tracer("test").Start(t.Context(), "GET /")
	return ctx, request, seen
}

func TestAStepIsPartOfItsRequestAlsoOnceThatIsAnswered(t *testing.T) {
	ctx, request, seen := traced(t)
	request.End()
	inner, step := span.Begin(ctx, "refresh", "main", "provider", "main")
	_, within := span.Begin(inner, "provider", "token")
	within.Answered(503)
	step.End("unavailable", true)
	_, fine := span.Begin(ctx, "store", "load")
	fine.End("not-found", false)

	ended := seen.Ended()[1:]
	if len(ended) != 3 {
		t.Fatalf("%d steps", len(ended))
	}
	call, refresh, load := ended[0], ended[1], ended[2]
	if call.Name() != "provider token" || refresh.Name() != "refresh main" || load.Name() != "store load" {
		t.Errorf("%s, %s, %s", call.Name(), refresh.Name(), load.Name())
	}
	if call.Parent().SpanID() != refresh.SpanContext().SpanID() || refresh.Parent().SpanID() != request.SpanContext().SpanID() {
		t.Error("a step is not where it belongs")
	}
	if call.Status().Code != codes.Error || refresh.Status().Code != codes.Error || load.Status().Code == codes.Error {
		t.Errorf("%v, %v, %v", call.Status(), refresh.Status(), load.Status())
	}
}

func TestWhatIsNotTracedHasNoSteps(t *testing.T) {
	_, _, seen := traced(t)
	unsampled, _ := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(seen), sdktrace.WithSampler(sdktrace.NeverSample())).Tracer("test").Start(t.Context(), "GET /")
	ctx, request, long := traced(t)
	request.End()
	for name, ctx := range map[string]context.Context{"no trace": t.Context(), "one that is not sampled": unsampled, "a stream": span.Without(ctx)} {
		inner, step := span.Begin(ctx, "store", "load", "a", "b")
		if step.Traced() || inner != ctx {
			t.Errorf("%s has a step", name)
		}
		step.End("ok", false)
		step.Answered(200)
	}
	if len(seen.Ended()) != 0 || len(long.Ended()) != 1 {
		t.Errorf("%d and %d steps", len(seen.Ended()), len(long.Ended()))
	}
}

func TestNotBeingTracedCostsNothing(t *testing.T) {
	ctx, which := t.Context(), "load"
	if n := testing.AllocsPerRun(100, func() {
		_, step := span.Begin(ctx, "store", which, "provider", which)
		step.End("ok", false)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
