package main

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// F4 "Redis tampered/ciphertext swapped between users".
func TestWhoSwapsRecordsInRedisIsToldOf(t *testing.T) {
	server := sessiontest.StartRedis(t)
	a := newAdminHouseOver(t, server)
	alice, bob := a.begin(mainIssuer, "alice"), a.begin(mainIssuer, "bob")
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	t.Cleanup(func() { _ = admin.Close() })
	record := func(id string) string { return "cloakroom:session:{" + id + "}" }
	of := map[string]string{}
	for _, id := range []string{alice, bob} {
		value, err := admin.Get(t.Context(), record(id)).Result()
		if err != nil {
			t.Fatal(err)
		}
		of[id] = value
	}
	wantOpened(t, a, "0") // counted from the start, or the first one would be no increase
	for id, other := range map[string]string{alice: bob, bob: alice} {
		if err := admin.Set(t.Context(), record(id), of[other], redis.KeepTTL).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{alice, bob, alice} {
		if s, err := a.sessions.Find(t.Context(), id); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("found %v, %v", s, err)
		}
	}
	for _, id := range []string{alice, bob} {
		want := []string{`"level":"ERROR"`, `"msg":"security: `, `"sid":"` + id + `"`}
		told := 0
		for line := range strings.Lines(a.logs.String()) {
			if strings.Contains(line, want[0]) && strings.Contains(line, want[1]) && strings.Contains(line, want[2]) {
				told++
			}
		}
		if told != 1 {
			t.Errorf("told %d times of %s: %s", told, id, a.logs)
		}
	}
	wantOpened(t, a, "2")
}

// wantOpened compares how many records were counted as tampered with.
func wantOpened(t *testing.T, a *adminHouse, tampered string) {
	t.Helper()
	res, err := http.Get(a.url + "/metrics") //nolint:gosec,noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	metrics, err := io.ReadAll(res.Body)
	if want := `cloakroom_store_operations_total{op="open",outcome="tampered"} ` + tampered; err != nil || !strings.Contains(string(metrics), want) {
		t.Errorf("no %s in the metrics, %v", want, err)
	}
}
