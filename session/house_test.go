package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/memstore"
	"cloakroom/session/sessiontest"
	"cloakroom/token"
)

const (
	issuer  = "https://issuer.test"
	subject = "subject-4711"
	email   = "alice@example.test"
)

// house is a Manager over a store that breaks down on demand, and a provider that answers as told. Tests run it inside
// synctest, where time passes when everyone waits.
type house struct {
	*session.Manager
	t        *testing.T
	store    *sessiontest.Frail
	ring     *secret.Ring
	provider *provider

	mu      sync.Mutex
	ended   []string // reason and subject
	failed  []error
	unsaved []error
	broken  []string // torn or tampered, and the handle
}

func newHouse(t *testing.T, change ...func(*session.Config)) *house {
	t.Helper()
	store := memstore.New(time.Now)
	t.Cleanup(func() { _ = store.Close() })
	return houseOver(t, sessiontest.NewFrail(store), ring(t, secret.NewKey()), &provider{t: t, life: 10 * time.Minute}, change...)
}

// houseOver is another replica over the same store, or the next release.
func houseOver(t *testing.T, store *sessiontest.Frail, ring *secret.Ring, p *provider, change ...func(*session.Config)) *house {
	t.Helper()
	h := &house{t: t, store: store, ring: ring, provider: p}
	cfg := session.Config{
		Store: store, Secrets: ring, Limits: session.Limits{Idle: 30 * time.Minute, Absolute: 12 * time.Hour},
		RefreshBefore: time.Minute, Refresh: p.refresh,
		Ended: func(_ context.Context, s *session.Session, reason string) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.ended = append(h.ended, reason+" "+s.Subject)
		},
		RefreshFailed: func(_ context.Context, _ *session.Session, err error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.failed = append(h.failed, err)
		},
	}
	cfg.Unsaved = func(_ context.Context, _ *session.Session, err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.unsaved = append(h.unsaved, err)
	}
	cfg.Broken = func(_ context.Context, id string, lasting bool, err error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.broken = append(h.broken, map[bool]string{true: "tampered ", false: "torn "}[lasting]+id)
	}
	for _, c := range change {
		c(&cfg)
	}
	m, err := session.NewManager(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Manager = m
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return h
}

// run keeps the replica in step with the others until the end of the test.
func (h *house) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); h.Run(ctx) }()
	h.t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	time.Sleep(time.Second) // it has proved that it hears
}

func ring(t *testing.T, keys ...secret.Key) *secret.Ring {
	t.Helper()
	r, err := secret.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (h *house) login() session.Login {
	return session.Login{
		Provider: "main", Issuer: issuer, Subject: subject, ProviderSID: "provider-sid-7", AuthTime: time.Now().Add(-time.Minute).Truncate(time.Second),
		Tokens: session.Tokens{
			Access: "access-canary-0", Refresh: "refresh-canary-0", ID: "id-canary-0",
			Expiry: time.Now().Add(10 * time.Minute), Scope: token.Scope{"openid", "orders/read"},
		},
		Access:    token.Claims{"sub": subject, "scope": "orders/read", "n": int64(7)},
		Identity:  token.Claims{"sub": subject, "email": email, "nonce": "n-canary", "at_hash": "h", "c_hash": "h", "groups": []any{"a", "b"}},
		UserAgent: "Browser/1.0", Address: "192.0.2.7",
	}
}

func (h *house) start(change ...func(*session.Login)) (session.Ticket, *session.Session) {
	h.t.Helper()
	l := h.login()
	for _, c := range change {
		c(&l)
	}
	ticket, s, err := h.Start(h.t.Context(), l)
	if err != nil {
		h.t.Fatal(err)
	}
	return ticket, s
}

func (h *house) load(ticket session.Ticket) *session.Session {
	h.t.Helper()
	s, err := h.Load(h.t.Context(), ticket)
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

func (h *house) wantGone(ticket session.Ticket) {
	h.t.Helper()
	if _, err := h.Load(h.t.Context(), ticket); !errors.Is(err, session.ErrNotFound) {
		h.t.Errorf("load: %v, want ErrNotFound", err)
	}
}

func (h *house) wantEnded(want ...string) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.ended, want) {
		h.t.Errorf("told of ended sessions: %q, want %q", h.ended, want)
	}
}

func (h *house) wantBroken(want ...string) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if !slices.Equal(h.broken, want) {
		h.t.Errorf("told of records that did not open: %q, want %q", h.broken, want)
	}
}

func (h *house) failures() []error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.failed)
}

func wantUnavailable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotFound) {
		t.Errorf("%s: %v, want ErrUnavailable", what, err)
	}
}

// provider renews tokens, with rotation: each refresh token works once.
type provider struct {
	t    *testing.T
	life time.Duration // of the access tokens
	slow time.Duration // before it answers

	mu       sync.Mutex
	calls    int
	rotation int
	err      error // instead of an answer
	answer   func(session.Renewal) session.Renewal
}

func (p *provider) refresh(ctx context.Context, s *session.Session) (session.Renewal, error) {
	p.mu.Lock()
	p.calls++
	slow, fails, life := p.slow, p.err, p.life
	p.mu.Unlock()
	if slow > 0 {
		select {
		case <-ctx.Done():
			return session.Renewal{}, ctx.Err()
		case <-time.After(slow):
		}
	}
	if fails != nil {
		return session.Renewal{}, fails
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := secret.Text(fmt.Sprintf("refresh-canary-%d", p.rotation)); s.Tokens.Refresh != want {
		return session.Renewal{}, fmt.Errorf("reuse of a refresh token: %w", session.ErrRefused)
	}
	p.rotation++
	r := session.Renewal{
		Tokens: session.Tokens{
			Access:  secret.Text(fmt.Sprintf("access-canary-%d", p.rotation)),
			Refresh: secret.Text(fmt.Sprintf("refresh-canary-%d", p.rotation)),
			Expiry:  time.Now().Add(life),
		},
		Access: token.Claims{"sub": subject, "rotation": int64(p.rotation)},
	}
	if p.answer != nil {
		r = p.answer(r)
	}
	return r, nil
}

func (p *provider) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls
}

func (p *provider) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}
