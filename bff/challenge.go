package bff

import "strings"

// challenge is what a Bearer challenge says (RFC 6750 section 3, RFC 9470 section 3).
type challenge struct{ err, acrValues, maxAge string }

const maxChallenge = 4 << 10

// parseBearerChallenge reads the first Bearer challenge of WWW-Authenticate headers, whichever others stand around it
// (RFC 9110 section 11.6.1). What cannot be read is left out: the headers are an upstream's.
func parseBearerChallenge(headers []string) challenge {
	for _, header := range headers {
		if len(header) > maxChallenge {
			continue
		}
		if found, ok := bearerChallenge(header); ok {
			return found
		}
	}
	return challenge{}
}

func bearerChallenge(s string) (found challenge, ok bool) {
	for s = strings.TrimLeft(s, ", \t"); s != ""; s = strings.TrimLeft(s, ", \t") {
		word, rest := cutToken(s)
		if word == "" {
			return found, ok
		}
		value, after, isParam := cutParam(rest)
		if !isParam { // a scheme: ours begins, or ends
			if ok {
				return found, true
			}
			ok = strings.EqualFold(word, "Bearer")
			s = skipToken68(rest)
			continue
		}
		s = after
		if !ok {
			continue
		}
		switch strings.ToLower(word) {
		case "error":
			found.err = value
		case "acr_values":
			found.acrValues = printable(value)
		case "max_age":
			if strings.Trim(value, "0123456789") == "" && len(value) <= 10 {
				found.maxAge = value
			}
		}
	}
	return found, ok
}

func cutToken(s string) (word, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
	})
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// cutParam reads `= value` or `= "value"`, with the white space that RFC 9110 section 11.2 still allows.
func cutParam(s string) (value, rest string, ok bool) {
	s = strings.TrimLeft(s, " \t")
	if s, ok = strings.CutPrefix(s, "="); !ok {
		return "", "", false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, value != ""
	}
	var unquoted strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return unquoted.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
		}
		unquoted.WriteByte(s[i])
	}
	return "", "", false
}

// skipToken68 passes over the credentials-like form of a challenge ("Negotiate abc==").
func skipToken68(s string) string {
	rest := strings.TrimLeft(strings.TrimLeft(s, " \t"), token68)
	rest = strings.TrimLeft(strings.TrimLeft(rest, "="), " \t")
	if rest == "" || rest[0] == ',' {
		return rest
	}
	return s // it was the name of a parameter
}

const token68 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"

// printable returns s when it may stand in a login_url: short, and ASCII without surprises.
func printable(s string) string {
	if len(s) > 512 {
		return ""
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return ""
		}
	}
	return s
}
