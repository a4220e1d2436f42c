package bff

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// followFunc has cut called when the session behind an answer ends. Whoever called it calls done once the answer is over: after that
// cut is not called any more.
type followFunc func(ctx context.Context, cut func()) (done func())

// followAfter is how long an answer has to be open before the session behind it is followed: hardly any is, and those cost a timer.
const followAfter = 500 * time.Millisecond

// follow is the followFunc of a visitor with a session.
func (s *Server) follow(ctx context.Context, v visitor, cut func()) (done func()) {
	leave := make(chan func(), 1)
	timer := time.AfterFunc(followAfter, func() {
		ctx, cancel := context.WithCancel(ctx)
		over := make(chan struct{})
		defer close(over)
		leave <- func() { cancel(); <-over }
		if _, ended := s.attend(ctx, v, func(news) error { return nil }); ended {
			cut()
		}
	})
	return func() {
		if !timer.Stop() {
			(<-leave)()
		}
	}
}

// stream is the body of an answer whose length nobody knows: events, or whatever else an upstream goes on to say. At the end
// of the session behind it, it breaks off, so that the browser does not take it for complete.
type stream struct {
	io.ReadCloser
	ended atomic.Bool
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.ended.Load() {
		return 0, context.Canceled // which ReverseProxy does not take for a fault of the upstream
	}
	return n, err
}

func (s *stream) cut() {
	s.ended.Store(true)
	_ = s.Close() // wakes whoever reads
}

// follow sees to it that an answer does not outlive the session behind it. One of known length, a download, goes on to its end.
func (p *passage) follow(res *http.Response) {
	if p.fwd.Follow == nil || res.ContentLength >= 0 {
		return
	}
	body := &stream{ReadCloser: res.Body}
	res.Body = body
	p.followed = p.fwd.Follow(p.r.Context(), body.cut)
}
