package redisstore

import (
	"encoding/binary"
	"time"

	"cloakroom/session"
)

// A record is one string: what the scripts look at has a fixed place, so that reading a session is one GET.
//
//	0      layout
//	1..8   generation, big-endian like all numbers
//	9..16  idle, milliseconds since 1970
//	17..24 expires, likewise
//	25..28 length of tokens
//	29..   tokens, then info
const (
	layout  = 1
	headLen = 29
)

func encode(r session.Record) []byte {
	out := make([]byte, 0, headLen+len(r.Tokens)+len(r.Info))
	out = append(out, layout)
	out = binary.BigEndian.AppendUint64(out, r.Generation)
	out = append(out, milliseconds(r.Idle)...)
	out = append(out, milliseconds(r.Expires)...)
	out = binary.BigEndian.AppendUint32(out, uint32(len(r.Tokens)))
	out = append(out, r.Tokens...)
	return append(out, r.Info...)
}

func decode(raw []byte) (session.Record, error) {
	if len(raw) == 0 {
		return session.Record{}, session.ErrBroken
	}
	if raw[0] != layout {
		return session.Record{}, session.ErrNextRelease
	}
	if len(raw) < headLen {
		return session.Record{}, session.ErrBroken
	}
	body, tokens := raw[headLen:], uint64(binary.BigEndian.Uint32(raw[25:]))
	if tokens > uint64(len(body)) {
		return session.Record{}, session.ErrBroken
	}
	return session.Record{
		Generation: binary.BigEndian.Uint64(raw[1:]),
		Idle:       time.UnixMilli(int64(binary.BigEndian.Uint64(raw[9:]))),
		Expires:    time.UnixMilli(int64(binary.BigEndian.Uint64(raw[17:]))),
		Tokens:     body[:tokens:tokens],
		Info:       body[tokens:],
	}, nil
}

func milliseconds(t time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, uint64(max(t.UnixMilli(), 0)))
}

func generation(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
