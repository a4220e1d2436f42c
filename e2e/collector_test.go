package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collected is what every Cloakroom under test sends its traces to. Of each trace it keeps the texts, for the canary; whole traces
// only those that a test asked for.
var collected = &collectedTraces{texts: map[string]bool{}, kept: map[string][]*traces.Span{}}

type collectedTraces struct {
	url string

	mu    sync.Mutex
	spans int
	texts map[string]bool
	kept  map[string][]*traces.Span // by trace id
	fault error
}

// listen takes OTLP over HTTP until close is called.
func (c *collectedTraces) listen() (closing func()) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // its process was killed
		}
		var batch collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(body, &batch); err != nil || r.URL.Path != "/v1/traces" {
			w.WriteHeader(http.StatusBadRequest)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.fault = fmt.Errorf("not a batch of spans: %s, %w", r.URL.Path, err)
			return
		}
		c.take(&batch)
	}))
	c.url = server.URL
	return server.Close
}

func (c *collectedTraces) take(batch *collector.ExportTraceServiceRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, of := range batch.ResourceSpans {
		c.note(of.Resource.GetAttributes())
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				c.spans++
				c.texts[s.Name], c.texts[s.TraceState], c.texts[s.Status.GetMessage()] = true, true, true
				c.note(s.Attributes)
				for _, e := range s.Events {
					c.texts[e.Name] = true
					c.note(e.Attributes)
				}
				if id := hex.EncodeToString(s.TraceId); c.kept[id] != nil {
					c.kept[id] = append(c.kept[id], s)
				}
			}
		}
	}
}

func (c *collectedTraces) note(attributes []*common.KeyValue) {
	for _, a := range attributes {
		c.texts[a.Key] = true
		if a.Key != "cloakroom.request_id" { // each is another, and made by us
			c.texts[a.Value.String()] = true
		}
	}
}

// keep keeps the spans of a trace.
func (c *collectedTraces) keep(trace string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept[trace] = []*traces.Span{}
}

func (c *collectedTraces) of(trace string) []*traces.Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.kept[trace])
}

// all is every text in every span, a line each.
func (c *collectedTraces) all() (texts string, spans int, fault error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(slices.Sorted(maps.Keys(c.texts)), "\n"), c.spans, c.fault
}

// traced has the replica send its traces there. Another release may not know how.
func (c *cloakroom) traced(t *testing.T) {
	t.Helper()
	const key = "\ntelemetry: "
	before, _, _ := strings.Cut(contentOf(t, c.config), key)
	if !c.older {
		before += key + fmt.Sprintf("{otlp_endpoint: %q}\n", collected.url)
	}
	c.write(t, strings.TrimPrefix(c.config, c.dir+"/"), before)
}
