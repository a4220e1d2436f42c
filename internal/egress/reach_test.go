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
		"fd20:ce::254":           egress.Never,
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
