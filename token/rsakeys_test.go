package token

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
)

func TestLoadRSAKeys(t *testing.T) {
	p := issuer()
	pkcs8 := func(key any) []byte {
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	text := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	one := text("PRIVATE KEY", pkcs8(p.rsa))
	for _, tt := range []struct{ name, pem, fault string }{
		{"PKCS#8", one, ""},
		{"PKCS#1", text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(p.rsa)), ""},
		{"words around it", "made in 2026\n" + one + "\n", ""},
		{"nothing", "", "not PEM"},
		{"DER", string(pkcs8(p.rsa)), "not PEM"},
		{"two keys", one + one, "one key a file"},
		{"a public key", text("PUBLIC KEY", x509.MarshalPKCS1PublicKey(&p.rsa.PublicKey)), "not a private key"},
		{"a certificate", text("CERTIFICATE", []byte("x")), "not a private key"},
		{"an EC key", text("PRIVATE KEY", pkcs8(p.ec)), "not an RSA key"},
		{"an encrypted key", text("ENCRYPTED PRIVATE KEY", []byte("x")), "encrypted"},
		{"an encrypted key of old", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n", "encrypted"},
		{"broken PKCS#8", text("PRIVATE KEY", []byte("x")), "PKCS#8"},
		{"broken PKCS#1", text("RSA PRIVATE KEY", []byte("x")), "PKCS#1"},
		{"1024 bits", text("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(short)), "1024 bits"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			keys, err := LoadRSAKeys([]byte(one), []byte(tt.pem))
			if tt.fault == "" {
				if err != nil || len(keys) != 2 || !keys[1].Equal(p.rsa) {
					t.Errorf("%d keys, %v", len(keys), err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.fault) || !strings.Contains(err.Error(), "RSA key 2") {
				t.Errorf("error %v, want one about %q in the second", err, tt.fault)
			}
		})
	}
}
