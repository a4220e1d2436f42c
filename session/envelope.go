package session

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// envelopes seals sessions into records and opens them. A record has two: the tokens', which opens with the server's
// secret and the ticket together, so that neither what is in the store nor that and the secrets yield a token; and the
// info's, which opens with the server's secret alone, for whoever has only the handle. Where a refresh token is to be
// revoked without the ticket, it is in a third one as well, beside the info's.
//
// An envelope is a version byte and what secret.Ring sealed. Version, key of the record and generation are authenticated
// with it: an envelope is of no use in another record, nor beside one of another generation. Whoever can write to the
// store can still put back a whole record as it was before, up to its end; nothing in it would tell.
type envelopes struct {
	ring   *secret.Ring
	press  *press
	revoke bool // whether there is a third one
}

// Purposes of sealing, and the version of what is in the envelopes. A release reads the versions of the one before it.
const (
	tokensPurpose     = "session/tokens"
	infoPurpose       = "session/info"
	revocationPurpose = "session/revocation"
	version           = 1
)

// seal makes the record of a session that has all its tokens.
func (e envelopes) seal(key Key, ticket Ticket, s *Session, idle time.Time) (Record, error) {
	info, err := writeInfo(s)
	if err != nil {
		return Record{}, fmt.Errorf("seal session: %w", err)
	}
	context := binding(key, s.Generation)
	var revocation []byte
	if e.revoke && s.Tokens.Refresh != "" {
		var w writer
		w.token(s.Tokens.Refresh)
		revocation = e.ring.Seal(revocationPurpose, nil, context, w.buf)
	}
	beside := writer{buf: []byte{version}}
	beside.bytes(revocation)
	return Record{
		Generation: s.Generation,
		Tokens:     slices.Concat([]byte{version}, e.ring.Seal(tokensPurpose, ticket[:], context, e.press.press(writeTokens(s.Tokens)))),
		Info:       slices.Concat(beside.buf, e.ring.Seal(infoPurpose, nil, context, e.press.press(info))),
		Idle:       idle,
		Expires:    s.Expires,
	}, nil
}

// how much of a record is wanted.
type depth int

const (
	bare  depth = iota // no tokens, which need a ticket
	usual              // the access token
	whole              // all tokens
)

// open reads a record. The error is ErrNextRelease or why it does not open.
func (e envelopes) open(key Key, ticket *Ticket, r Record, d depth) (*Session, error) {
	_, sealed, err := besides(r.Info)
	if err != nil {
		return nil, fmt.Errorf("open info: %w", err)
	}
	plain, err := e.unseal(infoPurpose, nil, key, r.Generation, sealed)
	if err != nil {
		return nil, fmt.Errorf("open info: %w", err)
	}
	s := &Session{ID: key.String(), Generation: r.Generation}
	if err := readInfo(plain, s); err != nil {
		return nil, fmt.Errorf("read info: %w", err)
	}
	if !s.Expires.Equal(r.Expires.Truncate(time.Millisecond)) {
		return nil, errors.New("absolute end is not the one that was sealed")
	}
	s.weight = 3 * len(plain)
	if d == bare {
		return s, nil
	}
	if sealed, err = unversioned(r.Tokens); err == nil {
		plain, err = e.unseal(tokensPurpose, ticket[:], key, r.Generation, sealed)
	}
	if err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	if s.Tokens, err = readTokens(plain, d); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	s.Tokens.Expiry, s.Tokens.Scope = s.AccessExpiry, s.Scope
	s.weight += len(s.Tokens.Access)
	return s, nil
}

// refreshToken is what the third envelope holds; "" where there is none, or it does not open.
func (e envelopes) refreshToken(key Key, r Record) secret.Text {
	revocation, _, err := besides(r.Info)
	if err != nil || len(revocation) == 0 {
		return ""
	}
	plain, err := e.ring.Open(revocationPurpose, nil, binding(key, r.Generation), revocation)
	if err != nil {
		return ""
	}
	content := reader{buf: string(plain)}
	t := content.token()
	if content.end() != nil {
		return ""
	}
	return t
}

func (e envelopes) unseal(purpose string, extra []byte, key Key, generation uint64, sealed []byte) (string, error) {
	content, err := e.ring.Open(purpose, extra, binding(key, generation), sealed)
	if err != nil {
		return "", err
	}
	return e.press.release(content)
}

func unversioned(envelope []byte) ([]byte, error) {
	if len(envelope) == 0 {
		return nil, errors.New("empty")
	}
	if envelope[0] != version {
		return nil, ErrNextRelease
	}
	return envelope[1:], nil
}

// besides takes apart what a record has for whoever comes without a ticket.
func besides(info []byte) (revocation, sealed []byte, err error) {
	rest, err := unversioned(info)
	if err != nil {
		return nil, nil, err
	}
	n, size := binary.Uvarint(rest)
	if size <= 0 || n > uint64(len(rest)-size) {
		return nil, nil, errContent
	}
	rest = rest[size:]
	return rest[:n], rest[n:], nil
}

// binding is what an envelope is authenticated with.
func binding(key Key, generation uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{version}, key[:]...), generation)
}

func writeTokens(t Tokens) []byte {
	var w writer
	w.token(t.Access)
	w.token(t.Refresh)
	w.token(t.ID)
	return w.buf
}

func readTokens(plain string, d depth) (Tokens, error) {
	r := reader{buf: plain}
	if d == usual {
		t := Tokens{Access: r.token()}
		if r.bad {
			return Tokens{}, errContent
		}
		return t, nil
	}
	t := Tokens{Access: r.token(), Refresh: r.token(), ID: r.token()}
	return t, r.end()
}

const flagRefreshable = 1

func writeInfo(s *Session) ([]byte, error) {
	var w writer
	for _, text := range []string{s.Provider, s.Issuer, s.Subject, s.ProviderSID, s.UserAgent, s.Address, strings.Join(s.FromUserInfo, " "), s.Scope.String()} {
		w.text(text)
	}
	for _, at := range []time.Time{s.Created, s.Expires, s.AuthTime, s.AccessExpiry, s.renewed} {
		w.time(at)
	}
	flags := uint64(0)
	if s.Refreshable {
		flags |= flagRefreshable
	}
	w.number(flags)
	w.text(s.intent.by)
	w.time(s.intent.until)
	for _, claims := range []token.Claims{s.Access, s.Identity} {
		if err := w.claims(claims); err != nil {
			return nil, err
		}
	}
	return w.buf, nil
}

func readInfo(plain string, s *Session) error {
	r := reader{buf: plain}
	for _, text := range []*string{&s.Provider, &s.Issuer, &s.Subject, &s.ProviderSID, &s.UserAgent, &s.Address} {
		*text = r.text()
	}
	if names := r.text(); names != "" {
		s.FromUserInfo = strings.Fields(names)
	}
	s.Scope = token.ParseScope(r.text())
	for _, at := range []*time.Time{&s.Created, &s.Expires, &s.AuthTime, &s.AccessExpiry, &s.renewed} {
		*at = r.time()
	}
	s.Refreshable = r.number()&flagRefreshable != 0
	s.intent = intent{by: r.text(), until: r.time()}
	s.Access, s.Identity = r.claims(), r.claims()
	return r.end()
}

// bindingClaims tie a token to the one response that brought it. They were checked then, and mean nothing afterwards.
var bindingClaims = []string{"nonce", "at_hash", "c_hash", "s_hash"}

// unbound returns the claims without bindingClaims.
func unbound(c token.Claims) token.Claims {
	if c == nil {
		return nil
	}
	out := maps.Clone(c)
	for _, name := range bindingClaims {
		delete(out, name)
	}
	return out
}
