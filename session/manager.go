package session

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"cloakroom/secret"
)

// Manager is the life of sessions over a Store. It is safe for concurrent use.
type Manager struct {
	store     Store
	envelopes envelopes
	indexes   indexKeys
	limits    Limits
	before    time.Duration
	refresh   RefreshFunc
	now       func() time.Time
	ended     func(context.Context, *Session, string)
	failed    func(context.Context, *Session, error)

	flights singleflight.Group // renewals under way, by key
	pauses  pauses
	unsaved unsaved
	work    *work
}

// RefreshFunc renews the tokens of s at the provider they came from. An error that wraps ErrRefused ends the session; any
// other one keeps it. It is called with a context that outlives the request, and at most once at a time for a session.
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

	// RefreshTimeout is how long the provider may take to answer. 0: 30 s.
	RefreshTimeout time.Duration
	// RefreshEvery renews the tokens of a session in use at least this often, however long they live, so that changed
	// groups and disabled users are seen. 0: only before they expire.
	RefreshEvery time.Duration
	// MaxPerUser is how many sessions a person may have; the oldest end. 0: any number.
	MaxPerUser int
	// RevokeOnEnd keeps each refresh token in an envelope that opens with the server's secret alone as well, for Revoke to
	// be called with when a session is ended without its cookie. Revoke runs in the background and must be set then.
	RevokeOnEnd bool
	Revoke      func(ctx context.Context, provider string, refresh secret.Text)
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
	}
	m := &Manager{
		store: cfg.Store, envelopes: envelopes{cfg.Secrets}, indexes: newIndexKeys(cfg.Secrets), limits: cfg.Limits,
		before: cfg.RefreshBefore, refresh: cfg.Refresh, now: cfg.Now, ended: cfg.Ended, failed: cfg.RefreshFailed,
		work: newWork(),
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
	return m, nil
}

// Close takes on no more renewals and waits for those under way: one that is cut off after the provider answered loses the
// tokens for good. When ctx ends first, they are cut off all the same, and that is the error.
func (m *Manager) Close(ctx context.Context) error {
	if err := m.work.close(ctx); err != nil {
		return fmt.Errorf("close sessions: %w", err)
	}
	return nil
}

// Bounds of what a browser tells of itself.
const (
	maxUserAgent = 256
	maxAddress   = 64
)

// Start opens a session under a new ticket.
func (m *Manager) Start(ctx context.Context, l Login) (Ticket, *Session, error) {
	switch {
	case l.Issuer == "" || l.Subject == "":
		return Ticket{}, nil, errors.New("start session: of nobody")
	case l.Tokens.Access == "":
		return Ticket{}, nil, errors.New("start session: without an access token")
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
	idle := now.Add(m.limits.Idle)
	s.IdleExpires = earlier(idle, s.Expires)
	r, err := m.envelopes.seal(ticket.key(), ticket, s, idle)
	if err != nil {
		return Ticket{}, nil, fmt.Errorf("start session: %w", err)
	}
	if err := m.store.Create(ctx, ticket.key(), r, m.indexes.of(s)); err != nil {
		return Ticket{}, nil, fmt.Errorf("start session: %w", cannotTell(err))
	}
	return ticket, s, nil
}

// Load returns the session of a ticket, without extending it. The error is ErrNotFound or ErrUnavailable.
func (m *Manager) Load(ctx context.Context, t Ticket) (*Session, error) {
	s, err := m.load(ctx, t.key(), &t)
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
	s, err := m.load(ctx, key, nil)
	if err != nil {
		return nil, fmt.Errorf("find session: %w", err)
	}
	return s, nil
}

// OfSubject lists the live sessions of a person, without their tokens. The error is ErrUnavailable.
func (m *Manager) OfSubject(ctx context.Context, issuer, subject string) ([]*Session, error) {
	found, err := m.members(ctx, m.indexes.all(bySubject, issuer, subject), func(s *Session) bool {
		return s.Issuer == issuer && s.Subject == subject
	})
	if err != nil {
		return nil, fmt.Errorf("sessions of a subject: %w", err)
	}
	return found, nil
}

// OfProviderSID lists the live sessions that a provider calls sid, without their tokens. The error is ErrUnavailable.
func (m *Manager) OfProviderSID(ctx context.Context, issuer, sid string) ([]*Session, error) {
	found, err := m.members(ctx, m.indexes.all(byProviderSID, issuer, sid), func(s *Session) bool {
		return s.Issuer == issuer && s.ProviderSID == sid
	})
	if err != nil {
		return nil, fmt.Errorf("sessions of a provider's session: %w", err)
	}
	return found, nil
}

// members loads what is entered in any of the indexes. Entries of sessions that have ended are passed over, and an entry is
// believed only if the session itself agrees.
func (m *Manager) members(ctx context.Context, names []Index, agrees func(*Session) bool) ([]*Session, error) {
	var found []*Session
	seen := map[Key]bool{}
	for _, name := range names {
		keys, err := m.store.Members(ctx, name)
		if err != nil {
			return nil, cannotTell(err)
		}
		for _, key := range keys {
			if seen[key] {
				continue
			}
			seen[key] = true
			s, err := m.load(ctx, key, nil)
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil:
				return nil, err
			case agrees(s):
				found = append(found, s)
			}
		}
	}
	return found, nil
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
	if now.Sub(s.Seen) < max(m.limits.Idle/slideSteps, time.Second) {
		return s, nil
	}
	key, ok := parseHandle(s.ID)
	if !ok {
		return nil, fmt.Errorf("slide session: %w", ErrNotFound)
	}
	idle := now.Add(m.limits.Idle)
	if err := m.store.Slide(ctx, key, idle); err != nil {
		return nil, fmt.Errorf("slide session: %w", cannotTell(err))
	}
	return s.slid(now, idle), nil
}

// End ends a session, for a reason that the Ended hook is told. It is nil when the session is gone already. The error is
// ErrUnavailable: the session may live on, and ending it is to be tried again.
func (m *Manager) End(ctx context.Context, id, reason string) error {
	key, ok := parseHandle(id)
	if !ok {
		return nil
	}
	s, err := m.read(ctx, key, nil)
	if err != nil {
		s = &Session{ID: id} // gone, or nobody can open it: it is removed, whatever it is
	}
	existed, err := m.store.Delete(ctx, key)
	if err != nil {
		return fmt.Errorf("end session: %w", cannotTell(err))
	}
	if existed {
		m.ended(ctx, s, reason)
	}
	return nil
}

// load reads and opens a record; without a ticket, without the tokens.
func (m *Manager) load(ctx context.Context, key Key, ticket *Ticket) (*Session, error) {
	s, err := m.read(ctx, key, ticket)
	if errors.Is(err, errDoesNotOpen) {
		// Once more: bytes that were torn on their way here must not sign anyone out.
		s, err = m.read(ctx, key, ticket)
	}
	if errors.Is(err, errDoesNotOpen) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, err
	}
	if s.over(m.now()) {
		return nil, ErrNotFound
	}
	return s, nil
}

var errDoesNotOpen = errors.New("record does not open")

func (m *Manager) read(ctx context.Context, key Key, ticket *Ticket) (*Session, error) {
	r, err := m.store.Load(ctx, key)
	switch {
	case errors.Is(err, ErrBroken):
		return nil, fmt.Errorf("%w: %w", errDoesNotOpen, err)
	case err != nil:
		return nil, cannotTell(err)
	}
	s, err := m.envelopes.open(key, ticket, r)
	switch {
	case errors.Is(err, ErrUnavailable):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: %w", errDoesNotOpen, err)
	}
	if next := m.unsaved.after(key, r.Generation); next != nil {
		s = next
		if ticket == nil {
			s = s.withoutTokens()
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

func bounded(s string, size int) string {
	if len(s) <= size {
		return s
	}
	for size > 0 && !utf8.RuneStart(s[size]) {
		size--
	}
	return s[:size]
}
