package config

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// watching waits in the background; changed tells whether Wait came back since it was last asked.
func watching(t *testing.T, files ...string) (changed func(within time.Duration) bool) {
	t.Helper()
	w, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	held := Files{}
	for _, name := range files {
		held[name] = content(name)
	}
	if err := w.On(held); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	came, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for w.Wait(ctx, nil) {
			came <- struct{}{}
		}
	}()
	t.Cleanup(func() { stop(); <-done; w.Close() })
	return func(within time.Duration) bool {
		select {
		case <-came:
			return true
		case <-time.After(within):
			return false
		}
	}
}

func put(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func relink(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".next", name); err != nil {
		t.Fatal(err)
	}
}

const soon, long = 5 * time.Second, 4 * settling

func TestWatchNoticesAFileThatIsWrittenOrReplaced(t *testing.T) {
	dir := t.TempDir()
	file, missing := filepath.Join(dir, "c.yaml"), filepath.Join(dir, "secret")
	put(t, file, "one")
	changed := watching(t, file, missing)
	if changed(long) {
		t.Error("noticed what was no change")
	}
	put(t, filepath.Join(dir, "another"), "x")
	put(t, file, "one")
	if changed(long) {
		t.Error("noticed what was no change")
	}
	put(t, file, "two")
	if !changed(soon) {
		t.Error("written, and not noticed")
	}
	put(t, file+".tmp", "three")
	if err := os.Rename(file+".tmp", file); err != nil {
		t.Fatal(err)
	}
	if !changed(soon) {
		t.Error("replaced, and not noticed")
	}
	put(t, missing, "s")
	if !changed(soon) {
		t.Error("made, and not noticed")
	}
	if changed(long) {
		t.Error("noticed twice")
	}
}

// Kubernetes mounts a link to a link to a folder, which it swaps: the names that are watched never change themselves.
func TestWatchNoticesKubernetesSwappingALink(t *testing.T) {
	dir := t.TempDir()
	for _, generation := range []string{"..1", "..2", "..3"} {
		if err := os.Mkdir(filepath.Join(dir, generation), 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, generation, "secret"), generation)
	}
	relink(t, "..1", filepath.Join(dir, "..data"))
	relink(t, "..data/secret", filepath.Join(dir, "secret"))
	changed := watching(t, filepath.Join(dir, "secret"))
	for _, generation := range []string{"..2", "..3"} {
		relink(t, generation, filepath.Join(dir, "..data"))
		if !changed(soon) {
			t.Errorf("%s is not noticed", generation)
		}
	}
}

// A link out of the folder: what it leads to is written in place.
func TestWatchFollowsALinkToAnotherFolder(t *testing.T) {
	there, here := t.TempDir(), t.TempDir()
	put(t, filepath.Join(there, "secret"), "one")
	relink(t, filepath.Join(there, "secret"), filepath.Join(here, "secret"))
	changed := watching(t, filepath.Join(here, "secret"))
	put(t, filepath.Join(there, "secret"), "two")
	if !changed(soon) {
		t.Error("not noticed")
	}
}

func TestWatchLeavesAFileAloneUntilItIsWhole(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	put(t, file, "old")
	w := &Watch{}
	if err := w.On(Files{file: content(file)}); err != nil {
		t.Fatal(err)
	}
	for n, step := range []struct {
		content string
		changed bool
	}{{"", false}, {"new: ", false}, {"new: 1", false}, {"new: 1", true}, {"new: 1", false}, {"", false}, {"new: 1", false}, {"", false}} {
		put(t, file, step.content)
		if got := w.changed(); got != step.changed {
			t.Errorf("step %d, %q: %t", n, step.content, got)
		}
	}
}

// What changes between the reading of a file and its being watched is noticed like all else.
func TestWatchNoticesWhatChangedBeforehand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "c.yaml")
	put(t, file, steady)
	read, err := Load(file, lookup)
	if err == nil || read == nil {
		t.Fatalf("the certificates are missing: %v", err)
	}
	put(t, file, steady+"drain: {delay: 1s}")
	w, err := NewWatch()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.On(read.Files); err != nil {
		t.Log(err) // their folder is missing
	}
	ctx, stop := context.WithTimeout(t.Context(), soon)
	defer stop()
	if !w.Wait(ctx, nil) {
		t.Error("not noticed")
	}
	other := filepath.Join(filepath.Dir(file), "other")
	if err := w.Also(Files{other: sha{}}); err != nil {
		t.Log(err)
	}
	put(t, other, "x")
	if !w.Wait(ctx, nil) {
		t.Error("the other is not watched")
	}
	put(t, file, steady)
	if !w.Wait(ctx, nil) {
		t.Error("the first is not watched any more")
	}
}

func TestWithoutWatchesTheSignalIsHeardAllTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &Watch{}
		if err := w.On(Files{"/nowhere": sha{}}); err != nil {
			t.Fatal(err)
		}
		signal := make(chan os.Signal, 1)
		signal <- os.Interrupt
		if !w.Wait(t.Context(), signal) {
			t.Error("not heard")
		}
		ctx, stop := context.WithTimeout(t.Context(), time.Hour)
		defer stop()
		if w.Wait(ctx, signal) {
			t.Error("came back for nothing")
		}
		w.Close()
	})
}
