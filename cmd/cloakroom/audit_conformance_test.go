package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// auditLines waits for the log to hold an audit line of each of the events, and returns all that it holds.
func auditLines(t *testing.T, file string, events ...string) []map[string]any {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var lines []map[string]any
		missing := map[string]bool{}
		for _, event := range events {
			missing[event] = true
		}
		for line := range bytes.SplitSeq(bytes.TrimSpace(raw), []byte("\n")) {
			var fields map[string]any
			if json.Unmarshal(line, &fields) == nil && fields["msg"] == "audit" {
				lines = append(lines, fields)
				event, _ := fields["event"].(string)
				delete(missing, event)
			}
		}
		if len(missing) == 0 {
			return lines
		}
		if time.Now().After(deadline) {
			t.Fatalf("no audit line of %v", missing)
		}
	}
}

// Who asked, for whom, by which actor, for which target and scope, by which policy, and why not: for success and for refusal.
func TestC154_EveryExchangeIsAudited(t *testing.T) {
	v := visit(t)
	v.signIn("alice")
	if status, answer := v.fetch(http.MethodGet, "/api/orders"); status != http.StatusOK {
		t.Fatalf("orders answers %d: %v", status, answer)
	}
	v.fetch(http.MethodPost, "/api/orders/try/scope")
	_, user := v.fetch(http.MethodGet, "/bff/user")
	subject, _ := user["sub"].(string)

	granted, refused := false, false
	for _, line := range auditLines(t, v.demo.LogFile, "exchange", "exchange-refused") {
		raw, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		if subject == "" || strings.Contains(string(raw), subject) || strings.Contains(string(raw), "alice@") {
			t.Errorf("the person is named: %s", raw)
		}
		actor, _ := line["actor"].(string)
		switch {
		case line["event"] == "exchange" && line["client"] == "orders":
			granted = true
			for _, field := range []string{"subject", "scope", "policy", "sid", "request_id", "trace_id"} {
				if text, _ := line[field].(string); text == "" {
					t.Errorf("granted, without %s: %s", field, raw)
				}
			}
			if line["audience"] != "payments" || !strings.Contains(actor, "orders") || line["outcome"] != "granted" {
				t.Errorf("granted: %s", raw)
			}
		case line["event"] == "exchange-refused" && line["client"] == "orders":
			refused = true
			for _, field := range []string{"subject", "policy", "reason", "request_id"} {
				if text, _ := line[field].(string); text == "" {
					t.Errorf("refused, without %s: %s", field, raw)
				}
			}
			if line["outcome"] != "invalid_scope" {
				t.Errorf("refused: %s", raw)
			}
		}
	}
	if !granted || !refused {
		t.Errorf("audited: granted %v, refused %v", granted, refused)
	}
}
