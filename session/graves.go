package session

import (
	"bytes"
	"maps"
	"slices"
	"sync"
	"time"
)

// graves is what was ended a while ago. A store that fails over may lose what it had acknowledged, and bring an ended
// session back; here it stays ended.
type graves struct {
	mu      sync.Mutex
	turned  time.Time
	young   map[Key]string // reasons
	old     map[Key]string
	burials []burial
}

type burial struct {
	index Index
	at    time.Time
	until time.Time
}

const (
	gravesLast  = 10 * time.Minute // twice that at most
	manyGraves  = 20_000           // young ones; then the old ones are forgotten sooner
	manyBurials = 1_000
)

func (g *graves) add(key Key, reason string, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.young == nil || now.Sub(g.turned) >= gravesLast || len(g.young) >= manyGraves {
		g.turned, g.old, g.young = now, g.young, map[Key]string{}
	}
	g.young[key] = reason
}

// reason tells whether the session was ended, and why.
func (g *graves) reason(key Key) (reason string, ended bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if reason, ended = g.young[key]; !ended {
		reason, ended = g.old[key]
	}
	return reason, ended
}

func sortedKeys[V any](byKey map[Key]V) []Key {
	return slices.SortedFunc(maps.Keys(byKey), func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
}

func (g *graves) bury(b burial) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.burials) >= manyBurials {
		g.burials = g.burials[1:]
	}
	g.burials = append(g.burials, b)
}

// all lists what is remembered, in an order that hangs on that alone.
func (g *graves) all(now time.Time) (keys []Key, burials []burial) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, some := range []map[Key]string{g.young, g.old} {
		keys = append(keys, sortedKeys(some)...)
	}
	for _, b := range g.burials {
		if now.Before(b.until) {
			burials = append(burials, b)
		}
	}
	return keys, burials
}
