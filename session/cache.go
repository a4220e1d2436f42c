package session

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

// cache is sessions as they were read a moment ago, so that one in use costs the store nothing. It is believed only while
// this replica provably hears what others do to sessions: whoever changes one writes first and tells then, and what was
// read before a change was heard is not kept after it.
type cache struct {
	entries *otter.Cache[Key, *cached]
	began   time.Time
	proven  atomic.Int64 // until when it was proven last, since began; 0: not at all
	stripes [64]stripe   // by key
}

// stripe counts what may have changed among some keys, in order that a reading which such a change overtook is not kept.
type stripe struct {
	mu      sync.Mutex
	changes uint64
}

type cached struct {
	session *Session
	read    time.Duration // when, since began
	whole   bool          // with its access token
}

const (
	proofLasts = 600 * time.Millisecond // that this replica hears
	cacheLasts = 5 * time.Second        // from when it was read; a bound on what a fault nobody thought of can do
	cacheBytes = 128 << 20

	sessionBytes = 1 << 10 // beside what its weight tells
)

func newCache() *cache {
	return &cache{
		entries: otter.Must(&otter.Options[Key, *cached]{
			MaximumWeight: cacheBytes,
			Weigher:       func(_ Key, c *cached) uint32 { return sessionBytes + uint32(c.session.weight) },
		}),
		began: time.Now(),
	}
}

func (c *cache) stripe(key Key) *stripe { return &c.stripes[key[0]%uint8(len(c.stripes))] }

// since is monotonic, and never 0: the wall clock may jump, and is none of the cache's business.
func (c *cache) since() time.Duration { return time.Since(c.began) + 1 }

func (c *cache) believed(at time.Duration) bool {
	proven := time.Duration(c.proven.Load())
	return proven != 0 && at < proven+proofLasts
}

// prove notes that what was published at that time has been heard.
func (c *cache) prove(sent time.Duration) {
	if !c.believed(c.since()) {
		c.empty() // there was a gap, or this is the beginning
	}
	c.proven.Store(int64(sent))
}

// doubt ends all belief until there is new proof.
func (c *cache) doubt() {
	c.proven.Store(0)
	c.empty()
}

// get returns the session where it is there; believed tells whether it would be.
func (c *cache) get(key Key, whole bool) (s *Session, believed bool) {
	now := c.since()
	if !c.believed(now) {
		return nil, false
	}
	found, ok := c.entries.GetIfPresent(key)
	if !ok || now-found.read > cacheLasts || whole && !found.whole {
		return nil, true
	}
	return found.session, true
}

// reading is when a session's record was asked for.
type reading struct {
	at      time.Duration
	changes uint64
}

// begin is called before the store is asked.
func (c *cache) begin(key Key) reading {
	stripe := c.stripe(key)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	return reading{c.since(), stripe.changes}
}

// keep keeps what the store answered, if nothing was heard of it in between.
func (c *cache) keep(key Key, r reading, s *Session, whole bool) {
	if !c.believed(c.since()) {
		return
	}
	stripe := c.stripe(key)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	if stripe.changes != r.changes {
		return
	}
	if there, ok := c.entries.GetIfPresent(key); ok && there.whole && !whole && r.at-there.read <= cacheLasts {
		return
	}
	c.entries.Set(key, &cached{s, r.at, whole})
}

// drop is called after the store was told of a change, or when it was heard of.
func (c *cache) drop(key Key) {
	stripe := c.stripe(key)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	stripe.changes++
	c.entries.Invalidate(key)
}

// slid replaces the session by what it is after activity. It is as old as it was.
func (c *cache) slid(key Key, was, now *Session) {
	stripe := c.stripe(key)
	stripe.mu.Lock()
	defer stripe.mu.Unlock()
	if there, ok := c.entries.GetIfPresent(key); ok && there.session.Generation == was.Generation {
		next := *there.session
		next.Seen, next.IdleExpires = now.Seen, later(there.session.IdleExpires, now.IdleExpires)
		c.entries.Set(key, &cached{&next, there.read, there.whole})
	}
}

func (c *cache) empty() {
	for i := range c.stripes {
		c.stripes[i].mu.Lock()
		defer c.stripes[i].mu.Unlock()
		c.stripes[i].changes++
	}
	c.entries.InvalidateAll()
}

// sweep frees what is too old to be answered.
func (c *cache) sweep() {
	now := c.since()
	for key, entry := range c.entries.All() {
		if now-entry.read > cacheLasts {
			c.entries.ComputeIfPresent(key, func(there *cached) (*cached, otter.ComputeOp) {
				if there == entry {
					return nil, otter.InvalidateOp
				}
				return there, otter.CancelOp
			})
		}
	}
}
