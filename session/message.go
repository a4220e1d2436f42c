package session

import "bytes"

// message is what replicas tell each other. It says nothing that whoever reads the store's keys does not know.
type message struct {
	kind   byte
	from   replica
	nonce  nonce  // of a proof
	key    Key    // of a session that changed
	reason string // of its end
}

// The kinds of messages. A replica passes over what it does not know: it may be of another release.
const (
	proofMessage   = 'p'
	endedMessage   = 'e'
	renewedMessage = 'r'
)

const (
	messageVersion = 1
	maxReason      = 32
)

// replica is a process, by a name it gave itself.
type replica [8]byte

type nonce [16]byte

func (m message) encode() []byte {
	out := append([]byte{messageVersion, m.kind}, m.from[:]...)
	if m.kind == proofMessage {
		return append(out, m.nonce[:]...)
	}
	out = append(out, m.key[:]...)
	return append(out, bounded(m.reason, maxReason)...)
}

// decodeMessage reads a message, which anyone who can write to the store may have sent.
func decodeMessage(raw []byte) (m message, ok bool) {
	const head = 2 + len(m.from)
	if len(raw) < head || raw[0] != messageVersion {
		return message{}, false
	}
	m.kind, m.from = raw[1], replica(raw[2:head])
	rest := raw[head:]
	switch m.kind {
	case proofMessage:
		if len(rest) != len(m.nonce) {
			return message{}, false
		}
		m.nonce = nonce(rest)
		return m, true
	case endedMessage, renewedMessage:
		if len(rest) < len(m.key) || len(rest) > len(m.key)+maxReason || !plain(rest[len(m.key):]) {
			return message{}, false
		}
		m.key, m.reason = Key(rest[:len(m.key)]), string(rest[len(m.key):])
		return m, true
	}
	return message{}, false
}

// plain tells whether the text is a word as reasons are.
func plain(text []byte) bool {
	return len(bytes.Trim(text, "abcdefghijklmnopqrstuvwxyz-")) == 0
}
