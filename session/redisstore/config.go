package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"

	"cloakroom/secret"
)

// Config is what a Store is made of.
type Config struct {
	// URL is redis://[user:password@]host[:port][/database], redis-sentinel://[user:password@]host,host[/database]?master=NAME,
	// where the user is Redis's, or redis-cluster://[user:password@]host,host; with TLS rediss://, rediss-sentinel:// and
	// rediss-cluster://.
	URL      string
	Username string      // "": that of the URL
	Password secret.Text // "": that of the URL; needs no escaping here
	Prefix   string      // before every key and channel, such as "cloakroom:"
	Timeout  time.Duration

	SentinelUsername string // the Sentinels' own; "": none
	SentinelPassword secret.Text

	// With TLS only: authorities of the servers' certificates ("": the system's), and our own certificate. They are read for each
	// connection, so that a renewed one is in use without a restart.
	CAFile, CertFile, KeyFile string

	Now func() time.Time // nil: time.Now

	// Observe is told of each operation: its name, ok, not-found, conflict, broken or unavailable, and how long it took.
	Observe func(op, outcome string, took time.Duration)
}

const (
	defaultTimeout = 250 * time.Millisecond
	// connections to one server, at most: a Redis that takes its time must not take all our file descriptors.
	connections = 64
	bufferSize  = 16 << 10 // of a connection, each way; a session fits
	// reloadEvery is how old a client's map of a cluster grows. A failure, or a node that says MOVED, has it renewed at once.
	reloadEvery = 10 * time.Second
)

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
	client, err := cfg.client()
	if err != nil {
		return nil, fmt.Errorf("redis store: %w", err)
	}
	return &Store{client: client, prefix: cfg.Prefix, timeout: cfg.Timeout, now: cfg.Now, observe: cfg.Observe}, nil
}

func (cfg Config) client() (redis.UniversalClient, error) {
	a, err := parse(cfg.URL)
	if err != nil {
		return nil, err
	}
	security, err := newSecurity(cfg, a.secure)
	if err != nil {
		return nil, err
	}
	o := cfg.options(a)
	o.Dialer = dialer(security)
	switch a.kind {
	case sentinel:
		client := redis.NewFailoverClient(o.Failover())
		client.AddHook(&circuit{})
		return client, nil
	case cluster:
		of := o.Cluster()
		of.DisableRoutingPolicies = true // or it asks for COMMAND, which our user may not and our commands need not
		of.ClusterStateReloadInterval = reloadEvery
		client := redis.NewClusterClient(of)
		client.OnNewNode(func(node *redis.Client) {
			node.AddHook(&circuit{failed: func() { client.ReloadState(context.Background()) }})
		})
		return client, nil
	default:
		client := redis.NewClient(o.Simple())
		client.AddHook(&circuit{})
		return client, nil
	}
}

func (cfg Config) options(a address) *redis.UniversalOptions {
	o := &redis.UniversalOptions{
		Addrs: a.hosts, DB: a.database, MasterName: a.master, Username: a.username, Password: a.password,
		SentinelUsername: cfg.SentinelUsername, SentinelPassword: cfg.SentinelPassword.Reveal(),
		// The defaults ignore the context's deadline, wait 5 s for an answer, and send again what got none.
		ContextTimeoutEnabled: true,
		DialTimeout:           cfg.Timeout, ReadTimeout: cfg.Timeout, WriteTimeout: cfg.Timeout, PoolTimeout: cfg.Timeout,
		MaxRetries: -1, DialerRetries: 1,
		// Version 3 of the protocol lets a server speak unasked between the answers. We need nothing of that.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
		PoolSize:                 connections, PipelinePoolSize: -1, ReadBufferSize: bufferSize, WriteBufferSize: bufferSize,
	}
	if cfg.Username != "" {
		o.Username = cfg.Username
	}
	if cfg.Password != "" {
		o.Password = cfg.Password.Reveal()
	}
	return o
}
