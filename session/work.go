package session

import (
	"context"
	"sync"
	"time"
)

// work counts the goroutines that run on their own.
type work struct {
	mu      sync.Mutex
	closed  bool
	running sync.WaitGroup
	ctx     context.Context // ends when what runs is to be cut off
	cutOff  context.CancelFunc
}

func newWork() *work {
	w := &work{}
	w.ctx, w.cutOff = context.WithCancel(context.Background())
	return w
}

// begin tells whether more may be taken on; then done must follow.
func (w *work) begin() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.running.Add(1)
	return true
}

// goOn takes on more from within what was begun: what follows from it is not refused, even when closing.
func (w *work) goOn() { w.running.Add(1) }

func (w *work) done() { w.running.Done() }

// detached returns a context with the values of ctx, but not its end: it ends after limit, or when work is cut off.
func (w *work) detached(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	stop := context.AfterFunc(w.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// close takes on no more and waits. When ctx ends first, it cuts off what runs and does not wait for it.
func (w *work) close(ctx context.Context) error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	defer w.cutOff()
	idle := make(chan struct{})
	go func() { w.running.Wait(); close(idle) }()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
