package bff

import (
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"cloakroom/internal/idptest"
)

// docs/openapi.yaml has every endpoint of the browser's side with every method it takes, and the reverse.
func TestOpenAPIHasEveryEndpoint(t *testing.T) {
	text, err := os.ReadFile("../docs/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	var described, mounted []string
	for path, item := range document.Paths {
		for method := range item {
			if under(path, ownPath) {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	h := open(t, idptest.Config{}, nil)
	parameter := regexp.MustCompile(`:(\w+)`)
	for _, route := range h.server.endpoints.Routes() {
		path := parameter.ReplaceAllString(route.Path, "{$1}")
		answer := h.serve(request(http.MethodPatch, strings.NewReplacer("{provider}", "main", "{id}", "x").Replace(path)))
		for method := range strings.SplitSeq(answer.Header.Get("Allow"), ", ") {
			if method != http.MethodHead { // what GET has
				mounted = append(mounted, method+" "+path)
			}
		}
	}
	slices.Sort(described)
	slices.Sort(mounted)
	if !slices.Equal(described, mounted) {
		t.Errorf("described\n%s\nmounted\n%s", strings.Join(described, "\n"), strings.Join(mounted, "\n"))
	}
}
