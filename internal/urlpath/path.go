package urlpath

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

const maxLength = 8 << 10

// Fault says what is wrong with a path. It holds no part of the path.
type Fault string

func (f Fault) Error() string { return "path " + string(f) }

// ErrEncoded is for a path that is canonical but for an encoded slash, backslash or percent sign (%2F %5C %25), where such a path
// is not taken.
const ErrEncoded = Fault("has an encoded slash, backslash or percent sign")

// What a byte of a path is. Zero is everything that may not stand there unencoded.
const (
	notInPath = iota
	plain     // RFC 3986 section 2.3, unreserved: has one spelling, its encoded form is refused
	reserved  // sub-delims, ":" and "@", and the brackets that browsers leave alone
	slash
	percent
)

var bytes = func() (table [256]uint8) {
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

// Check tells whether an encoded path is canonical, and whether it has an encoded slash, backslash or percent sign.
func Check(path string) (encoded bool, err error) {
	if len(path) > maxLength {
		return false, Fault("is too long")
	}
	if path == "" || path[0] != '/' {
		return false, Fault("does not begin with /") // absolute-form, authority-form, "*"
	}
	wide := false
	start := 1 // of the segment at hand
	for i := 1; i < len(path); i++ {
		switch bytes[path[i]] {
		case plain, reserved:
		case slash:
			if i == start {
				return false, Fault("has an empty segment")
			}
			if dots(path[start:i]) {
				return false, Fault("has a dot segment")
			}
			start = i + 1
		case percent:
			b, ok := unhex(path[i:])
			switch {
			case !ok:
				return false, Fault("has a broken escape")
			case b < 0x20 || b == 0x7f:
				return false, Fault("has a control character")
			case bytes[b] == plain:
				return false, Fault("encodes what needs no encoding")
			case b == ';' && dots(path[start:i]):
				return false, Fault("has a dot segment")
			case b == '/' || b == '\\' || b == '%':
				encoded = true
			case b >= utf8.RuneSelf:
				wide = true
			}
			i += 2
		default:
			return false, Fault("has a character that must be encoded")
		}
	}
	if dots(path[start:]) {
		return false, Fault("has a dot segment")
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
			return Fault("is not UTF-8") // overlong forms too
		}
		if strings.ContainsAny(path, "\uff0f\uff3c\ufe68") {
			return Fault("has a wide slash")
		}
		for segment := range strings.FieldsFuncSeq(path, isSeparator) {
			segment, _, _ = strings.Cut(segment, ";")
			if segment != "" && dots(foldDots.Replace(segment)) {
				return Fault("has a dot segment")
			}
		}
	}
	return Fault("is encoded several times over")
}

func isSeparator(r rune) bool { return r == '/' || r == '\\' }

var foldDots = strings.NewReplacer("\uff0e", ".", "\ufe52", ".", "\u2024", ".", "\u2025", "..")

// CheckPrefix wants a prefix of paths in the only spelling a canonical path can have for it.
func CheckPrefix(prefix string) error {
	if _, err := Check(prefix); err != nil {
		return err
	}
	for i := range len(prefix) {
		if kind := bytes[prefix[i]]; kind != plain && kind != slash {
			return Fault("has a character other than letters, digits, - . _ ~ and /, which have only one spelling")
		}
	}
	if prefix != "/" && prefix[len(prefix)-1] == '/' {
		return Fault("ends with /")
	}
	return nil
}

// Under tells whether path is prefix or below it, on segment boundaries. What is below "/" is every path.
func Under(path, prefix string) bool {
	prefix = strings.TrimSuffix(prefix, "/")
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
