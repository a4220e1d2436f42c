package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// How long things around a renewal may take. They bound goroutines that no request waits for.
const (
	renewalTime = 30 * time.Second // the provider's answer, where Config does not say
	storeTime   = 5 * time.Second  // a read or write that follows it
	saveTime    = 10 * time.Minute // keeping tokens that the store does not take
	firstPause  = 50 * time.Millisecond
	longPause   = 2 * time.Second
)

// spread is how much sooner than Config.RefreshBefore a renewal may happen, as a part of it: sessions whose tokens expire
// together do not renew together.
const spread = 0.2

var errClosing = fmt.Errorf("%w: shutting down", ErrUnavailable)

// Fresh returns the session with an access token that lives for atLeast longer, as far as the provider lets it have one.
// A token that nears its end is renewed while the old one still serves, and nobody waits; one that has not atLeast left is
// waited for. At most one renewal of a session is under way among all replicas, detached from the request that began it. A
// session without a refresh token comes back as it is.
//
// The error is ErrNotFound when the session has ended or the provider refused, ErrUnavailable when the store cannot tell,
// otherwise what RefreshFunc returned, also to those who ask again within a second or so.
func (m *Manager) Fresh(ctx context.Context, t Ticket, s *Session, atLeast time.Duration) (*Session, error) {
	if !s.Refreshable {
		return s, nil
	}
	now := m.now()
	serves, due := m.due(s, now, atLeast)
	if !due {
		return s, nil
	}
	key := t.key()
	pause := m.pauses.on(key)
	if pause == nil {
		pause = m.gates.of(s.Provider).shut()
	}
	if pause != nil {
		if serves {
			return s, nil
		}
		return nil, fmt.Errorf("refresh session: %w", pause)
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
		return a.Val.(*Session).view(), nil
	}
}

// due tells whether the access token serves a request that needs it for atLeast, and whether it is time to renew it.
func (m *Manager) due(s *Session, now time.Time, atLeast time.Duration) (serves, due bool) {
	if m.often > 0 && now.Sub(s.renewed) >= m.often-time.Duration(float64(m.often)*spread*m.chance(s)) {
		due = true
	}
	if s.AccessExpiry.IsZero() {
		return true, due
	}
	left := s.AccessExpiry.Sub(now)
	serves = left > 0 && left >= atLeast
	return serves, due || !serves || left <= m.lead(s)
}

// lead is how long before its end the session's access token is renewed. Of a token that lives shorter than that, half its
// life: it would be renewed at every request otherwise.
func (m *Manager) lead(s *Session) time.Duration {
	lead := m.before + time.Duration(float64(m.before)*spread*m.chance(s))
	return min(lead, s.AccessExpiry.Sub(s.renewed)/2)
}

// chance is between 0 and 1, evenly spread among sessions and their generations, and the same on every replica.
func (m *Manager) chance(s *Session) float64 {
	h := uint32(2166136261) // FNV-1a
	for i := range len(s.ID) {
		h = (h ^ uint32(s.ID[i])) * 16777619
	}
	for n := s.Generation; n > 0; n >>= 8 {
		h = (h ^ uint32(n&0xff)) * 16777619
	}
	return float64(h) / (1 << 32)
}

// uncertain tells whether the provider may have renewed the tokens all the same.
func uncertain(err error) bool {
	return errors.Is(err, ErrUncertain) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
