package e2e

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// alert is one of deploy/prometheus/alerts.yaml.
type alert struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []alert }
	}
	if err := yaml.Unmarshal([]byte(contentOf(t, "../deploy/prometheus/alerts.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("there are no alerts")
	}
	return all
}

// ofPrometheus finds prometheus or promtool: on the path, or where tools/setup.sh puts it.
func ofPrometheus(t *testing.T, tool string) string {
	t.Helper()
	if path, err := exec.LookPath(tool); err == nil {
		return path
	}
	path, err := filepath.Abs("../bin/" + tool)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is missing: run tools/setup.sh, which takes it out of Debian's package (make test does)", tool)
	}
	return path
}

func TestAlertsFireWhenTheyShouldAndOnlyThen(t *testing.T) {
	t.Parallel()
	promtool := ofPrometheus(t, "promtool")
	for _, arguments := range [][]string{{"check", "rules", "--lint=all", "--lint-fatal", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		command := exec.CommandContext(t.Context(), promtool, arguments...)
		command.Dir = "../deploy/prometheus"
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(arguments, " "), err, out)
		}
	}
	cases := contentOf(t, "../deploy/prometheus/alerts_test.yaml")
	for _, a := range alerts(t) {
		if !strings.Contains(cases, `alertname="`+a.Alert+`", alertstate="firing"`) {
			t.Errorf("no case of alerts_test.yaml makes %s fire", a.Alert)
		}
	}
}

var (
	grouping     = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
	ofTheAlert   = regexp.MustCompile(`\$labels\.(\w+)`)
	alertHeading = regexp.MustCompile(`(?m)^### (Cloakroom\w+)$`)
)

// A person is woken by it: what is it, what does it mean, what is to be done, and where stands more.
func TestEachAlertSaysWhatItMeansAndWhatToDo(t *testing.T) {
	t.Parallel()
	runbooks := map[string]bool{}
	for _, found := range alertHeading.FindAllStringSubmatch(contentOf(t, "../docs/operations.md"), -1) {
		runbooks[found[1]] = true
	}
	for _, a := range alerts(t) {
		if keys := slices.Sorted(maps.Keys(a.Annotations)); !slices.Equal(keys, []string{"action", "description", "runbook", "summary"}) {
			t.Errorf("%s has the annotations %v", a.Alert, keys)
		}
		if a.Labels["severity"] != "critical" && a.Labels["severity"] != "warning" {
			t.Errorf("%s has the severity %q", a.Alert, a.Labels["severity"])
		}
		if want := "docs/operations.md#" + strings.ToLower(a.Alert); a.Annotations["runbook"] != want {
			t.Errorf("the runbook of %s is %s, want %s", a.Alert, a.Annotations["runbook"], want)
		}
		if !runbooks[a.Alert] {
			t.Errorf("docs/operations.md has no paragraph %s", a.Alert)
		}
		delete(runbooks, a.Alert)
		kept := labelsKept(a.Expr)
		for _, text := range a.Annotations {
			for _, label := range ofTheAlert.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(kept, label[1]) {
					t.Errorf("%s speaks of the label %s, which its expression does not keep", a.Alert, label[1])
				}
			}
		}
	}
	for left := range runbooks {
		t.Errorf("docs/operations.md has a paragraph on %s, which is no alert", left)
	}
}

// labelsKept are the labels that an expression groups by; instance and job, too, where it only matches.
func labelsKept(expr string) []string {
	kept := []string{}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		kept = append(kept, strings.Split(g[1], ", ")...)
	}
	if !strings.Contains(expr, "by (") {
		kept = append(kept, "job", "instance")
	}
	return kept
}
