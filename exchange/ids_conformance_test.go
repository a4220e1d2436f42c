package exchange

import "testing"

func TestC093_AMillionIDsDiffer(t *testing.T) {
	const many = 1_000_000
	seen := make(map[string]struct{}, many)
	for range many {
		seen[newID()] = struct{}{}
	}
	if len(seen) != many {
		t.Errorf("%d of %d ids were there before", many-len(seen), many)
	}
}
