package chart

import (
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	v2 "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"sigs.k8s.io/yaml"
)

const (
	folder    = "../cloakroom"
	release   = "example"
	namespace = "identity"
)

var chart = sync.OnceValues(func() (*v2.Chart, error) { return loader.LoadDir(folder) })

var valueFiles = []string{"minimal", "apart", "everything", "byreference"}

// values reads one of the value files, as `helm --values` does, and lays others over it, each a piece of YAML.
func values(t *testing.T, name string, over ...string) map[string]any {
	t.Helper()
	all, err := common.ReadValuesFile("values/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range over {
		more, err := common.ReadValues([]byte(piece))
		if err != nil {
			t.Fatalf("%v in\n%s", err, piece)
		}
		all = util.MergeTables(more, all)
	}
	return all
}

// rendered is what `helm template` prints, in documents, and what `helm install` says.
type rendered struct {
	documents []string
	notes     string
}

// render is `helm template example deploy/helm/cloakroom --namespace identity --values …`.
func render(with map[string]any) (rendered, error) {
	var out rendered
	c, err := chart()
	if err != nil {
		return out, err
	}
	all, err := util.ToRenderValues(c, with, common.ReleaseOptions{Name: release, Namespace: namespace, IsInstall: true, Revision: 1}, nil)
	if err != nil {
		return out, err
	}
	files, err := engine.Render(c, all)
	if err != nil {
		return out, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if path.Base(name) == "NOTES.txt" {
			out.notes = files[name]
			continue
		}
		for document := range strings.SplitSeq("\n"+files[name], "\n---\n") {
			if content, err := yaml.YAMLToJSON([]byte(document)); err != nil {
				return out, err
			} else if string(content) != "null" {
				out.documents = append(out.documents, document)
			}
		}
	}
	return out, nil
}

func mustRender(t *testing.T, with map[string]any) objects {
	t.Helper()
	r, err := render(with)
	if err != nil {
		t.Fatal(err)
	}
	return decode(t, r)
}

// defaultValues are the chart's own.
func defaultValues(t *testing.T) map[string]any {
	t.Helper()
	c, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}
