package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// gates stand before the providers: when many sessions expire together, a provider is not asked for all of them at once, and
// while it answers nobody, one asks now and then on behalf of all.
type gates struct {
	mu     sync.Mutex
	byName map[string]*gate
}

// gate lets so many renewals at a time through to a provider. After some failures in a row that are the provider's and not a
// session's, or when it asks to be left alone, it is shut but for a probe, until one is answered.
type gate struct {
	places chan struct{}

	mu       sync.Mutex
	failures int       // in a row
	cause    error     // of the last one
	probe    time.Time // while shut: not before that, by the monotonic clock
}

const (
	atOnce     = 32
	shutsAt    = 3
	probeEvery = time.Second
)

func (g *gates) of(provider string) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.byName == nil {
		g.byName = map[string]*gate{}
	}
	if g.byName[provider] == nil {
		g.byName[provider] = &gate{places: make(chan struct{}, atOnce)}
	}
	return g.byName[provider]
}

// enter waits for a place, where there is none; leave gives it to the next.
func (g *gate) enter(ctx context.Context) (leave func(), waited bool, err error) {
	leave = func() { <-g.places }
	select {
	case g.places <- struct{}{}:
		return leave, false, nil
	default:
	}
	select {
	case g.places <- struct{}{}:
		return leave, true, nil
	case <-ctx.Done():
		return nil, true, cannotTell(ctx.Err())
	}
}

// shut returns why there is no point in asking now, nil where there is.
func (g *gate) shut() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.shutAt(time.Now())
}

func (g *gate) shutAt(now time.Time) error {
	if g.failures >= shutsAt && now.Before(g.probe) {
		return fmt.Errorf("not asked: %w", g.cause)
	}
	return nil
}

// pass is shut, for whoever asks then: while the gate is shut, that is the probe.
func (g *gate) pass() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	if err := g.shutAt(now); err != nil {
		return err
	}
	if g.failures >= shutsAt {
		g.probe = now.Add(probeEvery)
	}
	return nil
}

// heard tells the gate what asking came to.
func (g *gate) heard(err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case errors.Is(err, ErrAway), errors.Is(err, context.DeadlineExceeded):
		g.failures++
		g.cause = err
		pause := probeEvery
		if asked, ok := askedFor(err); ok {
			g.failures = max(g.failures, shutsAt)
			pause = max(pause, asked)
		}
		g.probe = later(g.probe, time.Now().Add(pause))
	case errors.Is(err, context.Canceled): // we went away, not the provider
	default:
		g.failures = 0
	}
}
