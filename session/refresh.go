package session

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"
)

// How long things around a renewal may take. They bound goroutines that no request waits for.
const (
	renewalTime = 30 * time.Second // the provider's answer
	storeTime   = 5 * time.Second  // a read or write that follows it
	saveTime    = time.Minute      // keeping tokens that the store does not take
	firstPause  = 50 * time.Millisecond
	longPause   = 2 * time.Second
	failedPause = time.Second // before a renewal that can wait is tried again
)

// spread is how much sooner than Config.RefreshBefore a renewal may happen, as a part of it: sessions whose tokens expire
// together do not renew together.
const spread = 0.2

var errClosing = fmt.Errorf("%w: shutting down", ErrUnavailable)

// Fresh returns the session with an access token that lives for atLeast longer, as far as the provider lets it have one.
// A token that nears its end is renewed while the old one still serves, and nobody waits; one that has not atLeast left is
// waited for. At most one renewal of a session is under way, detached from the request that began it. A session without a
// refresh token, or whose access token has no known end, comes back as it is.
//
// The error is ErrNotFound when the session has ended or the provider refused, ErrUnavailable when the store cannot tell,
// otherwise what RefreshFunc returned.
func (m *Manager) Fresh(ctx context.Context, t Ticket, s *Session, atLeast time.Duration) (*Session, error) {
	now := m.now()
	left := s.AccessExpiry.Sub(now)
	serves := left > 0 && left >= atLeast
	if !s.Refreshable || s.AccessExpiry.IsZero() || serves && left > m.lead(s) {
		return s, nil
	}
	key := t.key()
	if serves && m.pauses.on(key, now) {
		return s, nil
	}
	answer := m.flights.DoChan(string(key[:]), func() (any, error) { return m.renew(ctx, t, s.Generation) })
	if serves {
		return s, nil
	}
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("refresh session: %w", cannotTell(ctx.Err()))
	case a := <-answer:
		if a.Err != nil {
			return nil, fmt.Errorf("refresh session: %w", a.Err)
		}
		return a.Val.(*Session), nil
	}
}

// lead is how long before its end the session's access token is renewed. Of a token that lives shorter than that, half its
// life: it would be renewed at every request otherwise.
func (m *Manager) lead(s *Session) time.Duration {
	h := fnv.New32a()
	_, _ = fmt.Fprintf(h, "%s %d", s.ID, s.Generation)
	early := spread * float64(h.Sum32()) / (1 << 32)
	lead := m.before + time.Duration(float64(m.before)*early)
	return min(lead, s.AccessExpiry.Sub(s.renewed)/2)
}

// renew is one renewal of the generation that a caller saw.
func (m *Manager) renew(ctx context.Context, t Ticket, seen uint64) (*Session, error) {
	if !m.work.begin() {
		return nil, errClosing
	}
	defer m.work.done()
	outer := ctx
	ctx, cancel := m.work.detached(outer, renewalTime)
	defer cancel()
	was, err := m.load(ctx, t.key(), &t)
	if err != nil {
		return nil, err
	}
	if was.Generation != seen || !was.Refreshable || m.unsaved.has(t.key()) {
		return was, nil // somebody has done it since; their refresh token is not to be used up as well
	}
	r, err := m.refresh(ctx, was)
	if err == nil && r.Tokens.Access == "" {
		err = errors.New("renewal without an access token")
	}
	// The provider has answered, or not in time: what follows has a time of its own.
	after, cancelAfter := m.work.detached(outer, storeTime)
	defer cancelAfter()
	if err != nil {
		return m.notRenewed(after, t, was, err)
	}
	return m.keep(after, t, was, was.with(r, m.now().Truncate(time.Millisecond)))
}

// keep writes the renewed session over the generation that it came from, and over no other.
func (m *Manager) keep(ctx context.Context, t Ticket, was, next *Session) (*Session, error) {
	key := t.key()
	r, err := m.envelopes.seal(key, t, next, was.IdleExpires)
	if err != nil {
		return m.notRenewed(ctx, t, was, err)
	}
	err = m.store.Replace(ctx, key, was.Generation, r)
	switch {
	case err == nil:
		m.pauses.end(key)
		return next, nil
	case errors.Is(err, ErrNotFound):
		return nil, ErrNotFound // it was ended meanwhile, and stays ended
	case errors.Is(err, ErrConflict):
		return m.load(ctx, key, &t)
	}
	// The provider may have made the old refresh token invalid, so these tokens are all there is: they are served from
	// here while the store is tried again.
	m.unsaved.put(key, was.Generation, next)
	m.work.goOn()
	go m.save(context.WithoutCancel(ctx), key, was.Generation, next, r, err)
	return next, nil
}

// save tries to write what the store did not take because of err, for as long as saveTime.
func (m *Manager) save(ctx context.Context, key Key, was uint64, next *Session, r Record, err error) {
	defer m.work.done()
	defer m.unsaved.drop(key)
	ctx, cancel := m.work.detached(ctx, saveTime)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			m.failed(ctx, next, fmt.Errorf("renewed tokens were not kept: %w", cannotTell(err)))
			return
		case <-timer.C:
		}
		err = m.replace(ctx, key, was, r)
		// A conflict is this very write, whose answer got lost, or somebody else's later one.
		if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) {
			return
		}
	}
}

// replace is one attempt, with a time of its own, so that a store that hangs leaves time for others.
func (m *Manager) replace(ctx context.Context, key Key, was uint64, r Record) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return m.store.Replace(ctx, key, was, r)
}

// notRenewed is what becomes of a session whose renewal failed.
func (m *Manager) notRenewed(ctx context.Context, t Ticket, was *Session, cause error) (*Session, error) {
	m.failed(ctx, was, cause)
	key := t.key()
	if !errors.Is(cause, ErrRefused) {
		m.pauses.begin(key, m.now().Add(failedPause))
		return nil, cause
	}
	// What was refused may be a token that somebody used up since it was read.
	s, err := m.load(ctx, key, &t)
	if err != nil {
		return nil, err
	}
	if s.Generation != was.Generation {
		return s, nil
	}
	if err := m.End(ctx, was.ID, "refused"); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrNotFound, cause)
}
