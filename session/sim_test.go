package session_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/memstore"
)

// The protocol of renewing and ending, simulated: replicas over one store that fails, loses answers, cuts them off, and
// fails over; a provider with strict rotation and reuse detection that is slow and loses answers; crashes at every step; and
// browsers that go on. What must hold is in violated's callers: at most one refresh of a session is under way; none is lost but
// by a refusal, or with an answer that was; what was signed out of does not come back, and its last refresh token is handed
// back. A seed runs the same way every time.

var (
	simSeeds = flag.Int("sim.seeds", 8, "how many simulations; 60 and more are for a night")
	simFirst = flag.Uint64("sim.first", 1, "the first one's seed")
)

func TestSimulatedReplicasKeepSessionsAndEndThem(t *testing.T) {
	var total tally
	for i := range *simSeeds {
		seed := *simFirst + uint64(i)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			synctest.Test(t, func(t *testing.T) {
				one, _ := simulate(t, seed)
				total.add(one)
			})
		})
	}
	t.Logf("%+v", total)
	if *simSeeds >= 50 && (total.Rotations == 0 || total.Crashes == 0 || total.Logouts == 0 || total.LostExcused == 0 || total.FailOvers == 0 || total.HandedBack == 0) {
		t.Error("something never happened in any simulation")
	}
}

func TestASimulationRunsTheSameWayAgain(t *testing.T) {
	const seed = 5
	var digests []uint64
	for range 2 {
		t.Run("", func(t *testing.T) {
			cryptotest.SetGlobalRandom(t, seed)
			synctest.Test(t, func(t *testing.T) {
				_, digest := simulate(t, seed)
				digests = append(digests, digest)
			})
		})
	}
	if digests[0] != digests[1] {
		t.Errorf("what happened differs: %x", digests)
	}
}

// tally is what happened.
type tally struct {
	Rotations, Crashes, Logouts, FailOvers, Disabled, LostExcused, HandedBack, KeptExcused, Survived, Requests, Served int
}

func (t *tally) add(one tally) {
	t.Rotations += one.Rotations
	t.Crashes += one.Crashes
	t.Logouts += one.Logouts
	t.FailOvers += one.FailOvers
	t.Disabled += one.Disabled
	t.LostExcused += one.LostExcused
	t.HandedBack += one.HandedBack
	t.KeptExcused += one.KeptExcused
	t.Survived += one.Survived
	t.Requests += one.Requests
	t.Served += one.Served
}

type world struct {
	t     *testing.T
	seed  uint64
	rng   *rand.Rand // of chaos alone
	store *memstore.Store
	ring  *secret.Ring
	over  chan struct{}

	fails, hangs                 float64 // of an operation of the store
	providerFails, providerLoses float64
	life, timeout                time.Duration
	slow                         int  // percentage of the provider's answers that take longer than a lease
	swift                        bool // it answers at once
	chances                      chances

	mu        sync.Mutex
	replicas  []*simReplica // those that live, by their place
	ever      []*simReplica
	families  map[string]*family
	byKey     map[session.Key]*family
	writes    []write
	leases    map[session.Key]string
	outage    time.Time // until when nobody reaches the store
	rotations int
	tally     tally
	digest    uint64 // of all that happened, whatever the order of what did in one nanosecond
}

// note adds what happened to the digest.
func (w *world) note(format string, args ...any) {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d ", time.Since(simBegan))
	_, _ = fmt.Fprintf(h, format, args...)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.digest += h.Sum64()
}

func (w *world) violated(format string, args ...any) {
	w.t.Helper()
	select {
	case <-w.over:
		return // what is left of crashed replicas wakes up
	default:
	}
	w.t.Errorf("at %v: "+format, append([]any{time.Since(simBegan)}, args...)...)
}

var simBegan = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where synctest's clock begins

const (
	simReplicas = 3
	simSessions = 4
	simLasts    = 12 * time.Minute
)

func simulate(t *testing.T, seed uint64) (tally, uint64) {
	key, err := secret.NewRing(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(seed, 0))
	w := &world{
		t: t, seed: seed, rng: rng, store: memstore.New(time.Now), ring: key, over: make(chan struct{}),
		fails: []float64{0, 0.01, 0.05}[rng.IntN(3)], hangs: []float64{0, 0.002}[rng.IntN(2)],
		providerFails: []float64{0, 0.1}[rng.IntN(2)], providerLoses: []float64{0, 0.03}[rng.IntN(2)],
		life: time.Duration(40+rng.IntN(80)) * time.Second, timeout: []time.Duration{8 * time.Second, 25 * time.Second}[rng.IntN(2)],
		slow: []int{4, 30}[rng.IntN(2)],
		chances: chances{
			crash: []int{0, 0, 15, 35}[rng.IntN(4)], cutOff: []int{0, 20}[rng.IntN(2)], outage: []int{0, 10}[rng.IntN(2)],
			failOver: []int{0, 0, 10}[rng.IntN(3)], cut: 10, disable: 1,
		},
		families: map[string]*family{}, byKey: map[session.Key]*family{}, leases: map[session.Key]string{},
	}
	var browsers []*browser
	for i := range simSessions { // before anything else draws random numbers
		browsers = append(browsers, w.signIn(i, rand.New(rand.NewPCG(seed, uint64(100+i)))))
	}
	for i := range simReplicas {
		w.replicas = append(w.replicas, w.newReplica(i, 0))
	}
	ctx, cancel := context.WithTimeout(t.Context(), simLasts)
	defer cancel()
	var all sync.WaitGroup
	for i, b := range browsers {
		if i%2 == 0 {
			leave := time.Duration(60+b.rng.IntN(500)) * time.Second // drawn before browse draws from the same numbers
			all.Go(func() { b.signOut(ctx, leave) })
		}
		all.Go(func() { b.browse(ctx) })
	}
	all.Go(func() { w.chaos(ctx) })
	all.Wait()

	w.heal()
	time.Sleep(3 * time.Minute) // pauses, leases and intents are over
	for _, b := range browsers {
		b.last()
		b.lastTokenIsBack()
	}
	close(w.over)
	for _, r := range w.ever {
		r.stop()
	}
	for _, r := range w.ever {
		r.running.Wait()
	}
	time.Sleep(5 * time.Minute) // what was cut off has noticed
	_ = w.store.Close()
	w.tally.Rotations = w.rotations
	return w.tally, w.digest
}

// chaos breaks things, one after the other, and rather while tokens are being renewed.
func (w *world) chaos(ctx context.Context) {
	for pass(ctx, time.Duration(1+w.rng.IntN(15_000))*time.Millisecond) {
		if w.rng.IntN(2) == 0 {
			w.await(ctx, func() bool {
				for _, f := range w.families {
					if f.busy() {
						return true
					}
				}
				return false
			})
			pass(ctx, time.Duration(w.rng.IntN(700_000))*time.Microsecond)
		}
		victim := w.rng.IntN(simReplicas)
		lasts := time.Duration(w.rng.IntN(30_000)) * time.Millisecond
		w.mu.Lock()
		r := w.replicas[victim]
		for _, one := range w.replicas {
			if one.asking() {
				r = one
			}
		}
		w.mu.Unlock()
		n := w.rng.IntN(100)
		happens := func(chance int) bool { n -= chance; return n < 0 && n >= -chance }
		switch c := w.chances; {
		case happens(c.crash):
			r.crashAfter(1 + w.rng.IntN(12))
		case happens(c.cutOff):
			r.cutOff(lasts)
		case happens(c.outage):
			w.mu.Lock()
			w.outage = time.Now().Add(lasts)
			w.mu.Unlock()
		case happens(c.failOver):
			w.failOver(time.Duration(w.rng.IntN(1500)) * time.Millisecond)
		case happens(c.cut):
			r.cut()
		case happens(c.disable):
			w.mu.Lock()
			if f := w.families[familyName(w.rng.IntN(simSessions))]; !f.disabled {
				f.disabled = true
				w.tally.Disabled++
			}
			w.mu.Unlock()
		}
	}
}

// await waits until something is so, and not for ever. What it calls has w.mu.
func (w *world) await(ctx context.Context, is func() bool) {
	for range 3000 {
		w.mu.Lock()
		so := is()
		w.mu.Unlock()
		if so || !pass(ctx, 10*time.Millisecond) {
			return
		}
	}
}

// chances are percentages.
type chances struct{ crash, cutOff, outage, failOver, cut, disable int }

func (w *world) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outage, w.fails, w.hangs, w.providerFails, w.providerLoses = time.Time{}, 0, 0, 0, 0
	w.swift = true
	for _, r := range w.replicas {
		r.cutOffUntil, r.countdown = time.Time{}, 0
	}
}

func (w *world) unreachable(r *simReplica) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.outage) || time.Now().Before(r.cutOffUntil)
}

func familyName(i int) string { return fmt.Sprintf("f%02d", i) }

// browser is one session's person.
type browser struct {
	w      *world
	rng    *rand.Rand
	f      *family
	ticket session.Ticket
	id     string

	// Under w.mu.
	leaving bool
	left    time.Time // when signing out was acknowledged; zero: it was not
	lost    bool
}

func (w *world) signIn(i int, rng *rand.Rand) *browser {
	w.mu.Lock()
	f := &family{name: familyName(i), rng: rand.New(rand.NewPCG(rng.Uint64(), 1))}
	w.families[f.name] = f
	tokens := f.tokens(w.life)
	w.mu.Unlock()
	m, err := session.NewManager(session.Config{ // before anything breaks
		Store: w.store, Secrets: w.ring, Limits: session.Limits{Idle: 24 * time.Hour, Absolute: 24 * time.Hour},
		Refresh: func(context.Context, *session.Session) (session.Renewal, error) { panic("not this one") },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	ticket, s, err := m.Start(context.Background(), session.Login{Provider: "p", Issuer: issuer, Subject: f.name, Tokens: tokens})
	if err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f.key = keyOf(w.t, s)
	w.byKey[f.key] = f
	return &browser{w: w, rng: rng, f: f, ticket: ticket, id: s.ID}
}

func (b *browser) browse(ctx context.Context) {
	for pass(ctx, time.Duration(1+b.rng.IntN(6_000_000))*time.Microsecond) {
		r := b.w.replica(b.rng.IntN(simReplicas))
		if r == nil {
			continue
		}
		// Requests come together, to several replicas.
		var all sync.WaitGroup
		for range 1 + b.rng.IntN(3) {
			pass(ctx, time.Duration(b.rng.IntN(3000))*time.Microsecond)
			all.Go(func() { b.request(ctx, r) })
		}
		if other := b.w.replica(b.rng.IntN(simReplicas)); other != nil && b.rng.IntN(2) == 0 {
			all.Go(func() { b.request(ctx, other) })
		}
		all.Wait()
	}
}

func (b *browser) request(ctx context.Context, r *simReplica) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	outcome := make(chan error, 1)
	go func() { // it may never come back from a replica that crashes
		s, err := r.m.Load(ctx, b.ticket)
		if err == nil {
			b.found(began, r, "load")
			s, err = r.m.Fresh(ctx, b.ticket, s, needed)
		}
		if err == nil {
			b.found(began, r, "fresh")
			b.served(s)
			_, _ = r.m.Slide(ctx, s)
		}
		outcome <- err
	}()
	select {
	case <-ctx.Done():
	case <-r.crashed:
	case err := <-outcome:
		if errors.Is(err, session.ErrNotFound) && !r.dead() {
			b.notFound()
		}
	}
}

// served: what a request gets is of this session, and lives, unless the answer that follows it is not in the store yet.
func (b *browser) served(s *session.Session) {
	left := time.Until(s.AccessExpiry)
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.tally.Served++
	var name string
	var number int
	if _, err := fmt.Sscanf(s.Tokens.Access.Reveal(), "at-%3s-%d", &name, &number); err != nil || name != b.f.name {
		b.w.violated("%s is served %s", b.f.name, s.Tokens.Access.Reveal())
	}
	if left < needed && b.f.delivered == nil {
		b.w.violated("%s is served a token that lives for %v", b.f.name, left)
	}
}

// found: a session that was signed out of is never seen again. Where the store has forgotten that, those who did it or heard of
// it remember, and tell the store.
func (b *browser) found(began time.Time, r *simReplica, by string) {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	b.w.tally.Requests++
	if b.left.IsZero() || began.Before(b.left.Add(time.Second)) || r.isDead {
		return
	}
	remembered := slices.ContainsFunc(b.f.knows, func(one *simReplica) bool { return one == r || by == "last" && !one.isDead })
	if !b.f.undeleted || remembered {
		b.w.violated("%s: %s found %s, which was signed out of %v before", by, r.name, b.f.name, began.Sub(b.left))
	}
}

// lastTokenIsBack: nobody keeps a refresh token of a session that was signed out of, not even one that came meanwhile.
func (b *browser) lastTokenIsBack() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if b.left.IsZero() || b.f.revoked || b.f.disabled {
		return
	}
	if b.f.kept == "" && b.f.lost[b.f.current] == "" {
		b.w.violated("%s was signed out of, and its refresh token %d is still good", b.f.name, b.f.current)
	}
	b.w.tally.KeptExcused++
}

// notFound: a session is lost only when it was signed out of, or the provider refused, and that for a reason.
func (b *browser) notFound() {
	b.w.mu.Lock()
	defer b.w.mu.Unlock()
	if b.leaving || b.lost {
		return
	}
	b.lost = true
	switch {
	case b.f.disabled:
	case b.f.revoked:
		b.w.tally.LostExcused++
	default:
		b.w.violated("%s is lost, and the provider did not refuse", b.f.name)
	}
}

// signOut is tried until it is acknowledged.
func (b *browser) signOut(ctx context.Context, after time.Duration) {
	if !pass(ctx, after) {
		return
	}
	rng := rand.New(rand.NewPCG(uint64(len(b.id)), uint64(b.f.key[0])))
	if rng.IntN(3) > 0 {
		b.w.await(ctx, b.f.busy)
		pass(ctx, time.Duration(rng.IntN(700_000))*time.Microsecond)
	}
	b.w.mu.Lock()
	b.leaving = true
	b.w.mu.Unlock()
	for ctx.Err() == nil {
		r := b.w.replica(rng.IntN(simReplicas))
		if r == nil {
			pass(ctx, 100*time.Millisecond)
			continue
		}
		if other := b.w.replica(rng.IntN(simReplicas)); other != nil && other != r && rng.IntN(3) == 0 {
			b.request(ctx, other) // which has it in memory now
			other.cutOff(10 * time.Second)
			soon, cancel := context.WithTimeout(ctx, 10*time.Second)
			own := rand.New(rand.NewPCG(rng.Uint64(), 2))
			go func() {
				defer cancel()
				for pass(soon, time.Duration(300+own.IntN(500))*time.Millisecond) {
					b.request(soon, other)
				}
			}()
		}
		trying, cancel := context.WithTimeout(ctx, 5*time.Second)
		done := make(chan error, 1)
		go func() { done <- b.leave(trying, r) }()
		var err error
		select {
		case <-trying.Done():
			err = trying.Err()
		case <-r.crashed:
			err = errSimulated
		case err = <-done:
		}
		cancel()
		if err != nil {
			pass(ctx, 300*time.Millisecond)
			continue
		}
		b.w.mu.Lock()
		b.left = time.Now()
		b.f.knows = append(b.f.knows, r)
		b.w.tally.Logouts++
		b.w.mu.Unlock()
		if b.w.chances.failOver > 0 && rng.IntN(2) == 0 {
			pass(ctx, time.Duration(rng.IntN(1_000_000))*time.Microsecond)
			b.w.failOver(1500 * time.Millisecond)
		}
		return
	}
}

// leave is what the endpoint for signing out does.
func (b *browser) leave(ctx context.Context, r *simReplica) error {
	b.w.mu.Lock()
	b.f.leavingBy = r
	b.w.mu.Unlock()
	last, err := r.m.SignOut(ctx, b.ticket, "logout")
	go func() {
		if last.Refresh != "" {
			r.revoke(context.Background(), "p", last.Refresh)
		}
		b.w.mu.Lock()
		defer b.w.mu.Unlock()
		if b.f.leavingBy == r {
			b.f.leavingBy = nil
		}
	}()
	return err
}

// last asks every replica once all is well again.
func (b *browser) last() {
	b.w.mu.Lock()
	leaving := b.leaving
	b.w.mu.Unlock()
	for i := range simReplicas {
		r := b.w.replica(i)
		if r == nil {
			b.w.t.Fatal("a replica did not come back")
		}
		began := time.Now()
		s, err := r.m.Load(context.Background(), b.ticket)
		if err == nil {
			s, err = r.m.Fresh(context.Background(), b.ticket, s, needed)
		}
		switch {
		case err == nil:
			b.found(began, r, "last")
			if left := time.Until(s.AccessExpiry); left < needed && !leaving {
				b.w.violated("%s is served with a token that lives for %v", b.f.name, left)
			}
		case errors.Is(err, session.ErrNotFound):
			b.w.mu.Lock()
			refused := b.f.revoked || b.f.disabled
			b.w.mu.Unlock()
			if !refused && !leaving {
				b.w.violated("%s is lost in the end, and the provider did not refuse", b.f.name)
			}
			return
		case !leaving:
			b.w.violated("%s cannot be renewed though all is well: %v", b.f.name, err)
		}
	}
	if !leaving {
		b.w.tally.Survived++
	}
}
