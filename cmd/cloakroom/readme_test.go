package main

import (
	"bytes"
	"os"
	"strings"
	"testing"
)

// What the README says to type is run as it stands, but for serve, of which check does all that needs no network.
func TestREADMESetsUpAnApp(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(raw), "## Set it up for your app\n")
	commands, production := fenced(t, section, ""), fenced(t, section, "yaml")
	t.Chdir(t.TempDir())
	if err := os.Mkdir("dist", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"dist/index.html": "", "production.yaml": production} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ran := ""
	for line := range strings.Lines(strings.ReplaceAll(commands, "\\\n", "")) {
		variables, rest, ours := strings.Cut(line, "bin/cloakroom ")
		if !ours {
			continue
		}
		args := strings.Fields(rest)
		ran += args[0] + " "
		if args[0] == "serve" {
			args[0] = "check"
		}
		typed(t, args, strings.Fields(variables))
	}
	if ran != "init serve " {
		t.Errorf("the README says to run %s", ran)
	}
	typed(t, []string{"check", "--config", "production.yaml"}, []string{"REDIS_URL=redis://redis:6379/0", "COGNITO_CLIENT_SECRET=…"})
}

// fenced is the first block of a language in a text.
func fenced(t *testing.T, text, language string) string {
	t.Helper()
	_, after, _ := strings.Cut(text, "\n```"+language+"\n")
	block, _, found := strings.Cut(after, "```\n")
	if !found {
		t.Fatalf("there is no block of %q", language)
	}
	return block
}

// typed runs cloakroom with no variables but these.
func typed(t *testing.T, args, variables []string) {
	t.Helper()
	lookup := func(name string) (string, bool) {
		for _, v := range variables {
			if value, is := strings.CutPrefix(v, name+"="); is {
				return value, true
			}
		}
		return "", false
	}
	var out, errs bytes.Buffer
	if code := run(args, Env{Stdout: &out, Stderr: &errs, Lookup: lookup}); code != exitDone {
		t.Errorf("`%s cloakroom %s` ends with %d: %s%s", strings.Join(variables, " "), strings.Join(args, " "), code, out.String(), errs.String())
	}
}
