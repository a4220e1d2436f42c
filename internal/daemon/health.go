package daemon

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// probeTimeout bounds what /readyz waits for a dependency.
const probeTimeout = time.Second

// Check asks one dependency whether it answers.
type Check struct {
	Name  string
	Probe func(context.Context) error
}

type phase int32

const (
	starting phase = iota
	ready
	draining
)

func (p phase) String() string { return [...]string{"starting", "ready", "draining"}[p] }

// Health answers the probes. A dependency in trouble does not make a replica unready: taking every replica out of
// service would turn an outage of the store or the provider into one of everything.
type Health struct {
	checks []Check
	phase  atomic.Int32
}

// NewHealth returns a Health that is starting.
func NewHealth(checks ...Check) *Health { return &Health{checks: checks} }

func (h *Health) begin() { h.phase.CompareAndSwap(int32(starting), int32(ready)) }
func (h *Health) drain() { h.phase.Store(int32(draining)) }

// Draining tells whether the process is on its way down.
func (h *Health) Draining() bool { return phase(h.phase.Load()) == draining }

// Live answers /healthz: 200 while the process can answer at all.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	writeHealth(w, http.StatusOK, map[string]any{"status": "ok"})
}

// Ready answers /readyz: 503 while starting or draining, otherwise 200 with each dependency as "ok" or "degraded";
// with ?strict a degraded one is 503 as well.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	status, code := phase(h.phase.Load()), http.StatusOK
	dependencies, degraded := h.probe(r.Context())
	answer := map[string]any{"status": status.String(), "dependencies": dependencies}
	if degraded {
		answer["status"] = "degraded"
	}
	if status != ready {
		answer["status"] = status.String()
		code = http.StatusServiceUnavailable
	} else if _, strict := r.URL.Query()["strict"]; strict && degraded {
		code = http.StatusServiceUnavailable
	}
	writeHealth(w, code, answer)
}

func (h *Health) probe(ctx context.Context) (answers map[string]string, degraded bool) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	results := make([]error, len(h.checks))
	var asking sync.WaitGroup
	for i, check := range h.checks {
		asking.Go(func() { results[i] = check.Probe(ctx) })
	}
	asking.Wait()
	answers = map[string]string{}
	for i, check := range h.checks {
		answers[check.Name] = "ok"
		if results[i] != nil {
			answers[check.Name], degraded = "degraded", true
		}
	}
	return answers, degraded
}

func writeHealth(w http.ResponseWriter, code int, answer map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(answer) // a broken connection is the prober's affair
}
