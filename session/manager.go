package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"cloakroom/secret"
)

// Manager is the life of sessions over a Store. It is safe for concurrent use.
type Manager struct {
	store    Store
	sealed   atomic.Pointer[keys]
	limits   Limits
	before   time.Duration
	often    time.Duration // 0: no matter how often
	timeout  time.Duration
	most     int // sessions of one person; 0: any number
	refresh  RefreshFunc
	revoke   func(context.Context, string, secret.Text) // may be nil
	now      func() time.Time
	ended    func(context.Context, *Session, string)
	failed   func(context.Context, *Session, error)
	answered func(result string)
	notKept  func(context.Context, *Session, error)
	broken   func(ctx context.Context, id string, lasting bool, err error)

	replica  replica
	link     link
	cache    *cache
	watchers watchers
	graves   graves

	flights singleflight.Group // renewals under way, by key
	slides  singleflight.Group
	gates   gates
	pauses  pauses
	unsaved unsaved
	alarms  alarms
	work    *work
}

// RefreshFunc renews the tokens of s at the provider they came from. An error that wraps ErrRefused ends the session; any
// other one keeps it. One that wraps ErrUncertain has it called once more with the same session. After some in a row that
// wrap ErrAway, it is called but once a second for any session of that provider. One with a method RetryAfter() time.Duration
// tells how long there is no point in trying again; half a minute is heeded. It is called with a context that outlives the
// request, and at most once at a time for a session.
type RefreshFunc func(ctx context.Context, s *Session) (Renewal, error)

// Limits is how long sessions last.
type Limits struct {
	Idle     time.Duration // without activity
	Absolute time.Duration // from the sign-in
}

// Config is what a Manager is made of.
type Config struct {
	Store   Store
	Secrets *secret.Ring
	Limits  Limits

	// RefreshBefore is how long before its end an access token is renewed, while it still serves. 0: at its end.
	RefreshBefore time.Duration
	Refresh       RefreshFunc
	Now           func() time.Time // nil: time.Now

	// Ended is told once of each session that was ended, by whatever but time. Where the record did not open, the session
	// has nothing but its ID. RefreshFailed is told of each renewal that came to nothing. Both may be nil.
	Ended         func(ctx context.Context, s *Session, reason string)
	RefreshFailed func(ctx context.Context, s *Session, err error)

	// Unsaved is told when the store did not take renewed tokens, which are the only ones that are good: they are served from
	// memory, and lost with it, while it is tried again. Where that comes to nothing, RefreshFailed is told. It may be nil.
	Unsaved func(ctx context.Context, s *Session, err error)
	// Broken is told of a record that did not open, once a minute. Where it is lasting, it did not when it was read once more
	// either, and the session counts as none: somebody wrote it who does not have the secrets, or one of them is missing here.
	// Otherwise it was torn on its way. It may be nil.
	Broken func(ctx context.Context, id string, lasting bool, err error)

	// RefreshTimeout is how long the provider may take to answer. 0: 30 s.
	RefreshTimeout time.Duration
	// RefreshEvery renews the tokens of a session in use at least this often, however long they live, so that changed
	// groups and disabled users are seen. 0: only before they expire.
	RefreshEvery time.Duration
	// MaxPerUser is how many sessions a person may have; the oldest end. 0: any number.
	MaxPerUser int
	// RevokeOnEnd keeps each refresh token in an envelope that opens with the server's secret alone as well, so that it is
	// revoked when the session is ended without its ticket: by EndAll, or by MaxPerUser.
	RevokeOnEnd bool
	// Revoke hands back a refresh token that nobody will use any more: for RevokeOnEnd, which needs it, and when a renewal
	// finds at its end that the session has ended. It runs in the background.
	Revoke func(ctx context.Context, provider string, refresh secret.Text)
	// Cached is told how each Load and Find came by its answer: hit (from memory), miss (from the store) or bypass (from
	// the store, because memory cannot be trusted now). It may be nil.
	Cached func(result string)
}

// NewManager makes a Manager. Close it.
func NewManager(cfg Config) (*Manager, error) {
	switch {
	case cfg.Store == nil:
		return nil, errors.New("session: no store")
	case cfg.Secrets == nil:
		return nil, errors.New("session: no secrets")
	case cfg.Refresh == nil:
		return nil, errors.New("session: no way to refresh")
	case cfg.Limits.Idle <= 0 || cfg.Limits.Absolute <= 0:
		return nil, errors.New("session: idle and absolute limits must be positive")
	case cfg.RefreshBefore < 0:
		return nil, errors.New("session: refresh before a negative time")
	case cfg.RefreshEvery < 0 || cfg.RefreshTimeout < 0 || cfg.MaxPerUser < 0:
		return nil, errors.New("session: negative limits")
	case cfg.RevokeOnEnd && cfg.Revoke == nil:
		return nil, errors.New("session: no way to revoke")
	}
	press, err := newPress()
	if err != nil {
		return nil, fmt.Errorf("session: %w", err)
	}
	m := &Manager{
		store: cfg.Store, limits: cfg.Limits,
		before: cfg.RefreshBefore, often: cfg.RefreshEvery, timeout: cfg.RefreshTimeout, most: cfg.MaxPerUser,
		refresh: cfg.Refresh, revoke: cfg.Revoke, now: cfg.Now, ended: cfg.Ended, failed: cfg.RefreshFailed, answered: cfg.Cached, notKept: cfg.Unsaved, broken: cfg.Broken,
		cache: newCache(), work: newWork(),
	}
	m.sealed.Store(&keys{envelopes{cfg.Secrets, press, cfg.RevokeOnEnd}, newIndexKeys(cfg.Secrets)})
	_, _ = rand.Read(m.replica[:])
	if m.timeout == 0 {
		m.timeout = renewalTime
	}
	if m.now == nil {
		m.now = time.Now
	}
	if m.ended == nil {
		m.ended = func(context.Context, *Session, string) {}
	}
	if m.failed == nil {
		m.failed = func(context.Context, *Session, error) {}
	}
	if m.answered == nil {
		m.answered = func(string) {}
	}
	if m.notKept == nil {
		m.notKept = func(context.Context, *Session, error) {}
	}
	if m.broken == nil {
		m.broken = func(context.Context, string, bool, error) {}
	}
	return m, nil
}

// keys is what follows from the secrets.
type keys struct {
	envelopes envelopes
	indexes   indexKeys
}

func (m *Manager) keys() *keys { return m.sealed.Load() }

// UseSecrets puts other secrets in the place of those there are. What is under way goes on with either: for that, secrets
// are appended on every replica before one is promoted, and removed when nothing is left that they sealed.
func (m *Manager) UseSecrets(ring *secret.Ring) {
	was := m.keys()
	next := &keys{envelopes: was.envelopes, indexes: newIndexKeys(ring)}
	next.envelopes.ring = ring
	m.sealed.Store(next)
}

// Close takes on no more renewals and waits for those under way, and for what else follows from requests: one that is cut off after the provider answered loses the
// tokens for good. When ctx ends first, they are cut off all the same, and that is the error.
func (m *Manager) Close(ctx context.Context) error {
	if err := m.work.close(ctx); err != nil {
		return fmt.Errorf("close sessions: %w", err)
	}
	return nil
}
