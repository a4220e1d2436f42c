package bff

import (
	"errors"
	"net/http"
	"strings"

	"cloakroom/internal/urlpath"
)

// net/url stops parsing there: a parameter behind it would be seen by the upstream alone.
const maxQueryParams = 10000

// targetFault says why a request target is refused, beside its path. It holds no part of the target.
type targetFault string

func (f targetFault) Error() string { return string(f) }

// canonicalPath returns the one form of the request's path that routing decides on and that is forwarded, still encoded
// as it was sent. What has a second reading anywhere on the way (dot segments, empty segments, encoded letters, raw
// semicolons, an absolute target) is refused instead of being cleaned, so that no two parties can differ about it.
//
// The error is urlpath.ErrEncoded, with the path, or another, without.
func canonicalPath(r *http.Request) (string, error) {
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI() // a request that was made here, not received
	}
	path, query, hasQuery := strings.Cut(target, "?")
	encoded, err := urlpath.Check(path)
	if err != nil {
		return "", err
	}
	if hasQuery {
		if err := checkQuery(query); err != nil {
			return "", err
		}
	}
	if !isLength(r.Header["Content-Length"]) {
		return "", targetFault("length of the body is not a number") // net/http takes it for 0 in HTTP/2, and drops the body late
	}
	if r.ContentLength != 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return "", targetFault("GET or HEAD with a body") // RFC 9110 section 9.3.1: no semantics, known for smuggling
	}
	if encoded {
		return path, urlpath.ErrEncoded
	}
	return path, nil
}

// isLength tells whether a Content-Length is none or one number as RFC 9110 section 8.6 writes it.
func isLength(values []string) bool {
	return len(values) == 0 || len(values) == 1 && values[0] != "" && strings.Trim(values[0], "0123456789") == ""
}

func checkQuery(query string) error {
	params := 1
	for i := range len(query) {
		switch c := query[i]; {
		case c < 0x21 || c > 0x7e || c == '#':
			return targetFault("query has a character that must be encoded")
		case c == ';':
			return targetFault("query has a semicolon") // one parameter to some parsers, two to others
		case c == '&':
			params++
		}
	}
	if params > maxQueryParams {
		return targetFault("query has too many parameters")
	}
	return nil
}

// isEncodedPath tells the fault that a route may forgive from those it may not.
func isEncodedPath(err error) bool { return errors.Is(err, urlpath.ErrEncoded) }
