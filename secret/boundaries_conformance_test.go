package secret

import (
	"bytes"
	"testing"
)

// CVE-2023-35941: where inputs are only joined, one byte may wander from one to the next and the result stays the same.
func TestP28_ABytesPlaceAmongTheInputsCounts(t *testing.T) {
	k := NewKey()
	base := k.Derive("ab", []byte("cd"), []byte("ef"), 32)
	for name, other := range map[string][]byte{
		"from purpose to extra": k.Derive("a", []byte("bcd"), []byte("ef"), 32),
		"from extra to purpose": k.Derive("abc", []byte("d"), []byte("ef"), 32),
		"from extra to salt":    k.Derive("ab", []byte("c"), []byte("def"), 32),
		"from salt to extra":    k.Derive("ab", []byte("cde"), []byte("f"), 32),
	} {
		if bytes.Equal(base, other) {
			t.Errorf("%s: the same key", name)
		}
	}
	r, err := NewRing(k)
	if err != nil {
		t.Fatal(err)
	}
	sealed := r.Seal("ab", []byte("cd"), []byte("ef"), []byte("plain"))
	for name, open := range map[string]func() ([]byte, error){
		"from purpose to extra":   func() ([]byte, error) { return r.Open("a", []byte("bcd"), []byte("ef"), sealed) },
		"from purpose to context": func() ([]byte, error) { return r.Open("a", []byte("cd"), []byte("bef"), sealed) },
		"from extra to context":   func() ([]byte, error) { return r.Open("ab", []byte("c"), []byte("def"), sealed) },
		"from context to extra":   func() ([]byte, error) { return r.Open("ab", []byte("cde"), []byte("f"), sealed) },
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}
