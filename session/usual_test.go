package session_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/memstore"
	"cloakroom/token"
)

// What sessions take, with the three tokens that a usual provider issues: signed by RS256, the refresh token encrypted.

func usualLogin(n int) session.Login {
	sub := fmt.Sprintf("%08x-1f2e-4d3c-8b9a-%012x", n, n*7919)
	issuer := "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_Ab3dEf6hI"
	now := time.Now().Truncate(time.Second)
	access := token.Claims{
		"sub": sub, "iss": issuer, "client_id": "4v8k2m9q7s1d3f5g6h8j0l2n4p", "origin_jti": "b6f1f8f2-3c1e-4c55-9a4e-" + sub[:12], "event_id": "0a1b2c3d-4e5f-6071-8293-" + sub[:12],
		"token_use": "access", "scope": "openid profile email orders/read orders/write", "auth_time": now.Unix(), "exp": now.Unix() + 3600, "iat": now.Unix(),
		"jti": "5d2c8e0f-77aa-4b1b-9d3e-" + sub[:12], "username": sub, "version": int64(2), "cognito:groups": []any{"customers", "beta"},
	}
	id := token.Claims{
		"at_hash": "q3Jb0m2k8l1n5p7r9t1v3x", "sub": sub, "email_verified": true, "iss": issuer, "cognito:username": sub, "cognito:groups": []any{"customers", "beta"},
		"preferred_username": fmt.Sprintf("user%d", n), "given_name": "Alexandra", "family_name": "Featherstone", "name": "Alexandra Featherstone",
		"origin_jti": access["origin_jti"], "aud": access["client_id"], "event_id": access["event_id"], "token_use": "id", "auth_time": now.Unix(),
		"exp": now.Unix() + 3600, "iat": now.Unix(), "jti": "91a0b7c6-d5e4-43f2-8a1b-" + sub[:12], "email": fmt.Sprintf("alexandra.featherstone%d@example.com", n),
		"phone_number": "+4915112345678", "phone_number_verified": false, "locale": "de-DE",
	}
	jwt := func(c token.Claims) secret.Text {
		body, err := token.EncodeClaims(c)
		if err != nil {
			panic(err)
		}
		return secret.Text(base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"8Qk3v5y7z9B1D3F5H7J9L1N3P5R7T9V1X3Z5b7d9f1h=","alg":"RS256"}`)) + "." +
			base64.RawURLEncoding.EncodeToString(body) + "." + noise(256))
	}
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"cty":"JWT","enc":"A256GCM","alg":"RSA-OAEP"}`))
	return session.Login{
		Provider: "main", Issuer: issuer, Subject: sub, ProviderSID: access.Text("origin_jti"), AuthTime: now,
		Tokens: session.Tokens{
			Access: jwt(access), ID: jwt(id), Refresh: secret.Text(strings.Join([]string{header, noise(256), noise(12), noise(830), noise(16)}, ".")),
			Expiry: now.Add(time.Hour), Scope: token.ParseScope(access.Text("scope")),
		},
		Access: access, Identity: id,
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36", Address: "203.0.113.77",
	}
}

func noise(size int) string {
	raw := make([]byte, size)
	_, _ = rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func running(t testing.TB, store session.Store) *session.Manager {
	t.Helper()
	ring, err := secret.NewRing(secret.NewKey())
	if err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(session.Config{
		Store: store, Secrets: ring, Limits: session.Limits{Idle: time.Hour, Absolute: 12 * time.Hour}, RefreshBefore: time.Minute,
		Refresh: func(context.Context, *session.Session) (session.Renewal, error) { panic("nobody asked for it") },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return m
}

// hot waits until sessions are served from memory.
func hot(t testing.TB, m *session.Manager, ticket session.Ticket) {
	t.Helper()
	for late := time.Now().Add(10 * time.Second); time.Now().Before(late); {
		first, err := m.Load(context.Background(), ticket)
		if err != nil {
			t.Fatal(err)
		}
		if again, _ := m.Load(context.Background(), ticket); first == again {
			return
		}
		runtime.Gosched()
	}
	t.Fatal("nothing is served from memory")
}

func BenchmarkHotLoad(b *testing.B) {
	store := memstore.New(time.Now)
	b.Cleanup(func() { _ = store.Close() })
	m := running(b, store)
	ticket, _, err := m.Start(b.Context(), usualLogin(1))
	if err != nil {
		b.Fatal(err)
	}
	hot(b, m, ticket)
	b.ReportAllocs()
	for b.Loop() {
		s, err := m.Load(b.Context(), ticket)
		if err == nil {
			s, err = m.Slide(b.Context(), s)
		}
		if err == nil {
			_, err = m.Fresh(b.Context(), ticket, s, needed)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoadFromTheStore(b *testing.B) {
	store := memstore.New(time.Now)
	b.Cleanup(func() { _ = store.Close() })
	ring, err := secret.NewRing(secret.NewKey())
	if err != nil {
		b.Fatal(err)
	}
	m, err := session.NewManager(session.Config{
		Store: store, Secrets: ring, Limits: session.Limits{Idle: time.Hour, Absolute: 12 * time.Hour},
		Refresh: func(context.Context, *session.Session) (session.Renewal, error) { panic("nobody asked for it") },
	})
	if err != nil {
		b.Fatal(err)
	}
	ticket, _, err := m.Start(b.Context(), usualLogin(1))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := m.Load(b.Context(), ticket); err != nil {
			b.Fatal(err)
		}
	}
}

// DESIGN.md section 10: at most 7 KB of process memory for a session in use.
func TestASessionInUseTakesLittleMemory(t *testing.T) {
	const many, most = 2000, 7000
	store := memstore.New(time.Now)
	t.Cleanup(func() { _ = store.Close() })
	m := running(t, store)
	tickets := make([]session.Ticket, many)
	for i := range tickets {
		var err error
		if tickets[i], _, err = m.Start(t.Context(), usualLogin(i)); err != nil {
			t.Fatal(err)
		}
	}
	hot(t, m, tickets[0])
	before := heap()
	for _, ticket := range tickets {
		if _, err := m.Load(t.Context(), ticket); err != nil {
			t.Fatal(err)
		}
	}
	each := (heap() - before) / many
	t.Logf("%d bytes for a session in use", each)
	if each > most || each < 1000 {
		t.Errorf("%d bytes for a session in use, want at most %d, and that it is in use", each, most)
	}
	runtime.KeepAlive(m)
}

// DESIGN.md section 10: at most 4 KB in Redis for a session, all its keys.
func TestASessionTakesLittleOfRedis(t *testing.T) {
	const many, most = 1000, 4096
	h, admin := overRedis(t)
	before := admin.Info(t.Context(), "memory").Val()
	for i := range many {
		if _, _, err := h.Start(t.Context(), usualLogin(i)); err != nil {
			t.Fatal(err)
		}
	}
	keys, err := admin.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	sum, record := int64(0), int64(0)
	for _, key := range keys {
		size, err := admin.MemoryUsage(t.Context(), key, 0).Result()
		if err != nil {
			t.Fatal(err)
		}
		sum += size
		if strings.Contains(key, "session:") {
			record += size
		}
	}
	used := usedMemory(t, admin.Info(t.Context(), "memory").Val()) - usedMemory(t, before)
	t.Logf("%d bytes for a session by its keys (%d its record); used_memory grew by %d", sum/many, record/many, used/many)
	if sum/many > most || sum/many < 2000 {
		t.Errorf("%d bytes for a session, want at most %d, and that it is there", sum/many, most)
	}
}

func usedMemory(t *testing.T, info string) int {
	t.Helper()
	_, after, _ := strings.Cut(info, "used_memory:")
	n, err := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
