package sessiontest

import (
	"context"
	"errors"
	"sync"
	"time"

	"cloakroom/session"
)

// Frail is a Store that keeps the contract over another one, and breaks down as told. Its errors are none of the
// sentinels: each means that there is no telling.
type Frail struct {
	Store session.Store

	mu      sync.Mutex
	always  map[Op]Fault
	next    map[Op][]Fault
	calls   map[Op]int
	cuts    map[*context.CancelFunc]struct{} // end the subscriptions
	deaf    bool
	rewrite func(session.Key, session.Record) session.Record
}

// Op names a method of the Store.
type Op string

// The methods that break down.
const (
	Create  Op = "Create"
	Load    Op = "Load"
	Replace Op = "Replace"
	Slide   Op = "Slide"
	Delete  Op = "Delete"
	Members Op = "Members"
	Claim   Op = "Claim"
	Acquire Op = "Acquire"
	Release Op = "Release"
	Bury    Op = "Bury"
	Buried  Op = "Buried"
	Publish Op = "Publish"
	Ping    Op = "Ping"
)

// Ops is all of them.
var Ops = []Op{Create, Load, Replace, Slide, Delete, Members, Claim, Acquire, Release, Bury, Buried, Publish, Ping}

// Fault is a way to break down.
type Fault int

// The faults.
const (
	None        Fault = iota
	FailsBefore       // nothing happens
	LosesAnswer       // it happens, and nobody learns of it
	Hangs             // nothing happens until the caller gives up
)

// ErrOutOfOrder is what a broken down store answers.
var ErrOutOfOrder = errors.New("store is out of order")

// NewFrail returns a store that works until told otherwise.
func NewFrail(over session.Store) *Frail {
	return &Frail{Store: over, always: map[Op]Fault{}, next: map[Op][]Fault{}, calls: map[Op]int{}, cuts: map[*context.CancelFunc]struct{}{}}
}

// Break makes every call of the methods, all of them where none is named, fail that way until further notice.
func (f *Frail) Break(with Fault, ops ...Op) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(ops) == 0 {
		ops = Ops
	}
	for _, op := range ops {
		f.always[op] = with
	}
}

// Mend makes everything work again.
func (f *Frail) Mend() { f.Break(None) }

// Next makes the next calls of the method go that way, one after the other.
func (f *Frail) Next(op Op, faults ...Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next[op] = append(f.next[op], faults...)
}

// Calls tells how often the method was called.
func (f *Frail) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// Rewrite changes what Load and Delete answer, nil: nothing. The function must not change the record's bytes but return others.
func (f *Frail) Rewrite(load func(session.Key, session.Record) session.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rewrite = load
}

func (f *Frail) call(ctx context.Context, op Op, do func() error) error {
	f.mu.Lock()
	f.calls[op]++
	fault := f.always[op]
	if queue := f.next[op]; len(queue) > 0 {
		fault, f.next[op] = queue[0], queue[1:]
	}
	f.mu.Unlock()
	switch fault {
	case FailsBefore:
		return ErrOutOfOrder
	case LosesAnswer:
		_ = do()
		return ErrOutOfOrder
	case Hangs:
		<-ctx.Done()
		return ctx.Err()
	}
	return do()
}

// Create implements session.Store.
func (f *Frail) Create(ctx context.Context, key session.Key, r session.Record, indexes []session.Index) error {
	return f.call(ctx, Create, func() error { return f.Store.Create(ctx, key, r, indexes) })
}

// Load implements session.Store.
func (f *Frail) Load(ctx context.Context, key session.Key) (session.Record, error) {
	return f.answer(ctx, Load, key, f.Store.Load)
}

// answer is an operation that answers with a record.
func (f *Frail) answer(ctx context.Context, op Op, key session.Key, do func(context.Context, session.Key) (session.Record, error)) (r session.Record, err error) {
	err = f.call(ctx, op, func() error {
		r, err = do(ctx, key)
		return err
	})
	if err != nil {
		return session.Record{}, err
	}
	f.mu.Lock()
	rewrite := f.rewrite
	f.mu.Unlock()
	if rewrite != nil {
		return rewrite(key, r), nil
	}
	return r, nil
}

// Replace implements session.Store.
func (f *Frail) Replace(ctx context.Context, key session.Key, was uint64, r session.Record) error {
	return f.call(ctx, Replace, func() error { return f.Store.Replace(ctx, key, was, r) })
}

// Slide implements session.Store.
func (f *Frail) Slide(ctx context.Context, key session.Key, idle time.Time) error {
	return f.call(ctx, Slide, func() error { return f.Store.Slide(ctx, key, idle) })
}

// Delete implements session.Store.
func (f *Frail) Delete(ctx context.Context, key session.Key) (session.Record, error) {
	return f.answer(ctx, Delete, key, f.Store.Delete)
}

// Members implements session.Store.
func (f *Frail) Members(ctx context.Context, index session.Index) (keys []session.Key, err error) {
	err = f.call(ctx, Members, func() error {
		keys, err = f.Store.Members(ctx, index)
		return err
	})
	return keys, err
}

// Claim implements session.Store.
func (f *Frail) Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (mine bool, err error) {
	err = f.call(ctx, Claim, func() error {
		mine, err = f.Store.Claim(ctx, name, attempt, ttl)
		return err
	})
	return mine && err == nil, err
}

// Acquire implements session.Store.
func (f *Frail) Acquire(ctx context.Context, key session.Key, holder []byte, ttl time.Duration) (mine bool, err error) {
	err = f.call(ctx, Acquire, func() error {
		mine, err = f.Store.Acquire(ctx, key, holder, ttl)
		return err
	})
	return mine && err == nil, err
}

// Release implements session.Store.
func (f *Frail) Release(ctx context.Context, key session.Key, holder []byte) error {
	return f.call(ctx, Release, func() error { return f.Store.Release(ctx, key, holder) })
}

// Bury implements session.Store.
func (f *Frail) Bury(ctx context.Context, index session.Index, at time.Time, ttl time.Duration) error {
	return f.call(ctx, Bury, func() error { return f.Store.Bury(ctx, index, at, ttl) })
}

// Buried implements session.Store.
func (f *Frail) Buried(ctx context.Context, indexes []session.Index) (at time.Time, err error) {
	err = f.call(ctx, Buried, func() error {
		at, err = f.Store.Buried(ctx, indexes)
		return err
	})
	return at, err
}

// Publish implements session.Store.
func (f *Frail) Publish(ctx context.Context, message []byte) error {
	return f.call(ctx, Publish, func() error { return f.Store.Publish(ctx, message) })
}

// Subscribe implements session.Store.
func (f *Frail) Subscribe(ctx context.Context, joined func(), heard func(message []byte)) error {
	ctx, cut := context.WithCancel(ctx)
	defer cut()
	f.mu.Lock()
	f.cuts[&cut] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.cuts, &cut)
	}()
	err := f.Store.Subscribe(ctx, joined, func(message []byte) {
		f.mu.Lock()
		deaf := f.deaf
		f.mu.Unlock()
		if !deaf {
			heard(message)
		}
	})
	if err != nil {
		return ErrOutOfOrder
	}
	return nil
}

// Cut ends all subscriptions. They may be made anew.
func (f *Frail) Cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for cut := range f.cuts {
		(*cut)()
	}
}

// Deafen makes subscriptions hear nothing, without a sign of it, or hear again.
func (f *Frail) Deafen(deaf bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = deaf
}

// Ping implements session.Store.
func (f *Frail) Ping(ctx context.Context) error {
	return f.call(ctx, Ping, func() error { return f.Store.Ping(ctx) })
}

// Close implements session.Store.
func (f *Frail) Close() error { return f.Store.Close() }
