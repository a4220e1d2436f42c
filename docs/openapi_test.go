package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pb33f/libopenapi"
	validator "github.com/pb33f/libopenapi-validator"
)

func TestOpenAPIIsOne(t *testing.T) {
	document, err := libopenapi.NewDocument(OpenAPI)
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
	described, err := Endpoints("/healthz", "/readyz", "/metrics", "/admin/")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(routes, described) {
		t.Errorf("routes\n%s\ndescribed\n%s", strings.Join(routes, "\n"), strings.Join(described, "\n"))
	}
}
