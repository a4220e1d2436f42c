package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/secret"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cloakroom": main, "cloakroom-with-names": withNameServer})
}

// Every script is a set of commands as a person types them, and what they must answer.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			healthz := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/healthz" {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			env.Defer(healthz.Close)
			env.Setenv("ADMIN", strings.TrimPrefix(healthz.URL, "http://"))
			env.Setenv("A_KEY", secret.NewKey().Encode().Reveal())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"mode": fileMode, "distinct": distinct},
	})
}

// fileMode checks the permissions of a file: mode 600 FILE.
func fileMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := info.Mode().Perm(); got.String() != args[0] {
		ts.Fatalf("%s is %v, not %s", args[1], got, args[0])
	}
}

// distinct checks that files are secrets, and no two the same.
func distinct(ts *testscript.TestScript, _ bool, args []string) {
	seen := map[string]bool{}
	for _, name := range args {
		key, err := secret.ParseKey(ts.ReadFile(name))
		ts.Check(err)
		if seen[key.ID()] {
			ts.Fatalf("%s is the same secret as another", name)
		}
		seen[key.ID()] = true
	}
}

func TestVersionTellsWhatTheReleaseSetOrTheToolchainStamped(t *testing.T) {
	stamped := &debug.BuildInfo{GoVersion: "go1.99.0", Main: debug.Module{Version: "v1.2.4-0.20991231"}, Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "abc123"}, {Key: "vcs.modified", Value: "true"},
	}}
	for _, c := range []struct {
		build build
		want  []string
	}{
		{buildOf("v1.2.3", "def456", stamped), []string{"cloakroom v1.2.3\n", "commit def456\n", "toolchain go1.99.0 "}},
		{buildOf("", "", stamped), []string{"cloakroom v1.2.4-0.20991231\n", "commit abc123 with local changes\n", "toolchain go1.99.0 "}},
		{buildOf("", "", &debug.BuildInfo{GoVersion: "go1.99.0"}), []string{"cloakroom (devel)\n", "commit unknown\n"}},
	} {
		for _, want := range c.want {
			if !strings.Contains(c.build.String(), want) {
				t.Errorf("%q does not say %q", c.build, want)
			}
		}
	}
}

func TestReachable(t *testing.T) {
	for listen, want := range map[string]string{
		":9090": "127.0.0.1:9090", "0.0.0.0:9090": "127.0.0.1:9090", "[::]:9090": "[::1]:9090", "10.0.0.1:9090": "10.0.0.1:9090",
		"localhost:1": "localhost:1",
	} {
		if got := reachable(listen); got != want {
			t.Errorf("a listener at %s is asked at %s, not %s", listen, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	broken := t.TempDir() + "/broken.yaml"
	if err := os.WriteFile(broken, []byte("log: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args string
		want int
	}{
		{"version", exitDone}, {"help", exitDone}, {"check -h", exitDone}, {"config schema", exitDone},
		{"check --config " + broken, exitFailed}, {"check --config none.yaml", exitFailed}, {"healthcheck --url http://127.0.0.1:1", exitFailed},
		{"", exitUsage}, {"nothing", exitUsage}, {"check", exitUsage}, {"check --what", exitUsage}, {"secret more", exitUsage},
		{"config", exitUsage}, {"config all", exitUsage}, {"init", exitUsage}, {"version 2", exitUsage},
	} {
		var out, errs bytes.Buffer
		if got := run(strings.Fields(c.args), Env{Stdout: &out, Stderr: &errs, Lookup: os.LookupEnv}); got != c.want {
			t.Errorf("`cloakroom %s` ends with %d, not %d: %s%s", c.args, got, c.want, out.String(), errs.String())
		}
	}
}

// A text that would be YAML of its own stays the text that init was given.
func TestInitQuotesWhatItIsGiven(t *testing.T) {
	var out, errs bytes.Buffer
	env := Env{Stdout: &out, Stderr: &errs, Lookup: os.LookupEnv}
	file := t.TempDir() + "/c.yaml"
	id := `a", client_secret: "${HOME}`
	if code := runInit([]string{"--issuer", "https://idp.example.com", "--client-id", id, "--spa", t.TempDir(), "--config", file}, env); code != exitDone {
		t.Fatalf("ends with %d: %s", code, errs.String())
	}
	got, _ := config.Load(file, func(string) (string, bool) { return "set", true })
	if got.Providers[0].ClientID != id {
		t.Errorf("client id is %q, not %q", got.Providers[0].ClientID, id)
	}
}
