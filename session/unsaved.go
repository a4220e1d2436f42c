package session

import "sync"

// unsaved is the renewed sessions that the store has not taken yet, the only copy of their tokens.
type unsaved struct {
	mu    sync.Mutex
	byKey map[Key]unsavedSession
}

type unsavedSession struct {
	was  uint64 // the generation that the store has
	next *Session
}

func (u *unsaved) put(key Key, was uint64, next *Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.byKey == nil {
		u.byKey = map[Key]unsavedSession{}
	}
	u.byKey[key] = unsavedSession{was, next}
}

func (u *unsaved) drop(key Key) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.byKey, key)
}

func (u *unsaved) has(key Key) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.byKey[key]
	return ok
}

// after returns what follows the generation that the store has, nil where nothing does.
func (u *unsaved) after(key Key, was uint64) *Session {
	u.mu.Lock()
	defer u.mu.Unlock()
	if held, ok := u.byKey[key]; ok && held.was == was {
		return held.next
	}
	return nil
}
