package bff

import (
	"net/http"
	"net/netip"
	"strings"
)

// proxies is the proxies whose word about the client is taken.
type proxies []netip.Prefix

// maxHops bounds how far a list of forwarders is read.
const maxHops = 32

// peer is who the connection comes from; the zero Addr where there is no telling.
func peer(r *http.Request) netip.Addr {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return from.Addr().Unmap().WithZone("")
}

func (p proxies) trust(a netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(a) {
			return true
		}
	}
	return false
}

// client is the address of the browser: the peer, or, behind trusted proxies, the last address in their lists that is
// not itself a trusted proxy. What stands to the left of it was written by a stranger.
func (p proxies) client(r *http.Request) netip.Addr {
	at := peer(r)
	if !p.trust(at) {
		return at
	}
	hops := forwardedFor(r.Header)
	for i := len(hops) - 1; i >= 0 && i >= len(hops)-maxHops; i-- {
		hop, ok := parseHop(hops[i])
		if !ok {
			return at
		}
		at = hop
		if !p.trust(at) {
			return at
		}
	}
	return at
}

// forwardedFor lists the forwarders, the nearest last: those of X-Forwarded-For, which nearly every proxy writes, or where
// it is not sent, of Forwarded (RFC 7239). Never Forwarded first: a proxy that writes only the other one passes on what
// the browser made up.
func forwardedFor(h http.Header) []string {
	if hops := split(h["X-Forwarded-For"]); len(hops) != 0 {
		return hops
	}
	elements := split(h["Forwarded"])
	hops := make([]string, 0, len(elements))
	for _, element := range elements {
		hop := ""
		for pair := range strings.SplitSeq(element, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(pair), "="); ok && strings.EqualFold(name, "for") {
				hop = strings.Trim(value, `"`)
			}
		}
		hops = append(hops, hop)
	}
	return hops
}

func split(lines []string) []string {
	if len(lines) == 0 {
		return nil
	}
	return strings.Split(strings.Join(lines, ","), ",")
}

// parseHop reads "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" and "[2001:db8::1]:80".
func parseHop(s string) (netip.Addr, bool) {
	s = strings.TrimSpace(s)
	if with, err := netip.ParseAddrPort(s); err == nil {
		return with.Addr().Unmap().WithZone(""), true
	}
	plain, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return plain.Unmap().WithZone(""), err == nil
}
