package session_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/redisstore"
	"cloakroom/session/sessiontest"
)

// overRedis is a house over a Redis of its own, and that Redis.
func overRedis(t *testing.T, args ...string) (*house, *redis.Client) {
	t.Helper()
	server := sessiontest.StartRedis(t, args...)
	store, err := redisstore.New(redisstore.Config{URL: "redis://" + server.Addr, Prefix: "cloakroom:", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = admin.Close() })
	p := &provider{t: t, life: 10 * time.Minute}
	return houseOver(t, sessiontest.NewFrail(store), ring(t, secret.NewKey()), p), admin
}

func TestADumpOfRedisHoldsNothingInClear(t *testing.T) {
	dir := t.TempDir()
	h, admin := overRedis(t, "--dir", dir, "--rdbcompression", "no", "--appendonly", "yes", "--appenddirname", "log")
	ticket, s := h.start(func(l *session.Login) { l.Tokens.Expiry = time.Now().Add(time.Second) })
	renewed, err := h.Fresh(t.Context(), ticket, s, needed)
	if err != nil || renewed.Generation != 2 {
		t.Fatalf("renewed: %v, %v", renewed, err)
	}
	if _, err := h.store.Claim(t.Context(), "mark-canary", []byte("x"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := admin.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err != nil {
		t.Fatal(err)
	}
	whole := false
	for _, file := range append(files, filepath.Join(dir, "dump.rdb")) { // the log has every write, the dump what is left
		dump, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		wantNoTrace(t, dump, ticket)
		whole = whole || bytes.Contains(dump, []byte(ticket.ID()))
	}
	if !whole {
		t.Error("the dump does not hold the session at all")
	}
}

func TestARecordTamperedInRedisIsNoSession(t *testing.T) {
	h, admin := overRedis(t)
	ticket, s := h.start()
	ctx, name := t.Context(), "cloakroom:session:{"+s.ID+"}"
	stored, err := admin.Get(ctx, name).Bytes()
	if err != nil {
		t.Fatal(err)
	}
	const idle, expires = 9, 17 // where the record has its idle end, which alone is not authenticated
	for i := range stored {
		if err := admin.Set(ctx, name, flipped(stored, i), time.Hour).Err(); err != nil {
			t.Fatal(err)
		}
		got, err := h.Load(ctx, ticket)
		switch {
		case i == 0:
			wantUnavailable(t, "another layout", err)
		case i >= idle && i < expires:
			if err == nil && got.IdleExpires.After(time.Now().Add(30*time.Minute)) {
				t.Errorf("byte %d gives it more idle time", i)
			}
		case errors.Is(err, session.ErrUnavailable):
			// an envelope's version, reached by its own byte or by another length
		case !errors.Is(err, session.ErrNotFound):
			t.Errorf("byte %d: %v, %v; want ErrNotFound", i, got, err)
		}
	}
	if err := admin.Set(ctx, name, stored, time.Hour).Err(); err != nil {
		t.Fatal(err)
	}
	h.load(ticket)
}

func TestAWipedRedisIsAnAnswer(t *testing.T) {
	h, admin := overRedis(t)
	ticket, s := h.start()
	if err := admin.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	h.wantGone(ticket)
	if err := h.End(t.Context(), s.ID, "logout"); err != nil {
		t.Error(err)
	}
	again, _ := h.start()
	h.load(again)
}
