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

	recent, before deaths // since again was last asked, and before that
}

// deaths is what was ended.
type deaths struct {
	keys    []Key
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
	if _, known := g.young[key]; !known && len(g.recent.keys) < manyGraves {
		g.recent.keys = append(g.recent.keys, key)
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
	if len(g.recent.burials) < manyBurials {
		g.recent.burials = append(g.recent.burials, b)
	}
}

// all lists what is remembered, in an order that hangs on that alone.
func (g *graves) all(now time.Time) (d deaths) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, some := range []map[Key]string{g.young, g.old} {
		d.keys = append(d.keys, sortedKeys(some)...)
	}
	for _, b := range g.burials {
		if now.Before(b.until) {
			d.burials = append(d.burials, b)
		}
	}
	return d
}

// again lists what was ended between the two times that it was asked before: once each, and a while after it was.
func (g *graves) again() deaths {
	g.mu.Lock()
	defer g.mu.Unlock()
	d := g.before
	g.before, g.recent = g.recent, deaths{}
	return d
}
