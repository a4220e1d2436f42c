package token

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

const (
	minRSABits = 2048 // RFC 7518 section 3.3
	maxRSABits = 4096 // beyond it common verifiers refuse
)

// LoadRSAKeys reads RSA private keys, one per PEM text, in PKCS#8 or PKCS#1. The errors hold no part of a key.
func LoadRSAKeys(texts ...[]byte) ([]*rsa.PrivateKey, error) {
	out := make([]*rsa.PrivateKey, 0, len(texts))
	for i, text := range texts {
		key, err := loadRSAKey(text)
		if err != nil {
			return nil, fmt.Errorf("RSA key %d: %w", i+1, err)
		}
		out = append(out, key)
	}
	return out, nil
}

func loadRSAKey(text []byte) (*rsa.PrivateKey, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errors.New("not PEM")
	}
	if another, _ := pem.Decode(rest); another != nil {
		return nil, errors.New("more than one PEM block: one key a file")
	}
	var key *rsa.PrivateKey
	switch {
	case strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") || block.Type == "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("encrypted: store it decrypted, with the file's permissions to protect it")
	case block.Type == "RSA PRIVATE KEY":
		parsed, err := x509.ParsePKCS1PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("not a PKCS#1 key")
		}
		key = parsed
	case block.Type == "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errors.New("not a PKCS#8 key")
		}
		private, ok := parsed.(*rsa.PrivateKey)
		if !ok {
			return nil, errors.New("not an RSA key")
		}
		key = private
	default:
		return nil, errors.New("not a private key in PKCS#8 or PKCS#1")
	}
	if bits := key.N.BitLen(); bits < minRSABits || bits > maxRSABits {
		return nil, fmt.Errorf("%d bits, not %d to %d", bits, minRSABits, maxRSABits)
	}
	return key, nil
}
