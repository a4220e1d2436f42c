package session

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"cloakroom/secret"
	"cloakroom/token"
)

func testPress(t testing.TB) *press {
	t.Helper()
	p, err := newPress()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestWhatWasPressedComesBack(t *testing.T) {
	p := testPress(t)
	random := make([]byte, 300)
	_, _ = rand.Read(random)
	for name, plain := range map[string][]byte{
		"nothing": {}, "a byte": {7}, "repetition": bytes.Repeat([]byte("again "), 1000), "nothing to save": random,
	} {
		content := p.press(plain)
		if back, err := p.release(content); err != nil || back != string(plain) {
			t.Errorf("%s: %d bytes, %v", name, len(back), err)
		}
		if len(content) > len(plain)+1 {
			t.Errorf("%s: %d bytes became %d", name, len(plain), len(content))
		}
	}
	if got := len(p.press(bytes.Repeat([]byte("again "), 1000))); got > 100 {
		t.Errorf("repetition takes %d bytes", got)
	}
}

func TestWhatWasNotPressedIsRefused(t *testing.T) {
	p := testPress(t)
	bomb := p.encoder.EncodeAll(make([]byte, 64<<20), []byte{pressed})
	for name, content := range map[string][]byte{
		"nothing": {}, "another way": {2, 'x'}, "not zstd": {pressed, 'x', 'y'}, "a bomb": bomb,
	} {
		if _, err := p.release(content); !errors.Is(err, errContent) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A token's bytes are what was signed, so it comes back to the letter or is kept as it is.
func TestEveryTokenComesBackToTheLetter(t *testing.T) {
	for name, one := range map[string]struct {
		token string
		size  int // at most
	}{
		"none":                       {"", 2},
		"a JWT":                      {"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AAAAAAAAAAAAAAAA", 46},
		"encrypted, without a key":   {"eyJhbGciOiJkaXIifQ..AAAA.BBBB.CCCC", 28},
		"opaque":                     {"v2.local/abc+def=", 19},
		"with a line's end":          {"eyJh\nbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AAAA", 44},
		"with bits that say nothing": {"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AB", 41},
		"padded":                     {"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.AA==", 43},
		"six parts":                  {"AAAA.AAAA.AAAA.AAAA.AAAA.AAAA", 31},
		"only dots":                  {"....", 6},
	} {
		var w writer
		w.token(secret.Text(one.token))
		r := reader{buf: string(w.buf)}
		if got := r.token(); got.Reveal() != one.token || r.end() != nil {
			t.Errorf("%s: %q, %v", name, got.Reveal(), r.end())
		}
		if len(w.buf) > one.size {
			t.Errorf("%s: %d bytes, want %d", name, len(w.buf), one.size)
		}
	}
}

func TestClaimsComeBackAsTheyWere(t *testing.T) {
	claims := token.Claims{
		"sub": "alice", "email_verified": true, "no": false, "nothing": nil, "": "empty name",
		"iat": int64(1795593600), "least": int64(math.MinInt64), "most": int64(math.MaxInt64), "half": 0.5, "huge": 1e300,
		"groups": []any{"a", int64(-1), []any{}, map[string]any{}}, "address": map[string]any{"country": "NL", "own": map[string]any{"x": "y"}},
	}
	for name, c := range map[string]token.Claims{"all kinds": claims, "none": nil, "empty": {}} {
		var w writer
		if err := w.claims(c); err != nil {
			t.Fatal(err)
		}
		r := reader{buf: string(w.buf)}
		if got := r.claims(); !reflect.DeepEqual(got, c) || r.end() != nil {
			t.Errorf("%s: %v, %v", name, got, r.end())
		}
	}
}

// What a profile or a rule put there may be of any Go type; it becomes what JSON would have made of it.
func TestClaimsThatWereNotDecodedAreKeptAsJSONWouldBe(t *testing.T) {
	var w writer
	if err := w.claims(token.Claims{"n": 7, "scope": token.Scope{"a", "b"}, "list": []string{"x"}}); err != nil {
		t.Fatal(err)
	}
	r := reader{buf: string(w.buf)}
	want := token.Claims{"n": int64(7), "scope": []any{"a", "b"}, "list": []any{"x"}}
	if got := r.claims(); !reflect.DeepEqual(got, want) {
		t.Errorf("claims %v, want %v", got, want)
	}
	if err := new(writer).claims(token.Claims{"f": func() {}}); err == nil {
		t.Error("a function is a claim")
	}
	if err := new(writer).claims(token.Claims{"x": strings.Repeat("x", token.MaxSize)}); err == nil {
		t.Error("too many claims are kept")
	}
}

func TestClaimsNestedTooDeepAreRefused(t *testing.T) {
	r := reader{buf: strings.Repeat("\x07\x01", 100) + "\x00"}
	if r.value(0); r.end() == nil {
		t.Error("read")
	}
}

// What was pressed with one dictionary is not released with another: a record's version has this one.
func TestTheDictionaryStaysAsItIs(t *testing.T) {
	if got := hex.EncodeToString(sum(dictionary)); got != "9305750fb877c95a5f5db9c365f8f5056ebac8b8a1cf67c42559ab40a9a0912b" {
		t.Errorf("dictionary %s", got)
	}
	content, err := hex.DecodeString("0128b52ffd010001bd000050616c696365226162637d0300fc5b8f052e5936090104")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := testPress(t).release(content); err != nil || got != kept {
		t.Errorf("%q, %v", got, err)
	}
}

const kept = `{"sub":"alice","iss":"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc","email_verified":true}`

func sum(s string) []byte {
	h := sha256.Sum256([]byte(s))
	return h[:]
}

// A name's place is part of the version: names may only be added at the end.
func TestKnownNamesKeepTheirPlaces(t *testing.T) {
	for name, place := range map[string]uint64{"sub": 1, "client_id": 14, "groups": 40, "token_use": 48, "allowed-origins": 69, "idp_access_token": 95} {
		if got, ok := knownName(name); !ok || got != place {
			t.Errorf("%s is at %d, want %d", name, got, place)
		}
	}
	if len(knownPlaces) != len(knownNames) {
		t.Error("a name has two places")
	}
}

func FuzzReadClaims(f *testing.F) {
	var w writer
	_ = w.claims(token.Claims{"sub": "a", "groups": []any{"b"}, "n": 1.5})
	f.Add(string(w.buf))
	f.Fuzz(func(t *testing.T, content string) {
		r := reader{buf: content}
		c := r.claims()
		if r.end() != nil {
			return
		}
		var again writer
		if err := again.claims(c); err != nil {
			return
		}
		back := reader{buf: string(again.buf)}
		if got := back.claims(); len(got) != len(c) || back.end() != nil {
			t.Errorf("%v came back as %v", c, got)
		}
	})
}
