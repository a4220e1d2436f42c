package config

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// settling is how long the files must be left alone before a change of theirs is believed to be whole.
const settling = 150 * time.Millisecond

// Watch notices when files change. It watches their folders, since an editor, and Kubernetes, put another file in the place of
// the old one, and it compares what the files hold, since there is more going on in a folder. It is for one goroutine.
type Watch struct {
	system *fsnotify.Watcher // nil: changes are not noticed
	files  Files             // and what they held last
	seen   Files             // what they held when they were last looked at, where that was something else
}

// Files are files by absolute name, and what they hold: nothing where they are not there.
type Files map[string]sha

type sha [sha256.Size]byte

// NewWatch fails where the system has no more watches to give. What it returns is of use all the same: it waits for the signal.
func NewWatch() (*Watch, error) {
	system, err := fsnotify.NewWatcher()
	if err != nil {
		return &Watch{}, fmt.Errorf("watch files: %w", err)
	}
	return &Watch{system: system}, nil
}

// Close gives the system its watches back.
func (w *Watch) Close() {
	if w.system != nil {
		_ = w.system.Close()
	}
}

// On watches these files in the place of those before. The error tells what is not watched.
func (w *Watch) On(files Files) error {
	w.files = nil
	return w.Also(files)
}

// Also watches these files beside those before.
func (w *Watch) Also(files Files) error {
	all := Files{}
	maps.Copy(all, w.files)
	maps.Copy(all, files)
	w.files, w.seen = all, nil
	return w.follow()
}

// follow watches the folders of the files, and those of what the files link to.
func (w *Watch) follow() error {
	if w.system == nil {
		return nil
	}
	wanted := map[string]bool{}
	for name := range w.files {
		wanted[filepath.Dir(name)] = true
		if target, err := filepath.EvalSymlinks(name); err == nil {
			wanted[filepath.Dir(target)] = true
		}
	}
	for _, folder := range w.system.WatchList() {
		if !wanted[folder] {
			_ = w.system.Remove(folder) // it may be gone
		}
	}
	var faults []error
	for folder := range wanted {
		if err := w.system.Add(folder); err != nil {
			faults = append(faults, fmt.Errorf("watch %s: %w", folder, err))
		}
	}
	return errors.Join(faults...)
}

// Wait returns when a file has changed, or the signal came. It is false when ctx ended.
func (w *Watch) Wait(ctx context.Context, signal <-chan os.Signal) bool {
	var events chan fsnotify.Event
	var lost chan error
	if w.system != nil {
		events, lost = w.system.Events, w.system.Errors
	}
	quiet := time.After(settling) // what has changed before the folders were watched
	for {
		select {
		case <-ctx.Done():
			return false
		case <-signal:
			w.files = w.look()
			return true
		case <-events:
		case <-lost: //nolint:errcheck // whatever was lost, what the files hold tells
		case <-quiet:
			quiet = nil
			_ = w.follow() // a folder may have been put in the place of another
			if w.changed() {
				return true
			}
			if w.seen == nil {
				continue
			}
		}
		if quiet == nil {
			quiet = time.After(settling)
		}
	}
}

// changed tells whether the files hold something else than before, and did so already when it was last asked: until then they
// may be in the middle of being written.
func (w *Watch) changed() bool {
	now := w.look()
	switch {
	case maps.Equal(now, w.files):
		w.seen = nil
	case maps.Equal(now, w.seen):
		w.files, w.seen = now, nil
		return true
	default:
		w.seen = now
	}
	return false
}

// look reads what the files hold now.
func (w *Watch) look() Files {
	now := make(Files, len(w.files))
	for name := range w.files {
		now[name] = content(name)
	}
	return now
}

// content stands for what a file holds, or for its not being there. What is beyond the size of a configuration's file is not
// looked at: it is refused for that.
func content(name string) (sum sha) {
	f, err := os.Open(name)
	if err != nil {
		return sum
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxFile+1)); err != nil {
		return sum
	}
	h.Sum(sum[:0])
	return sum
}
