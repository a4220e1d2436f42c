package provider

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestD9_WhereConnectionsMayGo(t *testing.T) {
	outside, private, host := netip.MustParseAddr("203.0.113.9"), netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("127.0.0.1")
	for _, tc := range []struct {
		name   string
		to     string
		named  bool // by the configuration
		issuer netip.Addr
		want   bool
	}{
		{"a public address", "203.0.113.1", false, outside, true},
		{"the metadata service, named by the configuration", "169.254.169.254", true, private, false},
		{"the metadata service as IPv4 in IPv6", "::ffff:169.254.169.254", true, private, false},
		{"the metadata service by NAT64", "64:ff9b::a9fe:a9fe", true, private, false},
		{"the metadata service with a zone", "fe80::1%eth0", true, private, false},
		{"AWS's over IPv6", "fd00:ec2::254", true, private, false},
		{"Alibaba's", "100.100.100.200", true, private, false},
		{"Azure's wire server", "168.63.129.16", true, outside, false},
		{"multicast", "224.0.0.1", true, private, false},
		{"loopback, named by the configuration", "127.0.0.1", true, outside, true},
		{"loopback, named by a provider outside", "127.0.0.1", false, outside, false},
		{"loopback as 0.0.0.0, named by a provider outside", "0.0.0.0", false, outside, false},
		{"loopback over IPv6 mapped, named by a provider outside", "::ffff:127.0.0.1", false, outside, false},
		{"loopback, named by a provider on a private network", "127.0.0.1", false, private, false},
		{"loopback, named by a provider on loopback", "::1", false, host, true},
		{"private, named by a provider outside", "10.1.2.3", false, outside, false},
		{"private, named by a provider nobody reached yet", "10.1.2.3", false, netip.Addr{}, false},
		{"private, named by a provider on a private network", "192.168.1.1", false, private, true},
		{"carrier-grade NAT, named by a provider outside", "100.64.0.1", false, outside, false},
		{"a unique local address, named by a provider outside", "fd12::1", false, outside, false},
		{"a link-local address that is allowed", "169.254.7.7", false, outside, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newBoundary(Config{Egress: []netip.Prefix{netip.MustParsePrefix("169.254.7.0/24")}}, &url.URL{Host: "idp.example"})
			e.issuerAt = tc.issuer
			if got := e.permits(tc.named, netip.MustParseAddr(tc.to)); got != tc.want {
				t.Errorf("permitted: %v", got)
			}
		})
	}
}

func TestD9_TheAddressThatIsDialledDecidesNotTheName(t *testing.T) {
	asked := 0
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer inside.Close()
	// A name that only the provider's metadata knows, and that leads to this machine; the issuer is outside.
	e := newBoundary(Config{Timeout: time.Second}, &url.URL{Host: "idp.example"})
	e.issuerAt = netip.MustParseAddr("203.0.113.9")
	address := strings.Replace(inside.Listener.Addr().String(), "127.0.0.1", "localhost", 1)
	if conn, err := e.DialContext(background, "tcp", address); err == nil {
		_ = conn.Close()
		t.Error("connected")
	}
	e.name(&url.URL{Host: "localhost"})
	conn, err := e.DialContext(background, "tcp", address)
	if err != nil {
		t.Fatalf("named by the configuration: %v", err)
	}
	_ = conn.Close()
}

func TestD9_AForbiddenAddressIsSaidToBeOneAndNotRetried(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if err := p.keys.warm(background); err != nil {
		t.Fatal(err)
	}
	p.client.transport.CloseIdleConnections()
	p.client.egress.named = map[string]bool{}
	p.client.egress.issuerAt = netip.MustParseAddr("203.0.113.9")
	_, err := p.Refresh(background, canaryRefresh, was())
	mustBe(t, err, ErrNonsense)
	if !strings.Contains(err.Error(), "link-local") {
		t.Errorf("the operator cannot see why: %v", err)
	}
	_, err = p.Clock(background)
	mustBe(t, err, ErrNonsense)
}
