package bff

import (
	"crypto/rand"
	"encoding/binary"
	"io"
	"sync"
)

// frames follows the frames of a WebSocket as they pass (RFC 6455 section 5.2), just so far as to know where one ends: only
// between two frames may another be put in.
type frames struct {
	header [14]byte
	have   int    // bytes of header that are there; 0: between two frames
	left   uint64 // bytes of payload that are still to come
	closed bool   // a close frame passed: its sender says no more
}

const opClose = 8

// next takes the bytes of p up to the end of the frame under way, all of them where it does not end in p, and returns how many.
func (f *frames) next(p []byte) int {
	for i := 0; i < len(p); {
		if f.left > 0 {
			n := min(uint64(len(p)-i), f.left) //nolint:gosec // not below 0
			i, f.left = i+int(n), f.left-n     //nolint:gosec // at most len(p)
		} else {
			f.header[f.have] = p[i]
			i, f.have = i+1, f.have+1
			if f.have < f.headerLength() {
				continue
			}
			f.left = f.payloadLength()
		}
		if f.left == 0 {
			f.closed = f.closed || f.header[0]&0x0f == opClose
			f.have = 0
			return i
		}
	}
	return len(p)
}

func (f *frames) between() bool { return f.have == 0 }

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

// goodbye is why Cloakroom closes a WebSocket (RFC 6455 section 7.4).
type goodbye struct {
	code   uint16
	reason string
}

// frame is the close frame. Towards the upstream Cloakroom is the client, and clients mask what they send (section 5.3).
func (g goodbye) frame(masked bool) []byte {
	payload := append(binary.BigEndian.AppendUint16(nil, g.code), g.reason...)
	out := []byte{0x80 | opClose, byte(len(payload))} //nolint:gosec // reasons are ours, and short
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

// leg is one direction of a WebSocket: what one side said is written to the other, until Cloakroom has the last word.
type leg struct {
	to     io.Writer
	masked bool

	mu     sync.Mutex
	frames frames
	last   []byte // a close frame of ours, to follow the frame under way
	over   bool   // ours was sent: nothing follows it
}

// Write passes p on, or drops it once the last word was said.
func (l *leg) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := p; len(rest) > 0; {
		rest = rest[l.frames.next(rest):]
		if l.last == nil || l.over || l.frames.closed || !l.frames.between() {
			continue
		}
		if _, err := l.to.Write(p[:len(p)-len(rest)]); err != nil {
			return 0, err
		}
		if err := l.close(); err != nil {
			return 0, err
		}
	}
	if l.over {
		return len(p), nil
	}
	return l.to.Write(p)
}

// end says goodbye, as soon as no frame is under way. A side that was told that the other closes is told nothing more.
func (l *leg) end(g goodbye) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.frames.closed || l.last != nil {
		return
	}
	l.last = g.frame(l.masked)
	if l.frames.between() {
		_ = l.close() // a broken connection ends by itself
	}
}

func (l *leg) close() error {
	l.over = true
	_, err := l.to.Write(l.last)
	return err
}

// finished tells whether the side that this leg passes on has said its own last word.
func (l *leg) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames.closed
}
