package bff

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
)

// life is what a Server has open beyond a request, and how that ends. A Server that takes another's place goes on with its
// life: what was opened under the other stays open.
type life struct {
	refusals *limiter // of bad logout tokens

	closing    sync.Mutex // held to begin work, and to end beginning it
	closed     atomic.Bool
	background sync.WaitGroup // see later and stay
	staying    map[string]int // what is open, by session
	stop       context.Context
	halt       context.CancelFunc
	streams    context.Context // of event streams: they are requests, and end before the last ones
	endStreams context.CancelFunc
	sockets    context.Context // of WebSockets: they end after the last request
	endSockets context.CancelFunc
}

func newLife(refusals *limiter) *life {
	l := &life{refusals: refusals, staying: map[string]int{}}
	l.stop, l.halt = context.WithCancel(context.Background())
	l.streams, l.endStreams = context.WithCancel(l.stop)
	l.sockets, l.endSockets = context.WithCancel(l.stop)
	return l
}

// later runs work that must not keep the browser waiting and must not be lost: Close waits for it.
func (l *life) later(work func(ctx context.Context)) {
	l.closing.Lock()
	defer l.closing.Unlock()
	if !l.closed.Load() {
		l.background.Go(func() { work(l.stop) })
	}
}

// close takes nothing more on, ends the streams and WebSockets, telling the other side why, and waits for them and for the work
// behind the answered requests; once ctx ends that is broken off.
func (l *life) close(ctx context.Context) error {
	l.closing.Lock()
	l.closed.Store(true)
	l.closing.Unlock()
	l.endStreams()
	l.endSockets()
	done := make(chan struct{})
	go func() {
		l.background.Wait()
		close(done)
	}()
	defer l.halt()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		l.halt()
		<-done
		return fmt.Errorf("work behind answered requests: %w", ctx.Err())
	}
}
