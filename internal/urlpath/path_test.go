package urlpath_test

import (
	"errors"
	"testing"

	"cloakroom/internal/urlpath"
)

// What Check refuses, the tests of bff say at length: it is what a request's target is held against.
func TestCheck(t *testing.T) {
	for path, want := range map[string]bool{"/": false, "/api/orders/": false, "/a%20b/@x": false, "/a%2Fb": true, "/a%5Cb": true, "/100%25": true} {
		if encoded, err := urlpath.Check(path); encoded != want || err != nil {
			t.Errorf("%s: %v, %v", path, encoded, err)
		}
	}
	for _, path := range []string{"", "*", "api", "//", "/a//b", "/.", "/a/../b", "/%61", "/%2e%2E", "/a;b", "/%0a", "/%", "/é", "/a%2F..%2Fb", "/%EF%BC%8F"} {
		_, err := urlpath.Check(path)
		if _, ok := errors.AsType[urlpath.Fault](err); !ok {
			t.Errorf("%q: %v", path, err)
		}
	}
}

func TestCheckPrefix(t *testing.T) {
	for _, prefix := range []string{"/", "/api", "/api/v1.2/~x-y_z"} {
		if err := urlpath.CheckPrefix(prefix); err != nil {
			t.Errorf("%s: %v", prefix, err)
		}
	}
	for _, prefix := range []string{"", "api", "/api/", "/api//x", "/api/../x", "/api/@v1", "/api/a:b", "/api/*", "/a%20b", "/a b", "/a?b", "/a#b", "/a;b", `/a\b`} {
		_, bad := errors.AsType[urlpath.Fault](urlpath.CheckPrefix(prefix))
		if !bad {
			t.Errorf("%q is taken", prefix)
		}
	}
}

func TestUnder(t *testing.T) {
	for _, c := range []struct {
		path, prefix string
		want         bool
	}{
		{"/api", "/api", true}, {"/api/", "/api", true}, {"/api/x", "/api", true}, {"/apix", "/api", false}, {"/ap", "/api", false}, {"/API", "/api", false},
		{"/", "/", true}, {"/api", "/", true}, {"/api", "", true}, {"", "/", true}, {"/", "/api", false},
	} {
		if got := urlpath.Under(c.path, c.prefix); got != c.want {
			t.Errorf("%q under %q: %v", c.path, c.prefix, got)
		}
	}
}
