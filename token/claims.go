package token

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// MaxSize is how long a token, and a set of claims, may be, in bytes.
const MaxSize = 64 << 10

var errTooLong = errors.New("longer than 64 KiB")

// Claims is a JSON object of claims, decoded once by DecodeClaims: objects are map[string]any, arrays []any, integral
// numbers int64, other numbers float64. It is not changed after it was decoded.
type Claims map[string]any

// DecodeClaims reads one JSON object of claims and nothing after it. It refuses more than MaxSize bytes, nesting beyond
// 32 levels, a member name that occurs twice (RFC 7519 section 4), and text that is not Unicode. The errors hold no part of
// the input.
func DecodeClaims(raw []byte) (Claims, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("claims: %w", errTooLong)
	}
	object, err := readObject(raw)
	if err != nil {
		return nil, fmt.Errorf("claims: %w", err)
	}
	return object, nil
}

// EncodeClaims writes claims as one JSON object, its members sorted by name. It refuses more than MaxSize bytes.
func EncodeClaims(c Claims) ([]byte, error) {
	if c == nil {
		c = Claims{}
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false) // these bytes are signed, never put into a page
	if err := enc.Encode(map[string]any(c)); err != nil {
		return nil, fmt.Errorf("encode claims: %w", err)
	}
	if out.Len()-1 > MaxSize {
		return nil, fmt.Errorf("encode claims: %w", errTooLong)
	}
	return out.Bytes()[:out.Len()-1], nil // less the line's end that Encoder adds
}

// Text returns a string claim, "" where it is absent or of another type.
func (c Claims) Text(name string) string {
	s, _ := c[name].(string)
	return s
}

// Time returns a NumericDate claim (RFC 7519 section 2).
func (c Claims) Time(name string) (time.Time, bool) {
	switch n := c[name].(type) {
	case int64:
		return time.Unix(n, 0), true
	case float64:
		return time.Unix(int64(n), 0), true
	}
	return time.Time{}, false
}

// Strings returns a claim that is a string or a list of strings as a list; nil where it is anything else.
func (c Claims) Strings(name string) []string {
	switch v := c[name].(type) {
	case string:
		return []string{v}
	case []string:
		return v
	case []any:
		out := make([]string, 0, len(v))
		for _, one := range v {
			s, ok := one.(string)
			if !ok {
				return nil
			}
			out = append(out, s)
		}
		return out
	}
	return nil
}

// Audience returns `aud` as a list.
func (c Claims) Audience() []string { return c.Strings("aud") }
