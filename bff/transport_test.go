package bff

import (
	"net/netip"
	"testing"
)

func TestEgressGuard(t *testing.T) {
	tests := []struct {
		name, address string
		allow         []string
		ok            bool
	}{
		{"an ordinary address", "10.1.2.3:80", nil, true},
		{"loopback, which the configuration names", "127.0.0.1:80", nil, true},
		{"loopback, IPv6", "[::1]:80", nil, true},
		{"metadata of most clouds", "169.254.169.254:80", nil, false},
		{"link-local", "169.254.1.1:80", nil, false},
		{"IPv4 in IPv6", "[::ffff:169.254.169.254]:80", nil, false},
		{"IPv4 behind NAT64", "[64:ff9b::a9fe:a9fe]:80", nil, false},
		{"link-local, IPv6", "[fe80::1]:80", nil, false},
		{"link-local, IPv6, with a zone", "[fe80::1%eth0]:80", nil, false},
		{"AWS metadata, IPv6", "[fd00:ec2::254]:80", nil, false},
		{"Google metadata, IPv6", "[fd20:ce::254]:80", nil, false},
		{"Alibaba metadata", "100.100.100.200:80", nil, false},
		{"Azure", "168.63.129.16:80", nil, false},
		{"multicast", "224.0.0.1:80", nil, false},
		{"listed", "169.254.10.10:80", []string{"169.254.10.0/24"}, true},
		{"listed, with a zone", "[fe80::1%eth0]:80", []string{"fe80::/64"}, true},
		{"beside what is listed", "169.254.169.254:80", []string{"169.254.10.0/24"}, false},
		{"not an address", "orders:80", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var allow []netip.Prefix
			for _, s := range tt.allow {
				allow = append(allow, netip.MustParsePrefix(s))
			}
			if err := egressGuard(allow)("tcp", tt.address, nil); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
