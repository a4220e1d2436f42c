package session

import (
	"context"
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
// session is gone already. The error is ErrUnavailable: the session may live on, or a replica may not know yet, and ending
// it is to be tried again. The refresh token is left to whoever has the ticket.
func (m *Manager) End(ctx context.Context, id, reason string) error {
	key, ok := parseHandle(id)
	if !ok {
		return nil
	}
	if _, err := m.end(ctx, key, reason, false); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// end tells whether there was a session.
func (m *Manager) end(ctx context.Context, key Key, reason string, revoke bool) (existed bool, err error) {
	s := &Session{ID: key.String()} // gone, or nobody can open it: it is removed, whatever it is
	r, err := m.store.Load(ctx, key)
	if err == nil {
		if found, err := m.open(key, nil, r, bare); err == nil {
			s = found
		}
	}
	existed, err = m.store.Delete(ctx, key)
	m.cache.drop(key)
	if err != nil {
		return false, cannotTell(err)
	}
	m.noteEnded(key, reason)
	if existed {
		m.ended(ctx, s, reason)
		if revoke {
			m.revokeLater(ctx, s.Provider, m.keys().envelopes.refreshToken(key, r))
		}
	}
	return existed, m.tell(ctx, message{kind: endedMessage, key: key, reason: reason})
}

// tell publishes. What cannot be published is tried again in the background: until it is heard, other replicas go on with
// what they have read in the last cacheLasts.
func (m *Manager) tell(ctx context.Context, what message) error {
	what.from = m.replica
	raw := what.encode()
	err := m.store.Publish(ctx, raw)
	if err == nil || !m.work.begin() {
		return orCannotTell(err)
	}
	go func() {
		defer m.work.done()
		ctx, cancel := m.work.detached(ctx, cacheLasts)
		defer cancel()
		for pause := firstPause; wait(ctx, pause); pause = min(2*pause, longPause) {
			if m.store.Publish(ctx, raw) == nil {
				return
			}
		}
	}()
	return orCannotTell(err)
}

func orCannotTell(err error) error {
	if err == nil {
		return nil
	}
	return cannotTell(err)
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
