package session

import (
	"context"
	"sync"
)

// queues let so many renewals at a time through to each provider: when many sessions expire together, it is not asked for
// all of them at once.
type queues struct {
	mu     sync.Mutex
	byName map[string]chan struct{}
}

const atOnce = 32

// enter waits for a place; leave gives it to the next.
func (q *queues) enter(ctx context.Context, provider string) (leave func(), err error) {
	places := q.places(provider)
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, cannotTell(ctx.Err())
	}
}

func (q *queues) places(provider string) chan struct{} {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byName == nil {
		q.byName = map[string]chan struct{}{}
	}
	if q.byName[provider] == nil {
		q.byName[provider] = make(chan struct{}, atOnce)
	}
	return q.byName[provider]
}
