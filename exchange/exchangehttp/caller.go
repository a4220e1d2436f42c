package exchangehttp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cloakroom/exchange"
	"cloakroom/secret"
	"cloakroom/token"
)

// Caller is a service that may call, and how it proves who it is.
type Caller struct {
	ID      string
	Secrets []secret.Text // any of them; several while one is being changed
	Keys    token.Keys    // its public keys, for private_key_jwt; nil: it has none
}

// callers authenticates.
type callers struct {
	digests map[string][][sha256.Size]byte
	decoys  [][sha256.Size]byte // for a client that does not exist

	assertions *assertions
}

// newCallers gives every client the same number of secrets to compare with, so that neither that number nor whether
// there is such a client shows in the time an answer takes.
func newCallers(of []Caller) (*callers, error) {
	most := 1
	for _, c := range of {
		most = max(most, len(c.Secrets))
	}
	known := &callers{digests: map[string][][sha256.Size]byte{}, decoys: padded(nil, most)}
	for _, c := range of {
		if _, twice := known.digests[c.ID]; twice || c.ID == "" || c.ID == exchange.RouteClient {
			return nil, fmt.Errorf("client %q: empty, taken, or reserved", c.ID)
		}
		var digests [][sha256.Size]byte
		for _, s := range c.Secrets {
			if s == "" {
				return nil, fmt.Errorf("client %q: an empty secret", c.ID)
			}
			digests = append(digests, sha256.Sum256([]byte(s.Reveal())))
		}
		known.digests[c.ID] = padded(digests, most)
	}
	return known, nil
}

func padded(digests [][sha256.Size]byte, n int) [][sha256.Size]byte {
	for len(digests) < n {
		var nobodys [sha256.Size]byte
		_, _ = rand.Read(nobodys[:]) // a digest that no secret is known to have
		digests = append(digests, nobodys)
	}
	return digests
}

// check compares a secret with all of the client's, in time that depends on neither.
func (c *callers) check(id, given string) bool {
	digests, known := c.digests[id]
	if !known {
		digests = c.decoys
	}
	is, found := sha256.Sum256([]byte(given)), 0
	for i := range digests {
		found |= subtle.ConstantTimeCompare(is[:], digests[i][:])
	}
	return found == 1 && known
}

// authenticate finds out who asks (RFC 6749 section 2.3). Exactly one method may be used: a request with two could mean
// one client to us and another to who reads it after us.
func (c *callers) authenticate(r *http.Request, f form) (string, *exchange.Error) {
	headers := r.Header.Values("Authorization")
	inBody, asserted := f.text("client_secret") != "", f.text("client_assertion") != "" || f.text("client_assertion_type") != ""
	methods := len(headers)
	for _, used := range []bool{inBody, asserted} {
		if used {
			methods++
		}
	}
	switch {
	case methods == 0:
		return "", unauthenticated("no credentials")
	case methods > 1:
		return "", bad("use one method of client authentication")
	case asserted:
		return c.assertions.authenticate(r.Context(), f)
	}
	id, given := f.text("client_id"), f.text("client_secret")
	if len(headers) == 1 {
		var ok bool
		if id, given, ok = basic(headers[0]); !ok {
			return "", unauthenticated("the Authorization header is not Basic credentials")
		}
		if named := f.text("client_id"); named != "" && named != id {
			return "", bad("client_id is not the client that authenticates")
		}
	}
	if !c.check(id, given) {
		return "", unauthenticated("unknown client, or wrong secret")
	}
	return id, nil
}

// basic reads credentials, both halves form-encoded before they were joined (RFC 6749 section 2.3.1).
func basic(header string) (id, given string, ok bool) {
	scheme, encoded, ok := strings.Cut(header, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(encoded))
	if err != nil {
		return "", "", false
	}
	id, given, ok = strings.Cut(string(raw), ":")
	if !ok {
		return "", "", false
	}
	var errID, errSecret error
	id, errID = url.QueryUnescape(id)
	given, errSecret = url.QueryUnescape(given)
	return id, given, errID == nil && errSecret == nil && id != "" && given != ""
}

func unauthenticated(reason string) *exchange.Error {
	return &exchange.Error{Code: exchange.InvalidClient, Description: "client authentication failed", Err: errors.New("client: " + reason)}
}
