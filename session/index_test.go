package session

import (
	"strings"
	"testing"

	"cloakroom/secret"
)

func TestAnIndexIsOfOneKindOneIssuerAndOneValue(t *testing.T) {
	older, newer := secret.NewKey(), secret.NewKey()
	keys := newIndexKeys(testRing(t, newer, older))
	seen := map[Index]string{}
	for _, of := range [][3]string{
		{bySubject, "issuer", "value"}, {byProviderSID, "issuer", "value"}, {bySubject, "issuerv", "alue"}, {bySubject, "issue", "rvalue"},
		{bySubject, "issuer", ""}, {bySubject, "", "issuer"},
	} {
		names := keys.all(of[0], of[1], of[2])
		if len(names) != 2 {
			t.Fatalf("%d names under 2 secrets", len(names))
		}
		for _, name := range names {
			if other, taken := seen[name]; taken {
				t.Errorf("%v has the index of %s", of, other)
			}
			seen[name] = strings.Join(of[:], " ")
		}
		if old := newIndexKeys(testRing(t, older)).all(of[0], of[1], of[2]); names[1] != old[0] {
			t.Errorf("%v is not looked up under the older secret", of)
		}
	}
}
