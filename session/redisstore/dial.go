package redisstore

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"syscall"
	"time"
)

// dialer opens connections to Redis and to Sentinels alike; with TLS, the name checked is the one that was dialled.
//
// A connection that cannot be opened is returned all the same, and fails at its first use. The library's pool would count it
// otherwise, and, once there were as many as it has places, ask but once a second whether the server is back.
func dialer(security *security) func(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		if security == nil {
			conn, err := plain.DialContext(ctx, network, addr)
			if err != nil {
				return stillborn{err}, nil
			}
			return conn, nil
		}
		conn, err := (&tls.Dialer{NetDialer: plain, Config: security.now()}).DialContext(ctx, network, addr)
		if err != nil {
			return stillborn{err}, nil
		}
		return secured{conn.(*tls.Conn)}, nil
	}
}

// stillborn is a connection that could not be opened.
type stillborn struct{ err error }

func (c stillborn) Read([]byte) (int, error)         { return 0, c.err }
func (c stillborn) Write([]byte) (int, error)        { return 0, c.err }
func (c stillborn) Close() error                     { return nil }
func (c stillborn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c stillborn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c stillborn) SetDeadline(time.Time) error      { return nil }
func (c stillborn) SetReadDeadline(time.Time) error  { return nil }
func (c stillborn) SetWriteDeadline(time.Time) error { return nil }

// SyscallConn makes the pool throw it away where it was opened for someone who has gone.
func (c stillborn) SyscallConn() (syscall.RawConn, error) { return nil, c.err }

// secured is a TLS connection whose pool can see that it was closed while it was idle, as it can see it of a plain one. After
// a restart of Redis each of them would cost a request an error otherwise.
type secured struct{ *tls.Conn }

func (c secured) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.NetConn().(syscall.Conn).SyscallConn()
	return beneath{raw}, err
}

// beneath is the socket under TLS, for the pool's look at it. What has arrived there need not be an answer: it may be a session
// ticket (RFC 8446 section 4.6.1), or the word that the other side closes. The pool would read what it takes for an answer, and wait
// for it without end. A connection of which nobody awaits anything and to which something came is given up.
type beneath struct{ syscall.RawConn }

var errSpokenTo = errors.New("something came over an idle connection")

func (b beneath) Read(look func(fd uintptr) (done bool)) error {
	var spoken bool
	err := b.RawConn.Read(func(fd uintptr) bool {
		var first [1]byte
		n, _, err := syscall.Recvfrom(int(fd), first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if spoken = n > 0 && err == nil; spoken {
			return true
		}
		return look(fd)
	})
	if err == nil && spoken {
		return errSpokenTo
	}
	return err
}
