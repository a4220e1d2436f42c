package bff

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// upload is a request's body on its way to an upstream. It ends at the route's limit, and gives up on an upstream that takes
// no more of it for the route's timeout; a slow client is the server's business, its time does not count.
// The transport may read it on another goroutine, also after the handler returned.
type upload struct {
	body     io.ReadCloser
	left     int64
	timeout  time.Duration
	stalled  *time.Timer
	answered atomic.Bool
	tooLarge atomic.Bool
	broken   atomic.Pointer[readError] // why the rest of it cannot be had from the client
}

func newUpload(body io.ReadCloser, limit int64, timeout time.Duration, cancel context.CancelCauseFunc) *upload {
	return &upload{
		body:    body,
		left:    limit,
		timeout: timeout,
		stalled: time.AfterFunc(timeout, func() { cancel(errUpstreamStall) }),
	}
}

func (b *upload) Read(into []byte) (int, error) {
	b.stalled.Stop()
	defer b.watch()
	if int64(len(into)) > b.left+1 {
		into = into[:b.left+1] // one more than allowed, to tell the end from too much
	}
	n, err := b.body.Read(into)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, http.ErrBodyReadAfterClose) { // closed by the transport, which has an answer
		b.broken.CompareAndSwap(nil, &readError{err})
	}
	if int64(n) > b.left {
		b.tooLarge.Store(true)
		n, err = int(b.left), errBodyTooLarge
	}
	b.left -= int64(n)
	return n, err
}

// readError is what reading the client's body failed with.
type readError struct{ error }

func (e *readError) Error() string { return "read the client's body: " + e.error.Error() }
func (e *readError) Unwrap() error { return e.error }

// clientsFault is why the body did not come as it should have, where the client is there to be told: what was sent is no
// chunk, or came too slowly. nil: none, or the client is gone.
func (b *upload) clientsFault(ctx context.Context) error {
	if b == nil || b.broken.Load() == nil {
		return nil
	}
	err := b.broken.Load()
	if ctx.Err() != nil && !errors.Is(err, os.ErrDeadlineExceeded) { // behind a deadline the server sees a client that is gone
		return nil
	}
	return err
}

// watch waits for the upstream again, unless it has answered already.
func (b *upload) watch() {
	b.stalled.Reset(b.timeout)
	if b.answered.Load() {
		b.stalled.Stop()
	}
}

// done ends the watch: the upstream answered, or the request is over.
func (b *upload) done() {
	b.answered.Store(true)
	b.stalled.Stop()
}

func (b *upload) Close() error { return b.body.Close() }
