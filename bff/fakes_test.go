package bff

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"cloakroom/exchange"
	"cloakroom/secret"
	"cloakroom/session"
)

// frailStore is the memory store, out of order on demand.
type frailStore struct {
	session.Store
	mu     sync.Mutex
	broken string // the name of a method, "all", or ""
	slides int    // attempts
	once   string // likewise, for one call
}

var errOutOfOrder = errors.New("store is out of order")

func (f *frailStore) breakDown(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = method
}

// breakNext has the next call of the method alone fail.
func (f *frailStore) breakNext(method string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.once = method
}

func (f *frailStore) fault(method string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.once == method {
		f.once = ""
		return errOutOfOrder
	}
	if f.broken == method || f.broken == "all" {
		return errOutOfOrder
	}
	return nil
}

func (f *frailStore) Create(ctx context.Context, k session.Key, r session.Record, in []session.Index) error {
	if err := f.fault("Create"); err != nil {
		return err
	}
	return f.Store.Create(ctx, k, r, in)
}

func (f *frailStore) Load(ctx context.Context, k session.Key) (session.Record, error) {
	if err := f.fault("Load"); err != nil {
		return session.Record{}, err
	}
	return f.Store.Load(ctx, k)
}

func (f *frailStore) Delete(ctx context.Context, k session.Key) (session.Record, error) {
	if err := f.fault("Delete"); err != nil {
		return session.Record{}, err
	}
	return f.Store.Delete(ctx, k)
}

func (f *frailStore) Slide(ctx context.Context, k session.Key, idle time.Time) error {
	f.mu.Lock()
	f.slides++
	f.mu.Unlock()
	if err := f.fault("Slide"); err != nil {
		return err
	}
	return f.Store.Slide(ctx, k, idle)
}

func (f *frailStore) Claim(ctx context.Context, name string, attempt []byte, ttl time.Duration) (bool, error) {
	if err := f.fault("Claim"); err != nil {
		return false, err
	}
	return f.Store.Claim(ctx, name, attempt, ttl)
}

func (f *frailStore) Bury(ctx context.Context, in session.Index, at time.Time, ttl time.Duration) error {
	if err := f.fault("Bury"); err != nil {
		return err
	}
	return f.Store.Bury(ctx, in, at, ttl)
}

func (f *frailStore) Buried(ctx context.Context, in []session.Index) (time.Time, error) {
	if err := f.fault("Buried"); err != nil {
		return time.Time{}, err
	}
	return f.Store.Buried(ctx, in)
}

func (f *frailStore) Members(ctx context.Context, in session.Index) ([]session.Key, error) {
	if err := f.fault("Members"); err != nil {
		return nil, err
	}
	return f.Store.Members(ctx, in)
}

func (f *frailStore) Publish(ctx context.Context, message []byte) error {
	if err := f.fault("Publish"); err != nil {
		return err
	}
	return f.Store.Publish(ctx, message)
}

// fakeMint mints tokens that say whom they are for.
type fakeMint struct {
	mu   sync.Mutex
	reqs []exchange.RouteRequest
	next []secret.Text // handed out first, one by one
	err  error
}

func (f *fakeMint) MintForRoute(_ context.Context, req exchange.RouteRequest) (exchange.Minted, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reqs = append(f.reqs, req)
	if f.err != nil {
		return exchange.Minted{}, f.err
	}
	if len(f.next) > 0 {
		minted := exchange.Minted{Token: f.next[0]}
		f.next = f.next[1:]
		return minted, nil
	}
	return exchange.Minted{Token: secret.Text("minted-for-" + req.Audience)}, nil
}

func (f *fakeMint) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fakeMint) last() exchange.RouteRequest {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reqs[len(f.reqs)-1]
}

type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
