package token

import (
	"errors"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep objects and arrays may nest in claims. It bounds the stack: the reader below calls itself.
const maxDepth = 32

var (
	errNotJSON   = errors.New("not JSON")
	errNotObject = errors.New("not a JSON object")
	errTrailing  = errors.New("data after the JSON object")
	errTooDeep   = errors.New("JSON nested too deep")
	errDuplicate = errors.New("a JSON member name occurs twice")
	errNotText   = errors.New("JSON text is not valid Unicode")
	errNumber    = errors.New("a JSON number is out of range")
)

// reader reads JSON (RFC 8259) in one pass, stricter than encoding/json: two readers of a token must not be able to see
// different claims in it, so names that differ in case are two names, and a name that occurs twice, half a surrogate
// pair or bytes that are not UTF-8 are refused instead of being mended.
type reader struct {
	in []byte
	at int
}

// readObject reads one JSON object and nothing after it. The caller has bounded its length.
func readObject(raw []byte) (map[string]any, error) {
	if !utf8.Valid(raw) {
		return nil, errNotText
	}
	r := reader{in: raw}
	if r.space() != '{' {
		return nil, errNotObject
	}
	object, err := r.object(1)
	if err != nil {
		return nil, err
	}
	if r.space(); r.at < len(r.in) {
		return nil, errTrailing
	}
	return object, nil
}

// space skips white space and returns the byte that follows, 0 at the end.
func (r *reader) space() byte {
	for ; r.at < len(r.in); r.at++ {
		switch c := r.in[r.at]; c {
		case ' ', '\t', '\n', '\r':
		default:
			return c
		}
	}
	return 0
}

func (r *reader) value(depth int) (any, error) {
	switch c := r.space(); {
	case c == '"':
		return r.text()
	case c == '{':
		return r.object(depth + 1)
	case c == '[':
		return r.array(depth + 1)
	case c == '-' || '0' <= c && c <= '9':
		return r.number()
	case c == 't' && r.word("true"):
		return true, nil
	case c == 'f' && r.word("false"):
		return false, nil
	case c == 'n' && r.word("null"):
		return nil, nil
	}
	return nil, errNotJSON
}

func (r *reader) word(w string) bool {
	if len(r.in)-r.at < len(w) || string(r.in[r.at:r.at+len(w)]) != w {
		return false
	}
	r.at += len(w)
	return true
}

func (r *reader) object(depth int) (map[string]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	r.at++ // the brace
	out := map[string]any{}
	if r.space() == '}' {
		r.at++
		return out, nil
	}
	for {
		if r.space() != '"' {
			return nil, errNotJSON
		}
		name, err := r.text()
		if err != nil {
			return nil, err
		}
		if r.space() != ':' {
			return nil, errNotJSON
		}
		r.at++
		value, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		before := len(out)
		if out[name] = value; len(out) == before {
			return nil, errDuplicate
		}
		switch r.space() {
		case ',':
			r.at++
		case '}':
			r.at++
			return out, nil
		default:
			return nil, errNotJSON
		}
	}
}

func (r *reader) array(depth int) ([]any, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	r.at++ // the bracket
	out := []any{}
	if r.space() == ']' {
		r.at++
		return out, nil
	}
	for {
		value, err := r.value(depth)
		if err != nil {
			return nil, err
		}
		out = append(out, value)
		switch r.space() {
		case ',':
			r.at++
		case ']':
			r.at++
			return out, nil
		default:
			return nil, errNotJSON
		}
	}
}

func (r *reader) text() (string, error) {
	r.at++ // the quote
	start := r.at
	for ; r.at < len(r.in); r.at++ {
		switch c := r.in[r.at]; {
		case c == '"':
			r.at++
			return string(r.in[start : r.at-1]), nil
		case c == '\\':
			return r.escaped(append([]byte(nil), r.in[start:r.at]...))
		case c < ' ':
			return "", errNotJSON
		}
	}
	return "", errNotJSON
}

// escaped goes on reading a text whose first backslash was met; out is what came before it.
func (r *reader) escaped(out []byte) (string, error) {
	for r.at < len(r.in) {
		c := r.in[r.at]
		r.at++
		switch {
		case c == '"':
			return string(out), nil
		case c < ' ':
			return "", errNotJSON
		case c != '\\':
			out = append(out, c)
			continue
		}
		if r.at == len(r.in) {
			return "", errNotJSON
		}
		c = r.in[r.at]
		r.at++
		switch c {
		case '"', '\\', '/':
			out = append(out, c)
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			one, err := r.unicode()
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, one)
		default:
			return "", errNotJSON
		}
	}
	return "", errNotJSON
}

// unicode reads what follows `\u`: one character, of two units where it lies beyond the basic plane.
func (r *reader) unicode() (rune, error) {
	first, ok := r.unit()
	if !ok {
		return 0, errNotJSON
	}
	if !utf16.IsSurrogate(first) {
		return first, nil
	}
	if !r.word(`\u`) {
		return 0, errNotText
	}
	second, ok := r.unit()
	if !ok {
		return 0, errNotJSON
	}
	one := utf16.DecodeRune(first, second)
	if one == utf8.RuneError {
		return 0, errNotText
	}
	return one, nil
}

func (r *reader) unit() (rune, bool) {
	if len(r.in)-r.at < 4 {
		return 0, false
	}
	var n rune
	for _, c := range r.in[r.at : r.at+4] {
		switch {
		case '0' <= c && c <= '9':
			n = n<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			n = n<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			n = n<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	r.at += 4
	return n, true
}

// number reads a number: an int64 where it is written without fraction and exponent and fits, a float64 otherwise.
func (r *reader) number() (any, error) {
	start := r.at
	r.oneOf('-', '-')
	if !r.oneOf('0', '0') && r.digits() == 0 { // no leading zeros (RFC 8259 section 6)
		return nil, errNotJSON
	}
	integral := true
	if r.oneOf('.', '.') {
		integral = false
		if r.digits() == 0 {
			return nil, errNotJSON
		}
	}
	if r.oneOf('e', 'E') {
		integral = false
		r.oneOf('+', '-')
		if r.digits() == 0 {
			return nil, errNotJSON
		}
	}
	text := string(r.in[start:r.at])
	if integral {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n, nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // it is beyond what a float64 holds: how it is written was checked above
		return nil, errNumber
	}
	return f, nil
}

func (r *reader) oneOf(a, b byte) bool {
	if r.at < len(r.in) && (r.in[r.at] == a || r.in[r.at] == b) {
		r.at++
		return true
	}
	return false
}

func (r *reader) digits() int {
	start := r.at
	for r.at < len(r.in) && '0' <= r.in[r.at] && r.in[r.at] <= '9' {
		r.at++
	}
	return r.at - start
}
