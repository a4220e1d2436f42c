package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Selector names sessions: one by its handle, those of a person, those that a provider calls one of its own, or everyone's.
// What is set must all be true of a session.
type Selector struct {
	ID          string // public handle
	Issuer      string // goes with Subject, ProviderSID, or both
	Subject     string
	ProviderSID string

	Except string    // handle of a session to leave alone
	Before time.Time // only those that were created before. Alone it names everyone's
}

var errNobody = errors.New("selector names nobody")

func (sel Selector) check() error {
	someones := sel.Subject != "" || sel.ProviderSID != ""
	switch {
	case someones != (sel.Issuer != ""), sel.ID == "" && !someones && sel.Before.IsZero():
		return errNobody
	}
	return nil
}

// agrees tells whether the selector means the session, whatever led to it.
func (sel Selector) agrees(s *Session) bool {
	return (sel.ID == "" || sel.ID == s.ID) && sel.Except != s.ID &&
		(sel.Issuer == "" || sel.Issuer == s.Issuer) && (sel.Subject == "" || sel.Subject == s.Subject) &&
		(sel.ProviderSID == "" || sel.ProviderSID == s.ProviderSID) && (sel.Before.IsZero() || s.Created.Before(sel.Before))
}

// Select returns the live sessions, without their tokens, in no order; those that the next release wrote are left out. The
// error is ErrUnavailable, or that the selector names nobody.
func (m *Manager) Select(ctx context.Context, sel Selector) ([]*Session, error) {
	var selected []*Session
	err := m.each(ctx, sel, func(_ Key, s *Session, err error) error {
		switch {
		case err == nil:
			selected = append(selected, s)
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrNextRelease):
			return nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("select sessions: %w", err)
	}
	return selected, nil
}

// burialLasts is longer than a sign-in can take.
const burialLasts = 15 * time.Minute

// EndAll ends the sessions, and the sign-ins of the same people that are under way; those of a Selector with an ID go on. It
// tells how many there were. What is in a person's index and cannot be read, because it is of the next release, is ended too.
// The error is ErrNotAllTold: all have ended, or else ErrUnavailable: some may live on, and ending them is to be tried again.
func (m *Manager) EndAll(ctx context.Context, sel Selector, reason string) (n int, err error) {
	if n, err = m.endAll(ctx, sel, reason); err != nil {
		return n, fmt.Errorf("end sessions: %w", err)
	}
	return n, nil
}

func (m *Manager) endAll(ctx context.Context, sel Selector, reason string) (n int, err error) {
	if err := sel.check(); err != nil {
		return 0, err
	}
	// First: a sign-in that is not an entry yet finds it when it becomes one.
	if err := m.bury(ctx, sel); err != nil {
		return 0, cannotTell(err)
	}
	var failed, untold error
	err = m.each(ctx, sel, func(key Key, _ *Session, err error) error {
		switch {
		case errors.Is(err, ErrNotFound) && !m.wentUnheard(sel, key, err):
			return nil
		case err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrNextRelease):
			return err
		}
		existed, err := m.endAndRevoke(ctx, key, reason)
		if existed {
			n++
		}
		if hasEnded(err) == nil {
			untold = cmp.Or(untold, err)
		} else {
			failed = cmp.Or(failed, err)
		}
		return nil
	})
	return n, cmp.Or(err, failed, untold)
}

// wentUnheard tells whether a session that is gone may have been ended with nobody told: whoever did it got no answer of the
// store. An entry of a sign-in that has no record yet looks the same; it is buried too, where that is as of now.
func (m *Manager) wentUnheard(sel Selector, key Key, gone error) bool {
	_, heard := m.graves.reason(key)
	return !heard && sel.Before.IsZero() && sel.ID == "" && !errors.Is(gone, errDoesNotOpen)
}

func (m *Manager) bury(ctx context.Context, sel Selector) error {
	var index Index
	switch {
	case sel.ID != "":
		return nil
	case sel.ProviderSID != "":
		index = m.keys().indexes.all(byProviderSID, sel.Issuer, sel.ProviderSID)[0]
	case sel.Subject != "":
		index = m.keys().indexes.all(bySubject, sel.Issuer, sel.Subject)[0]
	default:
		index = m.keys().indexes.all(everyone, "", "")[0]
	}
	now := m.now()
	at := now
	if !sel.Before.IsZero() {
		at = earlier(at, sel.Before)
	}
	m.graves.bury(burial{index, at, now.Add(burialLasts)})
	return m.store.Bury(ctx, index, at, burialLasts)
}

// each calls visit with each live session that the selector means, or with why it cannot be read: ErrNotFound where an index
// has an entry of one that has ended. An entry is believed only if the session itself agrees.
func (m *Manager) each(ctx context.Context, sel Selector, visit func(Key, *Session, error) error) error {
	if err := sel.check(); err != nil {
		return err
	}
	look := func(key Key) error {
		s, err := m.load(ctx, key, nil, bare)
		if err == nil && !sel.agrees(s) || err != nil && key.String() == sel.Except {
			return nil
		}
		return visit(key, s, err)
	}
	if sel.ID != "" {
		if key, ok := parseHandle(sel.ID); ok {
			return look(key)
		}
		return nil
	}
	seen := map[Key]bool{}
	for _, name := range m.where(sel) {
		keys, err := m.store.Members(ctx, name)
		if err != nil {
			return cannotTell(err)
		}
		for _, key := range keys {
			if seen[key] {
				continue
			}
			seen[key] = true
			if err := look(key); err != nil {
				return err
			}
		}
	}
	return nil
}

// where lists the indexes that together have all that the selector means.
func (m *Manager) where(sel Selector) (names []Index) {
	switch {
	case sel.ProviderSID != "":
		return m.keys().indexes.all(byProviderSID, sel.Issuer, sel.ProviderSID)
	case sel.Subject != "":
		return m.keys().indexes.all(bySubject, sel.Issuer, sel.Subject)
	}
	for part := range parts {
		names = append(names, m.keys().indexes.all(byPart, "", strconv.Itoa(part))...)
	}
	return names
}
