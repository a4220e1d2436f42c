package bff

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// frameOf is a WebSocket frame with a payload of n bytes.
func frameOf(op byte, n int, masked bool) []byte {
	out := []byte{0x80 | op, 0}
	switch {
	case n < 126:
		out[1] = byte(n)
	case n < 1<<16:
		out[1] = 126
		out = binary.BigEndian.AppendUint16(out, uint16(n))
	default:
		out[1] = 127
		out = binary.BigEndian.AppendUint64(out, uint64(n))
	}
	if masked {
		out[1] |= 0x80
		out = append(out, 1, 2, 3, 4)
	}
	return append(out, bytes.Repeat([]byte{0x88}, n)...) // a payload that looks like close frames
}

func TestALegKeepsFramesWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		masked := random.IntN(2) == 0
		var all []byte
		ends, begun := []int{0}, []int{} // of frames; begun: where the header is whole, and passes
		for range 1 + random.IntN(4) {
			size := []int{0, 1, 125, 126, 300, 70000}[random.IntN(6)]
			all = append(all, frameOf(byte(1+random.IntN(2)), size, masked)...)
			begun = append(begun, len(all)-size)
			ends = append(ends, len(all))
		}
		var out bytes.Buffer
		l := &leg{to: &out, masked: !masked}
		cut := random.IntN(len(all) + 1) // so much has passed when Cloakroom has to close
		for sent := 0; sent < cut; {
			n := min(1+random.IntN(200), cut-sent)
			if _, err := l.Write(all[sent : sent+n]); err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		l.end(goingAway)
		l.end(sessionEnded) // too late
		for sent := cut; sent < len(all); {
			n := min(1+random.IntN(100_000), len(all)-sent)
			if _, err := l.Write(all[sent : sent+n]); err != nil {
				t.Fatal(err)
			}
			sent += n
		}
		want := 0
		for i, header := range begun {
			if cut >= header {
				want = ends[i+1]
			}
		}
		got := out.Bytes()
		if !bytes.Equal(got[:want], all[:want]) {
			t.Fatalf("what came before the close frame was changed")
		}
		rest := got[want:]
		if len(rest) < 2 || rest[0] != 0x88 {
			t.Fatalf("cut at %d of %v: no close frame, but %x", cut, ends, rest[:min(len(rest), 16)])
		}
		payload := rest[2:]
		if l.masked {
			mask := payload[:4]
			payload = payload[4:]
			for i := range payload {
				payload[i] ^= mask[i%4]
			}
		}
		if binary.BigEndian.Uint16(payload) != 1001 || string(payload[2:]) != goingAway.reason || int(rest[1]&0x7f) != len(payload) {
			t.Fatalf("the close frame says %x", payload)
		}
	}
}

func TestALegSaysNothingAfterTheOtherSidesClose(t *testing.T) {
	var out bytes.Buffer
	l := &leg{to: &out}
	last := frameOf(opClose, 2, false)
	if _, err := l.Write(last); err != nil || !l.finished() {
		t.Fatalf("a close frame passed: %v, %v", err, l.finished())
	}
	l.end(goingAway)
	if !bytes.Equal(out.Bytes(), last) {
		t.Errorf("after it: %x", out.Bytes())
	}
}

// A message is measured by what its frames announce, before any of it passes.
func TestD10_AMessageHasALimit(t *testing.T) {
	const fin, text, continued = 0x80, 1, opContinuation
	for name, c := range map[string]struct {
		frames [][]byte // of them all but the last pass
		tooBig bool
	}{
		"at the limit":                   {[][]byte{frameOf(text, 300, true)}, false},
		"one more":                       {[][]byte{frameOf(text, 301, true)}, true},
		"in two frames":                  {[][]byte{unfinished(text, 200), frameOf(continued, 100, true)}, false},
		"in two frames, one more":        {[][]byte{unfinished(text, 200), frameOf(continued, 101, true)}, true},
		"with a ping in between":         {[][]byte{unfinished(text, 200), frameOf(opPing, 125, true), frameOf(continued, 100, true)}, false},
		"two messages":                   {[][]byte{frameOf(text, 300, true), frameOf(text, 300, true)}, false},
		"2^63 bytes":                     {[][]byte{frameOf(text, 1, true), {fin | text, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}}, true},
		"2^64-1 bytes after a beginning": {[][]byte{unfinished(text, 299), {fin, 0xff, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2, 3, 4}}, true},
		"a ping of 126 bytes":            {[][]byte{frameOf(text, 1, true), frameOf(opPing, 126, true)}, true},
	} {
		for _, step := range []int{1, 7, 1000} {
			var out bytes.Buffer
			var refused []goodbye
			l := &leg{to: &out, masked: true, frames: frames{limit: 300}, refuse: func(g goodbye) { refused = append(refused, g) }}
			all := bytes.Join(append(c.frames, frameOf(text, 1, true)), nil)
			want := all
			if c.tooBig {
				want = bytes.Join(c.frames[:len(c.frames)-1], nil)
			}
			for rest := all; len(rest) > 0; {
				n := min(step, len(rest))
				if _, err := l.Write(rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if !bytes.Equal(out.Bytes(), want) {
				t.Errorf("%s, %d bytes at a time: passed %d bytes, not %d", name, step, out.Len(), len(want))
			}
			if c.tooBig != (len(refused) == 1 && refused[0] == messageTooBig) {
				t.Errorf("%s, %d bytes at a time: refused %v", name, step, refused)
			}
			if l.end(messageTooBig); out.Bytes()[len(want)] != 0x80|opClose {
				t.Errorf("%s, %d bytes at a time: no close frame follows", name, step)
			}
		}
	}
}

// unfinished is a frame that others continue.
func unfinished(op byte, n int) []byte {
	frame := frameOf(op, n, true)
	frame[0] &^= 0x80
	return frame
}

func TestAPingStandsBetweenFrames(t *testing.T) {
	var out bytes.Buffer
	l := &leg{to: &out}
	frame := frameOf(1, 300, false)
	ping := []byte{0x80 | opPing, 0}
	write := func(p []byte) {
		t.Helper()
		if _, err := l.Write(p); err != nil {
			t.Fatal(err)
		}
	}
	l.ask()
	write(frame[:2]) // not the whole header: nothing of it passed
	l.ask()
	write(frame[2:100])
	l.ask()
	l.ask() // one will do
	write(frame[100:])
	write(frameOf(opClose, 2, false))
	l.ask()
	if want := bytes.Join([][]byte{ping, ping, frame, ping, frameOf(opClose, 2, false)}, nil); !bytes.Equal(out.Bytes(), want) {
		t.Errorf("passed %x", out.Bytes())
	}
	if n := l.pinged.Load(); n != 3 {
		t.Errorf("%d pings are said to have been sent", n)
	}
}
