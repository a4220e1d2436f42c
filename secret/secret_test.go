package secret

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// fixed returns a secret whose bytes count up from first.
func fixed(t *testing.T, first byte) Key {
	t.Helper()
	raw := make([]byte, KeySize)
	for i := range raw {
		raw[i] = first + byte(i)
	}
	k, err := ParseKey(base64.StdEncoding.EncodeToString(raw))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKey(t *testing.T) {
	random := bytes.Repeat([]byte{0xfb, 0xef, 0xff, 1, 2, 3, 4, 5}, 4) // its base64 needs the characters in which alphabets differ
	std := base64.StdEncoding.EncodeToString(random)
	for _, tt := range []struct{ name, encoded, fault string }{
		{"the standard alphabet", std, ""},
		{"the standard alphabet without padding", strings.TrimRight(std, "="), ""},
		{"the URL alphabet", base64.URLEncoding.EncodeToString(random), ""},
		{"the URL alphabet without padding", base64.RawURLEncoding.EncodeToString(random), ""},
		{"a line's end from a file", std + "\n", ""},
		{"nothing", "", "0 bytes"},
		{"a pass phrase", "correct horse battery staple", "not base64"},
		{"hexadecimal, which is base64 of another length", hex.EncodeToString(random), "48 bytes"},
		{"a byte too few", base64.StdEncoding.EncodeToString(random[1:]), "31 bytes"},
		{"a byte too many", base64.StdEncoding.EncodeToString(append([]byte{7}, random...)), "33 bytes"},
		{"zeros", base64.StdEncoding.EncodeToString(make([]byte, KeySize)), "too regular"},
		{"seven different bytes", base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1, 2, 3, 4, 5, 6, 7, 7}, 4)), "too regular"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k, err := ParseKey(tt.encoded)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Fatalf("error %v, want one about %q", err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if k.Encode().Reveal() != std {
				t.Error("another key came out")
			}
		})
	}
}

func TestTheFaultOfASecretDoesNotRepeatIt(t *testing.T) {
	_, err := ParseKey("hunter2!hunter2!hunter2!")
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error: %v", err)
	}
}

func TestDerivedBytesAreFixedForEver(t *testing.T) {
	k := fixed(t, 0)
	// What is derived names keys and opens records of earlier releases.
	if got, want := k.ID(), "kIag9P1c"; got != want {
		t.Errorf("id %q, want %q", got, want)
	}
	got := hex.EncodeToString(k.Derive("test", []byte("extra"), []byte("salt"), 16))
	if want := "73837c47d7bb04b735fd0ed4e9345e42"; got != want {
		t.Errorf("derived %s, want %s", got, want)
	}
}

func TestEveryInputChangesWhatIsDerived(t *testing.T) {
	k := fixed(t, 0)
	base := k.Derive("a", []byte("b"), []byte("c"), 32)
	for name, other := range map[string][]byte{
		"key":     fixed(t, 1).Derive("a", []byte("b"), []byte("c"), 32),
		"purpose": k.Derive("x", []byte("b"), []byte("c"), 32),
		"extra":   k.Derive("a", []byte("x"), []byte("c"), 32),
		"salt":    k.Derive("a", []byte("b"), []byte("x"), 32),
	} {
		if bytes.Equal(base, other) {
			t.Errorf("another %s derives the same", name)
		}
	}
	if !bytes.Equal(base, k.Derive("a", []byte("b"), []byte("c"), 32)) {
		t.Error("the same inputs derive something else")
	}
}

func TestNewRingRefuses(t *testing.T) {
	a := fixed(t, 0)
	for name, keys := range map[string][]Key{
		"no secret":             nil,
		"a secret twice":        {a, NewKey(), a},
		"more than MaxKeys":     {NewKey(), NewKey(), NewKey(), NewKey()},
		"a secret in two forms": {a, fixed(t, 0)},
	} {
		if _, err := NewRing(keys...); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func ring(t *testing.T, keys ...Key) *Ring {
	t.Helper()
	r, err := NewRing(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A secret is rotated by append, promote, remove; what was sealed must open as long as its secret is there.
func TestSealedBytesOpenThroughoutARotation(t *testing.T) {
	older, newer := fixed(t, 0), fixed(t, 1)
	context, extra, plain := []byte("record 1"), []byte("cookie"), []byte("tokens")
	sealed := ring(t, older).Seal("tokens", extra, context, plain)
	under := func(sealed []byte) string { return string(sealed[:idSize]) }
	if under(sealed) != older.ID() {
		t.Errorf("sealed under %q, want %q", under(sealed), older.ID())
	}
	for name, r := range map[string]*Ring{
		"before": ring(t, older), "appended": ring(t, older, newer), "promoted": ring(t, newer, older),
	} {
		got, err := r.Open("tokens", extra, context, sealed)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := ring(t, newer).Open("tokens", extra, context, sealed); !errors.Is(err, errUnknownKey) {
		t.Errorf("removed: %v, want that the key is unknown", err)
	}
	if got := under(ring(t, newer, older).Seal("tokens", extra, context, plain)); got != newer.ID() {
		t.Errorf("after promotion sealed under %q, want the new secret %q", got, newer.ID())
	}
}

func TestWhatIsNotWhatWasSealedDoesNotOpen(t *testing.T) {
	r := ring(t, fixed(t, 0))
	sealed := r.Seal("tokens", []byte("cookie"), []byte("record 1"), []byte("plain"))
	for _, tt := range []struct {
		name                    string
		purpose, extra, context string
		sealed                  []byte
		want                    error
	}{
		{"another purpose", "info", "cookie", "record 1", sealed, ErrBroken},
		{"another cookie", "tokens", "eikooc", "record 1", sealed, ErrBroken},
		{"without the cookie", "tokens", "", "record 1", sealed, ErrBroken},
		{"moved to another record", "tokens", "cookie", "record 2", sealed, ErrBroken},
		{"cut short", "tokens", "cookie", "record 1", sealed[:len(sealed)-1], ErrBroken},
		{"less than a head", "tokens", "cookie", "record 1", sealed[:19], ErrBroken},
		{"nothing", "tokens", "cookie", "record 1", nil, ErrBroken},
		{"an unknown secret", "tokens", "cookie", "record 1", append([]byte("AAAAAAAA"), sealed[8:]...), errUnknownKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := r.Open(tt.purpose, []byte(tt.extra), []byte(tt.context), tt.sealed)
			if !errors.Is(err, tt.want) || got != nil {
				t.Errorf("%q, %v; want %v", got, err, tt.want)
			}
		})
	}
}

func TestEveryFlippedBitIsNoticed(t *testing.T) {
	r := ring(t, fixed(t, 0))
	sealed := r.Seal("tokens", nil, []byte("record"), []byte("plain"))
	for i := range sealed {
		for bit := range 8 {
			forged := bytes.Clone(sealed)
			forged[i] ^= 1 << bit
			if _, err := r.Open("tokens", nil, []byte("record"), forged); err == nil {
				t.Fatalf("byte %d, bit %d: opened", i, bit)
			}
		}
	}
}

func TestSealingTwiceDoesNotTellThatItIsTheSame(t *testing.T) {
	r := ring(t, NewKey())
	if bytes.Equal(r.Seal("p", nil, nil, []byte("x")), r.Seal("p", nil, nil, []byte("x"))) {
		t.Error("the same bytes twice")
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	const hidden = "s3cr3t-value"
	key := fixed(t, 'A') // its bytes would print as letters
	holder := struct {
		Token Text
		Key   Key
	}{hidden, key}
	var printed bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%c", "%10s", "%!"} {
		for _, value := range []any{Text(hidden), key, &key, holder, &holder, []Text{hidden}, map[string]Text{"k": hidden}} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
	}
	fmt.Fprintln(&printed, Text(hidden), key, holder, fmt.Errorf("wrapped: %v", Text(hidden)))
	for _, handler := range []slog.Handler{slog.NewTextHandler(&printed, nil), slog.NewJSONHandler(&printed, nil)} {
		slog.New(handler).Info("m", "token", Text(hidden), "key", key, "holder", holder, slog.Group("g", "token", Text(hidden)))
	}
	if err := json.NewEncoder(&printed).Encode(holder); err != nil {
		t.Fatal(err)
	}
	raw := key.Encode().Reveal()
	for _, leak := range []string{hidden, hex.EncodeToString([]byte(hidden)), strings.ToUpper(hex.EncodeToString([]byte(hidden))), "ABCDEF", "65 66 67", "414243", raw[:12]} {
		if strings.Contains(printed.String(), leak) {
			t.Errorf("%q was printed:\n%s", leak, printed.String())
		}
	}
	if !strings.Contains(printed.String(), Redacted) {
		t.Error("nothing says that something was left out")
	}
	if Text(hidden).Reveal() != hidden {
		t.Error("Reveal does not")
	}
}
