package bff

import "strings"

// hasHash tells whether a file's name holds a hash of its content, as bundlers write it, so that the name never stands for
// another content: index-BxY1z2aB.js (Vite), main.3f2a1b4c5d.js (webpack), chunk-ABCDEFG2.js (esbuild). A word or a size
// ("social-facebook.png", "icon-1024x1024.png") must not pass for one: what is wrongly held immutable cannot be called back for a year.
func hasHash(base string) bool {
	stem, rest, dotted := strings.Cut(base, ".")
	if !dotted {
		return false
	}
	if n := len(stem) - 8; n > 1 && stem[n-1] == '-' && looksRandom(stem[n:]) {
		return true // eight characters, whose alphabet has "-" itself
	}
	if _, last, ok := lastCut(stem, '-'); ok && (isHexHash(last) || isLongHash(last)) {
		return true
	}
	for middle, after, more := strings.Cut(rest, "."); more; middle, after, more = strings.Cut(after, ".") {
		if isHexHash(middle) || isLongHash(middle) || len(middle) == 8 && looksRandom(middle) {
			return true
		}
	}
	return false
}

func lastCut(s string, sep byte) (before, after string, found bool) {
	i := strings.LastIndexByte(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// alphabets counts what a name's part is made of.
type alphabets struct{ digits, hex, upper, lower, capitals, other int }

func alphabetsOf(s string) (a alphabets) {
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			a.digits++
		case 'a' <= c && c <= 'z':
			a.lower++
			if c <= 'f' {
				a.hex++
			}
		case 'A' <= c && c <= 'Z':
			a.upper++
			if i > 0 {
				a.capitals++
			}
		case c == '-' || c == '_':
		default:
			a.other++
		}
	}
	return a
}

// looksRandom is for eight characters of base64url or base32.
func looksRandom(s string) bool {
	a := alphabetsOf(s)
	if a.other > 0 {
		return false
	}
	letters := a.upper + a.lower
	return a.digits > 0 && letters > 0 || a.lower > 0 && a.capitals > 0 || a.upper == len(s)
}

// isHexHash is for lower-case hexadecimal of eight digits and more.
func isHexHash(s string) bool {
	a := alphabetsOf(s)
	return len(s) >= 8 && a.digits > 0 && a.hex > 0 && a.digits+a.hex == len(s)
}

// isLongHash is for longer base64url and base58.
func isLongHash(s string) bool {
	a := alphabetsOf(s)
	return len(s) > 8 && a.other == 0 && a.digits > 1 && a.upper > 0 && a.lower > 0
}
