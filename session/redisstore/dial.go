package redisstore

import (
	"context"
	"crypto/tls"
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
	return c.NetConn().(syscall.Conn).SyscallConn()
}
