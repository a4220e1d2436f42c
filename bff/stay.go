package bff

import (
	"context"
	"errors"
	"math"
	"net/http"
	"time"

	"cloakroom/internal/span"
	"cloakroom/session"
)

// maxStaying is how many streams and sockets one session may have open here: many for a person with many tabs, few for a
// replica.
const maxStaying = 100

// stay enters something that stays open after it was answered: an event stream or a WebSocket. Close waits until it leaves.
func (s *Server) stay(v visitor) (leave func(), refused *problem) {
	s.closing.Lock()
	defer s.closing.Unlock()
	if s.closed.Load() || s.streams.Err() != nil {
		return nil, &problem{name: problemDraining}
	}
	id := ""
	if v.session != nil {
		id = v.session.ID
		if s.staying[id] >= maxStaying {
			return nil, &problem{name: problemRateLimited, status: http.StatusTooManyRequests, retry: 5, err: errTooManyStaying}
		}
		s.staying[id]++
	}
	s.background.Add(1)
	return func() {
		defer s.background.Done()
		if id == "" {
			return
		}
		s.closing.Lock()
		defer s.closing.Unlock()
		if s.staying[id]--; s.staying[id] == 0 {
			delete(s.staying, id)
		}
	}, nil
}

var errTooManyStaying = errors.New("the session has too many streams and sockets open")

// EndStreams ends the event streams: the process takes no more connections, and they would hold up its end. Browsers come back,
// to another replica.
func (s *Server) EndStreams() { s.endStreams() }

// news is what happened to a session that something is open for.
type news struct {
	what    newsKind
	seconds int // with willEnd
}

type newsKind int

const (
	allIsWell newsKind = iota // it was looked at
	willEnd                   // by itself, unless it is used
	wasRefreshed
)

// How often a session is looked at while something is open for it, at least, and how long before its end that is told.
const (
	lookEvery = 15 * time.Second
	tellAhead = time.Minute
	lookTime  = 300 * time.Millisecond // how long a look may keep an end that was published meanwhile waiting
)

// attend follows the session behind something that stays open, until the session has ended, on whatever replica, or ctx has, or
// tell fails. It keeps the tokens fresh, as requests would, but is no activity itself: an open tab does not keep anyone
// signed in. Without a session it waits for ctx.
func (s *Server) attend(ctx context.Context, v visitor, tell func(news) error) (reason string, ended bool) {
	if v.session == nil {
		<-ctx.Done()
		return "", false
	}
	ctx = span.Without(ctx)
	changes, stop := s.sessions.Watch(v.session.ID) // before the first look: what ends in between is in either
	defer stop()
	current, told := v.session, time.Time{}
	look := time.NewTimer(0)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return "", false
		case change, open := <-changes:
			if !open || change.Kind == session.Ended {
				return change.Reason, true
			}
			if tell(news{what: wasRefreshed}) != nil {
				return "", false
			}
			look.Reset(0)
			continue
		case <-look.C:
		}
		found, err := s.look(ctx, v)
		switch {
		case err == nil:
			current = found
		case errors.Is(err, session.ErrNotFound):
			return s.whyEnded(current, changes), true
		case !s.now().Before(current.Expires): // which nothing moves, so nobody has to be asked
			return "expired", true
		}
		if tell(news{what: allIsWell}) != nil {
			return "", false
		}
		end := current.IdleExpires // never after the absolute one
		if left := end.Sub(s.now()); left > 0 && left <= tellAhead && !end.Equal(told) {
			told = end
			if tell(news{what: willEnd, seconds: int(math.Ceil(left.Seconds()))}) != nil {
				return "", false
			}
		}
		look.Reset(s.nextLook(current))
	}
}

// look loads the session and sees to its tokens. The error is that of session.Manager.Load.
func (s *Server) look(ctx context.Context, v visitor) (*session.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	found, err := s.sessions.Load(ctx, v.ticket)
	if err != nil {
		return nil, err
	}
	// A renewal goes on without us. One that comes to nothing is told of elsewhere, and one that was refused ends the session.
	if fresh, err := s.sessions.Fresh(ctx, v.ticket, found, 0); err == nil {
		return fresh, nil
	}
	return found, nil
}

// whyEnded is the reason for which a session that is gone has ended: the one that was published, where it was.
func (s *Server) whyEnded(last *session.Session, changes <-chan session.Change) string {
	wait := time.NewTimer(lookTime)
	defer wait.Stop()
	for now := s.now(); now.Before(last.IdleExpires); {
		select {
		case change, open := <-changes:
			if open && change.Kind != session.Ended {
				continue
			}
			if change.Reason != "" {
				return change.Reason
			}
			return "revoked"
		case <-wait.C:
			return "revoked"
		}
	}
	return "expired"
}

// nextLook is when to look again: soon before the token's end, and when the session's own is near or there.
func (s *Server) nextLook(current *session.Session) time.Duration {
	now, next := s.now(), s.lookEvery
	end := current.IdleExpires
	for _, at := range []time.Time{end.Add(-tellAhead), end, current.Expires} {
		if wait := at.Sub(now); wait > 0 {
			next = min(next, wait)
		}
	}
	if left := current.AccessExpiry.Sub(now); !current.AccessExpiry.IsZero() && left > 0 {
		next = min(next, left/2)
	}
	return max(next, s.lookEvery/15) // a second
}
