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

// nat64 is the well-known prefix under which a gateway reaches any IPv4 address: its last four bytes (RFC 6052 section 2.1).
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// ReachOf tells the reach of an address, whatever its disguise.
func ReachOf(at netip.Addr) Reach {
	at = Plain(at)
	if slices.Contains(metadataServices, at) {
		return Never
	}
	switch {
	case at.IsLinkLocalUnicast(), at.IsMulticast():
		return Never
	case at.IsLoopback(), at.IsUnspecified(): // connecting to 0.0.0.0 reaches this machine
		return Host
	case at.IsPrivate(), insidePrefixes[0].Contains(at), insidePrefixes[1].Contains(at):
		return Private
	}
	return Outside
}

// Plain strips the disguises of an address: zone, IPv4 mapped into IPv6, NAT64.
func Plain(at netip.Addr) netip.Addr {
	at = at.WithZone("").Unmap()
	if nat64.Contains(at) {
		raw := at.As16()
		return netip.AddrFrom4([4]byte(raw[12:]))
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
