package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// patience is how long a peer may take for the next piece, in either direction.
	patience = 30 * time.Second
	// piece is what is written under one deadline: a peer that takes less in patience (2 KiB a second) is too slow.
	piece = 64 << 10
	// renewal is how old a deadline may be before it is set anew: it spares a call for each small write.
	renewal = time.Second
)

// conn is a connection as a server sees it. What comes in passes heads; what goes out has a deadline that progress renews, so
// that a stream lives as long as it is taken and a reader who stopped does not hold what serves it. Once it is hijacked (a
// WebSocket) it does neither any more.
type conn struct {
	net.Conn
	patience time.Duration
	surplus  bool   // one too many
	released func() // called once, when it is closed
	closed   atomic.Bool

	heads    heads
	hijacked atomic.Bool
	others   atomic.Int64 // a handler's own deadline for writes, in Unix nanoseconds; 0: none
	renewed  atomic.Int64 // when the deadline for writes was, likewise
}

func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.hijacked.Load() {
		c.heads.read(p[:n])
	}
	return n, err
}

func (c *conn) Write(p []byte) (written int, err error) {
	if c.hijacked.Load() {
		return c.Conn.Write(p)
	}
	for {
		next := p[written:min(len(p), written+piece)]
		if err := c.renew(len(next) == piece); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(next)
		if written += n; err != nil || written == len(p) {
			return written, err
		}
	}
}

// renew gives the next write its time, or what a handler has set where that is less.
func (c *conn) renew(always bool) error {
	now := time.Now()
	if !always && now.Sub(time.Unix(0, c.renewed.Load())) < min(renewal, c.patience/4) {
		return nil
	}
	c.renewed.Store(now.UnixNano())
	deadline := now.Add(c.patience)
	if others := c.others.Load(); others != 0 && others < deadline.UnixNano() {
		deadline = time.Unix(0, others)
	}
	return c.Conn.SetWriteDeadline(deadline)
}

// SetWriteDeadline is called by handlers, and by net/http, which takes a handler's deadline back after its request.
func (c *conn) SetWriteDeadline(t time.Time) error {
	c.renewed.Store(0)
	c.others.Store(0)
	if !t.IsZero() {
		c.others.Store(t.UnixNano())
	}
	return c.Conn.SetWriteDeadline(t)
}

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.Conn.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) Close() error {
	if c.closed.CompareAndSwap(false, true) {
		c.released()
	}
	return c.Conn.Close()
}

// CloseWrite lets net/http say that it has said everything, before it hangs up on somebody who still sends.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

// tlsConn is a conn over TLS: net/http finds out by these methods, and speaks HTTP/2 over it where that was agreed on.
type tlsConn struct {
	*conn
	tls *tls.Conn
}

func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

func (c *tlsConn) HandshakeContext(ctx context.Context) error {
	err := c.tls.HandshakeContext(ctx)
	if err == nil && c.tls.ConnectionState().NegotiatedProtocol == "h2" {
		c.heads.at = nowhere
	}
	return err
}

// turn is told by the server what becomes of a connection.
func turn(nc net.Conn, state http.ConnState) {
	if state != http.StateHijacked {
		return
	}
	switch c := nc.(type) {
	case *conn:
		c.hijacked.Store(true)
	case *tlsConn:
		c.hijacked.Store(true)
	}
}
