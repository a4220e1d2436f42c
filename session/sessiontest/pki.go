package sessiontest

import (
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"path/filepath"
	"testing"

	"cloakroom/internal/certtest"
	"cloakroom/internal/roots"
)

// PKI is an authority and what it signed for a server and a client: ca.crt, server.crt, server.key, client.crt, client.key.
type PKI struct{ dir string }

// File is where one of them is.
func (p *PKI) File(name string) string { return filepath.Join(p.dir, name) }

// NewPKI makes one, for servers at 127.0.0.1.
func NewPKI(t testing.TB) *PKI {
	t.Helper()
	p := &PKI{t.TempDir()}
	root := certtest.Named("test authority")
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	authority := certtest.Issue(t, root, nil)
	authority.Write(t, p.File("ca.crt"), p.File("ca.key"))
	for i, name := range []string{"server", "client"} {
		leaf := certtest.Named(name)
		leaf.SerialNumber, leaf.IPAddresses, leaf.KeyUsage = big.NewInt(int64(i+2)), []net.IP{net.IPv4(127, 0, 0, 1)}, x509.KeyUsageDigitalSignature
		leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		certtest.Issue(t, leaf, authority).Write(t, p.File(name+".crt"), p.File(name+".key"))
	}
	return p
}

// Client is a client's settings: what the authority signed, and nothing else.
func (p *PKI) Client(t testing.TB) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(p.File("client.crt"), p.File("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	authority, err := roots.Read(p.File("ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: authority}
}
