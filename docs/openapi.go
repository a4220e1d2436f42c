package docs

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
)

// OpenAPI is openapi.yaml: every endpoint of Cloakroom's own. The rooms' tests compare what they serve with it.
//
//go:embed openapi.yaml
var OpenAPI []byte

// Endpoints lists the methods and paths of OpenAPI that begin with one of the prefixes, as "GET /healthz", sorted.
func Endpoints(prefixes ...string) ([]string, error) {
	var document struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal(OpenAPI, &document); err != nil {
		return nil, fmt.Errorf("openapi.yaml: %w", err)
	}
	var all []string
	for path, item := range document.Paths {
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(path, p) }) {
			continue
		}
		for method := range item {
			if method != "servers" {
				all = append(all, strings.ToUpper(method)+" "+path)
			}
		}
	}
	slices.Sort(all)
	return all, nil
}
