package config

import (
	"time"

	"cloakroom/secret"
)

// Memory is the URL of the embedded store.
const Memory = "memory:"

// Store is where sessions are kept.
type Store struct {
	// URL is memory: (embedded, one node, lost at restart), or redis:, rediss:, redis-sentinel:, rediss-sentinel:,
	// redis-cluster: or rediss-cluster:. It may hold a password, so it is never printed. Default at a loopback URL: memory:.
	// Mandatory elsewhere.
	URL secret.Text `yaml:"url"`
	// Username is Redis's user. Default: from the URL.
	Username string `yaml:"username"`
	// Password is that user's. Default: from the URL.
	Password secret.Text `yaml:"password"`
	// SentinelUsername is the Sentinels' user. Default: none.
	SentinelUsername string `yaml:"sentinel_username"`
	// SentinelPassword is that user's. Default: none.
	SentinelPassword secret.Text `yaml:"sentinel_password"`
	// Prefix stands before every key. Default: "cloakroom:".
	Prefix string `yaml:"prefix"`
	// Timeout is how long one operation may take. Default: 250ms.
	Timeout time.Duration `yaml:"timeout" is:"positive"`
	// CAFile holds the authorities of the server's certificate. Default: the system's.
	CAFile string `yaml:"ca_file" is:"file"`
	// CertFile is the client certificate to show. Default: none.
	CertFile string `yaml:"cert_file" is:"file"`
	// KeyFile is that certificate's private key. Default: none.
	KeyFile string `yaml:"key_file" is:"file"`
}

// InMemory tells whether sessions are kept in the process itself.
func (s Store) InMemory() bool { return s.URL.Reveal() == Memory }
