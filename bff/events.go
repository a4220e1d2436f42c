package bff

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
)

// events tells the SPA what becomes of its session, as it happens (server-sent events, HTML section 9.2).
func (s *Server) events(c echo.Context, v visitor) {
	w, r := c.Response(), c.Request()
	leave, refused := s.stay(v)
	if refused != nil {
		s.refuse(w, r, *refused)
		return
	}
	defer leave()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	stop := context.AfterFunc(s.streams, cancel)
	defer stop()

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // or nginx would keep events back
	w.WriteHeader(http.StatusOK)
	stream := http.NewResponseController(w)
	say := func(text string) error {
		// A browser that takes longer for an event than it is to the next one is gone. Between events there is no deadline:
		// HTTP/2 resets a stream whose deadline passes, written to or not.
		_ = stream.SetWriteDeadline(time.Now().Add(s.lookEvery))
		defer func() { _ = stream.SetWriteDeadline(time.Time{}) }()
		if _, err := fmt.Fprint(w, text); err != nil {
			return err
		}
		return stream.Flush()
	}
	if say("retry: 2000\n\n") != nil {
		return
	}
	reason, ended := s.attend(ctx, v, func(n news) error {
		switch n.what {
		case willEnd:
			return say(fmt.Sprintf("event: session-ending\ndata: {\"seconds\":%d}\n\n", n.seconds))
		case wasRefreshed:
			return say("event: session-refreshed\ndata: {}\n\n")
		default:
			return say(":\n\n") // so that nothing in between takes the stream for dead
		}
	})
	if ended && reason != replaced { // otherwise the browser comes back, with the cookie of the later session
		_ = say(fmt.Sprintf("event: session-ended\ndata: {\"reason\":%q}\n\n", reason))
	}
}
