package config

import (
	"net/netip"
	"strings"
)

// loopbackHost tells whether a host can only be this machine: localhost and the names below it (RFC 6761 section 6.3), or
// a loopback address.
func loopbackHost(host string) bool {
	host = strings.ToLower(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
