package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"

	"cloakroom/internal/telemetry"
	"cloakroom/secret"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// untraced is where no span is made.
var untraced *telemetry.HTTP

func line(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatalf("not one JSON object: %v\n%s", err, out)
	}
	return fields
}

func logger(t *testing.T, out *bytes.Buffer) *slog.Logger {
	t.Helper()
	log, err := telemetry.NewLogger(out, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestAuditLinesAreWrittenAtEveryLevel(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log, err := telemetry.NewLogger(&out, "error", format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info("something else")
		telemetry.NewAudit(log, secret.NewKey()).Record(t.Context(), telemetry.Event{Name: "login", Outcome: "ok"})
		if got := out.String(); !strings.Contains(got, "login") || strings.Contains(got, "something else") {
			t.Errorf("%s: %s", format, got)
		}
	}
}

func TestAnAuditLineNamesWhatHappenedAndHidesWho(t *testing.T) {
	var out bytes.Buffer
	audit := telemetry.NewAudit(logger(t, &out), secret.NewKey())
	r := untraced.Begin(httptest.NewRequest("GET", "/", nil), false)
	audit.Record(r.Context(), telemetry.Event{Name: "login", Outcome: "ok", Issuer: "https://idp.example", Subject: "alice", SID: "s1"})
	fields := line(t, &out)
	for name, want := range map[string]any{"msg": "audit", "event": "login", "outcome": "ok", "sid": "s1", "request_id": telemetry.RequestID(r.Context())} {
		if fields[name] != want {
			t.Errorf("%s = %v, want %v", name, fields[name], want)
		}
	}
	if subject, _ := fields["subject"].(string); subject == "" || strings.Contains(out.String(), "alice") {
		t.Errorf("the subject must stand there as a hash only: %s", &out)
	}
	if _, there := fields["client"]; there {
		t.Error("an empty field is in the line")
	}
}

func TestALoggerIsAdjustedWithAllThatWereMadeFromIt(t *testing.T) {
	var out bytes.Buffer
	log := logger(t, &out)
	derived := log.With("listener", "public")
	derived.Debug("unheard")
	if err := telemetry.Adjust(log, "debug", "text"); err != nil {
		t.Fatal(err)
	}
	derived.Debug("heard")
	if got := out.String(); strings.Contains(got, "unheard") || !strings.HasSuffix(got, "level=DEBUG msg=heard listener=public\n") {
		t.Errorf("wrote %q", got)
	}
	for _, wrong := range [][2]string{{"loud", "json"}, {"info", "xml"}} {
		if telemetry.Adjust(log, wrong[0], wrong[1]) == nil {
			t.Errorf("took %v", wrong)
		}
	}
	out.Reset()
	log.Debug("as before")
	if !strings.Contains(out.String(), "msg=\"as before\"") {
		t.Errorf("a setting that was refused changed something: %q", &out)
	}
}

func TestRekeyGivesEveryoneAnotherPseudonym(t *testing.T) {
	old, next := secret.NewKey(), secret.NewKey()
	audit := telemetry.NewAudit(slog.New(slog.DiscardHandler), old)
	before := audit.Pseudonym("a", "x")
	audit.Rekey(next)
	if got := audit.Pseudonym("a", "x"); got == before || got != telemetry.NewAudit(slog.New(slog.DiscardHandler), next).Pseudonym("a", "x") {
		t.Errorf("%q before, %q after", before, got)
	}
}

func TestAPersonIsTheSamePseudonymOnlyUnderTheSameIssuer(t *testing.T) {
	audit := telemetry.NewAudit(slog.New(slog.DiscardHandler), secret.NewKey())
	first, again := audit.Pseudonym("a", "x"), audit.Pseudonym("a", "x")
	if first != again {
		t.Error("one person, two pseudonyms")
	}
	if first == audit.Pseudonym("b", "x") {
		t.Error("two issuers' people share a pseudonym")
	}
}

func TestARequestNeverTakesItsIDFromTheCaller(t *testing.T) {
	in := httptest.NewRequest("GET", "/", nil)
	in.Header.Set("X-Request-Id", "forged")
	if id := telemetry.RequestID(untraced.Begin(in, true).Context()); id == "forged" || len(id) != 16 {
		t.Errorf("request id %q", id)
	}
}

func TestTraceparent(t *testing.T) {
	const theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, c := range map[string]struct {
		header string
		trust  bool
		kept   bool
	}{
		"a trusted caller's trace goes on":            {theirs, true, true},
		"an untrusted caller's trace is not believed": {theirs, false, false},
		"a malformed one is replaced":                 {"00-zz" + theirs[5:], true, false},
		"an all-zero one is replaced":                 {"00-00000000000000000000000000000000-00f067aa0ba902b7-01", true, false},
		"none at all gets a new one":                  {"", true, false},
		"one that is too long is replaced":            {theirs + "-00", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := httptest.NewRequest("GET", "/", nil)
			in.Header.Set("Traceparent", c.header)
			got := telemetry.Traceparent(untraced.Begin(in, c.trust).Context())
			if len(got) != 55 {
				t.Fatalf("traceparent %q", got)
			}
			if kept := got[3:35] == theirs[3:35]; kept != c.kept {
				t.Errorf("kept = %v, want %v (%s)", kept, c.kept, got)
			}
		})
	}
}

func TestRequestsAreCountedByListenerRouteAndCode(t *testing.T) {
	reg := prometheus.NewRegistry()
	telemetry.NewHTTP(reg).Observe(httptest.NewRequest("GET", "/", nil), "public", "/bff/user", 401, 0)
	if got := testutil.CollectAndCount(reg, "cloakroom_http_requests_total"); got != 1 {
		t.Errorf("%d series", got)
	}
}

func TestAnUnknownLevelOrFormatIsRefused(t *testing.T) {
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, "loud", "json"); err == nil {
		t.Error("level loud accepted")
	}
	if _, err := telemetry.NewLogger(&bytes.Buffer{}, "info", "xml"); err == nil {
		t.Error("format xml accepted")
	}
}
