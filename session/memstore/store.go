package memstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"cloakroom/session"
)

// Store keeps the contract of session.Store in memory. Its clock is handed in; a goroutine, which Close ends, takes out
// what expired.
type Store struct {
	now func() time.Time

	mu      sync.Mutex
	records map[session.Key]session.Record
	indexes map[session.Index]map[session.Key]time.Time // until when each entry may matter
	marks   map[string]mark
	leases  map[session.Key]lease
	burials map[session.Index]burial
	hearers map[*hearer]struct{}

	stop    context.CancelFunc
	stopped chan struct{}
}

type mark struct {
	attempt []byte
	until   time.Time
}

type lease struct {
	holder []byte
	until  time.Time
}

type burial struct{ at, until time.Time }

// sweepEvery is how often expired entries are taken out. They are not answered before that either.
const sweepEvery = time.Minute

// New returns an empty store. Close it.
func New(now func() time.Time) *Store {
	ctx, stop := context.WithCancel(context.Background())
	s := &Store{
		now:     now,
		records: map[session.Key]session.Record{}, indexes: map[session.Index]map[session.Key]time.Time{}, marks: map[string]mark{},
		leases: map[session.Key]lease{}, burials: map[session.Index]burial{}, hearers: map[*hearer]struct{}{},
		stop: stop, stopped: make(chan struct{}),
	}
	go s.sweepUntil(ctx)
	return s
}

// Create implements session.Store.
func (s *Store) Create(ctx context.Context, key session.Key, r session.Record, indexes []session.Index) error {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return err
	}
	for _, name := range indexes {
		if s.indexes[name] == nil {
			s.indexes[name] = map[session.Key]time.Time{}
		}
		s.indexes[name][key] = r.Expires
	}
	if _, ok := s.live(key); ok {
		return session.ErrConflict
	}
	s.records[key] = r
	return nil
}

// Load implements session.Store.
func (s *Store) Load(ctx context.Context, key session.Key) (session.Record, error) {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return session.Record{}, err
	}
	r, ok := s.live(key)
	if !ok {
		return session.Record{}, session.ErrNotFound
	}
	return r, nil
}

// Replace implements session.Store.
func (s *Store) Replace(ctx context.Context, key session.Key, was uint64, r session.Record) error {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return err
	}
	old, ok := s.live(key)
	switch {
	case !ok:
		return session.ErrNotFound
	case old.Generation != was:
		return session.ErrConflict
	}
	if r.Idle.Before(old.Idle) {
		r.Idle = old.Idle
	}
	s.records[key] = r
	return nil
}

// Slide implements session.Store.
func (s *Store) Slide(ctx context.Context, key session.Key, idle time.Time) error {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return err
	}
	r, ok := s.live(key)
	if !ok {
		return session.ErrNotFound
	}
	if r.Idle.Before(idle) {
		r.Idle = idle
		s.records[key] = r
	}
	return nil
}

// Delete implements session.Store.
func (s *Store) Delete(ctx context.Context, key session.Key) (session.Record, error) {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return session.Record{}, err
	}
	r, ok := s.live(key)
	if !ok {
		return session.Record{}, session.ErrNotFound
	}
	delete(s.records, key)
	return r, nil
}

// Members implements session.Store.
func (s *Store) Members(ctx context.Context, index session.Index) ([]session.Key, error) {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return nil, err
	}
	var keys []session.Key
	for key, until := range s.indexes[index] {
		if s.now().Before(until) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// Claim implements session.Store.
func (s *Store) Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (mine bool, err error) {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return false, err
	}
	if m, ok := s.marks[name]; ok && s.now().Before(m.until) {
		return bytes.Equal(m.attempt, attempt), nil
	}
	s.marks[name] = mark{bytes.Clone(attempt), s.now().Add(ttl)}
	return true, nil
}

// Acquire implements session.Store.
func (s *Store) Acquire(ctx context.Context, key session.Key, holder []byte, ttl time.Duration) (mine bool, err error) {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return false, err
	}
	if l, ok := s.leases[key]; ok && s.now().Before(l.until) && !bytes.Equal(l.holder, holder) {
		return false, nil
	}
	s.leases[key] = lease{bytes.Clone(holder), s.now().Add(ttl)}
	return true, nil
}

// Release implements session.Store.
func (s *Store) Release(ctx context.Context, key session.Key, holder []byte) error {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return err
	}
	if bytes.Equal(s.leases[key].holder, holder) {
		delete(s.leases, key)
	}
	return nil
}

// Bury implements session.Store. It keeps the time as it is: what came before the burial must not seem to come after.
func (s *Store) Bury(ctx context.Context, index session.Index, at time.Time, ttl time.Duration) error {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return err
	}
	now := s.now()
	b := burial{at, now.Add(ttl)}
	if old, ok := s.burials[index]; ok && now.Before(old.until) {
		b.at, b.until = latest(b.at, old.at), latest(b.until, old.until)
	}
	s.burials[index] = b
	return nil
}

// Buried implements session.Store.
func (s *Store) Buried(ctx context.Context, indexes []session.Index) (at time.Time, err error) {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return time.Time{}, err
	}
	for _, index := range indexes {
		if b, ok := s.burials[index]; ok && s.now().Before(b.until) {
			at = latest(at, b.at)
		}
	}
	return at, nil
}

// Ping implements session.Store.
func (s *Store) Ping(ctx context.Context) error { return alive(ctx) }

// Close ends the sweeping.
func (s *Store) Close() error {
	s.stop()
	<-s.stopped
	return nil
}

func (s *Store) lock() (unlock func()) {
	s.mu.Lock()
	return s.mu.Unlock
}

func (s *Store) live(key session.Key) (session.Record, bool) {
	r, ok := s.records[key]
	return r, ok && s.now().Before(r.End())
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("memory store: %w: %w", session.ErrUnavailable, err)
	}
	return nil
}

func (s *Store) sweepUntil(ctx context.Context) {
	defer close(s.stopped)
	ticker := time.NewTicker(sweepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.sweep()
		}
	}
}

func (s *Store) sweep() {
	defer s.lock()()
	now := s.now()
	maps.DeleteFunc(s.records, func(_ session.Key, r session.Record) bool { return !now.Before(r.End()) })
	maps.DeleteFunc(s.marks, func(_ string, m mark) bool { return !now.Before(m.until) })
	maps.DeleteFunc(s.leases, func(_ session.Key, l lease) bool { return !now.Before(l.until) })
	maps.DeleteFunc(s.burials, func(_ session.Index, b burial) bool { return !now.Before(b.until) })
	maps.DeleteFunc(s.indexes, func(_ session.Index, entries map[session.Key]time.Time) bool {
		maps.DeleteFunc(entries, func(_ session.Key, until time.Time) bool { return !now.Before(until) })
		return len(entries) == 0
	})
}
