package session

import (
	"bytes"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom/secret"
)

func testRing(t *testing.T, keys ...secret.Key) *secret.Ring {
	t.Helper()
	r, err := secret.NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestACookieComesBackAsItWas(t *testing.T) {
	key := secret.NewKey()
	c := NewCodec("__Host-Http-session", time.Hour, testRing(t, key))
	ticket := newTicket()
	raw := ticket[:]
	value, err := c.Encode(raw)
	if err != nil {
		t.Fatal(err)
	}
	if ticket == (Ticket{}) || !bytes.Equal(raw, ticket[:]) {
		t.Error("encoding changed what it encodes")
	}
	if !strings.HasPrefix(value, "v1."+key.ID()+".") || len(value) > 256 {
		t.Errorf("value %q", value)
	}
	if got, stale, err := c.Decode(value); err != nil || stale || !bytes.Equal(got, raw) {
		t.Errorf("decoded %x, %t, %v; want %x", got, stale, err, raw)
	}
	header := http.Cookie{Name: "a", Value: value}
	back, err := http.ParseCookie(header.String())
	if err != nil || len(back) != 1 || back[0].Value != value {
		t.Errorf("net/http spells it %v, %v", back, err)
	}
}

func TestACookieKeepsItsContentFromTheBrowser(t *testing.T) {
	c := NewCodec("session", time.Hour, testRing(t, secret.NewKey()))
	seen := map[string]bool{}
	for range 10 {
		value, err := c.Encode([]byte("plain-canary-plain-canary"))
		if err != nil {
			t.Fatal(err)
		}
		if seen[value] {
			t.Error("the same value twice")
		}
		seen[value] = true
		if strings.Contains(value, "canary") {
			t.Error("in clear")
		}
	}
}

func TestWhatIsNoCookieOfOursIsForeign(t *testing.T) {
	key := secret.NewKey()
	c := NewCodec("session", time.Hour, testRing(t, key))
	value, err := c.Encode([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	otherName, err := NewCodec("login", time.Hour, testRing(t, key)).Encode([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	otherKey, err := NewCodec("session", time.Hour, testRing(t, secret.NewKey())).Encode([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	for name, foreign := range map[string]string{
		"nothing":                        "",
		"only dots":                      "...",
		"without a version":              strings.TrimPrefix(value, "v1."),
		"another version":                "v2" + value[2:],
		"a version alone":                "v1",
		"without a value":                "v1." + key.ID() + ".",
		"without a key id":               "v1.." + value[len("v1.12345678."):],
		"an unknown secret":              otherKey,
		"an unknown secret under our id": "v1." + key.ID() + otherKey[len("v1.12345678"):],
		"the cookie of another name":     otherName,
		"something after it":             value + ".x",
		"white space around it":          " " + value,
		"longer than a cookie can be":    value + strings.Repeat("A", 5000),
		"a million dots":                 strings.Repeat(".", 1<<20),
	} {
		if raw, _, err := c.Decode(foreign); !errors.Is(err, ErrForeignCookie) || raw != nil {
			t.Errorf("%s: %q, %v; want ErrForeignCookie", name, raw, err)
		}
	}
	last := len(strings.TrimRight(value, "=")) - 1 // which may have bits that say nothing
	for i := len("v1.12345678."); i < last; i++ {
		forged := []byte(value)
		forged[i] = map[bool]byte{true: 'B', false: 'A'}[forged[i] == 'A']
		if _, _, err := c.Decode(string(forged)); !errors.Is(err, ErrForeignCookie) {
			t.Errorf("character %d changed: %v", i, err)
		}
	}
}

func TestACookieAges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewCodec("login", 10*time.Minute, testRing(t, secret.NewKey()))
		value, err := c.Encode([]byte("seed"))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Minute)
		if _, _, err := c.Decode(value); err != nil {
			t.Errorf("at its age: %v", err)
		}
		time.Sleep(time.Second)
		if _, _, err := c.Decode(value); !errors.Is(err, ErrForeignCookie) {
			t.Errorf("beyond its age: %v", err)
		}
	})
}

// A secret is rotated by append, promote, remove; the cookie is encoded anew when it is found to be under an older one.
func TestACookieOutlivesARotation(t *testing.T) {
	older, newer := secret.NewKey(), secret.NewKey()
	value, err := NewCodec("session", time.Hour, testRing(t, older)).Encode([]byte("content"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		keys  []secret.Key
		stale bool
		err   error
	}{
		{"appended", []secret.Key{older, newer}, false, nil},
		{"promoted", []secret.Key{newer, older}, true, nil},
		{"removed", []secret.Key{newer}, false, ErrForeignCookie},
	} {
		c := NewCodec("session", time.Hour, testRing(t, tt.keys...))
		raw, stale, err := c.Decode(value)
		if !errors.Is(err, tt.err) || stale != tt.stale || err == nil && string(raw) != "content" {
			t.Errorf("%s: %q, stale %t, %v", tt.name, raw, stale, err)
		}
		anew, err := c.Encode([]byte("content"))
		if err != nil {
			t.Fatal(err)
		}
		if _, stale, err := c.Decode(anew); err != nil || stale {
			t.Errorf("%s, encoded anew: stale %t, %v", tt.name, stale, err)
		}
	}
}

func TestMoreThanACookieHoldsIsNotEncoded(t *testing.T) {
	c := NewCodec("session", time.Hour, testRing(t, secret.NewKey()))
	if _, err := c.Encode(make([]byte, 4096)); err == nil {
		t.Error("encoded")
	}
}

// What a browser sends as a cookie opens only where it was encoded here, under this name, and then as what was encoded.
func FuzzDecodeCookie(f *testing.F) {
	ring := fixedRing(f)
	c, other := NewCodec("session", time.Hour, ring), NewCodec("login", time.Hour, ring)
	good, err := c.Encode([]byte("content"))
	if err != nil {
		f.Fatal(err)
	}
	foreign, err := other.Encode([]byte("content of the other"))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{good, foreign, good + "=", good[:len(good)-1], good + good, "v2" + good[2:], "v1." + ring.First().ID() + ".AAAA", "", "v1..", strings.Repeat(".", 100)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if raw, stale, err := c.Decode(value); err == nil && (string(raw) != "content" || stale) {
			t.Errorf("%q opened: %q", value, raw)
		}
	})
}

// fixedRing is the same in every process that fuzzes.
func fixedRing(t testing.TB) *secret.Ring {
	t.Helper()
	key, err := secret.ParseKey(base64.StdEncoding.EncodeToString([]byte("only for fuzzing: 32 fixed bytes")))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.NewRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}
