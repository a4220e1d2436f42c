package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How a Load or Find came by its answer, as Config.Cached is told.
const (
	cacheHit    = "hit"
	cacheMiss   = "miss"
	cacheBypass = "bypass"
)

// Load returns the session of a ticket, without extending it. Of its tokens, it has the access token. The error is
// ErrNotFound or ErrUnavailable.
func (m *Manager) Load(ctx context.Context, t Ticket) (*Session, error) {
	s, err := m.recent(ctx, t.key(), &t)
	if err != nil {
		return nil, fmt.Errorf("load session: %w", err)
	}
	return s, nil
}

// Find returns the session of a handle, without its tokens. The error is ErrNotFound or ErrUnavailable.
func (m *Manager) Find(ctx context.Context, id string) (*Session, error) {
	key, ok := parseHandle(id)
	if !ok {
		return nil, fmt.Errorf("find session: %w", ErrNotFound)
	}
	s, err := m.recent(ctx, key, nil)
	if err != nil {
		return nil, fmt.Errorf("find session: %w", err)
	}
	return s.withoutTokens(), nil
}

// recent is load, answered from memory where that can be believed.
func (m *Manager) recent(ctx context.Context, key Key, ticket *Ticket) (*Session, error) {
	s, believed := m.cache.get(key, ticket != nil)
	// One whose time is over may have been extended by another replica.
	if s != nil && !s.over(m.now()) {
		m.answered(cacheHit)
		return s, nil
	}
	if believed {
		m.answered(cacheMiss)
	} else {
		m.answered(cacheBypass)
	}
	began := m.cache.begin(key)
	d := usual
	if ticket == nil {
		d = bare
	}
	s, err := m.load(ctx, key, ticket, d)
	if err != nil {
		return nil, err
	}
	if !m.unsaved.has(key) {
		m.cache.keep(key, began, s, ticket != nil)
	}
	return s, nil
}

// slideSteps is how many writes the activity of one idle time may cause.
const slideSteps = 20

// Slide extends the session for activity now. It writes only so often; what it did not need to write, it returns as it
// was. The error is ErrNotFound, when the session has ended meanwhile, or ErrUnavailable.
func (m *Manager) Slide(ctx context.Context, s *Session) (*Session, error) {
	now := m.now().Truncate(time.Millisecond)
	if s.over(now) {
		return nil, fmt.Errorf("slide session: %w", ErrNotFound)
	}
	step := max(m.limits.Idle/slideSteps, time.Second)
	if now.Sub(s.Seen) < step {
		return s, nil
	}
	key, ok := parseHandle(s.ID)
	if !ok {
		return nil, fmt.Errorf("slide session: %w", ErrNotFound)
	}
	if there, _ := m.cache.get(key, false); there != nil && now.Sub(there.Seen) < step {
		return s.slid(there.Seen, there.IdleExpires), nil // another request has written it since s was read
	}
	next := s.slid(now, now.Add(m.limits.Idle))
	// Of many requests at once, one writes.
	written := m.slides.DoChan(s.ID, func() (any, error) {
		ctx, cancel := m.work.detached(ctx, storeTime)
		defer cancel()
		err := m.store.Slide(ctx, key, now.Add(m.limits.Idle))
		if err == nil {
			m.cache.slid(key, s, next)
		} else {
			m.cache.drop(key)
		}
		return nil, err
	})
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("slide session: %w", cannotTell(ctx.Err()))
	case w := <-written:
		if w.Err != nil {
			return nil, fmt.Errorf("slide session: %w", cannotTell(w.Err))
		}
		return next, nil
	}
}

// load reads and opens a record.
func (m *Manager) load(ctx context.Context, key Key, ticket *Ticket, d depth) (*Session, error) {
	s, err := m.read(ctx, key, ticket, d)
	if broken := err; errors.Is(err, errDoesNotOpen) {
		// Once more: bytes that were torn on their way here must not sign anyone out.
		s, err = m.read(ctx, key, ticket, d)
		lasting := errors.Is(err, errDoesNotOpen)
		if lasting {
			broken = err
			err = fmt.Errorf("%w: %w", ErrNotFound, err)
		}
		if m.alarms.ring(alarm{key, lasting}) {
			m.broken(ctx, key.String(), lasting, broken)
		}
	}
	if err != nil {
		return nil, err
	}
	if _, ended := m.graves.reason(key); ended {
		ctx, cancel := m.work.detached(ctx, storeTime)
		defer cancel()
		_ = m.removeAgain(ctx, key) // or whoever asks next does
		return nil, ErrNotFound
	}
	if s.over(m.now()) {
		return nil, ErrNotFound
	}
	return s, nil
}

var errDoesNotOpen = errors.New("record does not open")

func (m *Manager) read(ctx context.Context, key Key, ticket *Ticket, d depth) (*Session, error) {
	r, err := m.store.Load(ctx, key)
	switch {
	case errors.Is(err, ErrBroken):
		return nil, fmt.Errorf("%w: %w", errDoesNotOpen, err)
	case err != nil:
		return nil, cannotTell(err)
	}
	return m.open(key, ticket, r, d)
}

func (m *Manager) open(key Key, ticket *Ticket, r Record, d depth) (*Session, error) {
	s, err := m.keys().envelopes.open(key, ticket, r, d)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errDoesNotOpen, err)
	}
	if next := m.unsaved.after(key, r.Generation); next != nil {
		s = next
		switch d {
		case bare:
			s = s.withoutTokens()
		case usual:
			s = s.view()
		}
	}
	return m.placed(s, r.Idle), nil
}

// placed fills in what only the store's Idle tells. It is no more than the limits allow from now on: nothing
// authenticates it, and they may have been lowered.
func (m *Manager) placed(s *Session, idle time.Time) *Session {
	now := m.now()
	idle = earlier(idle, now.Add(m.limits.Idle))
	return s.slid(later(s.Created, idle.Add(-m.limits.Idle)), idle)
}

// cannotTell makes ErrUnavailable of any error of a store that is not one of its answers.
func cannotTell(err error) error {
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
