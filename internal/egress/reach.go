package egress

import (
	"net/netip"
	"slices"
)

// Reach says how far inside an address lies.
type Reach int

// From the innermost to the outside. Never is for addresses that are called only where the operator lists them.
const (
	Never   Reach = iota - 1 // link-local, a metadata service's, multicast
	Host                     // this machine
	Private                  // this network
	Outside
)

// metadataServices are the clouds' that are not link-local.
var metadataServices = []netip.Addr{
	netip.MustParseAddr("fd00:ec2::254"),   // AWS
	netip.MustParseAddr("fd20:ce::254"),    // Google
	netip.MustParseAddr("100.100.100.200"), // Alibaba
	netip.MustParseAddr("168.63.129.16"),   // Azure
	netip.MustParseAddr("192.0.0.192"),     // Oracle
}

// insidePrefixes are private, but not by netip's IsPrivate: RFC 6598, and benchmarking (RFC 2544).
var insidePrefixes = []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("198.18.0.0/15")}

// disguises are the IPv6 prefixes behind which an IPv4 address stands, and at which byte of the whole it begins: a gateway or relay of
// the network takes what is sent there to the IPv4 address.
var disguises = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052 section 2.1
	{netip.MustParsePrefix("64:ff9b:1::/48"), 12},  // NAT64 of the network's own, RFC 8215
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated, RFC 6145
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291 section 2.5.5.1; :: and ::1 are themselves
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
}

// broadcast reaches whoever is on the network.
var broadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// ReachOf tells the reach of an address, whatever its disguise.
func ReachOf(at netip.Addr) Reach {
	at = Plain(at)
	if slices.Contains(metadataServices, at) {
		return Never
	}
	switch {
	case at.IsLinkLocalUnicast(), at.IsMulticast(), at == broadcast:
		return Never
	case at.IsLoopback(), at.IsUnspecified(): // connecting to 0.0.0.0 reaches this machine
		return Host
	case at.IsPrivate(), insidePrefixes[0].Contains(at), insidePrefixes[1].Contains(at):
		return Private
	}
	return Outside
}

// Plain strips the disguises of an address: zone, IPv4 mapped into IPv6 (RFC 4291), or behind one of disguises.
func Plain(at netip.Addr) netip.Addr {
	at = at.WithZone("").Unmap()
	if !at.Is6() || at.IsUnspecified() || at.IsLoopback() {
		return at
	}
	for _, one := range disguises {
		if one.prefix.Contains(at) {
			raw := at.As16()
			return netip.AddrFrom4([4]byte(raw[one.at:]))
		}
	}
	return at
}

// Listed tells whether the operator lists an address.
func Listed(at netip.Addr, allow []netip.Prefix) bool {
	at = Plain(at)
	for _, prefix := range allow {
		if prefix.Contains(at) {
			return true
		}
	}
	return false
}
