package session

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/gorilla/securecookie"

	"cloakroom/secret"
)

// Codec turns bytes into the value of one cookie and back: `v1.<key id>.<securecookie>`, encrypted and authenticated
// together with the cookie's name and age, under keys derived from the configured secrets.
type Codec struct {
	name  string
	first string // id of the secret that encodes
	byID  map[string]*securecookie.SecureCookie
}

// ErrForeignCookie: no configured secret opens the value as one of this cookie, or it is older than the cookie may get.
var ErrForeignCookie = errors.New("session: not a cookie of ours")

const (
	cookieVersion = "v1"
	maxCookie     = 4096 // what browsers keep of a cookie
)

// NewCodec makes the codec of the cookie of that name, as the browser sends it. Values older than maxAge do not open.
func NewCodec(name string, maxAge time.Duration, ring *secret.Ring) *Codec {
	c := &Codec{name: name, first: ring.First().ID(), byID: map[string]*securecookie.SecureCookie{}}
	for _, k := range ring.Keys() {
		sc := securecookie.New(k.Derive("cookie/authentication", nil, nil, 32), k.Derive("cookie/encryption", nil, nil, 32))
		sc.SetSerializer(securecookie.NopEncoder{}) // the default is gob, which must not meet what a browser sends
		sc.MaxAge(int(maxAge.Seconds()))            // the default is 30 days
		sc.MaxLength(maxCookie)
		c.byID[k.ID()] = sc
	}
	return c
}

// Encode returns the cookie's value for raw, under the first secret.
func (c *Codec) Encode(raw []byte) (string, error) {
	// A copy, because with NopEncoder the library encrypts in place.
	value, err := c.byID[c.first].Encode(c.name, bytes.Clone(raw))
	if err != nil {
		return "", fmt.Errorf("encode cookie: %w", err)
	}
	return cookieVersion + "." + c.first + "." + value, nil
}

// Decode reverses Encode. stale tells that the value is under a secret that is no longer the first: encode it anew. The
// error is ErrForeignCookie.
func (c *Codec) Decode(value string) (raw []byte, stale bool, err error) {
	if len(value) > maxCookie {
		return nil, false, ErrForeignCookie
	}
	version, rest, _ := strings.Cut(value, ".")
	id, sealed, _ := strings.Cut(rest, ".")
	sc := c.byID[id]
	if version != cookieVersion || sc == nil {
		return nil, false, ErrForeignCookie
	}
	if err := sc.Decode(c.name, sealed, &raw); err != nil {
		return nil, false, ErrForeignCookie // the library's reason would tell a forger how far it got
	}
	return raw, id != c.first, nil
}
