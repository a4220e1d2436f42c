package session_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/memstore"
	"cloakroom/session/sessiontest"
)

// tampered makes the next answers of Load pass through change, as often as times says.
func (h *house) tampered(times int, change func(session.Record) session.Record) {
	h.store.Rewrite(func(_ session.Key, r session.Record) session.Record {
		if times == 0 {
			return r
		}
		times--
		return change(r)
	})
}

func flipped(b []byte, i int) []byte {
	out := bytes.Clone(b)
	out[i] ^= 1 << (i % 8)
	return out
}

func TestEachFlippedByteMakesTheSessionNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		key := keyOf(t, s)
		r, err := h.store.Load(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, i int, change func(session.Record) session.Record) {
			t.Helper()
			h.tampered(-1, change)
			_, err := h.Load(t.Context(), ticket)
			if i == 0 { // the version, which may be that of another release
				wantUnavailable(t, what, err)
			} else if !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s, byte %d: %v, want ErrNotFound", what, i, err)
			}
			h.tampered(1, change)
			if _, err := h.Load(t.Context(), ticket); i != 0 && err != nil {
				t.Errorf("%s, byte %d, only torn on its way: %v", what, i, err)
			}
		}
		for i := range r.Tokens {
			check("tokens", i, func(r session.Record) session.Record { r.Tokens = flipped(r.Tokens, i); return r })
		}
		for i := range r.Info {
			check("info", i, func(r session.Record) session.Record { r.Info = flipped(r.Info, i); return r })
		}
		for bit := range 64 {
			check("generation", 1, func(r session.Record) session.Record { r.Generation ^= 1 << bit; return r })
		}
		check("absolute end", 1, func(r session.Record) session.Record { r.Expires = r.Expires.Add(time.Hour); return r })
		for size := range r.Tokens {
			check("tokens cut short", 1, func(r session.Record) session.Record { r.Tokens = r.Tokens[:size]; return r })
		}
		for size := range r.Info {
			check("info cut short", 1, func(r session.Record) session.Record { r.Info = r.Info[:size]; return r })
		}
		check("envelopes exchanged", 1, func(r session.Record) session.Record { r.Tokens, r.Info = r.Info, r.Tokens; return r })
		h.store.Rewrite(nil)
		h.load(ticket)
	})
}

// Whoever has the cookie of such a session can ask again and again.
func TestARecordThatDoesNotOpenIsToldOfOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		tamper := func(r session.Record) session.Record { r.Tokens = flipped(r.Tokens, 40); return r }
		h.tampered(1, tamper)
		for range 3 {
			h.load(ticket)
		}
		h.wantBroken("torn " + s.ID)
		h.tampered(-1, tamper)
		for range 3 {
			h.wantGone(ticket)
		}
		h.wantBroken("torn "+s.ID, "tampered "+s.ID)
		time.Sleep(time.Minute)
		h.wantGone(ticket)
		h.wantBroken("torn "+s.ID, "tampered "+s.ID, "tampered "+s.ID)
		h.wantEnded() // it is not ours to remove: another replica may have the secret that it was sealed under

		h.store.Rewrite(nil)
		time.Sleep(time.Minute)
		_, next := h.start()
		if _, err := houseOver(t, h.store, ring(t, secret.NewKey()), h.provider).Find(t.Context(), next.ID); err == nil || !strings.Contains(err.Error(), "unknown key") {
			t.Errorf("%v does not say that a secret is missing", err)
		}
		h.wantBroken("torn "+s.ID, "tampered "+s.ID, "tampered "+s.ID)
	})
}

func TestOfManyRecordsThatDoNotOpenSomeAreToldOf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		tickets := h.startMany(1100)
		h.store.Rewrite(func(_ session.Key, r session.Record) session.Record { r.Generation++; return r })
		for _, ticket := range tickets {
			h.wantGone(ticket)
		}
		if len(h.broken) != 1024 {
			t.Errorf("told of %d", len(h.broken))
		}
	})
}

func TestALaterIdleEndThanTheLimitIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, _ := h.start()
		h.tampered(-1, func(r session.Record) session.Record { r.Idle = r.Idle.Add(5 * time.Hour); return r })
		if s := h.load(ticket); time.Until(s.IdleExpires) != 30*time.Minute {
			t.Errorf("idle for another %v", time.Until(s.IdleExpires))
		}
	})
}

func TestARecordThatTheStoreKeepsTooLongIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		h.tampered(-1, func(r session.Record) session.Record { r.Idle = time.Now(); return r })
		h.wantGone(ticket)
		if _, err := h.Find(t.Context(), s.ID); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("find: %v, want ErrNotFound", err)
		}
		h.store.Rewrite(nil)
		ahead := houseOver(t, h.store, h.ring, h.provider, func(cfg *session.Config) {
			cfg.Now = func() time.Time { return time.Now().Add(31 * time.Minute) }
		})
		if _, err := ahead.Slide(t.Context(), h.load(ticket)); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("slide: %v, want ErrNotFound", err)
		}
	})
}

func keyOf(t *testing.T, s *session.Session) (key session.Key) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(s.ID)
	if err != nil {
		t.Fatal(err)
	}
	return session.Key(raw)
}

func TestRecordsThatWereSwappedOrRolledBackDoNotOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		alice, a := h.start()
		bob, b := h.start(func(l *session.Login) { l.Subject = "bob" })
		records := map[session.Key]session.Record{}
		for _, s := range []*session.Session{a, b} {
			r, err := h.store.Load(t.Context(), keyOf(t, s))
			if err != nil {
				t.Fatal(err)
			}
			records[keyOf(t, s)] = r
		}
		swap := func(key session.Key) session.Record {
			for other, r := range records {
				if other != key {
					return r
				}
			}
			panic("only one record")
		}
		for name, change := range map[string]func(session.Key, session.Record) session.Record{
			"whole": func(key session.Key, _ session.Record) session.Record { return swap(key) },
			"the tokens alone": func(key session.Key, r session.Record) session.Record {
				r.Tokens = swap(key).Tokens
				return r
			},
			"the info alone": func(key session.Key, r session.Record) session.Record {
				r.Info = swap(key).Info
				return r
			},
		} {
			h.store.Rewrite(change)
			for _, ticket := range []session.Ticket{alice, bob} {
				if s, err := h.Load(t.Context(), ticket); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("swapped %s: %v, %v", name, s, err)
				}
			}
		}
		h.store.Rewrite(nil)

		time.Sleep(20 * time.Minute)
		h.fresh(alice)
		old := records[keyOf(t, a)]
		h.store.Rewrite(func(_ session.Key, r session.Record) session.Record { r.Info = old.Info; return r })
		h.wantGone(alice)
		h.store.Rewrite(func(_ session.Key, r session.Record) session.Record { r.Tokens = old.Tokens; return r })
		h.wantGone(alice)
	})
}

func TestARecordOfAnotherReleaseIsNotAnEndedSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, func(cfg *session.Config) { cfg.MaxPerUser = 1 })
		ticket, s := h.start()
		h.store.Rewrite(func(_ session.Key, r session.Record) session.Record {
			r.Tokens, r.Info = slices.Concat([]byte{2}, r.Tokens[1:]), slices.Concat([]byte{2}, r.Info[1:])
			return r
		})
		_, err := h.Load(t.Context(), ticket)
		wantUnavailable(t, "load", err)
		_, err = h.Find(t.Context(), s.ID)
		wantUnavailable(t, "find", err)
		if _, _, err := h.Start(t.Context(), h.login()); err != nil {
			t.Errorf("whose session it is cannot sign in here: %v", err)
		}
		for name, sel := range map[string]session.Selector{
			"a person's": {Issuer: issuer, Subject: subject}, "a provider's": {Issuer: issuer, ProviderSID: "provider-sid-7"},
		} {
			if found, err := h.Select(t.Context(), sel); err != nil || len(found) > 0 {
				t.Errorf("%s: %v, %v", name, found, err)
			}
		}
		if err := h.End(t.Context(), s.ID, "logout"); err != nil { // nobody needs to read what is to go
			t.Error(err)
		}
		h.store.Rewrite(nil)
		h.wantGone(ticket)
		h.wantEnded("logout ")
	})
}

// A secret is rotated by append, promote, remove.
func TestSessionsOutliveARotationOfSecrets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := secret.NewKey(), secret.NewKey()
		store := memstore.New(time.Now)
		t.Cleanup(func() { _ = store.Close() })
		frail, p := sessiontest.NewFrail(store), &provider{t: t, life: 10 * time.Minute}
		before := houseOver(t, frail, ring(t, older), p)
		appended := houseOver(t, frail, ring(t, older, newer), p)
		promoted := houseOver(t, frail, ring(t, newer, older), p)
		removed := houseOver(t, frail, ring(t, newer), p)

		ticket, first := before.start()
		key := keyOf(t, first)
		for _, h := range []*house{appended, promoted} {
			h.load(ticket)
			wantSessions(t, h, issuer, subject, first)
		}
		removed.wantGone(ticket)
		sealedUnder := func() [2]string {
			r, err := store.Load(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			const id = 8 // in front of what is sealed
			return [2]string{string(r.Tokens[1:][:id]), string(r.Info[2:][:id])}
		}
		if got := sealedUnder(); got != [2]string{older.ID(), older.ID()} {
			t.Errorf("sealed under %v at first", got)
		}
		time.Sleep(20 * time.Minute)
		promoted.fresh(ticket)
		if got := sealedUnder(); got != [2]string{newer.ID(), newer.ID()} {
			t.Errorf("sealed under %v after the next write", got)
		}
		removed.load(ticket)
		before.wantGone(ticket)

		_, second := promoted.start()
		wantSessions(t, appended, issuer, subject, first, second)
		wantSessions(t, removed, issuer, subject, second)
	})
}

// The same without a restart: one manager is given one ring after the other, and goes on with what it remembers.
func TestSecretsChangeWhileSessionsAreServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		older, newer := secret.NewKey(), secret.NewKey()
		store := memstore.New(time.Now)
		t.Cleanup(func() { _ = store.Close() })
		h := houseOver(t, sessiontest.NewFrail(store), ring(t, older), &provider{t: t, life: 10 * time.Minute})
		ticket, first := h.start()

		h.UseSecrets(ring(t, older, newer))
		h.load(ticket)
		h.UseSecrets(ring(t, newer, older))
		h.load(ticket)
		other, second := h.start()
		wantSessions(t, h, issuer, subject, first, second)

		h.UseSecrets(ring(t, newer))
		h.load(other)
		h.wantGone(ticket)
		time.Sleep(20 * time.Minute)
		h.fresh(other)
		wantSessions(t, h, issuer, subject, second)
	})
}

// secrets of a session that nobody may find in a store, in any spelling.
func wantNoTrace(t *testing.T, dump []byte, ticket session.Ticket) {
	t.Helper()
	canaries := []string{"canary", email, subject, issuer, "provider-sid-7", "Browser/1.0", "192.0.2.7", "orders/read", string(ticket[:])}
	for _, canary := range canaries {
		for _, spelled := range []string{
			canary, hex.EncodeToString([]byte(canary)), base64.RawURLEncoding.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary)),
		} {
			if bytes.Contains(dump, []byte(spelled)) {
				t.Errorf("the store holds %q", spelled)
			}
		}
	}
}

func TestRecordsHoldNothingInClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		ticket, s := h.start()
		time.Sleep(20 * time.Minute)
		h.fresh(ticket)
		r, err := h.store.Load(t.Context(), keyOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		wantNoTrace(t, slices.Concat(r.Tokens, r.Info), ticket)
	})
}

// Neither the store's content with the server's secrets, nor that with a ticket of somebody else, yields a token.
func TestTokensNeedTheTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t)
		_, s := h.start()
		other, _ := h.start()
		r, err := h.store.Load(t.Context(), keyOf(t, s))
		if err != nil {
			t.Fatal(err)
		}
		context := slices.Concat([]byte{1}, keyBytes(keyOf(t, s)), []byte{0, 0, 0, 0, 0, 0, 0, 1})
		if _, err := h.ring.Open("session/info", nil, context, r.Info[2:]); err != nil {
			t.Fatalf("the context of this test is not the one of the records: %v", err)
		}
		for name, extra := range map[string][]byte{"no ticket": nil, "zeros": make([]byte, 32), "another ticket": other[:], "the key": keyBytes(keyOf(t, s))} {
			if _, err := h.ring.Open("session/tokens", extra, context, r.Tokens[1:]); err == nil {
				t.Errorf("%s opens the tokens", name)
			}
		}
	})
}

func keyBytes(k session.Key) []byte { return k[:] }
