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
		ends := []int{0}
		for range 1 + random.IntN(4) {
			all = append(all, frameOf(byte(1+random.IntN(2)), []int{0, 1, 125, 126, 300, 70000}[random.IntN(6)], masked)...)
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
		for _, end := range ends {
			if want = end; end >= cut {
				break
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
