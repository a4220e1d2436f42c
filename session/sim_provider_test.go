package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
)

// family is what a provider with strict rotation knows of one session: which of its refresh tokens is good. One that was
// used before revokes all.
type family struct {
	name     string
	key      session.Key
	rng      *rand.Rand
	current  int
	revoked  bool
	disabled bool // the person was, which is a true refusal
	excuses  []string

	flying    int       // calls under way
	delivered *delivery // an answer that the store does not have yet
}

type delivery struct {
	by *simReplica
	at time.Time
}

func (f *family) excuse(why string) { f.excuses = append(f.excuses, why) }

// excuseIfLate: a replica that holds the provider's answer and does not reach the store for longer than the others wait for
// it has as good as lost it.
func (f *family) excuseIfLate() {
	if f.delivered != nil && time.Since(f.delivered.at) >= 5*time.Second {
		f.excuse("an answer did not reach the store for 5 s")
	}
}

func (f *family) tokens(life time.Duration) session.Tokens {
	return session.Tokens{
		Access:  secret.Text(fmt.Sprintf("at-%s-%d", f.name, f.current)),
		Refresh: secret.Text(fmt.Sprintf("rt-%s-%d", f.name, f.current)),
		Expiry:  time.Now().Add(life),
	}
}

// refresh is the provider of the simulation, as a replica meets it.
func (r *simReplica) refresh(ctx context.Context, s *session.Session) (session.Renewal, error) {
	w := r.w
	w.mu.Lock()
	var name string
	var n int
	_, _ = fmt.Sscanf(s.Tokens.Refresh.Reveal(), "rt-%3s-%d", &name, &n)
	f := w.families[name]
	f.flying++
	if f.flying > 1 {
		w.violated("%d refreshes of %s under way at once", f.flying, name)
	}
	r.calls[f]++
	there, back, dice := w.providerLatency(f.rng), w.providerLatency(f.rng), f.rng.Float64()
	w.mu.Unlock()
	landed := func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if r.calls[f] > 0 { // a crash has counted it already
			r.calls[f]--
			f.flying--
		}
	}
	defer landed()

	r.step()
	r.hangIfDead()
	if !pass(ctx, there) {
		return session.Renewal{}, ctx.Err() // it did not arrive
	}
	r.hangIfDead()
	if dice < w.odds(&w.providerFails) {
		return session.Renewal{}, errors.New("503")
	}
	w.mu.Lock()
	switch {
	case f.disabled || f.revoked:
		w.mu.Unlock()
		return session.Renewal{}, fmt.Errorf("invalid_grant: %w", session.ErrRefused)
	case n != f.current:
		f.revoked = true
		f.excuseIfLate()
		if len(f.excuses) == 0 {
			w.violated("refresh token %d of %s was used again, though no answer had been lost", n, name)
		}
		w.mu.Unlock()
		return session.Renewal{}, fmt.Errorf("invalid_grant, reuse: %w", session.ErrRefused)
	}
	f.current++
	w.rotations++
	f.delivered = &delivery{r, time.Now()}
	answer := session.Renewal{Tokens: f.tokens(w.life)}
	w.mu.Unlock()

	r.step()
	r.hangIfDead()
	if !pass(ctx, back) || dice > 1-w.odds(&w.providerLoses) {
		w.mu.Lock()
		f.excuse("the provider's answer was lost")
		f.delivered = nil
		w.mu.Unlock()
		return session.Renewal{}, session.ErrUncertain
	}
	r.hangIfDead()
	r.step()
	r.hangIfDead()
	return answer, nil
}

// providerLatency is one way. Some answers take longer than a lease lasts, and some than is waited for.
func (w *world) providerLatency(rng *rand.Rand) time.Duration {
	switch n := rng.IntN(100); {
	case n < 80, w.swift:
		return time.Duration(20+rng.IntN(400)) * time.Millisecond
	case n < 96:
		return time.Duration(500+rng.IntN(4000)) * time.Millisecond
	default:
		return time.Duration(5000+rng.IntN(15000)) * time.Millisecond
	}
}
