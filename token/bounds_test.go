package token

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/secret"
)

// What is just within a bound is taken; the tables of the other files have what is just beyond it.

func TestJSONJustWithinItsBounds(t *testing.T) {
	full := `{"a":"` + strings.Repeat("x", MaxSize-8) + `"}`
	deep := `{"a":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + "}"
	for name, tt := range map[string]struct {
		raw  string
		want any
	}{
		"64 KiB":                         {full, strings.Repeat("x", MaxSize-8)},
		"blanks in a text":               {`{"a":" x  y "}`, " x  y "},
		"blanks after an escape":         {`{"a":"\t x"}`, "\t x"},
		"the first and the last of 0-9":  {`{"a":"\u0990"}`, "\u0990"},
		"the first and the last of a-f":  {`{"a":"\u0afa"}`, "\u0afa"},
		"the first and the last of A-F":  {`{"a":"\u0AFA"}`, "\u0afa"},
		"the last that is no surrogate":  {`{"a":"\ud7ff"}`, "\ud7ff"},
		"the first after the surrogates": {`{"a":"\ue000"}`, "\ue000"},
	} {
		got, err := DecodeClaims([]byte(tt.raw))
		if err != nil || got["a"] != tt.want {
			t.Errorf("%s: %.40v, %v", name, got, err)
		}
	}
	if _, err := DecodeClaims([]byte(deep)); err != nil {
		t.Errorf("32 levels of lists: %v", err)
	}
}

// Whatever is cut off where, nothing beyond the end is read, whatever may lie there.
func TestJSONIsNotReadBeyondItsEnd(t *testing.T) {
	whole := `{"a":"x\u0041\n","b":[true,false,null,-1.5e+3,{"c":0}],"d":tru}`
	for n := range len(whole) {
		cut := slices.Clip([]byte(whole[:n]))
		if got, err := DecodeClaims(cut); err == nil {
			t.Errorf("%s: %v", cut, got)
		}
		beyond := append([]byte(whole[:n]), "rue41\"}]"...)[:n] // what it would take lies in the same memory
		if got, err := DecodeClaims(beyond); err == nil {
			t.Errorf("%s: %v", beyond, got)
		}
	}
}

func TestClaimsOfJust64KiBAreWritten(t *testing.T) {
	for size, fits := range map[int]bool{MaxSize: true, MaxSize + 1: false} {
		raw, err := EncodeClaims(Claims{"a": strings.Repeat("x", size-8)})
		if (err == nil) != fits || (fits && (len(raw) != size || bytes.HasSuffix(raw, []byte("\n")))) {
			t.Errorf("%d bytes: %d, %v", size, len(raw), err)
		}
	}
}

func TestKeySetsJustWithinTheirBounds(t *testing.T) {
	p := issuer()
	many := make([]jose.JSONWebKey, maxKeys)
	for i := range many {
		many[i] = jose.JSONWebKey{Key: &p.ec.PublicKey, KeyID: "ec"}
	}
	one := published(t, many[0])
	full := one + strings.Repeat(" ", 1<<20-len(one))
	smallest := published(t, jose.JSONWebKey{Key: &rsa.PublicKey{N: p.rsa.N, E: 3}})
	for name, tt := range map[string]struct {
		raw  string
		keys int
	}{
		"as many keys as may be": {published(t, many...), maxKeys}, "1 MiB": {full, 1}, "1 MiB and a byte": {full + " ", 0}, "the smallest exponent": {smallest, 1},
	} {
		if keys, err := ParseJWKS([]byte(tt.raw)); len(keys) != tt.keys || (err == nil) != (tt.keys > 0) {
			t.Errorf("%s: %d keys, %v", name, len(keys), err)
		}
	}
	found, err := StaticKeys(many).Candidates(t.Context(), "", ES256)
	if err != nil || len(found) != MaxCandidates {
		t.Errorf("%d candidates, %v", len(found), err)
	}
}

// ES512 is P-521's algorithm (RFC 7518 section 3.4), and no other's.
func TestEachCurveHasItsAlgorithm(t *testing.T) {
	var keys StaticKeys
	curves := map[string]elliptic.Curve{"ES256": elliptic.P256(), "ES384": elliptic.P384(), "ES512": elliptic.P521()}
	for alg, curve := range curves {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, jose.JSONWebKey{Key: &private.PublicKey, KeyID: alg})
	}
	for alg := range curves {
		found, err := keys.Candidates(t.Context(), "", alg)
		if err != nil || len(found) != 1 || found[0].KeyID != alg {
			t.Errorf("%s: %v, %v", alg, found, err)
		}
	}
}

// An algorithm whose keys come from files does not end the deriving of the others'.
func TestDerivedKeysBesideKeysFromFiles(t *testing.T) {
	for _, also := range [][]string{{ES256, EdDSA}, {EdDSA, ES256}} {
		k, err := NewKeyRing(KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: RS256, Also: also, Rotate: rotate, RSAKeys: []*rsa.PrivateKey{issuer().rsa}, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		for _, alg := range []string{RS256, ES256, EdDSA} {
			if err := verifies(k, mint(t, k, alg, time.Now()), time.Now()); err != nil {
				t.Errorf("%s: %v", alg, err)
			}
		}
		if got := k.Algorithms(); !reflect.DeepEqual(slices.Sorted(slices.Values(got)), []string{ES256, EdDSA, RS256}) {
			t.Errorf("%v", got)
		}
	}
}

// A key that is only shown, for tokens signed with it before, does not sign.
func TestAKeyFromAFileSignsOnlyWhereRS256IsUsed(t *testing.T) {
	for alg, signs := range map[string]int{ES256: 0, RS256: 1} {
		k, err := NewKeyRing(KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: alg, Rotate: rotate, RSAKeys: []*rsa.PrivateKey{issuer().rsa, attacker().rsa}, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		shown := 0
		for _, key := range k.Published() {
			if key.Algorithm != RS256 {
				continue
			}
			if key.Signs != (shown < signs) {
				t.Errorf("%s: the key from file %d: %+v", alg, shown+1, key)
			}
			shown++
		}
		if shown != 2 {
			t.Errorf("%s: %d keys from files are shown", alg, shown)
		}
	}
}

func TestTokensJustWithinTheirBounds(t *testing.T) {
	k := keyRing(t, newClock(time.Now()), secret.NewKey())
	sizes := map[int]bool{}
	// Base64 has no text of every length: between the lengths of a type and of a claim, each is met.
	for typ := range 4 {
		for claim := range 12 {
			raw, err := k.Sign(ES256, "t"+strings.Repeat("y", typ), Claims{"a": strings.Repeat("x", 48_994+claim)})
			if err != nil {
				sizes[MaxSize+1] = true
				continue
			}
			sizes[len(raw)] = true
			if _, err := Read(raw); err != nil {
				t.Errorf("%d bytes: %v", len(raw), err)
			}
		}
	}
	if !sizes[MaxSize] || !sizes[MaxSize+1] {
		t.Errorf("no token is of just %d bytes, or none is refused: %v", MaxSize, sizes)
	}
	part := base64.RawURLEncoding.EncodeToString
	header := func(size int) string { return `{"alg":"ES256","x":"` + strings.Repeat("x", size-22) + `"}` }
	for _, tt := range []struct {
		name, header string
		fine         bool
	}{
		{"a header of 4 KiB", header(maxHeader), true},
		{"a header of more", header(maxHeader + 1), false},
		{"a kid of 512 bytes", `{"alg":"ES256","kid":"` + strings.Repeat("k", maxKeyID) + `"}`, true},
		{"a kid of more", `{"alg":"ES256","kid":"` + strings.Repeat("k", maxKeyID+1) + `"}`, false},
		{"an empty kid", `{"alg":"ES256","kid":""}`, true},
		{"an empty alg", `{"alg":""}`, false},
		{"an alg that is no text", `{"alg":7}`, false},
		{"an empty typ", `{"alg":"ES256","typ":""}`, false},
		{"a typ that is no text", `{"alg":"ES256","typ":7}`, false},
	} {
		if _, err := Read(part([]byte(tt.header)) + "." + part([]byte(`{}`)) + "." + part([]byte("s"))); (err == nil) != tt.fine {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestSubjectsJustWithinTheirBound(t *testing.T) {
	for size, fine := range map[int]bool{maxSubject: true, maxSubject + 1: false} {
		if err := checkSubject(Claims{"sub": strings.Repeat("s", size)}); (err == nil) != fine {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

// careless hands out keys that do not fit, before the one that does.
type careless struct{ keys []jose.JSONWebKey }

func (c careless) Candidates(context.Context, string, string) ([]jose.JSONWebKey, error) {
	return c.keys, nil
}

func TestAKeyThatDoesNotFitIsPassedOver(t *testing.T) {
	k := keyRing(t, newClock(time.Now()), secret.NewKey())
	raw := mint(t, k, ES256, time.Now())
	header, _, err := Inspect(raw)
	if err != nil {
		t.Fatal(err)
	}
	found, err := k.Candidates(t.Context(), header.KeyID, ES256)
	if err != nil || len(found) != 1 {
		t.Fatalf("%v %v", found, err)
	}
	rules := Rules{Issuer: "https://cloakroom:8081", Algorithms: []string{ES256}, Types: []string{"at+jwt"}}
	keys := careless{[]jose.JSONWebKey{{Key: []byte("a shared secret")}, {Key: &issuer().rsa.PublicKey}, found[0]}}
	if _, _, err := Verify(t.Context(), raw, rules, keys, time.Now()); err != nil {
		t.Error(err)
	}
}

func TestDatesJustWithinTheirBounds(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, tt := range []struct {
		name   string
		claims Claims
		fault  string
	}{
		{"until the end of the year 9999", Claims{"exp": int64(maxDate)}, ""},
		{"beyond it", Claims{"exp": int64(maxDate) + 1}, "exp is not a date"},
		{"issued in 1970", Claims{"exp": now.Unix() + 1, "iat": int64(0)}, ""},
		{"issued before", Claims{"exp": now.Unix() + 1, "iat": int64(-1)}, "iat is not a date"},
		{"from the end of the year 9999 on", Claims{"exp": now.Unix() + 1, "nbf": int64(maxDate)}, "not valid yet"},
		{"from later on", Claims{"exp": now.Unix() + 1, "nbf": int64(maxDate) + 1}, "nbf is not a date"},
	} {
		err := (Rules{}).checkTimes(tt.claims, now)
		if (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
