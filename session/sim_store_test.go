package session_test

import (
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom/session"
)

var errSimulated = errors.New("simulated fault")

// road is the store as one replica of a simulation reaches it: slowly, and not always. It keeps the contract otherwise.
type road struct {
	session.Store
	r *simReplica
}

// write is one that the store acknowledged, and how it is undone.
type write struct {
	at      time.Time
	key     session.Key
	undo    func(context.Context)
	what    string
	renewed int // the number of the refresh token that it brought
}

// travel takes time, and may come to nothing before or after what is done at its end.
func (s road) travel(ctx context.Context, what string, key []byte, do func() error) error {
	w, r := s.r.w, s.r
	counts := what == "replace" || what == "delete" || what == "acquire" || what == "release"
	if counts {
		r.step()
	}
	r.hangIfDead()
	fate := r.fate(what, key)
	there, back, dice, hang := latency(fate), latency(fate), fate.Float64(), fate.Float64()
	if !pass(ctx, there) {
		return ctx.Err()
	}
	switch {
	case w.unreachable(r), dice < w.odds(&w.fails):
		return errSimulated
	case hang < w.odds(&w.hangs):
		pass(ctx, 3*time.Second)
		return errSimulated
	}
	err := do()
	w.note("%s %s %x: %v", r.name, what, key, err)
	r.hangIfDead()
	pass(context.WithoutCancel(ctx), back)
	if counts {
		r.step()
	}
	r.hangIfDead()
	if w.unreachable(r) || dice > 1-w.odds(&w.fails) {
		return errSimulated // the answer is lost
	}
	return err
}

// odds reads one of the chances that heal takes away.
func (w *world) odds(one *float64) float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *one
}

func pass(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

func (s road) Create(ctx context.Context, key session.Key, r session.Record, in []session.Index) error {
	return s.travel(ctx, "create", key[:], func() error { return s.Store.Create(ctx, key, r, in) })
}

func (s road) Load(ctx context.Context, key session.Key) (r session.Record, err error) {
	err = s.travel(ctx, "load", key[:], func() error { r, err = s.Store.Load(ctx, key); return err })
	return r, err
}

func (s road) Replace(ctx context.Context, key session.Key, was uint64, next session.Record) error {
	return s.travel(ctx, "replace", key[:], func() error {
		old, _ := s.Store.Load(context.Background(), key)
		err := s.Store.Replace(context.Background(), key, was, next)
		if err == nil {
			one := write{at: time.Now(), key: key, what: "replace", undo: func(ctx context.Context) {
				if there, err := s.Store.Load(ctx, key); err == nil && there.Generation == next.Generation {
					_, _ = s.Store.Delete(ctx, key)
					_ = s.Store.Create(ctx, key, old, nil)
				}
			}}
			if next.Generation > was {
				one.renewed = int(next.Generation) - 1
			}
			s.r.w.wrote(one)
		}
		return err
	})
}

func (s road) Slide(ctx context.Context, key session.Key, idle time.Time) error {
	return s.travel(ctx, "slide", key[:], func() error { return s.Store.Slide(ctx, key, idle) })
}

func (s road) Delete(ctx context.Context, key session.Key) (r session.Record, err error) {
	deleted := false
	err = s.travel(ctx, "delete", key[:], func() error {
		r, err = s.Store.Delete(context.Background(), key)
		if old := r; err == nil {
			deleted = true
			s.r.w.wrote(write{at: time.Now(), key: key, what: "delete", undo: func(ctx context.Context) { _ = s.Store.Create(ctx, key, old, nil) }})
		}
		return err
	})
	if err == nil {
		return r, nil
	}
	if deleted {
		s.r.w.forget(key, "the store's answer with the last refresh token was lost")
	}
	return session.Record{}, err
}

func (s road) Members(ctx context.Context, index session.Index) (keys []session.Key, err error) {
	err = s.travel(ctx, "members", []byte(index), func() error { keys, err = s.Store.Members(ctx, index); return err })
	return keys, err
}

func (s road) Acquire(ctx context.Context, key session.Key, holder []byte, ttl time.Duration) (mine bool, err error) {
	err = s.travel(ctx, "acquire", key[:], func() error {
		mine, err = s.Store.Acquire(context.Background(), key, holder, ttl)
		if mine && s.r.w.leased(key, string(holder)) {
			s.r.w.wrote(write{at: time.Now(), key: key, what: "acquire", undo: func(ctx context.Context) { _ = s.Store.Release(ctx, key, holder) }})
		}
		return err
	})
	return mine && err == nil, err
}

func (s road) Release(ctx context.Context, key session.Key, holder []byte) error {
	return s.travel(ctx, "release", key[:], func() error {
		err := s.Store.Release(context.Background(), key, holder)
		if s.r.w.leased(key, "") {
			s.r.w.wrote(write{at: time.Now(), key: key, what: "release", undo: func(ctx context.Context) {
				_, _ = s.Store.Acquire(ctx, key, holder, 15*time.Second)
			}})
		}
		return err
	})
}

func (s road) Bury(ctx context.Context, index session.Index, at time.Time, ttl time.Duration) error {
	return s.travel(ctx, "bury", []byte(index), func() error { return s.Store.Bury(ctx, index, at, ttl) })
}

func (s road) Buried(ctx context.Context, indexes []session.Index) (at time.Time, err error) {
	err = s.travel(ctx, "buried", nil, func() error { at, err = s.Store.Buried(ctx, indexes); return err })
	return at, err
}

func (s road) Publish(ctx context.Context, message []byte) error {
	return s.travel(ctx, "publish", message[:2], func() error { return s.Store.Publish(context.Background(), message) })
}

func (s road) Subscribe(ctx context.Context, joined func(), heard func([]byte)) error {
	s.r.hangIfDead()
	if s.r.w.unreachable(s.r) {
		pass(ctx, 100*time.Millisecond)
		return errSimulated
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.r.subscribed(cancel)
	_ = s.Store.Subscribe(ctx, joined, func(message []byte) {
		if !s.r.dead() && !s.r.w.unreachable(s.r) {
			pass(ctx, latency(s.r.fate("heard", message[:2])))
			heard(message)
			s.r.heard(message)
		}
	})
	return errSimulated
}

// heard notes that a replica was told that a session has ended.
func (r *simReplica) heard(message []byte) {
	if message[1] != 'e' {
		return
	}
	const head = 2 + 8 // and the name of whoever says so
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if f := r.w.byKey[session.Key(message[head:head+32])]; f != nil {
		f.knows = append(f.knows, r)
	}
}

// failOver brings the store back to what it was a moment ago, as one does whose replica had not caught up. It drops every
// subscription.
func (w *world) failOver(back time.Duration) {
	w.mu.Lock()
	w.tally.FailOvers++
	var undone []write
	for len(w.writes) > 0 && time.Since(w.writes[len(w.writes)-1].at) < back {
		undone = append(undone, w.writes[len(w.writes)-1])
		w.writes = w.writes[:len(w.writes)-1]
	}
	for _, one := range undone {
		w.byKey[one.key].forgotten(one)
	}
	replicas := slices.Clone(w.replicas)
	w.mu.Unlock()
	for _, one := range undone {
		one.undo(context.Background())
	}
	for _, r := range replicas {
		r.cut()
	}
}

// forgotten: the store has lost a write that it had acknowledged.
func (f *family) forgotten(one write) {
	switch {
	case one.renewed > 0:
		f.lose(one.renewed, "the store failed over and lost what it had acknowledged")
	case one.what == "delete":
		f.undeleted = true
	case one.what == "acquire":
		f.unleased = true
		next := f.current + 1
		if f.delivered != nil {
			next = f.delivered.number
		}
		f.lose(next, "the store failed over and lost whose turn it was")
	}
}

// wrote notes a write that was done, for failOver, and that an answer of the provider is safe now.
func (w *world) wrote(one write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, one)
	if f := w.byKey[one.key]; one.renewed > 0 {
		f.loseIfLate()
		f.delivered, f.unleased = nil, false
	}
}

// leased notes who has a lease, and tells whether that is new.
func (w *world) leased(key session.Key, holder string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	before := w.leases[key]
	w.leases[key] = holder
	return before != holder
}

func (w *world) forget(key session.Key, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byKey[key].kept = why
}
