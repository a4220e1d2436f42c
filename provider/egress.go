package provider

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"cloakroom/internal/egress"
)

// errEgress: an address that Cloakroom does not connect to. It holds no address, since names of internal hosts are
// nothing for a log that a provider's metadata can write to.
var errEgress = errors.New("the address is link-local, a metadata service's, or inside while the issuer is outside")

// boundary decides, by the address that is really dialled (so also after DNS rebinding), where connections may go
// (security.md D9). Hosts that the configuration names may be inside; hosts that only the provider's metadata names may
// be inside only where the issuer is.
type boundary struct {
	dialer net.Dialer
	issuer string // host

	mu       sync.Mutex
	allow    []netip.Prefix // listed by the operator
	named    map[string]bool
	issuerAt netip.Addr // where the issuer was last reached
}

func newBoundary(cfg Config, issuer *url.URL) *boundary {
	e := &boundary{allow: cfg.Egress, issuer: hostOf(issuer), named: map[string]bool{}}
	e.dialer = net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}
	e.name(issuer)
	for _, raw := range cfg.Endpoints {
		if u, err := url.Parse(raw); err == nil {
			e.name(u)
		}
	}
	if at, err := netip.ParseAddr(e.issuer); err == nil {
		e.issuerAt = at
	}
	return e
}

// AllowEgress puts another list in the place of Config.Egress. Connections that are idle are given up: what they lead to may
// no longer be listed.
func (p *Provider) AllowEgress(allow []netip.Prefix) {
	p.client.egress.mu.Lock()
	p.client.egress.allow = allow
	p.client.egress.mu.Unlock()
	p.client.transport.CloseIdleConnections()
}

// name records a host that the configuration (or the environment, for a proxy) names.
func (e *boundary) name(u *url.URL) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.named[hostOf(u)] = true
}

func (e *boundary) isNamed(host string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.named[strings.ToLower(host)]
}

// DialContext is the transport's.
func (e *boundary) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	named := e.isNamed(host)
	d := e.dialer
	d.Control = func(_, resolved string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(resolved)
		if err != nil || !e.permits(named, at.Addr()) {
			return errEgress
		}
		return nil
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if strings.EqualFold(host, e.issuer) {
		if at, err := netip.ParseAddrPort(conn.RemoteAddr().String()); err == nil {
			e.mu.Lock()
			e.issuerAt = at.Addr()
			e.mu.Unlock()
		}
	}
	return conn, nil
}

// permits tells whether an address may be dialled for a host that the configuration does, or does not, name.
func (e *boundary) permits(named bool, at netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if egress.Listed(at, e.allow) {
		return true
	}
	reach := egress.ReachOf(at)
	if reach == egress.Never || reach == egress.Outside {
		return reach == egress.Outside
	}
	if named {
		return true
	}
	return e.issuerAt.IsValid() && egress.ReachOf(e.issuerAt) <= reach
}

func hostOf(u *url.URL) string { return strings.ToLower(u.Hostname()) }
