package bff

import (
	"net/netip"
	"testing"
	"time"
)

func TestClientAddress(t *testing.T) {
	trusted := proxies{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:1::/48")}
	for name, c := range map[string]struct {
		peer    string
		headers []string
		want    string
	}{
		"nobody in between":                        {"192.0.2.1:1", nil, "192.0.2.1"},
		"a stranger's list":                        {"192.0.2.1:1", []string{"X-Forwarded-For", "198.51.100.1"}, "192.0.2.1"},
		"a trusted proxy's list":                   {"10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.1"}, "198.51.100.1"},
		"what the client wrote before the proxy":   {"10.0.0.1:1", []string{"X-Forwarded-For", "6.6.6.6, 198.51.100.1"}, "198.51.100.1"},
		"two trusted proxies":                      {"10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		"a list over two lines":                    {"10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.1", "X-Forwarded-For", "10.0.0.2"}, "198.51.100.1"},
		"only trusted addresses":                   {"10.0.0.1:1", []string{"X-Forwarded-For", "10.0.0.3"}, "10.0.0.3"},
		"an address with a port":                   {"10.0.0.1:1", []string{"X-Forwarded-For", "198.51.100.1:4711"}, "198.51.100.1"},
		"IPv6 with brackets and port":              {"10.0.0.1:1", []string{"X-Forwarded-For", "[2001:db8::7]:80"}, "2001:db8::7"},
		"IPv6 bare":                                {"10.0.0.1:1", []string{"X-Forwarded-For", "2001:db8::7"}, "2001:db8::7"},
		"a word that is no address":                {"10.0.0.1:1", []string{"X-Forwarded-For", "unknown"}, "10.0.0.1"},
		"Forwarded":                                {"10.0.0.1:1", []string{"Forwarded", `for="[2001:db8::7]:80";proto=https`}, "2001:db8::7"},
		"Forwarded made up beside X-Forwarded-For": {"10.0.0.1:1", []string{"Forwarded", "for=6.6.6.6", "X-Forwarded-For", "198.51.100.1"}, "198.51.100.1"},
		"an IPv4 proxy over IPv6":                  {"[::ffff:10.0.0.1]:1", []string{"X-Forwarded-For", "198.51.100.1"}, "198.51.100.1"},
	} {
		r := request("GET", "/", c.headers...)
		r.RemoteAddr = c.peer
		if got := trusted.client(r).String(); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestLimiterCountsByAddressAndForgets(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	l := newLimiter(2, func() time.Time { return now })
	one, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8:0:1::1")
	for range 2 {
		if ok, _ := l.allow(one); !ok {
			t.Fatal("refused within the allowance")
		}
	}
	ok, retry := l.allow(netip.MustParseAddr("2001:db8::2")) // of the same /64
	if ok || retry < 1 || retry > 30 {
		t.Errorf("third: %v, retry after %d s", ok, retry)
	}
	if ok, _ := l.allow(other); !ok {
		t.Error("another address pays for the first")
	}
	now = now.Add(30 * time.Second)
	if ok, _ := l.allow(one); !ok {
		t.Error("still refused after half a minute")
	}
	for i := range 3 * maxBuckets {
		l.allow(netip.AddrFrom4([4]byte{198, byte(i >> 16), byte(i >> 8), byte(i)}))
	}
	if len(l.buckets) > maxBuckets {
		t.Errorf("remembers %d addresses", len(l.buckets))
	}
}
