package session_test

import (
	"context"
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
	current  int  // the number of the good one
	revoked  bool // for a reuse, or because it was handed back
	disabled bool // the person was, which is a true refusal

	lost   map[int]string // why a refresh token of that number never came to the store, or left it; then the one before is used again
	kept   string         // why nobody could hand back the last one
	flying int            // calls under way

	delivered *delivery     // an answer that the store does not have yet
	unleased  bool          // the store has forgotten who renews
	leavingBy *simReplica   // whoever signs the person out has its last refresh token
	undeleted bool          // the store has forgotten that the session was ended
	knows     []*simReplica // that it was
}

type delivery struct {
	by     *simReplica
	at     time.Time
	number int
}

// busy tells whether its tokens are being renewed.
func (f *family) busy() bool { return !f.revoked && (f.flying > 0 || f.delivered != nil) }

func (f *family) lose(number int, why string) {
	if f.lost == nil {
		f.lost = map[int]string{}
	}
	f.lost[number] = why
}

// loseIfLate: a replica that holds the provider's answer and does not reach the store for longer than the others wait for
// it has as good as lost it.
func (f *family) loseIfLate() {
	if f.delivered != nil && time.Since(f.delivered.at) >= 5*time.Second {
		f.lose(f.delivered.number, "an answer did not reach the store for 5 s")
	}
}

// crashed: whatever the replica had of it is gone.
func (f *family) crashed(r *simReplica) {
	if f.delivered != nil && f.delivered.by == r {
		f.lose(f.delivered.number, "a replica crashed between the provider's answer and the write")
	}
	if f.leavingBy == r || r.handing[f] > 0 {
		f.kept = "a replica crashed before it had handed the last refresh token back"
	}
}

func (f *family) tokens(life time.Duration) session.Tokens {
	return session.Tokens{
		Access:  secret.Text(fmt.Sprintf("at-%s-%d", f.name, f.current)),
		Refresh: secret.Text(fmt.Sprintf("rt-%s-%d", f.name, f.current)),
		Expiry:  time.Now().Add(life),
	}
}

// theirs finds whose refresh token it is, and its number.
func (w *world) theirs(refresh secret.Text) (f *family, number int) {
	var name string
	_, _ = fmt.Sscanf(refresh.Reveal(), "rt-%3s-%d", &name, &number)
	return w.families[name], number
}

// refresh is the provider of the simulation, as a replica meets it.
func (r *simReplica) refresh(ctx context.Context, s *session.Session) (session.Renewal, error) {
	w := r.w
	w.mu.Lock()
	f, n := w.theirs(s.Tokens.Refresh)
	f.flying++
	if f.flying > 1 && !f.unleased {
		w.violated("%d refreshes of %s under way at once", f.flying, f.name)
	}
	r.calls[f]++
	there, back, dice := w.providerLatency(f.rng), w.providerLatency(f.rng), f.rng.Float64()
	w.mu.Unlock()
	w.note("%s asks with %d of %s", r.name, n, f.name)
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
	switch fails := w.odds(&w.providerFails); {
	case dice < fails/2:
		return session.Renewal{}, fmt.Errorf("503: %w", session.ErrAway)
	case dice < fails:
		return session.Renewal{}, fmt.Errorf("%w: %w", session.ErrAway, busy{3 * time.Second})
	}
	w.mu.Lock()
	switch {
	case f.disabled || f.revoked:
		w.mu.Unlock()
		return session.Renewal{}, fmt.Errorf("invalid_grant: %w", session.ErrRefused)
	case n != f.current:
		f.revoked = true
		f.loseIfLate()
		if f.lost[n+1] == "" {
			w.violated("refresh token %d of %s was used again, though the next one had not been lost", n, f.name)
		}
		w.mu.Unlock()
		return session.Renewal{}, fmt.Errorf("invalid_grant, reuse: %w", session.ErrRefused)
	}
	f.current++
	w.rotations++
	number := f.current
	f.delivered = &delivery{r, time.Now(), number}
	answer := session.Renewal{Tokens: f.tokens(w.life)}
	w.mu.Unlock()
	w.note("%s is answered %d of %s", r.name, number, f.name)

	r.step()
	r.hangIfDead()
	if !pass(ctx, back) || dice > 1-w.odds(&w.providerLoses) {
		w.mu.Lock()
		f.lose(number, "the provider's answer was lost")
		f.delivered = nil
		w.mu.Unlock()
		return session.Renewal{}, session.ErrUncertain
	}
	r.hangIfDead()
	r.step()
	r.hangIfDead()
	return answer, nil
}

// revoke hands a refresh token back, as RFC 7009 has it: one that is not good any more is no error.
func (r *simReplica) revoke(ctx context.Context, _ string, refresh secret.Text) {
	w := r.w
	w.mu.Lock()
	f, n := w.theirs(refresh)
	r.handing[f]++
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		r.handing[f]--
	}()
	for _, pause := range []time.Duration{0, time.Second, 5 * time.Second} {
		r.step()
		r.hangIfDead()
		fate := r.fate("revoke", []byte(refresh))
		if !pass(ctx, pause+latency(fate)) {
			break
		}
		r.hangIfDead()
		if fate.Float64() < w.odds(&w.providerFails) {
			continue
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if n == f.current {
			f.revoked = true
			w.tally.HandedBack++
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	f.kept = "the provider did not take the last refresh token back"
}

// providerLatency is one way. Some answers take longer than a lease lasts, and some than is waited for.
func (w *world) providerLatency(rng *rand.Rand) time.Duration {
	switch n := rng.IntN(100); {
	case n < w.slow && !w.swift:
		return time.Duration(5000+rng.IntN(15000)) * time.Millisecond
	case n < w.slow+16 && !w.swift:
		return time.Duration(500+rng.IntN(4000)) * time.Millisecond
	default:
		return time.Duration(20+rng.IntN(400)) * time.Millisecond
	}
}
