package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// viteApp is what `npm create vite` makes, untouched, with the packages of this folder.
func viteApp(t *testing.T) (folder string) {
	t.Helper()
	packages, err := filepath.Abs("node_modules")
	if err != nil {
		t.Fatal(err)
	}
	parent := t.TempDir()
	create := exec.CommandContext(t.Context(), "node", filepath.Join(packages, "create-vite", "index.js"), "app", "--template", "react-ts", "--no-interactive")
	create.Dir = parent
	if out, err := create.CombinedOutput(); err != nil {
		t.Fatalf("create-vite: %v\n%s", err, out)
	}
	folder = filepath.Join(parent, "app")
	found, err := os.ReadDir(packages)
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(folder, "node_modules") // a folder of its own: Vite keeps its cache there
	if err := os.Mkdir(own, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, one := range found {
		if err := os.Symlink(filepath.Join(packages, one.Name()), filepath.Join(own, one.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// The template that a team begins with works as it is: built, under the built-in policy, and in development, with its changes shown at once.
func TestViteTemplateWorksUnmodified(t *testing.T) {
	t.Parallel()
	folder := viteApp(t)
	devPort := freePort(t)
	start(t, nil, "node", filepath.Join(folder, "node_modules/vite/bin/vite.js"), folder, "--port", fmt.Sprint(devPort), "--strictPort")
	build := exec.CommandContext(t.Context(), "npm", "run", "build")
	build.Dir = folder
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("npm run build: %v\n%s", err, out)
	}

	deployed := newCloakroom(t)
	deployed.configure(t, "memory:", "http://localhost:9", fmt.Sprintf("routes: [{path: /, spa: %q}]\n", filepath.Join(folder, "dist")))
	deployed.serve(t)

	develop := newCloakroom(t)
	develop.configureDevelopment(t, "http://localhost:9", fmt.Sprintf("routes: [{path: /, spa_dev: \"http://localhost:%d\"}]\n", devPort))
	develop.serve(t)
	eventually(t, 20*time.Second, "Vite answers", func() bool { return answers(http.DefaultClient, fmt.Sprintf("http://localhost:%d/", devPort)) })

	type visit struct {
		Policy, Count string
		Images        []struct {
			Src   string
			Width int
		}
		Sockets, Complaints []string
	}
	var seen struct {
		Built struct {
			visit
			Color string
		}
		Dev struct {
			visit
			Edited struct {
				Count       string
				NotReloaded bool
			}
			MistakeShown string
			Violations   []string // once there was a mistake, of which Vite itself complains
			Mended       struct {
				Count    string
				Overlays int
			}
		}
	}
	chromium(t, "vite.mjs", &seen, "RESOLVE=MAP "+host+" 127.0.0.1", "BUILT="+deployed.origin(), fmt.Sprintf("DEV=http://localhost:%d", develop.public),
		"SOURCE="+filepath.Join(folder, "src", "App.tsx"))

	for name, v := range map[string]visit{"built": seen.Built.visit, "in development": seen.Dev.visit} {
		if v.Count != "Count is 1" || len(v.Images) < 3 {
			t.Errorf("%s: the page does not work: %+v", name, v)
		}
		for _, image := range v.Images {
			if image.Width == 0 {
				t.Errorf("%s: not shown: %s", name, image.Src)
			}
		}
	}
	if !strings.Contains(seen.Built.Policy, "script-src 'self'; style-src 'self';") || !strings.Contains(seen.Built.Policy, "require-trusted-types-for 'script'") {
		t.Errorf("built: the policy is %s", seen.Built.Policy)
	}
	if len(seen.Built.Complaints) > 0 {
		t.Errorf("built: the browser complained: %q", seen.Built.Complaints)
	}
	if seen.Built.Color == "rgb(239, 239, 239)" || len(seen.Built.Sockets) > 0 {
		t.Errorf("built: unstyled (%s), or asks for sockets (%v)", seen.Built.Color, seen.Built.Sockets)
	}
	dev := seen.Dev
	if !strings.Contains(dev.Policy, "default-src 'none'") || !strings.Contains(dev.Policy, "connect-src 'self';") {
		t.Errorf("in development: the policy is %s", dev.Policy)
	}
	if dev.Edited.Count != "Count is 1" || !dev.Edited.NotReloaded {
		t.Errorf("an edit reloaded the page: %+v", dev.Edited)
	}
	if !strings.Contains(dev.MistakeShown, "App.tsx") || dev.Mended.Overlays != 0 || dev.Mended.Count != "Count is 1" {
		t.Errorf("a mistake is shown as %q, mended it leaves %+v", dev.MistakeShown, dev.Mended)
	}
	for _, socket := range dev.Sockets {
		if socket != fmt.Sprintf("ws://localhost:%d/", develop.public) {
			t.Errorf("a socket past Cloakroom: %s", socket)
		}
	}
	if len(dev.Sockets) == 0 || len(dev.Complaints) > 0 || len(dev.Violations) > 0 {
		t.Errorf("in development: sockets %v, complaints %q, violations after a mistake %q", dev.Sockets, dev.Complaints, dev.Violations)
	}
}
