package bff

import (
	"net/url"
	"strings"

	"cloakroom/internal/urlpath"
)

const maxReturnTo = 1 << 10

// cleanReturnTo tells whether s is a place of this origin to send the browser to after it signed in or out, and returns it.
// It is a path in its canonical form (see canonicalPath: what is accepted here is accepted when the browser comes
// back with it), with an optional query and fragment, and none of Cloakroom's own, which would loop or sign out. Nothing
// is repaired: what a URL parser could read as another origin has no second chance.
func cleanReturnTo(s string) (string, bool) {
	if s == "" || len(s) > maxReturnTo || s[0] != '/' {
		return "", false
	}
	for i := range len(s) {
		if c := s[i]; c < 0x21 || c > 0x7e || c == '\\' || c == '"' || c == '<' || c == '>' {
			return "", false
		}
	}
	rest, _, _ := strings.Cut(s, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	if encoded, err := urlpath.Check(path); err != nil || encoded {
		return "", false
	}
	if hasQuery && checkQuery(query) != nil {
		return "", false
	}
	if urlpath.Under(path, ownPath) {
		return "", false
	}
	if _, err := url.Parse(s); err != nil { // a broken escape in the fragment
		return "", false
	}
	return s, true
}
