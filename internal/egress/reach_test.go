package egress_test

import (
	"net/netip"
	"testing"

	"cloakroom/internal/egress"
)

func TestReach(t *testing.T) {
	for address, want := range map[string]egress.Reach{
		"169.254.169.254":        egress.Never,
		"fe80::1%eth0":           egress.Never,
		"::ffff:169.254.169.254": egress.Never,
		"64:ff9b::a9fe:a9fe":     egress.Never,
		"64:ff9b:1::a9fe:a9fe":   egress.Never,
		"64:ff9b:1:7::a9fe:a9fe": egress.Never,
		"::ffff:0:a9fe:a9fe":     egress.Never,
		"::169.254.169.254":      egress.Never,
		"2002:a9fe:a9fe::1":      egress.Never,
		"fd20:ce::254":           egress.Never,
		"255.255.255.255":        egress.Never,
		"::ffff:127.0.0.1":       egress.Host,
		"64:ff9b::7f00:1":        egress.Host,
		"2002:7f00:1::":          egress.Host,
		"2002:a01:203::":         egress.Private,
		"2002:5db8:d822::":       egress.Outside,
		"2606:2800:21f:cb07::1":  egress.Outside,
		"::":                     egress.Host,
		"100.100.100.200":        egress.Never,
		"224.0.0.1":              egress.Never,
		"127.0.0.1":              egress.Host,
		"::1":                    egress.Host,
		"0.0.0.0":                egress.Host,
		"10.1.2.3":               egress.Private,
		"fd00::1":                egress.Private,
		"100.64.0.1":             egress.Private,
		"64:ff9b::a01:203":       egress.Private,
		"93.184.216.34":          egress.Outside,
	} {
		if got := egress.ReachOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s: reach %d, want %d", address, got, want)
		}
	}
}

func TestListed(t *testing.T) {
	allow := []netip.Prefix{netip.MustParsePrefix("169.254.10.0/24")}
	for address, want := range map[string]bool{"169.254.10.7": true, "::ffff:169.254.10.7": true, "169.254.169.254": false} {
		if got := egress.Listed(netip.MustParseAddr(address), allow); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "LocalHost": true, "app.localhost": true, "127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true,
		"": false, "localhost.example.com": false, "notlocalhost": false, "127.0.0.1.example.com": false, "0.0.0.0": false, "10.0.0.1": false, "127.1": false,
	} {
		if got := egress.Loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}
