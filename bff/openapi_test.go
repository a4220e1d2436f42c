package bff

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"cloakroom/docs"
	"cloakroom/internal/idptest"
)

// docs/openapi.yaml has every endpoint of the browser's side with every method it takes, and the reverse.
func TestOpenAPIHasEveryEndpoint(t *testing.T) {
	described, err := docs.Endpoints(ownPath + "/")
	if err != nil {
		t.Fatal(err)
	}
	var mounted []string
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
	slices.Sort(mounted)
	if !slices.Equal(described, mounted) {
		t.Errorf("described\n%s\nmounted\n%s", strings.Join(described, "\n"), strings.Join(mounted, "\n"))
	}
}
