package bff

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"cloakroom/internal/egress"
)

// transports are the connection pools to the upstreams: one for all routes that agree in TLS and timeout, so that
// routes to the same host share its connections.
type transports struct {
	dial  func(timeout time.Duration) *net.Dialer
	pools map[transportKey]*http.Transport
}

type transportKey struct {
	tls     *tls.Config
	timeout time.Duration
	once    bool
}

func newTransports(egress []netip.Prefix) transports {
	guard := egressGuard(egress)
	return transports{
		dial: func(timeout time.Duration) *net.Dialer {
			return &net.Dialer{Timeout: timeout, KeepAlive: 30 * time.Second, Control: guard}
		},
		pools: make(map[transportKey]*http.Transport),
	}
}

// of returns the pool for a route. timeout is to the first byte of a response: it bounds each step on the way there.
func (ts transports) of(tlsConfig *tls.Config, timeout time.Duration) *http.Transport {
	key := transportKey{tlsConfig, timeout, false}
	if pool := ts.pools[key]; pool != nil {
		return pool
	}
	pool := &http.Transport{
		Proxy:                  nil, // an upstream is reached directly, whatever the environment says
		DialContext:            ts.dial(min(timeout, 10*time.Second)).DialContext,
		TLSClientConfig:        tlsConfig.Clone(),
		TLSHandshakeTimeout:    min(timeout, 10*time.Second),
		ForceAttemptHTTP2:      true,
		DisableCompression:     true, // what the browser accepts is between it and the upstream
		MaxIdleConns:           0,    // bounded by MaxIdleConnsPerHost, hosts by the configuration
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        90 * time.Second,
		ResponseHeaderTimeout:  timeout,
		MaxResponseHeaderBytes: 256 << 10,
	}
	ts.pools[key] = pool
	return pool
}

// once returns what has a connection of its own for each request: for upgrades. A connection on which one was asked for never
// carries another request, whatever the upstream made of it (RFC 9931).
func (ts transports) once(tlsConfig *tls.Config, timeout time.Duration) *http.Transport {
	key := transportKey{tlsConfig, timeout, true}
	if single := ts.pools[key]; single != nil {
		return single
	}
	single := ts.of(tlsConfig, timeout).Clone()
	single.DisableKeepAlives = true
	ts.pools[key] = single
	return single
}

func (ts transports) closeIdle() {
	for _, pool := range ts.pools {
		pool.CloseIdleConnections()
	}
}

// errForbiddenAddress is the cause of a failed dial to an address that upstreams may not have.
var errForbiddenAddress = errors.New("link-local and metadata addresses are refused, unless limits.egress_allow lists them")

// egressGuard checks the address that is dialled, after the name was resolved: a name that changes its mind between a check
// and its use gains nothing.
func egressGuard(allow []netip.Prefix) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		target, err := netip.ParseAddrPort(address)
		if err != nil {
			return fmt.Errorf("dial address: %w", err)
		}
		if egress.ReachOf(target.Addr()) == egress.Never && !egress.Listed(target.Addr(), allow) {
			return errForbiddenAddress
		}
		return nil
	}
}
