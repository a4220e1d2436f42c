package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strconv"

	"cloakroom/secret"
)

// The kinds of indexes. They are part of what is hashed.
const (
	bySubject     = "subject"
	byProviderSID = "provider-sid"
	byPart        = "part"     // everyone's, in parts
	everyone      = "everyone" // only ever buried
)

// parts is how many indexes share everyone's sessions, so that none of them grows without bounds in one place of a cluster.
const parts = 16

func partOf(key Key) string { return strconv.Itoa(int(key[0]) % parts) }

// indexKeys are the keys that names of indexes are hashed under: the first secret's first. Entries are made under that one
// and looked up under all, so that they are found throughout a change of secrets.
type indexKeys [][]byte

func newIndexKeys(ring *secret.Ring) indexKeys {
	var keys indexKeys
	for _, k := range ring.Keys() {
		keys = append(keys, k.Derive("session/index", nil, nil, sha256.Size))
	}
	return keys
}

// all returns the names that an index may have, the one to write to first.
func (keys indexKeys) all(kind, issuer, value string) []Index {
	var subject writer
	subject.text(kind)
	subject.text(issuer)
	subject.text(value)
	names := make([]Index, 0, len(keys))
	for _, key := range keys {
		mac := hmac.New(sha256.New, key)
		mac.Write(subject.buf)
		names = append(names, Index(base64.RawURLEncoding.EncodeToString(mac.Sum(nil))))
	}
	return names
}

// of lists the indexes that a session is entered in.
func (keys indexKeys) of(s *Session, key Key) []Index {
	in := []Index{keys.all(bySubject, s.Issuer, s.Subject)[0], keys.all(byPart, "", partOf(key))[0]}
	if s.ProviderSID != "" {
		in = append(in, keys.all(byProviderSID, s.Issuer, s.ProviderSID)[0])
	}
	return in
}

// burialsOf lists the indexes that may tell that a session was not to be any more.
func (keys indexKeys) burialsOf(s *Session) []Index {
	in := slices.Concat(keys.all(bySubject, s.Issuer, s.Subject), keys.all(everyone, "", ""))
	if s.ProviderSID != "" {
		in = append(in, keys.all(byProviderSID, s.Issuer, s.ProviderSID)...)
	}
	return in
}
