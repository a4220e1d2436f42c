package daemon

import (
	"io"
	"net/http"
	"sync"
	"time"
)

// slowest is how many bytes a second of a body have to come, on the average of the time spent waiting for them.
const slowest = 256

// paced gives what a client sends and takes its time, renewed by progress: a body that stops, or that comes by drops, ends with
// os.ErrDeadlineExceeded; a stream of HTTP/2 whose reader opens no window is reset. (What an HTTP/1 client does not take, conn
// ends.) Time that the handler takes does not count.
//
// It also closes the connection after requests behind which heads cannot find the next one.
func paced(next http.Handler, patience time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 && (r.ProtoMinor == 0 || len(r.TransferEncoding) > 0) {
			w.Header().Set("Connection", "close")
		}
		control := http.NewResponseController(w)
		if r.Body != nil && r.Body != http.NoBody {
			body := &pacedBody{body: r.Body, set: control.SetReadDeadline, patience: patience, stream: r.ProtoMajor == 2}
			defer body.leave()
			if r.ProtoMajor == 1 {
				body.begin(time.Now()) // what the handler does not read, net/http does
			}
			with := *r // the server looks at its own again
			with.Body = body
			r = &with
			w = &answerTo{w, body}
		}
		if r.ProtoMajor == 2 {
			stream := &pacedStream{ResponseWriter: w, set: control.SetWriteDeadline, patience: patience}
			defer stream.leave()
			w = stream
		}
		next.ServeHTTP(w, r)
	})
}

// pacedBody is a request's body. A transport may read it on another goroutine, even after the handler has returned: then the
// deadlines are the next request's.
type pacedBody struct {
	body     io.ReadCloser
	patience time.Duration
	stream   bool // of HTTP/2, where a deadline that passes between two reads ends the body all the same

	mu       sync.Mutex
	set      func(time.Time) error
	own      time.Time // deadline that the handler has set
	left     bool
	waited   time.Duration
	received int64
}

func (b *pacedBody) Read(p []byte) (int, error) {
	began := time.Now()
	b.begin(began)
	n, err := b.body.Read(p)
	b.end(n, time.Since(began))
	return n, err
}

func (b *pacedBody) begin(now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.left {
		return
	}
	allowance := b.patience + time.Duration(b.received)*time.Second/slowest - b.waited
	deadline := now.Add(min(allowance, b.patience))
	if !b.own.IsZero() && b.own.Before(deadline) {
		deadline = b.own
	}
	_ = b.set(deadline) // of a connection that is gone: the read says so
}

func (b *pacedBody) end(n int, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.received += int64(n)
	b.waited += took
	if b.stream && !b.left {
		_ = b.set(b.own)
	}
}

func (b *pacedBody) setOwn(t time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.own = t
	return b.set(t)
}

func (b *pacedBody) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.left = true
}

func (b *pacedBody) Close() error { return b.body.Close() }

// answerTo is the answer to a request with a body.
type answerTo struct {
	http.ResponseWriter
	body *pacedBody
}

func (a *answerTo) SetReadDeadline(t time.Time) error { return a.body.setOwn(t) }

// Unwrap lets http.ResponseController reach everything else.
func (a *answerTo) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// pacedStream is the answer on a stream of HTTP/2.
type pacedStream struct {
	http.ResponseWriter
	set      func(time.Time) error
	patience time.Duration
	own      time.Time // deadline that the handler has set
}

func (s *pacedStream) Write(p []byte) (written int, err error) {
	for {
		next, n := p[written:min(len(p), written+piece)], 0
		s.within(func() { n, err = s.ResponseWriter.Write(next) })
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

func (s *pacedStream) FlushError() (err error) {
	s.within(func() { err = http.NewResponseController(s.ResponseWriter).Flush() })
	return err
}

// within lets write have its time, or what is left of the handler's own. Between writes there is no deadline of ours: events
// may be far apart.
func (s *pacedStream) within(write func()) {
	deadline := time.Now().Add(s.patience)
	if !s.own.IsZero() && s.own.Before(deadline) {
		deadline = s.own
	}
	_ = s.set(deadline)
	write()
	_ = s.set(s.own)
}

func (s *pacedStream) SetWriteDeadline(t time.Time) error {
	s.own = t
	return s.set(t)
}

// leave gives what is still buffered its time, too.
func (s *pacedStream) leave() { _ = s.set(time.Now().Add(s.patience)) }

// Unwrap lets http.ResponseController reach everything else.
func (s *pacedStream) Unwrap() http.ResponseWriter { return s.ResponseWriter }
