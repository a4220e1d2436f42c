package egress

import (
	"net/netip"
	"strings"
)

// Loopback tells whether a host, a name or an address, can only be this machine: localhost and the names below it (RFC 6761
// section 6.3), or a loopback address.
func Loopback(host string) bool {
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	at, err := netip.ParseAddr(host)
	return err == nil && at.IsLoopback() // one mapped into IPv6 too
}
