package bff

import (
	"crypto/rand"
	"encoding/binary"
)

// The opcodes that mean something here (RFC 6455 section 5.2).
const (
	opContinuation = 0x0
	opControl      = 0x8 // and above
	opClose        = 0x8
	opPing         = 0x9
)

const maxControl = 125 // bytes of payload (RFC 6455 section 5.5)

// frames follows the frames of a WebSocket as they pass (RFC 6455 section 5.2), just so far as to know where one ends, since only
// between two frames may another be put in, and how much was announced.
type frames struct {
	limit int64 // bytes of payload of one message; 0: none

	header  [14]byte
	have    int    // bytes of a header that are there, and not yet passed on
	left    uint64 // bytes of payload that are still to come
	message uint64 // bytes of payload that the frames of the message under way announced
	closed  bool   // a close frame came: its sender says no more
	tooBig  bool   // a frame went over the limit: nothing of it, nor after it, is passed on
}

// next takes from p what belongs to the frame under way: n bytes, of which passed is to be passed on. A header is passed on whole, when
// all of it is there and within the limit.
func (f *frames) next(p []byte) (passed []byte, n int) {
	if f.left > 0 {
		n = int(min(uint64(len(p)), f.left)) //nolint:gosec // at most len(p)
		f.left -= uint64(n)                  //nolint:gosec // not below 0
		passed = p[:n]
	} else {
		for n < len(p) && f.have < f.headerLength() {
			f.header[f.have] = p[n]
			f.have, n = f.have+1, n+1
		}
		if f.have < f.headerLength() {
			return nil, n
		}
		passed = f.header[:f.have]
		f.have, f.left = 0, f.payloadLength()
		f.measure()
	}
	if f.left == 0 && f.op() == opClose {
		f.closed = true
	}
	if f.tooBig {
		passed = nil
	}
	return passed, n
}

// measure holds the frame that begins against the limit. Sizes are those that are announced, so that nothing too long is begun.
func (f *frames) measure() {
	switch {
	case f.limit == 0:
	case f.op() >= opControl:
		f.tooBig = f.tooBig || f.left > maxControl
	default:
		if f.op() != opContinuation {
			f.message = 0
		}
		if limit := uint64(f.limit); f.left > limit-f.message { //nolint:gosec // not below 0
			f.tooBig = true
		} else {
			f.message += f.left
		}
	}
}

// op is the opcode of the frame under way, or of the last one.
func (f *frames) op() byte { return f.header[0] & 0x0f }

// between tells whether nothing was passed on of a frame that is not at its end.
func (f *frames) between() bool { return f.left == 0 || f.tooBig }

// passedClose tells whether a close frame was passed on.
func (f *frames) passedClose() bool { return f.closed && !f.tooBig }

// headerLength is how long the header is, as far as what is there of it tells.
func (f *frames) headerLength() int {
	if f.have < 2 {
		return 2
	}
	length := 2
	switch f.header[1] & 0x7f {
	case 126:
		length += 2
	case 127:
		length += 8
	}
	if f.header[1]&0x80 != 0 {
		length += 4 // the mask
	}
	return length
}

func (f *frames) payloadLength() uint64 {
	switch length := f.header[1] & 0x7f; length {
	case 126:
		return uint64(binary.BigEndian.Uint16(f.header[2:4]))
	case 127:
		return binary.BigEndian.Uint64(f.header[2:10])
	default:
		return uint64(length)
	}
}

// controlFrame is a whole frame without fragments. Towards the upstream Cloakroom is the client, and clients mask what they send
// (RFC 6455 section 5.3).
func controlFrame(op byte, payload []byte, masked bool) []byte {
	out := []byte{0x80 | op, byte(len(payload))} //nolint:gosec // at most maxControl
	if !masked {
		return append(out, payload...)
	}
	var mask [4]byte
	_, _ = rand.Read(mask[:])
	out[1] |= 0x80
	out = append(out, mask[:]...)
	for i, b := range payload {
		out = append(out, b^mask[i%4])
	}
	return out
}

// goodbye is why Cloakroom closes a WebSocket (RFC 6455 section 7.4).
type goodbye struct {
	code   uint16
	reason string // short
}

func (g goodbye) frame(masked bool) []byte {
	return controlFrame(opClose, append(binary.BigEndian.AppendUint16(nil, g.code), g.reason...), masked)
}
