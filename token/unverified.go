package token

import (
	"encoding/base64"
	"strings"
)

// Header is what a token's header says that matters here.
type Header struct {
	Algorithm, KeyID string
	Type             string // `typ` in lower case, without "application/"
}

const (
	maxHeader = 4 << 10 // bytes, decoded
	maxKeyID  = 512
)

// Unverified is a token that was read but not verified. Until Verify has returned without error, nothing in it may be
// believed; it tells who claims to have issued it, so that the right keys and rules can be chosen.
type Unverified struct {
	raw    string
	header Header
	claims Claims
}

// Read takes a signed token in compact form (RFC 7515 section 7.1) apart: three parts, counted before anything is split,
// each of canonical base64url. Everything else is refused with an *Invalid: encrypted and nested tokens, the JSON
// serialisations, more than MaxSize bytes, JSON that could be read in two ways, headers with `crit` or with a key.
func Read(raw string) (*Unverified, error) {
	first, second, err := dots(raw)
	if err != nil {
		return nil, err
	}
	if len(raw)-second == 1 {
		return nil, invalid("no signature")
	}
	header, err := readHeader(raw[:first])
	if err != nil {
		return nil, err
	}
	payload, err := decodePart(raw[first+1 : second])
	if err != nil {
		return nil, err
	}
	if _, err := decodePart(raw[second+1:]); err != nil {
		return nil, err
	}
	claims, err := readObject(payload)
	if err != nil {
		return nil, invalid("claims: " + err.Error())
	}
	return &Unverified{raw: raw, header: header, claims: claims}, nil
}

// Inspect reads a token WITHOUT verifying it, to find out whose it claims to be and nothing else. A caller that goes on to
// verify it saves a second decoding with Read.
func Inspect(raw string) (Header, Claims, error) {
	u, err := Read(raw)
	if err != nil {
		return Header{}, nil, err
	}
	return u.header, u.claims, nil
}

// Header returns the header, unverified.
func (u *Unverified) Header() Header { return u.header }

// Claims returns the claims, unverified.
func (u *Unverified) Claims() Claims { return u.claims }

// Issuer returns `iss`, unverified.
func (u *Unverified) Issuer() string { return u.claims.Text("iss") }

// dots finds the two dots of a compact token in one bounded pass that allocates nothing.
func dots(raw string) (first, second int, err error) {
	if len(raw) > MaxSize {
		return 0, 0, invalid(errTooLong.Error())
	}
	if raw == "" {
		return 0, 0, invalid("empty")
	}
	if strings.Count(raw, ".") != 2 {
		return 0, 0, invalid("not a signed token of three parts")
	}
	return strings.IndexByte(raw, '.'), strings.LastIndexByte(raw, '.'), nil
}

// decodePart decodes one part. Strict, and without the line ends that the decoder would skip: one token has one spelling, so
// that it cannot be presented twice under two hashes.
func decodePart(part string) ([]byte, error) {
	if strings.ContainsAny(part, "\r\n") {
		return nil, invalid("not base64url")
	}
	out, err := strictBase64.DecodeString(part)
	if err != nil {
		return nil, invalid("not base64url")
	}
	return out, nil
}

var strictBase64 = base64.RawURLEncoding.Strict()

func readHeader(part string) (Header, error) {
	if base64.RawURLEncoding.DecodedLen(len(part)) > maxHeader {
		return Header{}, invalid("header too long")
	}
	raw, err := decodePart(part)
	if err != nil {
		return Header{}, err
	}
	object, err := readObject(raw)
	if err != nil {
		return Header{}, invalid("header: " + err.Error())
	}
	if _, there := object["crit"]; there { // no extension is understood (RFC 7515 section 4.1.11)
		return Header{}, invalid("crit: an extension that is not understood")
	}
	for _, name := range []string{"jwk", "x5c"} { // keys come from the issuer's set alone; `jku` and `x5u` are never read
		if _, there := object[name]; there {
			return Header{}, invalid("brings its own key")
		}
	}
	for _, name := range []string{"b64", "enc", "zip"} {
		if _, there := object[name]; there {
			return Header{}, invalid("not a plain signed token")
		}
	}
	var h Header
	var ok bool
	if h.Algorithm, ok = object["alg"].(string); !ok || h.Algorithm == "" {
		return Header{}, invalid("no alg")
	}
	if kid, there := object["kid"]; there {
		if h.KeyID, ok = kid.(string); !ok || len(h.KeyID) > maxKeyID {
			return Header{}, invalid("kid is not a short string")
		}
	}
	if typ, there := object["typ"]; there {
		if h.Type, ok = typ.(string); !ok || h.Type == "" {
			return Header{}, invalid("typ is not a string")
		}
		h.Type = mediaType(h.Type)
	}
	return h, nil
}

// mediaType drops what a `typ` may leave out (RFC 7515 section 4.1.9).
func mediaType(typ string) string {
	return strings.TrimPrefix(strings.ToLower(typ), "application/")
}
