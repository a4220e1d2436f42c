package e2e

import (
	"bufio"
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// What dashboards, alerts and log pipelines of others rely on: contract/names.md "Metrics" and "Logs".
var (
	contractMetrics = map[string][]string{ // by name, the labels
		"cloakroom_http_requests_total":              {"code", "listener", "route"},
		"cloakroom_http_request_duration_seconds":    {"listener", "route"},
		"cloakroom_sessions_started_total":           {"provider"},
		"cloakroom_sessions_ended_total":             {"reason"},
		"cloakroom_refresh_total":                    {"outcome", "provider"},
		"cloakroom_exchange_total":                   {"audience", "client", "outcome"},
		"cloakroom_exchange_duration_seconds":        nil,
		"cloakroom_store_operations_total":           {"op", "outcome"},
		"cloakroom_store_operation_duration_seconds": {"op"},
		"cloakroom_session_cache_total":              {"result"},
		"cloakroom_provider_requests_total":          {"endpoint", "outcome", "provider"},
		"cloakroom_signing_key_epoch":                nil,
		"cloakroom_websocket_connections":            nil,
	}
	ownMetrics = map[string][]string{ // beyond the contract; the page of operations has them too
		"cloakroom_config_reloads_total": {"outcome"},
		"cloakroom_config_current":       nil,
	}
	contractEvents = []string{
		"admin", "backchannel-logout", "exchange", "exchange-refused", "login", "login-refused", "logout", "refresh-failed", "session-ended",
	}
	contractFields = []string{
		"actor", "audience", "client", "event", "msg", "outcome", "policy", "reason", "request_id", "scope", "sid", "subject", "trace_id",
		"time", "level", "provider", // ours: when, how bad, and which provider
	}
)

// isTheContracts compares what a replica that met with everything measured and told, with what it has to, either way.
func (c *cloakroom) isTheContracts(t *testing.T) {
	t.Helper()
	all := maps.Clone(contractMetrics)
	maps.Copy(all, ownMetrics)
	t.Run("each metric is named, and each name measured", func(t *testing.T) {
		_, answer := askAdmin(t, c, "/metrics")
		parser := expfmt.NewTextParser(model.LegacyValidation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(answer))
		if err != nil {
			t.Fatal(err)
		}
		for name, family := range families {
			if labels, named := all[name]; named {
				for _, m := range family.Metric {
					if got := labelsOf(m); !slices.Equal(got, labels) {
						t.Errorf("%s has the labels %v, want %v", name, got, labels)
					}
				}
			} else if !regexp.MustCompile("^(go|process|promhttp)_").MatchString(name) {
				t.Errorf("nobody was told of %s", name)
			}
		}
		for name := range all {
			if families[name] == nil {
				t.Errorf("%s is not measured", name)
			}
		}
	})
	t.Run("the page of operations has each", func(t *testing.T) {
		page, err := os.ReadFile("../docs/operations.md")
		if err != nil {
			t.Fatal(err)
		}
		told := map[string]bool{}
		for _, row := range regexp.MustCompile("(?m)^\\| `cloakroom_.*$").FindAllString(string(page), -1) {
			for _, name := range regexp.MustCompile("cloakroom_[a-z_]+").FindAllString(strings.SplitN(row, "|", 3)[1], -1) {
				told[name] = true
			}
		}
		if got, want := slices.Sorted(maps.Keys(told)), slices.Sorted(maps.Keys(all)); !slices.Equal(got, want) {
			t.Errorf("it has\n%q, want\n%q", got, want)
		}
	})
	t.Run("each event is told of by its name", func(t *testing.T) {
		told, faults := auditEvents(c.printed())
		for _, fault := range faults {
			t.Error(fault)
		}
		for _, name := range contractEvents {
			if !told[name] {
				t.Errorf("no %s among %v", name, slices.Sorted(maps.Keys(told)))
			}
		}
	})
}

func labelsOf(m *dto.Metric) (names []string) {
	for _, pair := range m.Label {
		names = append(names, pair.GetName())
	}
	slices.Sort(names)
	return names
}

// auditEvents reads the audit lines of a log: which events there were, and what about them is not as the contract has it.
func auditEvents(log string) (told map[string]bool, faults []string) {
	told = map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Bytes()
		if !bytes.Contains(line, []byte(`"msg":"audit"`)) {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			continue // the process was killed as it wrote
		}
		event, _ := fields["event"].(string)
		told[event] = true
		if !slices.Contains(contractEvents, event) {
			faults = append(faults, "an audit line of no event: "+string(line))
		}
		for _, due := range []string{"time", "outcome", "request_id", "trace_id"} {
			if fields[due] == nil && !(due != "time" && due != "outcome" && byItself[event]) {
				faults = append(faults, "an audit line without "+due+": "+string(line))
			}
		}
		for name := range fields {
			if !slices.Contains(contractFields, name) {
				faults = append(faults, "an audit line with "+name+": "+string(line))
			}
		}
	}
	return told, faults
}

// byItself are the events that no request may have led to.
var byItself = map[string]bool{"session-ended": true, "refresh-failed": true}
