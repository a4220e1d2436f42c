package session

import "sync"

// Change is what became of a session, on whichever replica.
type Change struct {
	ID     string
	Kind   ChangeKind
	Reason string // of an end: logout, revoked, expired, backchannel, refused
}

// ChangeKind says which.
type ChangeKind int

// The kinds of changes.
const (
	Ended   ChangeKind = iota + 1
	Renewed            // its tokens
)

// Watch tells of changes of a session, for as long as somebody is bound to it by a stream or socket. The channel is closed
// after Ended, and by stop, which must be called. Renewals may be skipped for a reader that does not keep up. Whoever
// watches first and loads the session then misses nothing.
func (m *Manager) Watch(id string) (changes <-chan Change, stop func()) {
	key, ok := parseHandle(id)
	if !ok {
		none := make(chan Change)
		close(none)
		return none, func() {}
	}
	w := m.watchers.add(key)
	if reason, ended := m.graves.reason(key); ended {
		m.watchers.tell(key, Change{ID: id, Kind: Ended, Reason: reason})
	}
	return w.changes, func() { m.watchers.remove(key, w) }
}

// watchers are those who are to be told of changes.
type watchers struct {
	mu    sync.Mutex
	byKey map[Key]map[*watcher]struct{}
}

type watcher struct{ changes chan Change }

const changesKept = 4 // for a reader who is busy; the last place is for the end

func (w *watchers) add(key Key) *watcher {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byKey == nil {
		w.byKey = map[Key]map[*watcher]struct{}{}
	}
	if w.byKey[key] == nil {
		w.byKey[key] = map[*watcher]struct{}{}
	}
	one := &watcher{make(chan Change, changesKept)}
	w.byKey[key][one] = struct{}{}
	return one
}

func (w *watchers) remove(key Key, one *watcher) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, there := w.byKey[key][one]; !there {
		return
	}
	close(one.changes)
	delete(w.byKey[key], one)
	if len(w.byKey[key]) == 0 {
		delete(w.byKey, key)
	}
}

func (w *watchers) tell(key Key, c Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for one := range w.byKey[key] {
		if c.Kind == Ended {
			one.changes <- c // there is always a place left
			close(one.changes)
			continue
		}
		if len(one.changes) < cap(one.changes)-1 {
			one.changes <- c
		}
	}
	if c.Kind == Ended {
		delete(w.byKey, key)
	}
}

// keys lists what is watched, in an order that hangs on that alone.
func (w *watchers) keys() []Key {
	w.mu.Lock()
	defer w.mu.Unlock()
	return sortedKeys(w.byKey)
}
