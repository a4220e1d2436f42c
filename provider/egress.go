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
)

// errEgress: an address that Cloakroom does not connect to. It holds no address, since names of internal hosts are
// nothing for a log that a provider's metadata can write to.
var errEgress = errors.New("the address is link-local, a metadata service's, or inside while the issuer is outside")

// egress decides, by the address that is really dialled (so also after DNS rebinding), where connections may go
// (security.md D9). Hosts that the configuration names may be inside; hosts that only the provider's metadata names may
// be inside only where the issuer is.
type egress struct {
	allow  []netip.Prefix
	dialer net.Dialer
	issuer string // host

	mu       sync.Mutex
	named    map[string]bool
	issuerAt netip.Addr // where the issuer was last reached
}

func newEgress(cfg Config, issuer *url.URL) *egress {
	e := &egress{allow: cfg.Egress, issuer: hostOf(issuer), named: map[string]bool{}}
	e.dialer = net.Dialer{Timeout: cfg.Timeout, KeepAlive: 30 * time.Second}
	e.name(issuer)
	for _, raw := range cfg.Endpoints {
		if u, err := url.Parse(raw); err == nil {
			e.name(u)
		}
	}
	if at, err := netip.ParseAddr(e.issuer); err == nil {
		e.issuerAt = plain(at)
	}
	return e
}

// name records a host that the configuration (or the environment, for a proxy) names.
func (e *egress) name(u *url.URL) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.named[hostOf(u)] = true
}

func (e *egress) isNamed(host string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.named[strings.ToLower(host)]
}

// DialContext is the transport's.
func (e *egress) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
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
			e.issuerAt = plain(at.Addr())
			e.mu.Unlock()
		}
	}
	return conn, nil
}

// permits tells whether an address may be dialled for a host that the configuration does, or does not, name.
func (e *egress) permits(named bool, at netip.Addr) bool {
	at = plain(at)
	for _, one := range e.allow {
		if one.Contains(at) {
			return true
		}
	}
	switch reachOf(at) {
	case reachNever:
		return false
	case reachOutside:
		return true
	}
	if named {
		return true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.issuerAt.IsValid() && reachOf(e.issuerAt) <= reachOf(at)
}

// reach says how far inside an address is.
type reach int

const (
	reachNever   reach = iota - 1 // link-local, metadata, multicast
	reachHost                     // this machine
	reachPrivate                  // this network
	reachOutside
)

// insidePrefixes are private, but not by netip's IsPrivate: RFC 6598, and benchmarking (RFC 2544).
var insidePrefixes = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15")}

// metadataServices are the clouds' that are not link-local: AWS over IPv6, Alibaba, Azure's wire server, Oracle.
var metadataServices = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"), netip.MustParseAddr("100.100.100.200"),
	netip.MustParseAddr("168.63.129.16"), netip.MustParseAddr("192.0.0.192"),
}

func reachOf(at netip.Addr) reach {
	for _, one := range metadataServices {
		if at == one {
			return reachNever
		}
	}
	switch {
	case at.IsLinkLocalUnicast(), at.IsMulticast():
		return reachNever
	case at.IsLoopback(), at.IsUnspecified(): // connecting to 0.0.0.0 reaches this machine
		return reachHost
	case at.IsPrivate(), insidePrefixes[0].Contains(at), insidePrefixes[1].Contains(at):
		return reachPrivate
	}
	return reachOutside
}

var nat64 = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052: the last four bytes are an IPv4 address

// plain strips the disguises of an address: zone, IPv4 mapped into IPv6, NAT64.
func plain(at netip.Addr) netip.Addr {
	at = at.WithZone("").Unmap()
	if nat64.Contains(at) {
		raw := at.As16()
		return netip.AddrFrom4([4]byte(raw[12:]))
	}
	return at
}

func hostOf(u *url.URL) string { return strings.ToLower(u.Hostname()) }
