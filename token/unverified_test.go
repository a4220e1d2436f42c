package token

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestInspect(t *testing.T) {
	h, claims, err := Inspect(forge(`{"alg":"RS256","kid":"rsa","typ":"application/AT+jwt"}`, good, constant("not a signature")))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Header{Algorithm: "RS256", KeyID: "rsa", Type: "at+jwt"}); h != want {
		t.Errorf("header %v, want %v", h, want)
	}
	if claims.Text("iss") != "https://idp.example.com" {
		t.Errorf("claims %v", claims)
	}
}

// What is too long or has the wrong number of dots is refused before it is split, so that its size costs nothing (E20, E18).
func TestHostileTokensCostNothing(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	deep := strings.Repeat("[", 1<<20)
	for _, tt := range []struct{ name, raw string }{
		{"1 MiB of dots", strings.Repeat(".", 1<<20)},
		{"64 KiB of dots", strings.Repeat(".", MaxSize)},
		{"1 MiB without a dot", strings.Repeat("A", 1<<20)},
		{"1 MiB of deep JSON for claims", forge(header, deep, constant("x"))},
		{"1 MiB of deep JSON for a header", forge(deep, good, constant("x"))},
		{"64 KiB of deep JSON for claims", b64([]byte(header)) + "." + b64([]byte(`{"a":`+deep[:40<<10])) + ".AA"},
		{"a header of 5 KiB", forge(`{"alg":"RS256","x":"`+strings.Repeat("x", 5<<10)+`"}`, good, constant("x"))},
		{"5 parts, the first of them long", strings.Repeat("A", 60<<10) + "....AA"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var refused *Invalid
			allocated := testing.AllocsPerRun(10, func() {
				if _, _, err := Inspect(tt.raw); !errors.As(err, &refused) {
					t.Fatalf("%v, want an *Invalid", err)
				}
			})
			if allocated > 200 {
				t.Errorf("%v allocations", allocated)
			}
			began := time.Now()
			for range 100 {
				_, _, _ = Inspect(tt.raw)
			}
			if took := time.Since(began); took > 2*time.Second { // 20 ms each, on a machine under load
				t.Errorf("100 refusals took %v", took)
			}
		})
	}
}

// One token has one spelling: a store that remembers tokens by their hash is not fooled by another.
func TestATokenHasOneSpelling(t *testing.T) {
	parts := strings.Split(forge(header, good, constant("\x01")), ".")
	if parts[2] != "AQ" {
		t.Fatalf("signature %q", parts[2])
	}
	for _, signature := range []string{"AR", "Af", "AQ=", "AQ==", "AQ\n", "\rAQ", "A Q", "+Q", "/Q", "AQA", "A"} {
		_, _, err := Inspect(parts[0] + "." + parts[1] + "." + signature)
		if (err == nil) != (signature == "AQA") { // two bytes, another token
			t.Errorf("%q: %v", signature, err)
		}
	}
}

// FuzzInspect: whatever comes, it is refused with an *Invalid, or is three parts whose claims are a strict object.
func FuzzInspect(f *testing.F) {
	p := issuer()
	for _, seed := range []string{
		"", ".", "..", "...", "a.b.c", forge(header, good, p.rs256), forge(`{"alg":"none"}`, `{}`, constant("x")), forge(`{"alg":"ES256","crit":[]}`, good, p.es256),
		forge(header, `{"a":1,"a":2}`, constant("x")), forge(`{"alg":"RSA-OAEP","enc":"A256GCM","zip":"DEF"}`, good, constant("x")) + ".AA.AA",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		h, claims, err := Inspect(raw)
		if err != nil {
			var refused *Invalid
			if !errors.As(err, &refused) || claims != nil || h != (Header{}) {
				t.Fatalf("%v, %v, %v", h, claims, err)
			}
			return
		}
		if h.Algorithm == "" || len(raw) > MaxSize || strings.Count(raw, ".") != 2 || strings.HasSuffix(raw, ".") || h.Type != strings.ToLower(h.Type) {
			t.Fatalf("accepted %q as %v", raw, h)
		}
		payload, err := base64.RawURLEncoding.Strict().DecodeString(strings.Split(raw, ".")[1])
		if err != nil {
			t.Fatalf("accepted %q: %v", raw, err)
		}
		if again, err := DecodeClaims(payload); err != nil || len(again) != len(claims) {
			t.Fatalf("accepted %q: %v, %v", raw, again, err)
		}
	})
}
