package docs

import (
	"cmp"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// atLeast compares versions of the forms go1.27.4 and v4.1.8 number by number.
func atLeast(t *testing.T, version, least string) bool {
	t.Helper()
	numbers := regexp.MustCompile(`\d+`)
	have, want := numbers.FindAllString(version, 3), numbers.FindAllString(least, 3)
	for i, w := range want {
		if i >= len(have) {
			return false
		}
		a, errA := strconv.Atoi(have[i])
		b, errB := strconv.Atoi(w)
		if errA != nil || errB != nil {
			t.Fatalf("compare %q with %q", version, least)
		}
		if c := cmp.Compare(a, b); c != 0 {
			return c > 0
		}
	}
	return true
}

// Each of these has a fault below this version that reaches us: crashes of the HTTP server and poisoned connections (Go), deep
// JSON and tokens that end the process (go-jose), answers out of order (go-redis), dots that fill the memory (x/oauth2), and
// redirects of a file server (echo).
func TestE3_E5_P49_ToolchainAndModulesAreNotBelowTheirMinima(t *testing.T) {
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	const least = "go1.27.4"
	if !atLeast(t, runtime.Version(), least) {
		t.Errorf("built with %s", runtime.Version())
	}
	if named := regexp.MustCompile(`(?m)^toolchain (go\S+)$`).FindSubmatch(mod); named == nil || !atLeast(t, string(named[1]), least) {
		t.Errorf("go.mod does not pin a toolchain of %s or later", least)
	}
	for module, least := range map[string]string{
		"github.com/go-jose/go-jose/v4": "v4.1.8", "github.com/redis/go-redis/v9": "v9.6.3", "golang.org/x/oauth2": "v0.27.0",
		"github.com/labstack/echo/v4": "v4.16.0", "github.com/golang-jwt/jwt/v5": "v5.2.2", "github.com/gorilla/securecookie": "v1.1.2",
	} {
		required := regexp.MustCompile(`(?m)^\s*` + regexp.QuoteMeta(module) + ` (v\S+)`).FindSubmatch(mod)
		if required == nil || !atLeast(t, string(required[1]), least) {
			t.Errorf("go.mod does not require %s of %s or later", module, least)
		}
	}
	if strings.Contains(string(mod), "github.com/gorilla/csrf") {
		t.Error("gorilla/csrf has faults that are not mended (CVE-2025-47909)")
	}
}

// What is known to go wrong is not used at all: echo's proxy, redirects and body dump, its trust in X-Forwarded-*
// (CVE-2026-118264, -118656, -118657, -118260), a ReverseProxy with a Director (CVE-2021-33197), net/http's cross-origin check with
// its bypass patterns (CVE-2025-47910), and profiling on any listener (CVE-2022-24797).
func TestE14_E15_E17_P17_WhatIsNotUsed(t *testing.T) {
	files, forbidden := 0, regexp.MustCompile(`\bc\.(Scheme|RealIP)\(\)|\bDirector:|NewSingleHostReverseProxy|NewCrossOriginProtection|InsecureIssuerURLContext`)
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "node_modules" || entry.Name() == "tools" || entry.Name() == "idptest" || strings.HasPrefix(entry.Name(), ".") && len(entry.Name()) > 2):
			return filepath.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		files++
		parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, one := range parsed.Imports {
			switch name, _ := strconv.Unquote(one.Path.Value); name {
			case "net/http/pprof", "expvar", "github.com/labstack/echo/v4/middleware", "github.com/gorilla/csrf", "github.com/go-chi/chi/v5/middleware":
				t.Errorf("%s imports %s", path, name)
			}
		}
		source, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if found := forbidden.Find(source); found != nil {
			t.Errorf("%s has %q", path, found)
		}
		return nil
	})
	if err != nil || files < 100 {
		t.Errorf("%d files, %v", files, err)
	}
}
