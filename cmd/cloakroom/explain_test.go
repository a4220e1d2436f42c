package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"cloakroom/bff"
	"cloakroom/exchange"
	"cloakroom/token"
)

// What explain says by its exit code and its JSON, which other programs read (contract/names.md).
func TestExplainForPrograms(t *testing.T) {
	script, err := txtar.ParseFile("testdata/script/explain.txtar")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	for _, file := range script.Files {
		if err := os.WriteFile(filepath.Join(folder, file.Name), file.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for args, want := range map[string]struct {
		code    int
		members string
	}{
		"--audience orders --access access.json --id id.json":    {exitDone, "claims granted trace"},
		"--audience orders --access no-scope.json --id id.json":  {exitFailed, "error error_description granted trace"},
		"--client orders --minted elsewhere.json":                {exitFailed, "error error_description granted trace"},
		"--client nobody --audience orders --access access.json": {exitFailed, "error error_description granted trace"},
		"--audience closed --access access.json --id id.json":    {exitFailed, "error error_description granted trace"},
		"--audience ping":                                          {exitDone, "claims granted trace"},
		"--audience ping --access access.json":                     {exitUsage, ""},
		"--audience orders":                                        {exitUsage, ""},
		"--audience elsewhere --access access.json --id id.json":   {exitUsage, ""},
		"--audience orders --access none.json":                     {exitUsage, ""},
		"--audience orders --what":                                 {exitUsage, ""},
		"--client orders --session":                                {exitUsage, ""},
		"--audience orders --access access.json --id nowhere.json": {exitUsage, ""},
	} {
		command := "explain --json --config c.yaml --at 2026-11-25T09:00:00Z " + args
		for _, file := range script.Files {
			command = strings.ReplaceAll(command, " "+file.Name, " "+filepath.Join(folder, file.Name))
		}
		var out, errs bytes.Buffer
		if got := run(strings.Fields(command), Env{Stdout: &out, Stderr: &errs, Lookup: os.LookupEnv}); got != want.code {
			t.Errorf("%s: ends with %d, not %d: %s%s", args, got, want.code, out.String(), errs.String())
			continue
		}
		if want.code == exitUsage {
			if out.Len() > 0 || errs.Len() == 0 {
				t.Errorf("%s: stdout %q, stderr %q", args, out.String(), errs.String())
			}
			continue
		}
		var said map[string]any
		if err := json.Unmarshal(out.Bytes(), &said); err != nil {
			t.Errorf("%s: %v in %s", args, err, out.String())
			continue
		}
		if got := strings.Join(slices.Sorted(maps.Keys(said)), " "); got != want.members {
			t.Errorf("%s: has %s, not %s", args, got, want.members)
		}
		for _, one := range said["trace"].([]any) {
			var step exchange.Step
			raw, _ := json.Marshal(one)
			if err := json.Unmarshal(raw, &step); err != nil || step.Rule == "" || step.Outcome == "" {
				t.Errorf("%s: a step of the trace is %s", args, raw)
			}
		}
	}
}

// Whatever could change the answer keeps one route from speaking for another.
func TestRoutesThatExplainDifferently(t *testing.T) {
	plain := explainedRoute{allow: "true"}
	for name, other := range map[string]explainedRoute{
		"scope":   {allow: "true", Route: bff.Route{Token: bff.TokenPlan{Scope: token.Scope{"a"}}}},
		"per":     {allow: "true", Route: bff.Route{Token: bff.TokenPlan{PerRequest: true}}},
		"as":      {allow: "true", Route: bff.Route{Token: bff.TokenPlan{AsService: true}}},
		"session": {allow: "true", Route: bff.Route{Session: bff.Optional}},
		"allow":   {allow: "false"},
	} {
		if !plain.differs(other) {
			t.Errorf("%s makes no difference", name)
		}
	}
	if plain.differs(explainedRoute{allow: "true", Route: bff.Route{Path: "/other", Methods: []string{"GET"}}}) {
		t.Error("path and methods alone make a difference")
	}
}
