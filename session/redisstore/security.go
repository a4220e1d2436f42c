package redisstore

import (
	"crypto/tls"
	"errors"
	"fmt"
	"sync"

	"cloakroom/internal/roots"
)

// security is TLS as files say it: a certificate that a machine renews every day is a new file, and no reason for a restart.
type security struct {
	caFile, certFile, keyFile string

	mu   sync.Mutex
	last *tls.Config // that could be read
}

// newSecurity reads the files; it is nil without TLS.
func newSecurity(cfg Config, wanted bool) (*security, error) {
	s := &security{caFile: cfg.CAFile, certFile: cfg.CertFile, keyFile: cfg.KeyFile}
	if !wanted {
		if s.caFile != "" || s.certFile != "" || s.keyFile != "" {
			return nil, errors.New("certificate files without rediss://")
		}
		return nil, nil
	}
	var err error
	s.last, err = s.read()
	return s, err
}

// now is for one connection. Where the files cannot be read, as between the two halves of a renewal, it is what they said last;
// whoever reloads the configuration is told what is wrong with them.
func (s *security) now() *tls.Config {
	fresh, err := s.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last = fresh
	}
	return s.last
}

func (s *security) read() (*tls.Config, error) {
	authorities, err := roots.Read(s.caFile)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: authorities}
	if s.certFile != "" || s.keyFile != "" {
		pair, err := tls.LoadX509KeyPair(s.certFile, s.keyFile)
		if err != nil {
			return nil, fmt.Errorf("read client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
