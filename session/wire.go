package session

import (
	"encoding/binary"
	"errors"
	"time"
)

// writer builds the plain content of an envelope: numbers as varints, texts behind their length.
type writer struct{ buf []byte }

func (w *writer) number(n uint64) { w.buf = binary.AppendUvarint(w.buf, n) }

func (w *writer) text(s string) {
	w.number(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *writer) bytes(b []byte) {
	w.number(uint64(len(b)))
	w.buf = append(w.buf, b...)
}

// time keeps milliseconds; the zero time stays that.
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.number(0)
		return
	}
	w.number(uint64(max(t.UnixMilli(), 0)) + 1)
}

// reader reads what writer wrote. The texts it returns are parts of buf, so that what is read is one piece of memory. The
// first thing that does not fit makes it answer zero values from there on.
type reader struct {
	buf string
	bad bool
}

var errContent = errors.New("content of an envelope is not what this version writes")

func (r *reader) number() uint64 {
	var n uint64
	for i := 0; i < len(r.buf) && i < binary.MaxVarintLen64; i++ {
		b := r.buf[i]
		if b < 0x80 {
			if i == binary.MaxVarintLen64-1 && b > 1 {
				break // more than 64 bits
			}
			r.buf = r.buf[i+1:]
			return n | uint64(b)<<(7*i)
		}
		n |= uint64(b&0x7f) << (7 * i)
	}
	r.fail()
	return 0
}

func (r *reader) text() string {
	n := r.number()
	if n > uint64(len(r.buf)) {
		r.fail()
		return ""
	}
	out := r.buf[:n]
	r.buf = r.buf[n:]
	return out
}

// many reads how many things follow, each of which takes a byte at least.
func (r *reader) many() int {
	n := r.number()
	if n > uint64(len(r.buf)) {
		r.fail()
		return 0
	}
	return int(n)
}

func (r *reader) time() time.Time {
	n := r.number()
	if n == 0 || n-1 > 1<<62 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n - 1))
}

func (r *reader) fail() { r.buf, r.bad = "", true }

// end tells whether everything fitted and nothing is left.
func (r *reader) end() error {
	if r.bad || len(r.buf) > 0 {
		return errContent
	}
	return nil
}
