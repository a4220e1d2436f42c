package daemon

import (
	"crypto/tls"
	"net"
	"sync"
	"syscall"
	"time"
)

// listener hands out connections, guarded, and no more at a time than may be open: what comes beyond that waits to be accepted,
// so that there are descriptors left for upstreams, store and providers.
type listener struct {
	net.Listener
	patience time.Duration
	places   chan struct{}
	ending   chan struct{}
	end      sync.Once
}

func newListener(inner net.Listener, most int, patience time.Duration) *listener {
	return &listener{Listener: inner, patience: patience, places: make(chan struct{}, most), ending: make(chan struct{})}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case l.places <- struct{}{}:
	case <-l.ending:
		return nil, net.ErrClosed
	}
	accepted, err := l.Listener.Accept()
	if err != nil {
		<-l.places
		return nil, err
	}
	c := &conn{Conn: accepted, patience: l.patience, released: func() { <-l.places }}
	if over, ok := accepted.(*tls.Conn); ok {
		return &tlsConn{c, over}, nil
	}
	return c, nil
}

func (l *listener) Close() error {
	l.end.Do(func() { close(l.ending) })
	return l.Listener.Close()
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
