package daemon

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// recheck is how often, at most, the certificate's files are looked at again.
const recheck = time.Second

// Certificate is a certificate and key on disk, read again when either file changes: a renewed certificate is served
// without a restart. A pair that does not load leaves the previous one in place.
type Certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	pair    *tls.Certificate
	stamp   [2]time.Time // modification times of the pair in use
	checked time.Time
	failed  func(error)
}

// LoadCertificate reads the pair. failed hears of each later change that does not load.
func LoadCertificate(certFile, keyFile string, failed func(error)) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, failed: failed}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

// Become has c serve the pair of another, and follow its files.
func (c *Certificate) Become(other *Certificate) {
	other.mu.Lock()
	certFile, keyFile, pair, stamp := other.certFile, other.keyFile, other.pair, other.stamp
	other.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.certFile, c.keyFile, c.pair, c.stamp = certFile, keyFile, pair, stamp
}

// Config returns a server's TLS configuration that serves the current pair.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current(time.Now()), nil },
	}
}

func (c *Certificate) current(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.checked) >= recheck {
		c.checked = now
		if stamp, err := c.stat(); err == nil && stamp != c.stamp {
			if err := c.load(); err != nil {
				c.failed(err)
			}
		}
	}
	return c.pair
}

func (c *Certificate) load() error {
	stamp, err := c.stat()
	if err != nil {
		return fmt.Errorf("read the certificate: %w", err)
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load the certificate of %s: %w", c.certFile, err)
	}
	c.pair, c.stamp = &pair, stamp
	return nil
}

func (c *Certificate) stat() (stamp [2]time.Time, err error) {
	for i, name := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, err
		}
		stamp[i] = info.ModTime()
	}
	return stamp, nil
}
