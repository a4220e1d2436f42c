package session

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// lease is this replica's right to renew the tokens of one session, kept until release for as long as the store goes along.
// It only saves effort: what keeps two answers of the provider from overwriting each other is Store.Replace.
type lease struct {
	m      *Manager
	key    Key
	holder string
	stop   context.CancelFunc
	kept   sync.WaitGroup
}

const (
	leaseLasts = 15 * time.Second // longer than a usual answer of a provider and the write that follows
	leaseKept  = leaseLasts / 3   // how often it is renewed: an answer may take longer
)

// acquire returns nil where another replica has the lease.
func (m *Manager) acquire(ctx context.Context, key Key) (*lease, error) {
	var own [8]byte
	_, _ = rand.Read(own[:])
	l := &lease{m: m, key: key, holder: string(m.replica[:]) + string(own[:])}
	mine, err := m.store.Acquire(ctx, key, []byte(l.holder), leaseLasts)
	if err != nil {
		l.giveUp(ctx) // it may be ours without our knowing
		return nil, cannotTell(err)
	}
	if !mine {
		return nil, nil
	}
	keeping, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	l.kept.Go(func() { every(keeping, leaseKept, func() { l.keep(keeping) }) })
	return l, nil
}

func (l *lease) keep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	_, _ = l.m.store.Acquire(ctx, l.key, []byte(l.holder), leaseLasts)
}

// release lets others have it.
func (l *lease) release(ctx context.Context) {
	l.stop()
	l.kept.Wait() // or it might be taken again after this
	l.giveUp(ctx)
}

func (l *lease) giveUp(ctx context.Context) {
	ctx, cancel := l.m.work.detached(ctx, storeTime)
	defer cancel()
	_ = l.m.store.Release(ctx, l.key, []byte(l.holder)) // otherwise it ends by itself
}

// isOurs tells whether a lease's holder is of this process.
func (m *Manager) isOurs(holder string) bool {
	return len(holder) >= len(m.replica) && holder[:len(m.replica)] == string(m.replica[:])
}
