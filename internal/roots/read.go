package roots

import (
	"crypto/x509"
	"fmt"
	"os"
)

// Read returns the authorities of a PEM file, which are then the only ones; where no file is named, nil: the system's.
func Read(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return pool, nil
}
