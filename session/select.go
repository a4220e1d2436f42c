package session

import (
	"context"
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

// Select returns the live sessions, without their tokens, in no order. The error is ErrUnavailable, or that the selector
// names nobody.
func (m *Manager) Select(ctx context.Context, sel Selector) ([]*Session, error) { return nil, nil }

// EndAll ends the sessions, and the sign-ins of the same people that are under way. It tells how many there were. The error
// is ErrUnavailable: some may live on, and ending them is to be tried again.
func (m *Manager) EndAll(ctx context.Context, sel Selector, reason string) (n int, err error) {
	return 0, nil
}
