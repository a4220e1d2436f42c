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

// time keeps milliseconds; the zero time stays that.
func (w *writer) time(t time.Time) {
	if t.IsZero() {
		w.number(0)
		return
	}
	w.number(uint64(max(t.UnixMilli(), 0)) + 1)
}

// reader reads what writer wrote. The first thing that does not fit makes it answer zero values from there on.
type reader struct {
	buf []byte
	bad bool
}

var errContent = errors.New("content of an envelope is not what this version writes")

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.buf)
	if size <= 0 {
		r.buf, r.bad = nil, true
		return 0
	}
	r.buf = r.buf[size:]
	return n
}

func (r *reader) bytes() []byte {
	n := r.number()
	if n > uint64(len(r.buf)) {
		r.buf, r.bad = nil, true
		return nil
	}
	out := r.buf[:n]
	r.buf = r.buf[n:]
	return out
}

func (r *reader) text() string { return string(r.bytes()) }

func (r *reader) time() time.Time {
	n := r.number()
	if n == 0 || n-1 > 1<<62 {
		return time.Time{}
	}
	return time.UnixMilli(int64(n - 1))
}

// end tells whether everything fitted and nothing is left.
func (r *reader) end() error {
	if r.bad || len(r.buf) > 0 {
		return errContent
	}
	return nil
}
