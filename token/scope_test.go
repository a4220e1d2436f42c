package token

import (
	"slices"
	"testing"
)

func TestScope(t *testing.T) {
	for _, tt := range []struct {
		name string
		got  Scope
		want Scope
	}{
		{"in the order given, each once", ParseScope(" b a\tb  c "), Scope{"b", "a", "c"}},
		{"nothing", ParseScope(" "), nil},
		{"what both have, in the order of the first", ParseScope("a b c").Within(ParseScope("c a")), Scope{"a", "c"}},
		{"nothing in common", ParseScope("a").Within(ParseScope("A")), nil},
		{"what the other lacks", ParseScope("a b c").Without(ParseScope("b")), Scope{"a", "c"}},
		{"without nothing", ParseScope("a b").Without(nil), Scope{"a", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if !slices.Equal(tt.got, tt.want) {
				t.Errorf("%q, want %q", tt.got, tt.want)
			}
		})
	}
	whole := ParseScope("a b")
	if _ = whole.Within(ParseScope("b")); whole.String() != "a b" {
		t.Errorf("narrowing changed the scope it was asked of: %q", whole)
	}
}
