package session_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"cloakroom/session"
)

// simReplica is one process of a simulation, from its start to its crash.
type simReplica struct {
	w       *world
	name    string
	place   int
	m       *session.Manager
	crashed chan struct{}
	end     context.CancelFunc
	running sync.WaitGroup

	// Under w.mu.
	isDead      bool
	countdown   int // steps until it crashes; 0: it does not
	cutOffUntil time.Time
	drop        context.CancelFunc
	calls       map[*family]int // to the provider, under way
	handing     map[*family]int // back to the provider
}

func (w *world) newReplica(place, incarnation int) *simReplica {
	r := &simReplica{
		w: w, name: fmt.Sprintf("replica %d.%d", place, incarnation), place: place, crashed: make(chan struct{}),
		calls: map[*family]int{}, handing: map[*family]int{},
	}
	m, err := session.NewManager(session.Config{
		Store: road{w.store, r}, Secrets: w.ring, Limits: session.Limits{Idle: 24 * time.Hour, Absolute: 24 * time.Hour},
		RefreshBefore: 15 * time.Second, RefreshTimeout: w.timeout, Refresh: r.refresh, Revoke: r.revoke,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	r.m = m
	ctx, end := context.WithCancel(context.Background())
	r.end = end
	r.running.Go(func() { m.Run(ctx) })
	w.ever = append(w.ever, r)
	return r
}

// replica returns the one in a place, nil while there is none.
func (w *world) replica(place int) *simReplica {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.replicas[place]; !r.isDead {
		return r
	}
	return nil
}

// fate is what a step of a replica comes to. It hangs on what and when, not on the order in which goroutines get there.
func (r *simReplica) fate(what string, key []byte) *rand.Rand {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, r.w.seed, r.name, what, key, time.Now().UnixNano())
	return rand.New(rand.NewPCG(r.w.seed, h.Sum64()))
}

func latency(rng *rand.Rand) time.Duration { return time.Duration(50_000 + rng.IntN(4_000_000)) }

func (r *simReplica) dead() bool {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	return r.isDead
}

// asking tells whether it awaits an answer of the provider.
func (r *simReplica) asking() bool {
	for _, n := range r.calls {
		if n > 0 {
			return true
		}
	}
	return false
}

// hangIfDead never returns to a replica that has crashed, until the simulation is over.
func (r *simReplica) hangIfDead() {
	if r.dead() {
		<-r.w.over
	}
}

func (r *simReplica) crashAfter(steps int) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.countdown = steps
}

// step is one of those that a replica may crash at.
func (r *simReplica) step() {
	w := r.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.isDead || r.countdown == 0 {
		return
	}
	if r.countdown--; r.countdown > 0 {
		return
	}
	r.isDead = true
	w.tally.Crashes++
	for f, n := range r.calls {
		f.flying -= n
		r.calls[f] = 0
	}
	for _, f := range w.families {
		f.crashed(r)
	}
	close(r.crashed)
	down := time.Duration(1+r.fate("down", nil).IntN(5000)) * time.Millisecond
	time.AfterFunc(down, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.replicas[r.place] = w.newReplica(r.place, len(w.ever))
	})
}

func (r *simReplica) cutOff(d time.Duration) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.cutOffUntil = time.Now().Add(d)
}

func (r *simReplica) subscribed(drop context.CancelFunc) {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	r.drop = drop
}

// cut ends its subscription.
func (r *simReplica) cut() {
	r.w.mu.Lock()
	defer r.w.mu.Unlock()
	if r.drop != nil {
		r.drop()
	}
}

// stop ends what still runs, once the simulation is over.
func (r *simReplica) stop() {
	r.end()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.m.Close(ctx)
}
