package redisstore

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"cloakroom/secret"
)

// Config is what a Store is made of.
type Config struct {
	URL      string      // redis:// or rediss://[user:password@]host[:port][/database]
	Username string      // "": that of the URL
	Password secret.Text // "": that of the URL; needs no escaping here
	Prefix   string      // before every key, such as "cloakroom:"
	Timeout  time.Duration

	// Of rediss:// only: authorities of the server's certificate ("": the system's), and our own certificate.
	CAFile, CertFile, KeyFile string

	Now func() time.Time // nil: time.Now

	// Observe is told of each operation: its name, ok, not-found, conflict, broken or unavailable, and how long it took.
	Observe func(op, outcome string, took time.Duration)
}

const defaultTimeout = 250 * time.Millisecond

// silence keeps the library, which has one logger for the whole process, from writing lines of its own between ours.
// What it could say comes back as an error, or is tried again.
var silence = sync.OnceFunc(logging.Disable)

// New makes a Store. It opens no connection: Redis may come later. Close it. The errors do not repeat the URL, which may
// hold a password.
func New(cfg Config) (*Store, error) {
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	silence()
	options, err := cfg.options()
	if err != nil {
		return nil, fmt.Errorf("redis store: %w", err)
	}
	return &Store{client: redis.NewClient(options), prefix: cfg.Prefix, timeout: cfg.Timeout, now: cfg.Now, observe: cfg.Observe}, nil
}

func (cfg Config) options() (*redis.Options, error) {
	u, err := url.Parse(cfg.URL)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("URL is not redis://host:port/database")
	}
	if u.Scheme != "redis" && u.Scheme != "rediss" {
		return nil, errors.New("URL is neither redis:// nor rediss://")
	}
	o, err := redis.ParseURL(cfg.URL)
	if err != nil {
		return nil, errors.New("URL is not redis://host:port/database")
	}
	if cfg.Username != "" {
		o.Username = cfg.Username
	}
	if cfg.Password != "" {
		o.Password = cfg.Password.Reveal()
	}
	if err := cfg.secure(o); err != nil {
		return nil, err
	}
	// The defaults ignore the context's deadline, wait 5 s for an answer, and send again what got none.
	o.ContextTimeoutEnabled = true
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = cfg.Timeout, cfg.Timeout, cfg.Timeout, cfg.Timeout
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// secure fills in what the files say about TLS.
func (cfg Config) secure(o *redis.Options) error {
	if o.TLSConfig == nil {
		if cfg.CAFile != "" || cfg.CertFile != "" || cfg.KeyFile != "" {
			return errors.New("certificate files without rediss://")
		}
		return nil
	}
	o.TLSConfig.MinVersion = tls.VersionTLS12
	if cfg.CAFile != "" {
		pem, err := os.ReadFile(cfg.CAFile)
		if err != nil {
			return fmt.Errorf("read CA file: %w", err)
		}
		o.TLSConfig.RootCAs = x509.NewCertPool()
		if !o.TLSConfig.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("CA file %s holds no certificate", cfg.CAFile)
		}
	}
	if cfg.CertFile != "" || cfg.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return fmt.Errorf("read client certificate: %w", err)
		}
		o.TLSConfig.Certificates = []tls.Certificate{pair}
	}
	return nil
}
