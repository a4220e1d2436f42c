package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/secret"
)

// Reasons that the Manager itself ends sessions for.
const (
	reasonRevoked = "revoked"
	reasonExpired = "expired"
	reasonRefused = "refused"
)

// End ends a session, everywhere, for a reason that the Ended hook and whoever watches it are told. It is nil when the
// session is gone already. The error is ErrNotAllTold, or else ErrUnavailable: the session may live on, and ending it is to be
// tried again. The refresh token is left to whoever has the ticket.
func (m *Manager) End(ctx context.Context, id, reason string) error {
	key, ok := parseHandle(id)
	if !ok {
		return nil
	}
	if _, err := m.end(ctx, key, nil, reason); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// SignOut is End for whoever has the ticket. It returns the tokens that the session had then, which a renewal under way may
// have changed since it was loaded; none where it was gone already. Errors are those of End; beside ErrNotAllTold there are
// tokens too.
func (m *Manager) SignOut(ctx context.Context, t Ticket, reason string) (Tokens, error) {
	last, err := m.end(ctx, t.key(), &t, reason)
	if err != nil {
		err = fmt.Errorf("sign out: %w", err)
	}
	return last.Tokens, err
}

// remains is what was left of a session when it ended.
type remains struct {
	*Session // its ID at least
	existed  bool
	record   Record
}

// end removes a record, whatever it is: it may be one that nobody can open.
func (m *Manager) end(ctx context.Context, key Key, ticket *Ticket, reason string) (remains, error) {
	last := remains{Session: &Session{ID: key.String()}}
	var err error
	last.record, err = m.store.Delete(ctx, key)
	m.cache.drop(key)
	switch {
	case err == nil:
		last.existed = true
		last.Session = m.exhume(key, ticket, last.record)
	case errors.Is(err, ErrBroken):
		last.existed = true
	case !errors.Is(err, ErrNotFound):
		// It may be gone, and then whoever tries again finds nothing to tell of: all look for themselves.
		m.noteRenewed(key)
		m.tellLater(ctx, message{kind: renewedMessage, key: key})
		return last, cannotTell(err)
	}
	m.noteEnded(key, reason)
	if last.existed {
		m.ended(ctx, last.Session, reason)
	}
	return last, m.tell(ctx, message{kind: endedMessage, key: key, reason: reason})
}

// removeAgain removes what the store was told to remove, where it has brought it back. Somebody may have seen it since.
func (m *Manager) removeAgain(ctx context.Context, key Key) error {
	_, err := m.store.Delete(ctx, key)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, ErrBroken):
		return err
	}
	reason, _ := m.graves.reason(key)
	return m.tell(ctx, message{kind: endedMessage, key: key, reason: reason})
}

// exhume opens what can be opened of a record that is gone.
func (m *Manager) exhume(key Key, ticket *Ticket, r Record) *Session {
	if ticket != nil {
		if s, err := m.open(key, ticket, r, whole); err == nil {
			return s
		}
	}
	if s, err := m.open(key, nil, r, bare); err == nil {
		return s
	}
	return &Session{ID: key.String()}
}

// hasEnded makes nothing of the error where the session has ended all the same.
func hasEnded(err error) error {
	if errors.Is(err, ErrNotAllTold) {
		return nil
	}
	return err
}

// endAndRevoke is end for whoever has no ticket: the refresh token is revoked where it was kept for that.
func (m *Manager) endAndRevoke(ctx context.Context, key Key, reason string) (existed bool, err error) {
	last, err := m.end(ctx, key, nil, reason)
	if last.existed {
		m.revokeLater(ctx, last.Provider, m.keys().envelopes.refreshToken(key, last.record))
	}
	return last.existed, err
}

// tell publishes. The error is ErrNotAllTold: what cannot be published is tried again in the background, and until it is heard,
// other replicas go on with what they have read in the last cacheLasts.
func (m *Manager) tell(ctx context.Context, what message) error {
	err := m.publish(ctx, what)
	if err == nil {
		return nil
	}
	m.tellLater(ctx, what)
	return fmt.Errorf("%w: %w", ErrNotAllTold, err)
}

func (m *Manager) tellLater(ctx context.Context, what message) {
	if !m.work.begin() {
		return
	}
	go func() {
		defer m.work.done()
		ctx, cancel := m.work.detached(ctx, cacheLasts)
		defer cancel()
		for pause := firstPause; wait(ctx, pause) && m.publish(ctx, what) != nil; pause = min(2*pause, longPause) {
		}
	}()
}

func (m *Manager) publish(ctx context.Context, what message) error {
	what.from = m.replica
	return m.store.Publish(ctx, what.encode())
}

const revokeTime = 30 * time.Second

// revokeLater hands a refresh token that nobody is to use any more to the provider it came from.
func (m *Manager) revokeLater(ctx context.Context, provider string, refresh secret.Text) {
	if m.revoke == nil || refresh == "" || !m.work.begin() {
		return
	}
	go func() {
		defer m.work.done()
		ctx, cancel := m.work.detached(ctx, revokeTime)
		defer cancel()
		m.revoke(ctx, provider, refresh)
	}()
}
