package bff

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
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
		{"IPv4 behind a NAT64 of the network's own", "[64:ff9b:1::a9fe:a9fe]:80", nil, false},
		{"IPv4 behind 6to4", "[2002:a9fe:a9fe::]:80", nil, false},
		{"IPv4-compatible", "[::169.254.169.254]:80", nil, false},
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

// A name that leads to an ordinary address when it is looked at, and to a metadata service when it is dialled (DNS rebinding): what is
// checked is the address that is dialled, each time.
func TestD9_ANameThatMovesIsFollowedToNoForbiddenAddress(t *testing.T) {
	up := &seen{}
	behind := httptest.NewServer(up)
	defer behind.Close()
	names := newNames(t, "127.0.0.1")
	ts := newTransports(nil)
	ordinary := ts.dial
	ts.dial = func(timeout time.Duration) *net.Dialer {
		d := ordinary(timeout)
		d.Resolver = names.resolver()
		return d
	}
	client := &http.Client{Transport: ts.of(nil, 5*time.Second)}
	defer client.CloseIdleConnections()
	target := "http://rebinding.test:" + mustURL(t, behind.URL).Port()
	get := func() error {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		if err != nil {
			return err
		}
		r.Close = true // each is to dial: a connection comes back to the idle ones in its own time
		res, err := client.Do(r)
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	if err := get(); err != nil || up.count() != 1 {
		t.Fatalf("before it moved: %v, %d requests", err, up.count())
	}
	for _, at := range []string{"169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254"} {
		names.move(at)
		if err := get(); !errors.Is(err, errForbiddenAddress) {
			t.Errorf("moved to %s: %v", at, err)
		}
	}
	if names.asked() < 5 {
		t.Errorf("the name was looked up %d times: not at each dial", names.asked())
	}
}

// names is a DNS server that gives every name one address.
type names struct {
	conn net.PacketConn
	mu   sync.Mutex
	at   netip.Addr
	n    int
}

func newNames(t *testing.T, at string) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &names{conn: conn, at: netip.MustParseAddr(at)}
	served := make(chan struct{})
	go func() { defer close(served); s.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-served })
	return s
}

func (s *names) move(to string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = netip.MustParseAddr(to)
}

func (s *names) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.n
}

func (s *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", s.conn.LocalAddr().String())
	}}
}

func (s *names) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buf[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		s.mu.Lock()
		at := s.at
		s.mu.Unlock()
		a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true, Authoritative: true}, Questions: q.Questions}
		head := dnsmessage.ResourceHeader{Name: q.Questions[0].Name, Class: dnsmessage.ClassINET, Type: q.Questions[0].Type}
		switch {
		case at.Is4() && head.Type == dnsmessage.TypeA:
			s.count()
			a.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AResource{A: at.As4()}}}
		case at.Is6() && head.Type == dnsmessage.TypeAAAA:
			s.count()
			a.Answers = []dnsmessage.Resource{{Header: head, Body: &dnsmessage.AAAAResource{AAAA: at.As16()}}}
		}
		if raw, err := a.Pack(); err == nil {
			_, _ = s.conn.WriteTo(raw, from)
		}
	}
}

func (s *names) count() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
}
