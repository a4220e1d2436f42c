package compose

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The image is built by the toolchain that go.mod asks for, so that it holds what `make release` publishes.
func TestDockerfileBuildsWithTheToolchainOfTheModule(t *testing.T) {
	docker := read(t, "../Dockerfile")
	version := strings.TrimPrefix(toolchain(t), "go")
	if !strings.Contains(docker, " golang:"+version+" AS build") {
		t.Errorf("deploy/Dockerfile does not build with golang:%s", version)
	}
	// What would need more than the builder that every engine has.
	for _, beyond := range []string{`(?m)^#\s*syntax=`, `--link`, `<<-?["']?[A-Z]`} {
		if found := regexp.MustCompile(beyond).FindString(docker); found != "" {
			t.Errorf("deploy/Dockerfile uses %q", found)
		}
	}
}

func toolchain(t *testing.T) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^toolchain (go\S+)$`).FindStringSubmatch(read(t, "../../go.mod"))
	if found == nil {
		t.Fatal("go.mod names no toolchain")
	}
	return found[1]
}

func read(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
