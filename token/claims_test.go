package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestDecodeClaims(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	lists := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + "}" }
	for _, tt := range []struct {
		name, raw string
		want      Claims // nil: refused
		fault     error
	}{
		{"nothing in it", `{}`, Claims{}, nil},
		{"white space of every kind", " \t\r\n{ \"a\" : [ 1 , 2 ] }\n", Claims{"a": []any{int64(1), int64(2)}}, nil},
		{"all kinds of values", `{"s":"x","t":true,"f":false,"n":null,"o":{"a":[]},"l":[{}]}`,
			Claims{"s": "x", "t": true, "f": false, "n": nil, "o": map[string]any{"a": []any{}}, "l": []any{map[string]any{}}}, nil},
		{"whole numbers are int64", `{"a":0,"b":-7,"c":9223372036854775807,"d":-9223372036854775808}`,
			Claims{"a": int64(0), "b": int64(-7), "c": int64(math.MaxInt64), "d": int64(math.MinInt64)}, nil},
		{"other numbers are float64", `{"a":1.5,"b":1e3,"c":-0.25E-2,"d":9223372036854775808}`,
			Claims{"a": 1.5, "b": 1000.0, "c": -0.0025, "d": 9223372036854775808.0}, nil},
		{"every escape", `{"a":"\"\\\/\b\f\n\r\t\u00e9\u20AC\ud83d\ude00é"}`, Claims{"a": "\"\\/\b\f\n\r\té€😀é"}, nil},
		{"an escape in a name", `{"\u0061b":1}`, Claims{"ab": int64(1)}, nil},
		{"names that differ in case", `{"a":1,"A":2}`, Claims{"a": int64(1), "A": int64(2)}, nil},
		{"one name in two objects", `{"a":{"x":1},"b":{"x":2}}`, Claims{"a": map[string]any{"x": int64(1)}, "b": map[string]any{"x": int64(2)}}, nil},

		{"nothing at all", ``, nil, errNotObject},
		{"a list", `[]`, nil, errNotObject},
		{"a text", `"a"`, nil, errNotObject},
		{"a byte order mark", "\ufeff{}", nil, errNotObject},
		{"a second object", `{}{}`, nil, errTrailing},
		{"something after it", `{} x`, nil, errTrailing},
		{"a zero byte after it", "{}\x00", nil, errTrailing},
		{"33 levels of objects", nested(33), nil, errTooDeep},
		{"33 levels of lists", lists(32), nil, errTooDeep},
		{"as many levels as 64 KiB hold", lists(MaxSize/2 - 4), nil, errTooDeep},
		{"a name twice (C-048)", `{"a":1,"a":1}`, nil, errDuplicate},
		{"a name twice, deep inside", `{"x":[{"a":1,"a":1}]}`, nil, errDuplicate},
		{"a name twice, once escaped", `{"a":1,"\u0061":1}`, nil, errDuplicate},
		{"half a surrogate pair", `{"a":"\ud83d"}`, nil, errNotText},
		{"half a surrogate pair before another character", `{"a":"\ud83d\u0041"}`, nil, errNotText},
		{"the halves in the wrong order", `{"a":"\ude00\ud83d"}`, nil, errNotText},
		{"bytes that are not UTF-8", "{\"a\":\"\xff\"}", nil, errNotText},
		{"a number too large", `{"a":1e309}`, nil, errNumber},
		{"a leading zero", `{"a":01}`, nil, errNotJSON},
		{"a plus", `{"a":+1}`, nil, errNotJSON},
		{"a bare minus", `{"a":-}`, nil, errNotJSON},
		{"a point without digits", `{"a":1.}`, nil, errNotJSON},
		{"a point first", `{"a":.5}`, nil, errNotJSON},
		{"an exponent without digits", `{"a":1e}`, nil, errNotJSON},
		{"hexadecimal", `{"a":0x10}`, nil, errNotJSON},
		{"not a number", `{"a":NaN}`, nil, errNotJSON},
		{"a comma too many", `{"a":1,}`, nil, errNotJSON},
		{"a comma too many in a list", `{"a":[1,]}`, nil, errNotJSON},
		{"no comma", `{"a":1 "b":2}`, nil, errNotJSON},
		{"no colon", `{"a" 1}`, nil, errNotJSON},
		{"a name without quotes", `{a:1}`, nil, errNotJSON},
		{"a comment", `{"a":1/**/}`, nil, errNotJSON},
		{"an end too early", `{"a":[1`, nil, errNotJSON},
		{"an end within a text", `{"a":"x`, nil, errNotJSON},
		{"an end after a backslash", `{"a":"\`, nil, errNotJSON},
		{"an end within an escape", `{"a":"\u00`, nil, errNotJSON},
		{"an unknown escape", `{"a":"\x41"}`, nil, errNotJSON},
		{"a letter that is no hexadecimal digit", `{"a":"\u00g0"}`, nil, errNotJSON},
		{"a line's end within a text", "{\"a\":\"\n\"}", nil, errNotJSON},
		{"a line's end within a text with an escape", "{\"a\":\"\\t\n\"}", nil, errNotJSON},
		{"a word cut short", `{"a":tru}`, nil, errNotJSON},
		{"more than 64 KiB", `{"a":"` + strings.Repeat("x", MaxSize) + `"}`, nil, errTooLong},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := DecodeClaims([]byte(tt.raw))
			if tt.fault != nil {
				if !errors.Is(err, tt.fault) || got != nil {
					t.Fatalf("%v, %v; want %v", got, err, tt.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("%#v, want %#v", got, tt.want)
			}
		})
	}
}

func TestClaimsNestUpTo32Levels(t *testing.T) {
	raw := strings.Repeat(`{"a":`, 31) + `{}` + strings.Repeat(`}`, 31)
	if _, err := DecodeClaims([]byte(raw)); err != nil {
		t.Error(err)
	}
}

func TestEncodeClaims(t *testing.T) {
	for _, tt := range []struct {
		name   string
		claims Claims
		want   string
	}{
		{"no claims", nil, `{}`},
		{"sorted by name", Claims{"b": int64(1), "a": []string{"x"}}, `{"a":["x"],"b":1}`},
		{"a large date stays whole", Claims{"exp": int64(253402300799)}, `{"exp":253402300799}`},
		{"an ampersand stays one", Claims{"url": "https://x/?a=1&b=<2>"}, `{"url":"https://x/?a=1&b=<2>"}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := EncodeClaims(tt.claims)
			if err != nil || string(got) != tt.want {
				t.Errorf("%s, %v; want %s", got, err, tt.want)
			}
		})
	}
	for name, claims := range map[string]Claims{
		"a value that is not JSON": {"a": make(chan int)},
		"not a number":             {"a": math.NaN()},
		"more than 64 KiB":         {"a": strings.Repeat("x", MaxSize)},
	} {
		if _, err := EncodeClaims(claims); err == nil {
			t.Errorf("%s: encoded", name)
		}
	}
}

func TestClaimsByType(t *testing.T) {
	c := Claims{"text": "x", "number": int64(7), "fraction": 7.9, "list": []any{"a", "b"}, "own": []string{"a"}, "mixed": []any{"a", int64(1)}, "null": nil, "empty": []any{}}
	if c.Text("text") != "x" || c.Text("number") != "" || c.Text("gone") != "" {
		t.Error("Text")
	}
	for name, want := range map[string][]string{"text": {"x"}, "list": {"a", "b"}, "own": {"a"}, "mixed": nil, "number": nil, "null": nil, "gone": nil, "empty": {}} {
		if got := c.Strings(name); !reflect.DeepEqual(got, want) {
			t.Errorf("Strings(%s) = %#v, want %#v", name, got, want)
		}
	}
	for _, name := range []string{"number", "fraction"} {
		if got, ok := c.Time(name); !ok || !got.Equal(time.Unix(7, 0)) {
			t.Errorf("Time(%s) = %v, %v", name, got, ok)
		}
	}
	for _, name := range []string{"text", "null", "gone"} {
		if _, ok := c.Time(name); ok {
			t.Errorf("Time(%s) is one", name)
		}
	}
}

// FuzzDecodeClaims: what is accepted is what encoding/json reads, and what is refused is no JSON, or refused for one of the
// reasons we are stricter for.
func FuzzDecodeClaims(f *testing.F) {
	for _, seed := range []string{
		good, `{}`, `{"a":[1,-2,3.5,1e3,{"b":null}],"c":true,"d":"\u00e9\ud83d\ude00"}`, `{"a":1,"a":2}`, `{"a":"\ud83d"}`, `{"a":1e999}`,
		`{"a":01}`, `{"a":-0}`, `{"a":9223372036854775808}`, `[]`, `{} {}`, "{\"a\":\"\xff\"}", strings.Repeat(`{"a":`, 40) + `1` + strings.Repeat(`}`, 40),
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > MaxSize/6 { // so that its longest spelling, all escapes, still fits
			raw = raw[:MaxSize/6]
		}
		claims, err := DecodeClaims(raw)
		if err != nil {
			stricter := errors.Is(err, errTooLong) || errors.Is(err, errTooDeep) || errors.Is(err, errDuplicate) || errors.Is(err, errNotText) ||
				errors.Is(err, errNumber) || errors.Is(err, errNotObject)
			if !stricter && json.Valid(raw) {
				t.Fatalf("JSON refused: %v: %q", err, raw)
			}
			return
		}
		var want map[string]any
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("accepted, but not JSON: %v: %q", err, raw)
		}
		if !same(map[string]any(claims), want) {
			t.Fatalf("%#v, want %#v", claims, want)
		}
		// Once encoded, claims come back as they were: what we mint is read as what we meant.
		first := encode(t, claims)
		again, err := DecodeClaims(first)
		if err != nil {
			t.Fatalf("what was encoded does not decode: %v: %q", err, first)
		}
		if second := encode(t, again); !bytes.Equal(first, second) && !bytes.Contains(first, []byte("-0")) { // -0 becomes 0
			t.Fatalf("%s, want %s", second, first)
		}
	})
}

func encode(t *testing.T, c Claims) []byte {
	t.Helper()
	raw, err := EncodeClaims(c)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// same compares our values with those of encoding/json, which keeps numbers as text.
func same(got, want any) bool {
	switch want := want.(type) {
	case map[string]any:
		got, ok := got.(map[string]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for name := range want {
			if !same(got[name], want[name]) {
				return false
			}
		}
		return true
	case []any:
		got, ok := got.([]any)
		if !ok || len(got) != len(want) {
			return false
		}
		for i := range want {
			if !same(got[i], want[i]) {
				return false
			}
		}
		return true
	case json.Number:
		if n, err := want.Int64(); err == nil {
			return got == any(n)
		}
		f, err := want.Float64()
		return err == nil && got == any(f)
	}
	return got == want
}
