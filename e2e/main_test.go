package e2e

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// binary is the cloakroom under test, built once from this tree.
var binary string

// plainBinary builds cloakroom as it is released.
func plainBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "cloakroom")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../cmd/cloakroom").CombinedOutput(); err != nil {
		t.Fatalf("build cloakroom: %v\n%s", err, out)
	}
	return path
}

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// atOnceUnlessTold is how many of the parallel tests run at a time, unless the command line says it: what they do most is wait, for the time
// of a lease or an epoch to pass.
const atOnceUnlessTold = "8"

func run(m *testing.M) int {
	told := false
	flag.Parse()
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		if err := flag.Set("test.parallel", atOnceUnlessTold); err != nil {
			fmt.Fprintln(os.Stderr, "e2e:", err)
			return 1
		}
	}
	for tool, remedy := range map[string]string{
		"redis-server": "apt-get install redis-server",
		"node":         "install Node.js 20.19 or later",
		"chromium":     "apt-get install chromium",
	} {
		if _, err := exec.LookPath(tool); err != nil {
			fmt.Fprintf(os.Stderr, "e2e: %s is missing: %s (make test does it)\n", tool, remedy)
			return 1
		}
	}
	if _, err := os.Stat("node_modules/create-vite"); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: the npm packages are missing: run npm ci in e2e (make test does it)")
		return 1
	}
	dir, err := os.MkdirTemp("", "cloakroom-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "cloakroom")
	build := exec.Command("go", "build", "-race", "-o", binary, "../cmd/cloakroom")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: build cloakroom:", err)
		return 1
	}
	if err := description.read(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	http.DefaultTransport = documented{http.DefaultTransport.(*http.Transport)}
	stopCollecting := collected.listen()
	code := m.Run()
	stopCollecting()
	if faults, kinds := description.verdict(); len(faults) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: docs/openapi.yaml does not describe what was answered (%d kinds of answers):\n%s\n", kinds, strings.Join(faults, "\n"))
		return 1
	}
	if faults := canary.misnamed(); len(faults) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: audit lines that are not as the contract has them:\n%s\n", strings.Join(faults, "\n"))
		return 1
	}
	texts, spans, fault := collected.all()
	if fault != nil {
		fmt.Fprintln(os.Stderr, "e2e: the collector:", fault)
		return 1
	}
	canary.place("the traces", texts)
	faults, secrets, read := canary.found()
	if len(faults) > 0 {
		fmt.Fprintf(os.Stderr, "e2e: what must stay secret was left behind:\n%s\n", strings.Join(faults, "\n"))
		return 1
	}
	fmt.Printf("canary: none of %d parts of issued secrets in %d KiB of logs, metrics and admin answers, nor in %d spans\n", secrets, read>>10, spans)
	return code
}
