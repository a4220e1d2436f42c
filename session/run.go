package session

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// link is how this replica hears the others, and knows that it does.
type link struct {
	mu      sync.Mutex
	pending map[nonce]time.Duration // proofs under way, and when they were sent
	drop    context.CancelFunc      // ends the subscription
	joined  time.Duration           // when it was made; 0: it is not
}

const (
	beatEvery    = 200 * time.Millisecond
	beatTime     = 500 * time.Millisecond
	deafFor      = 2 * time.Second // a subscription that tells nothing is made anew
	joinPause    = 50 * time.Millisecond
	longJoin     = time.Second
	sweepEvery   = cacheLasts
	recheckEvery = 30 * time.Second
)

// Run keeps this replica in step with the others until ctx ends: it hears what they did to sessions, and proves again and
// again that it would hear it. Without it, every Load asks the store.
func (m *Manager) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { m.listen(ctx) })
	all.Go(func() { m.beat(ctx) })
	all.Go(func() { every(ctx, sweepEvery, m.cache.sweep) })
	all.Go(func() {
		every(ctx, recheckEvery, func() {
			m.recheck(ctx)
			// One node of a cluster may have failed over, and nobody lost a connection.
			m.endAgain(ctx, m.graves.again())
		})
	})
	all.Wait()
}

func every(ctx context.Context, pause time.Duration, do func()) {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			do()
		}
	}
}

// listen subscribes, again and again.
func (m *Manager) listen(ctx context.Context) {
	var after sync.WaitGroup
	defer after.Wait()
	for pause := joinPause; ctx.Err() == nil; pause = min(2*pause, longJoin) {
		subscription, drop := context.WithCancel(ctx)
		_ = m.store.Subscribe(subscription, func() {
			pause = joinPause
			m.link.begin(m.cache.since(), drop)
			after.Go(func() { m.rejoined(subscription) })
		}, m.hear)
		drop()
		m.link.end()
		m.cache.doubt() // what happens until the next one, nobody tells
		wait(ctx, pause)
	}
}

// wait tells whether it waited to the end.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// beat publishes a proof every so often. It goes the way of commands and comes back by the subscription, so it tells of
// both.
func (m *Manager) beat(ctx context.Context) {
	every(ctx, beatEvery, func() {
		now := m.cache.since()
		n := m.link.sent(now)
		publishing, cancel := context.WithTimeout(ctx, beatTime)
		defer cancel()
		_ = m.store.Publish(publishing, message{kind: proofMessage, from: m.replica, nonce: n}.encode())
		if !m.cache.believed(m.cache.since()) {
			m.link.dropIfDeaf(now)
		}
	})
}

// hear is called with each message, in order.
func (m *Manager) hear(raw []byte) {
	told, ok := decodeMessage(raw)
	if !ok {
		return
	}
	switch told.kind {
	case proofMessage:
		if sent, ok := m.link.heard(told.nonce); ok && told.from == m.replica {
			m.cache.prove(sent)
		}
	case endedMessage:
		m.noteEnded(told.key, told.reason)
	case renewedMessage:
		if told.from != m.replica {
			m.noteRenewed(told.key)
		}
	}
}

// noteEnded is what an end means on this replica.
func (m *Manager) noteEnded(key Key, reason string) {
	m.graves.add(key, reason, time.Now())
	m.cache.drop(key)
	m.watchers.tell(key, Change{ID: key.String(), Kind: Ended, Reason: reason})
}

func (m *Manager) noteRenewed(key Key) {
	m.cache.drop(key)
	m.watchers.tell(key, Change{ID: key.String(), Kind: Renewed})
}

// rejoined makes up for what may have happened unheard: the store may have failed over, and lost what it was told last.
func (m *Manager) rejoined(ctx context.Context) {
	m.endAgain(ctx, m.graves.all(time.Now()))
	m.recheck(ctx)
}

// endAgain sees to it, while ctx lasts, that the store knows of an end what it has acknowledged once.
func (m *Manager) endAgain(ctx context.Context, d deaths) {
	insist := func(do func() error) {
		for pause := firstPause; do() != nil && wait(ctx, pause); pause = min(2*pause, longPause) {
		}
	}
	for _, b := range d.burials {
		if left := time.Until(b.until); left > 0 {
			insist(func() error { return m.store.Bury(ctx, b.index, b.at, left) })
		}
	}
	for _, key := range d.keys {
		insist(func() error { return m.removeAgain(ctx, key) })
		if ctx.Err() != nil {
			return
		}
	}
}

// recheck looks after the watched sessions: one may have ended by time, or unheard.
func (m *Manager) recheck(ctx context.Context) {
	for _, key := range m.watchers.keys() {
		if ctx.Err() != nil {
			return
		}
		if _, err := m.load(ctx, key, nil, bare); errors.Is(err, ErrNotFound) {
			m.cache.drop(key)
			m.watchers.tell(key, Change{ID: key.String(), Kind: Ended, Reason: reasonExpired})
		}
	}
}

func (l *link) begin(now time.Duration, drop context.CancelFunc) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined, l.drop, l.pending = now, drop, map[nonce]time.Duration{}
}

func (l *link) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined, l.drop, l.pending = 0, nil, nil
}

// sent makes a proof. Those that can prove nothing any more are forgotten.
func (l *link) sent(now time.Duration) (n nonce) {
	_, _ = rand.Read(n[:])
	l.mu.Lock()
	defer l.mu.Unlock()
	for old, at := range l.pending {
		if now-at > proofLasts {
			delete(l.pending, old)
		}
	}
	if l.pending != nil {
		l.pending[n] = now
	}
	return n
}

func (l *link) heard(n nonce) (sent time.Duration, ours bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sent, ours = l.pending[n]
	delete(l.pending, n)
	return sent, ours
}

func (l *link) dropIfDeaf(now time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drop != nil && now-l.joined > deafFor {
		l.drop()
	}
}
