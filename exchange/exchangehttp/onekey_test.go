package exchangehttp

import (
	"context"
	"crypto/rsa"
	"errors"
	"reflect"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

// The work an assertion makes is that of one signature: for every algorithm and whoever it is of, there is one key to
// verify it with, and where it is nobody's, that is known.
func TestC110_ThereIsAlwaysJustOneKey(t *testing.T) {
	decoys, err := newDecoys()
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := newDecoys()
	if err != nil {
		t.Fatal(err)
	}
	twice := append(append(token.StaticKeys{}, theirs...), theirs...)
	for _, alg := range assertionAlgorithms {
		for name, tc := range map[string]struct {
			of   token.Keys
			kid  string
			ours bool
		}{
			"no client": {nil, "", false}, "its only key": {theirs, "", true}, "an unknown kid": {theirs, "x", false},
			"no key at all": {token.StaticKeys{}, "", false}, "two keys and no kid": {twice, "", false},
		} {
			key := &oneKey{of: tc.of, decoys: decoys}
			found, err := key.Candidates(t.Context(), tc.kid, alg)
			if err != nil || len(found) != 1 || (key.missing == "") != tc.ours {
				t.Fatalf("%s, %s: %d keys, missing %q, %v", alg, name, len(found), key.missing, err)
			}
			if of, err := map[bool]token.StaticKeys{true: theirs, false: decoys}[tc.ours].Candidates(t.Context(), "", alg); err != nil || !reflect.DeepEqual(found[0].Key, of[0].Key) {
				t.Errorf("%s, %s: another key than it should be (%v)", alg, name, err)
			}
			if public, ok := found[0].Key.(*rsa.PublicKey); ok && (public.N.BitLen() != 2048 || public.N.Bit(0) != 1) {
				t.Errorf("%s: a modulus of %d bits, or an even one", alg, public.N.BitLen())
			}
		}
	}
	down := &oneKey{of: unreachable{}, decoys: decoys}
	if found, err := down.Candidates(t.Context(), "", "ES256"); err == nil || found != nil {
		t.Errorf("keys that cannot be had: %v, %v", found, err)
	}
}

type unreachable struct{}

func (unreachable) Candidates(context.Context, string, string) ([]jose.JSONWebKey, error) {
	return nil, errors.New("timeout")
}
