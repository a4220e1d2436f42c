package bff

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	maxPath        = 8 << 10
	maxQueryParams = 10000 // net/url stops parsing there: a parameter behind it would be seen by the upstream alone
)

// pathFault says why a request target is refused. It holds no part of the target.
type pathFault string

func (f pathFault) Error() string { return string(f) }

// errEncodedPath is returned beside a path that is canonical but for an encoded slash, backslash or percent sign
// (%2F %5C %25). Only a route with KeepEncodedPath may take such a path.
const errEncodedPath = pathFault("path has an encoded slash, backslash or percent sign")

// canonicalPath returns the one form of the request's path that routing decides on and that is forwarded, still encoded
// as it was sent. What has a second reading anywhere on the way (dot segments, empty segments, encoded letters, raw
// semicolons, an absolute target) is refused instead of being cleaned, so that no two parties can differ about it.
//
// The error is errEncodedPath, with the path, or another pathFault, without.
func canonicalPath(r *http.Request) (string, error) {
	target := r.RequestURI
	if target == "" {
		target = r.URL.RequestURI() // a request that was made here, not received
	}
	path, query, hasQuery := strings.Cut(target, "?")
	encoded, err := checkPath(path)
	if err != nil {
		return "", err
	}
	if hasQuery {
		if err := checkQuery(query); err != nil {
			return "", err
		}
	}
	if !isLength(r.Header["Content-Length"]) {
		return "", pathFault("length of the body is not a number") // net/http takes it for 0 in HTTP/2, and drops the body late
	}
	if r.ContentLength != 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return "", pathFault("GET or HEAD with a body") // RFC 9110 section 9.3.1: no semantics, known for smuggling
	}
	if encoded {
		return path, errEncodedPath
	}
	return path, nil
}

// isLength tells whether a Content-Length is none or one number as RFC 9110 section 8.6 writes it.
func isLength(values []string) bool {
	return len(values) == 0 || len(values) == 1 && values[0] != "" && strings.Trim(values[0], "0123456789") == ""
}

// What a byte of a path is. Zero is everything that may not stand there unencoded.
const (
	notInPath = iota
	plain     // RFC 3986 section 2.3, unreserved: has one spelling, its encoded form is refused
	reserved  // sub-delims, ":" and "@", and the brackets that browsers leave alone
	slash
	percent
)

var pathBytes = func() (table [256]uint8) {
	for c := range table {
		switch b := byte(c); {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9', strings.IndexByte("-._~", b) >= 0:
			table[c] = plain
		case strings.IndexByte("!$&'()*+,=:@[]", b) >= 0: // not ";", which some servers take for the end of a segment
			table[c] = reserved
		}
	}
	table['/'], table['%'] = slash, percent
	return table
}()

// checkPath tells whether an encoded path is canonical, and whether it has an encoded slash, backslash or percent sign.
func checkPath(path string) (encoded bool, err error) {
	if len(path) > maxPath {
		return false, pathFault("path is too long")
	}
	if path == "" || path[0] != '/' {
		return false, pathFault("target is not a path") // absolute-form, authority-form, "*"
	}
	wide := false
	start := 1 // of the segment at hand
	for i := 1; i < len(path); i++ {
		switch pathBytes[path[i]] {
		case plain, reserved:
		case slash:
			if i == start {
				return false, pathFault("path has an empty segment")
			}
			if dots(path[start:i]) {
				return false, pathFault("path has a dot segment")
			}
			start = i + 1
		case percent:
			b, ok := unhex(path[i:])
			switch {
			case !ok:
				return false, pathFault("path has a broken escape")
			case b < 0x20 || b == 0x7f:
				return false, pathFault("path has a control character")
			case pathBytes[b] == plain:
				return false, pathFault("path encodes what needs no encoding")
			case b == ';' && dots(path[start:i]):
				return false, pathFault("path has a dot segment")
			case b == '/' || b == '\\' || b == '%':
				encoded = true
			case b >= utf8.RuneSelf:
				wide = true
			}
			i += 2
		default:
			return false, pathFault("path has a character that must be encoded")
		}
	}
	if dots(path[start:]) {
		return false, pathFault("path has a dot segment")
	}
	if wide || encoded {
		if err := checkDecoded(path); err != nil {
			return false, err
		}
	}
	return encoded, nil
}

func dots(segment string) bool { return segment == "." || segment == ".." }

// unhex reads the escape that s begins with.
func unhex(s string) (byte, bool) {
	if len(s) < 3 {
		return 0, false
	}
	hi, ok := hexDigit(s[1])
	lo, ok2 := hexDigit(s[2])
	return hi<<4 | lo, ok && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// checkDecoded looks at a path the way servers do that decode it once, or more often than once, or that fold wide
// characters to ASCII: none of them may find a dot segment that was not there.
func checkDecoded(path string) error {
	const rounds = 3
	for range rounds {
		next, err := url.PathUnescape(path)
		if err != nil || next == path {
			return nil // "100%" after the first round: nothing more to decode
		}
		path = next
		if !utf8.ValidString(path) {
			return pathFault("path is not UTF-8") // overlong forms too
		}
		if strings.ContainsAny(path, "\uff0f\uff3c\ufe68") {
			return pathFault("path has a wide slash")
		}
		for segment := range strings.FieldsFuncSeq(path, isSeparator) {
			segment, _, _ = strings.Cut(segment, ";")
			if segment != "" && dots(foldDots.Replace(segment)) {
				return pathFault("path has a dot segment")
			}
		}
	}
	return pathFault("path is encoded several times over")
}

func isSeparator(r rune) bool { return r == '/' || r == '\\' }

var foldDots = strings.NewReplacer("\uff0e", ".", "\ufe52", ".", "\u2024", ".", "\u2025", "..")

func checkQuery(query string) error {
	params := 1
	for i := range len(query) {
		switch c := query[i]; {
		case c < 0x21 || c > 0x7e || c == '#':
			return pathFault("query has a character that must be encoded")
		case c == ';':
			return pathFault("query has a semicolon") // one parameter to some parsers, two to others
		case c == '&':
			params++
		}
	}
	if params > maxQueryParams {
		return pathFault("query has too many parameters")
	}
	return nil
}

// isEncodedPath tells the fault that a route may forgive from those it may not.
func isEncodedPath(err error) bool { return errors.Is(err, errEncodedPath) }
