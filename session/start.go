package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of what a browser tells of itself.
const (
	maxUserAgent = 256
	maxAddress   = 64
)

// Start opens a session under a new ticket, and ends the person's oldest ones where there are more than there may be. The
// error is ErrEnded, ErrUnavailable, or that the login is not one.
func (m *Manager) Start(ctx context.Context, l Login) (Ticket, *Session, error) {
	ticket, s, err := m.start(ctx, l)
	if err != nil {
		return Ticket{}, nil, fmt.Errorf("start session: %w", err)
	}
	return ticket, s.view(), nil
}

func (m *Manager) start(ctx context.Context, l Login) (Ticket, *Session, error) {
	switch {
	case l.Issuer == "" || l.Subject == "":
		return Ticket{}, nil, errors.New("of nobody")
	case l.Tokens.Access == "":
		return Ticket{}, nil, errors.New("without an access token")
	}
	ticket := newTicket()
	l.Tokens.Expiry = l.Tokens.Expiry.Truncate(time.Millisecond) // as the store keeps it
	now := m.now().Truncate(time.Millisecond)
	s := &Session{
		ID: ticket.ID(), Generation: 1,
		Provider: l.Provider, Issuer: l.Issuer, Subject: l.Subject, ProviderSID: l.ProviderSID,
		Created: now, Seen: now, Expires: now.Add(m.limits.Absolute).Truncate(time.Millisecond), AuthTime: l.AuthTime,
		Scope: l.Tokens.Scope, AccessExpiry: l.Tokens.Expiry, Refreshable: l.Tokens.Refresh != "",
		Access: unbound(l.Access), Identity: unbound(l.Identity), FromUserInfo: l.FromUserInfo,
		UserAgent: bounded(l.UserAgent, maxUserAgent), Address: bounded(l.Address, maxAddress),
		Tokens: l.Tokens, renewed: now,
	}
	if !s.Refreshable && !s.AccessExpiry.IsZero() {
		s.Expires = earlier(s.Expires, s.AccessExpiry) // nothing can follow that token
	}
	s.Expires = s.ceiling()
	if !now.Before(s.Expires) {
		return Ticket{}, nil, ErrEnded // at the provider
	}
	idle := now.Add(m.limits.Idle)
	s.IdleExpires = earlier(idle, s.Expires)
	key := ticket.key()
	r, err := m.keys().envelopes.seal(key, ticket, s, idle)
	if err != nil {
		return Ticket{}, nil, err
	}
	if err := m.store.Create(ctx, key, r, m.keys().indexes.of(s, key)); err != nil {
		if !errors.Is(err, ErrConflict) { // it may be there without our knowing
			m.withdraw(ctx, key)
		}
		return Ticket{}, nil, cannotTell(err)
	}
	// After it was entered: whoever signs this person out meanwhile either finds it, or has told before this looks.
	if err := m.admit(ctx, s, l.Begun); err != nil {
		m.withdraw(ctx, key)
		return Ticket{}, nil, err
	}
	return ticket, s, nil
}

// admit tells whether the session may be, now that it is.
func (m *Manager) admit(ctx context.Context, s *Session, begun time.Time) error {
	at, err := m.store.Buried(ctx, m.keys().indexes.burialsOf(s))
	if err != nil {
		return cannotTell(err)
	}
	if !at.IsZero() && !begun.After(at) {
		return ErrEnded
	}
	if m.most == 0 {
		return nil
	}
	theirs, err := m.Select(ctx, Selector{Issuer: s.Issuer, Subject: s.Subject, Except: s.ID})
	if err != nil {
		return err
	}
	slices.SortFunc(theirs, younger)
	for _, old := range theirs[min(m.most-1, len(theirs)):] {
		if younger(old, s) < 0 {
			continue // or two sign-ins at once would end each other
		}
		key, _ := parseHandle(old.ID)
		// A provider may end all that hangs on its own session with one refresh token, and this one hangs on it too.
		shared := s.ProviderSID != "" && old.ProviderSID == s.ProviderSID
		if shared {
			_, err = m.end(ctx, key, nil, reasonRevoked)
		} else {
			_, err = m.endAndRevoke(ctx, key, reasonRevoked)
		}
		if hasEnded(err) != nil {
			return err
		}
	}
	return nil
}

// younger orders sessions by age, the oldest last, in the same way everywhere.
func younger(a, b *Session) int {
	return cmp.Or(b.Created.Compare(a.Created), strings.Compare(b.ID, a.ID))
}

// withdraw removes a session that nobody has the ticket of; if it cannot, time does.
func (m *Manager) withdraw(ctx context.Context, key Key) {
	ctx, cancel := m.work.detached(ctx, storeTime)
	defer cancel()
	_, _ = m.store.Delete(ctx, key)
}

func bounded(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}
