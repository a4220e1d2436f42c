package telemetry_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"cloakroom/internal/telemetry"
)

// sink is a collector.
type sink struct {
	*httptest.Server
	mu    sync.Mutex
	spans []*traces.Span
	about string
	paths []string
}

func newSink(t *testing.T) *sink {
	t.Helper()
	s := &sink{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var got collector.ExportTraceServiceRequest
		if err != nil || proto.Unmarshal(body, &got) != nil {
			t.Error("not a batch of spans")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.paths = append(s.paths, r.URL.Path)
		for _, of := range got.ResourceSpans {
			s.about = of.Resource.String()
			for _, scope := range of.ScopeSpans {
				s.spans = append(s.spans, scope.Spans...)
			}
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func tracing(t *testing.T, endpoint string, log io.Writer) (*telemetry.HTTP, *telemetry.Traces) {
	t.Helper()
	logger, err := telemetry.NewLogger(log, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	sent, err := telemetry.NewTraces(endpoint, "v1.2.3", logger)
	if err != nil {
		t.Fatal(err)
	}
	h := telemetry.NewHTTP(prometheus.NewRegistry())
	h.Trace(sent)
	return h, sent
}

const theirTrace = "4bf92f3577b34da6a3ce929d0e0e4736"

func TestARequestIsASpanOfItsRoute(t *testing.T) {
	s := newSink(t)
	h, sent := tracing(t, s.URL+"/base/", io.Discard)
	in := httptest.NewRequest("GET", "/bff/callback/main?code=the-code&state=the-state", nil)
	in.Header.Set("Cookie", "session=the-cookie")
	in.Header.Set("User-Agent", "the-agent")
	in.Header.Set("Traceparent", "00-"+theirTrace+"-00f067aa0ba902b7-01")
	began := h.Begin(in, true)
	if got := telemetry.Traceparent(began.Context()); !strings.HasPrefix(got, "00-"+theirTrace+"-") || !strings.HasSuffix(got, "-01") || strings.Contains(got, "00f067aa0ba902b7") {
		t.Errorf("handed on is %s", got)
	}
	h.Observe(began, "public", "/bff/callback/:provider", 502, time.Millisecond)
	odd := h.Begin(httptest.NewRequest("the-token", "/", nil), false)
	h.Observe(odd, "public", "none", 405, time.Millisecond)
	if err := sent.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.spans) != 2 || s.paths[0] != "/base/v1/traces" {
		t.Fatalf("%d spans at %v", len(s.spans), s.paths)
	}
	first := s.spans[0]
	if first.Name != "GET /bff/callback/:provider" || first.Kind != traces.Span_SPAN_KIND_SERVER || first.Status.Code != traces.Status_STATUS_CODE_ERROR {
		t.Errorf("%v", first)
	}
	if s.spans[1].Name != "_OTHER none" {
		t.Errorf("%v", s.spans[1])
	}
	all := first.String() + s.spans[1].String()
	for _, want := range []string{telemetry.RequestID(began.Context()), "/bff/callback/:provider", "public", "502"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %s in %s", want, all)
		}
	}
	if strings.Contains(all, "the-") {
		t.Errorf("what the caller sent is in %s", all)
	}
	if !strings.Contains(s.about, "cloakroom") || !strings.Contains(s.about, "v1.2.3") {
		t.Errorf("the spans are of %s", s.about)
	}
}

// A trace that the caller does not sample goes on, and nothing is sent of it.
func TestACallerMayKeepItsTraceFromBeingSampled(t *testing.T) {
	s := newSink(t)
	h, sent := tracing(t, s.URL, io.Discard)
	in := httptest.NewRequest("GET", "/", nil)
	in.Header.Set("Traceparent", "00-"+theirTrace+"-00f067aa0ba902b7-00")
	began := h.Begin(in, true)
	if got := telemetry.Traceparent(began.Context()); !strings.HasPrefix(got, "00-"+theirTrace+"-") || !strings.HasSuffix(got, "-00") {
		t.Errorf("handed on is %s", got)
	}
	h.Observe(began, "public", "/", 200, time.Millisecond)
	if err := sent.Close(t.Context()); err != nil || len(s.spans) != 0 {
		t.Errorf("%v, %d spans", err, len(s.spans))
	}
}

// A collector that hangs, or is not there, costs a line in the log now and then.
func TestACollectorThatIsDownDoesNotHurt(t *testing.T) {
	hang := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-hang:
		case <-r.Context().Done():
		}
	}))
	defer silent.Close()
	defer close(hang)
	for name, endpoint := range map[string]string{"gone": "http://127.0.0.1:1", "hung": silent.URL} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			h, sent := tracing(t, endpoint, &log)
			began := time.Now()
			for range 6_000 { // three times what is kept waiting
				r := h.Begin(httptest.NewRequest("GET", "/", nil), false)
				h.Observe(r, "public", "/", 200, time.Millisecond)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the requests took %s", took)
			}
			began = time.Now()
			if err := sent.Close(context.Background()); err != nil {
				t.Error(err)
			}
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("the end took %s", took)
			}
			if strings.Count(log.String(), "traces are lost") != 1 {
				t.Errorf("log: %s", &log)
			}
		})
	}
}
