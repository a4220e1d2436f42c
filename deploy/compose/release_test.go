//go:build containers

package compose

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// The release of this machine's platform, which tools/containers.sh made in $RELEASE, and the image were built from the same
// source in different folders, with different caches, by different copies of the toolchain.
func TestImageHoldsTheReleasedBinary(t *testing.T) {
	s := &stack{T: t}
	released := releasedBinary(t)
	id := s.docker("create", image(t))
	t.Cleanup(func() { s.docker("rm", id) })
	copied := filepath.Join(t.TempDir(), "cloakroom")
	s.docker("cp", id+":/usr/local/bin/cloakroom", copied)
	if in, out := sum(t, copied), sum(t, released); in != out {
		t.Errorf("the image's binary is %s, the released one %s: the build cannot be reproduced", in, out)
	}

	for what, args := range map[string][]string{"the release": {released, "version"}, "the image": {"docker", "run", "--rm", image(t), "version"}} {
		out, err := exec.CommandContext(t.Context(), args[0], args[1:]...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", what, err, out)
		}
		for _, want := range []string{"cloakroom " + os.Getenv("VERSION") + "\n", "commit " + os.Getenv("COMMIT") + "\n", "toolchain " + toolchain(t) + " "} {
			if !bytes.Contains(out, []byte(want)) {
				t.Errorf("%s says\n%s, without %q", what, out, want)
			}
		}
	}
}

func TestImageIsSmallAndWithoutRights(t *testing.T) {
	s := &stack{T: t}
	var images []struct {
		Size   int64
		Config struct {
			User                  string
			Entrypoint, Cmd       []string
			Healthcheck           struct{ Test []string }
			ExposedPorts, Volumes map[string]any
		}
	}
	if err := json.Unmarshal([]byte(s.docker("inspect", image(t))), &images); err != nil {
		t.Fatal(err)
	}
	is := images[0]
	if is.Size > 48<<20 {
		t.Errorf("the image has %d MiB", is.Size>>20)
	}
	if is.Config.User != "65532:65532" || strings.Join(is.Config.Healthcheck.Test, " ") != "CMD cloakroom healthcheck --config /etc/cloakroom/cloakroom.yaml" {
		t.Errorf("the image runs as %q and is asked %v", is.Config.User, is.Config.Healthcheck.Test)
	}
	listing := s.docker("run", "--rm", "--entrypoint", "cloakroom", image(t), "help")
	if !strings.Contains(listing, "healthcheck") {
		t.Errorf("cloakroom is not in the image's path: %s", listing)
	}
}

func TestReleaseSaysWhatItIsMadeOf(t *testing.T) {
	released := releasedBinary(t)
	raw, err := os.ReadFile(released + ".cdx.json")
	if err != nil {
		t.Fatal(err)
	}
	var bill struct {
		Format   string `json:"bomFormat"`
		Metadata struct {
			Component struct{ Name, Version string }
			Tools     []struct{ Name, Hashes any }
		}
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(raw, &bill); err != nil {
		t.Fatal(err)
	}
	if of := bill.Metadata.Component; bill.Format != "CycloneDX" || of.Name != "cloakroom" || of.Version != os.Getenv("VERSION") {
		t.Errorf("it is a %s of %s %s", bill.Format, of.Name, of.Version)
	}
	if with := bill.Metadata.Tools; len(with) != 1 || with[0].Hashes != nil {
		t.Errorf("it was made with %v: a checksum there is another on another machine", with)
	}
	has := map[string]string{}
	for _, c := range bill.Components {
		has[c.Name] = c.Version
	}
	// What the binary really holds, by what the toolchain wrote into it.
	out, err := exec.CommandContext(t.Context(), "go", "version", "-m", released).Output()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for line := range strings.Lines(string(out)) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == "dep" {
			if count++; has[fields[1]] != fields[2] {
				t.Errorf("%s %s is in the binary; its bill says %q", fields[1], fields[2], has[fields[1]])
			}
		}
	}
	if count < 10 || has["std"] != toolchain(t) {
		t.Errorf("%d dependencies; the standard library is %q", count, has["std"])
	}
}

func TestReleaseHasTheChecksumOfEveryFile(t *testing.T) {
	folder := os.Getenv("RELEASE")
	raw, err := os.ReadFile(filepath.Join(folder, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		fields := strings.Fields(line)
		sums[fields[1]] = fields[0]
	}
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 3 || len(sums) != 2 {
		t.Errorf("%d files, %d sums", len(files), len(sums))
	}
	for name, want := range sums {
		if got := sum(t, filepath.Join(folder, name)); got != want {
			t.Errorf("%s is %s, not %s", name, got, want)
		}
	}
}

func TestReleaseCanBeMadeAgain(t *testing.T) {
	again := t.TempDir()
	tool(t, "release.sh", []string{"PLATFORMS=linux/" + runtime.GOARCH}, again)
	if is, was := read(t, filepath.Join(again, "SHA256SUMS")), read(t, filepath.Join(given(t, "RELEASE"), "SHA256SUMS")); is != was {
		t.Errorf("made again it is\n%snot\n%s", is, was)
	}
}

// What somebody has set by `go env -w` makes no other binary.
func TestReleaseIsTheSameWithOtherSettings(t *testing.T) {
	dir := t.TempDir()
	settings, built := filepath.Join(dir, "env"), filepath.Join(dir, "cloakroom")
	if err := os.WriteFile(settings, []byte("GOEXPERIMENT=arenas\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "build.sh", []string{"GOENV=" + settings}, built)
	if is, was := sum(t, built), sum(t, releasedBinary(t)); is != was {
		t.Errorf("it is %s, not %s", is, was)
	}
}

// tool runs a script of tools/ with more variables than this process has.
func tool(t *testing.T, name string, variables []string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../../tools/"+name, args...)
	cmd.Env = append(os.Environ(), variables...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// image is the one that tools/containers.sh has built.
func image(t *testing.T) string {
	t.Helper()
	return given(t, "CLOAKROOM_IMAGE")
}

// given is what tools/containers.sh says to the tests.
func given(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set: run tools/containers.sh", name)
	}
	return value
}

func releasedBinary(t *testing.T) string {
	t.Helper()
	return filepath.Join(given(t, "RELEASE"), "cloakroom_"+os.Getenv("VERSION")+"_linux_"+runtime.GOARCH)
}

func sum(t *testing.T, file string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(raw)
	return hex.EncodeToString(hash[:])
}
