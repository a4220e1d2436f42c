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
// info's, which opens with the server's secret alone, for whoever has only the handle.
//
// An envelope is a version byte and what secret.Ring sealed. Version, key of the record and generation are authenticated
// with it: an envelope is of no use in another record, nor beside one of another generation. Whoever can write to the
// store can still put back a whole record as it was before, up to its end; nothing in it would tell.
type envelopes struct{ ring *secret.Ring }

// Purposes of sealing, and the version of what is in the envelopes. A release reads the versions of the one before it.
const (
	tokensPurpose = "session/tokens"
	infoPurpose   = "session/info"
	version       = 1
)

// errVersion: the record is of a release that this one does not know. It may be the next one, in a rolling upgrade.
var errVersion = fmt.Errorf("%w: record of an unknown version", ErrUnavailable)

func (e envelopes) seal(key Key, ticket Ticket, s *Session, idle time.Time) (Record, error) {
	info, err := writeInfo(s)
	if err != nil {
		return Record{}, fmt.Errorf("seal session: %w", err)
	}
	context := binding(key, s.Generation)
	return Record{
		Generation: s.Generation,
		Tokens:     slices.Concat([]byte{version}, e.ring.Seal(tokensPurpose, ticket[:], context, writeTokens(s.Tokens))),
		Info:       slices.Concat([]byte{version}, e.ring.Seal(infoPurpose, nil, context, info)),
		Idle:       idle,
		Expires:    s.Expires,
	}, nil
}

// open reads a record. Without a ticket, the session has no tokens. The error is errVersion or why it does not open.
func (e envelopes) open(key Key, ticket *Ticket, r Record) (*Session, error) {
	plain, err := e.unseal(infoPurpose, nil, key, r.Generation, r.Info)
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
	if ticket == nil {
		return s, nil
	}
	if plain, err = e.unseal(tokensPurpose, ticket[:], key, r.Generation, r.Tokens); err != nil {
		return nil, fmt.Errorf("open tokens: %w", err)
	}
	if s.Tokens, err = readTokens(plain); err != nil {
		return nil, fmt.Errorf("read tokens: %w", err)
	}
	s.Tokens.Expiry, s.Tokens.Scope = s.AccessExpiry, s.Scope
	return s, nil
}

func (e envelopes) unseal(purpose string, extra []byte, key Key, generation uint64, envelope []byte) ([]byte, error) {
	if len(envelope) == 0 {
		return nil, errors.New("empty")
	}
	if envelope[0] != version {
		return nil, errVersion
	}
	return e.ring.Open(purpose, extra, binding(key, generation), envelope[1:])
}

// binding is what an envelope is authenticated with.
func binding(key Key, generation uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{version}, key[:]...), generation)
}

func writeTokens(t Tokens) []byte {
	var w writer
	w.text(t.Access.Reveal())
	w.text(t.Refresh.Reveal())
	w.text(t.ID.Reveal())
	return w.buf
}

func readTokens(plain []byte) (Tokens, error) {
	r := reader{buf: plain}
	t := Tokens{Access: secret.Text(r.text()), Refresh: secret.Text(r.text()), ID: secret.Text(r.text())}
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
	for _, claims := range []token.Claims{s.Access, s.Identity} {
		if claims == nil {
			w.text("")
			continue
		}
		encoded, err := token.EncodeClaims(claims)
		if err != nil {
			return nil, err
		}
		w.text(string(encoded))
	}
	return w.buf, nil
}

func readInfo(plain []byte, s *Session) error {
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
	for _, claims := range []*token.Claims{&s.Access, &s.Identity} {
		encoded := r.bytes()
		if len(encoded) == 0 {
			continue
		}
		var err error
		if *claims, err = token.DecodeClaims(encoded); err != nil {
			return err
		}
	}
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
