// Package certtest makes the certificates that tests need.
package certtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"testing"
	"time"
)

// Pair is a certificate and its key, both in PEM.
type Pair struct {
	Cert, Key []byte

	template *x509.Certificate
	signer   *ecdsa.PrivateKey
}

// Issue makes a pair of what the template says, signed by another, or by itself where that is nil.
func Issue(t testing.TB, template *x509.Certificate, by *Pair) *Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pair{template: template, signer: key}
	if by == nil {
		by = p
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, by.template, key.Public(), by.signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.Cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
	p.Key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	return p
}

// Named is the template of a certificate that tells no more than its name, for an hour.
func Named(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
}

// Write puts the two into files.
func (p *Pair) Write(t testing.TB, certFile, keyFile string) {
	t.Helper()
	for file, content := range map[string][]byte{certFile: p.Cert, keyFile: p.Key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
