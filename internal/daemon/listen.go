package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// listener hands out connections, guarded, and no more at a time than may be open, so that there are descriptors left for
// upstreams, store and providers. What comes beyond that waits; where nothing has become free for fullFor, a few more at a time are
// taken, marked as surplus, to be told to come back later.
type listener struct {
	net.Listener
	patience time.Duration
	places   chan struct{}
	surplus  chan struct{} // nil: there are none
	full     bool          // nothing became free for fullFor; of Accept, which one goroutine calls
	ending   chan struct{}
	end      sync.Once
}

const (
	fullFor = time.Second
	// surplusShare is what part of its connections a listener may have beside them, to turn others away.
	surplusShare = 8
)

func newListener(inner net.Listener, l Listener) *listener {
	most := cmp.Or(l.MaxConnections, mostConnections())
	made := &listener{Listener: inner, patience: l.Patience, places: make(chan struct{}, most), ending: make(chan struct{})}
	if l.Busy != nil {
		made.surplus = make(chan struct{}, max(most/surplusShare, 1))
	}
	return made
}

func (l *listener) Accept() (net.Conn, error) {
	accepted, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	place, err := l.place()
	if err != nil {
		_ = accepted.Close()
		return nil, err
	}
	c := &conn{Conn: accepted, patience: l.patience, surplus: place == l.surplus, released: func() { <-place }}
	if over, ok := accepted.(*tls.Conn); ok {
		return &tlsConn{c, over}, nil
	}
	return c, nil
}

// place waits for one, and returns what it must be given back to.
func (l *listener) place() (chan struct{}, error) {
	select {
	case l.places <- struct{}{}:
		l.full = false
		return l.places, nil
	default:
	}
	if !l.full {
		waited := time.NewTimer(fullFor)
		defer waited.Stop()
		select {
		case l.places <- struct{}{}:
			return l.places, nil
		case <-waited.C:
			l.full = true
		case <-l.ending:
			return nil, net.ErrClosed
		}
	}
	select {
	case l.places <- struct{}{}:
		l.full = false
		return l.places, nil
	case l.surplus <- struct{}{}:
		return l.surplus, nil
	case <-l.ending:
		return nil, net.ErrClosed
	}
}

// crowded tells whether few places are left. Then nobody keeps one for a next request.
func (l *listener) crowded() bool { return len(l.places) > cap(l.places)*3/4 }

func (l *listener) Close() error {
	l.end.Do(func() { close(l.ending) })
	return l.Listener.Close()
}

type surplusConn struct{}

// mark notes in the context of a connection's requests that it is one too many.
func mark(ctx context.Context, nc net.Conn) context.Context {
	var c *conn
	switch nc := nc.(type) {
	case *conn:
		c = nc
	case *tlsConn:
		c = nc.conn
	}
	if c != nil && c.surplus {
		return context.WithValue(ctx, surplusConn{}, true)
	}
	return ctx
}

// shed has the surplus told to come back later, and every answer be its connection's last where few places are left.
func (l *listener) shed(next, busy http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Context().Value(surplusConn{}) != nil:
			w.Header().Set("Connection", "close")
			busy.ServeHTTP(w, r)
			return
		case l.crowded() && r.Header.Get("Upgrade") == "":
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// share is what part of all descriptors one listener may have: a request on the public one takes another towards its upstream,
// and the internal one and the rest of the process want theirs.
const share = 4

// mostConnections is how many connections a listener may have, by the process's own limit.
func mostConnections() int {
	const fallback, most = 1 << 10, 1 << 20
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fallback
	}
	return int(min(max(limit.Cur/share, 16), most))
}
