package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

// described lists the methods and paths of openapi.yaml that begin with one of the prefixes, as "GET /healthz".
func described(t *testing.T, prefixes ...string) []string {
	t.Helper()
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var all []string
	for path, item := range document.Paths {
		for method := range item {
			if method == "servers" || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) }) {
				continue
			}
			all = append(all, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(all)
	return all
}

func TestOpenAPIIsOne(t *testing.T) {
	text, err := os.ReadFile("openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	document, err := libopenapi.NewDocument(text)
	if err != nil {
		t.Fatal(err)
	}
	is, faults := validator.NewValidator(document)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if ok, faults := is.ValidateDocument(); !ok {
		for _, f := range faults {
			t.Error(f)
		}
	}
}

// The routes of the admin listener are patterns of a ServeMux, which cannot be asked for them: they are read from the source.
// The other listeners' rooms compare their own.
func TestOpenAPIHasEveryRouteOfOperators(t *testing.T) {
	pattern := regexp.MustCompile(`mux\.Handle(?:Func)?\("([A-Z]+ /[^"]*)"`)
	files, err := filepath.Glob("../cmd/cloakroom/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var routes []string
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range pattern.FindAllStringSubmatch(string(source), -1) {
			routes = append(routes, found[1])
		}
	}
	slices.Sort(routes)
	if want := described(t, "/healthz", "/readyz", "/metrics", "/admin/"); !slices.Equal(routes, want) {
		t.Errorf("routes\n%s\ndescribed\n%s", strings.Join(routes, "\n"), strings.Join(want, "\n"))
	}
}
