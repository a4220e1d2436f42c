package redisstore

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/redis/go-redis/v9"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// The library's pool would ask once a second, after that many failures.
func TestARedisThatIsBackIsFoundAtOnce(t *testing.T) {
	server := sessiontest.StartRedis(t)
	server.Kill()
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Dialer: dialer(nil), PoolSize: 2, MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	for range 10 {
		if client.Ping(t.Context()).Err() == nil {
			t.Fatal("Redis is not down")
		}
	}
	server.Restart(t)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("Redis is back, but: %v", err)
	}
}

// The library's cluster client sends a command again when its connection breaks. Whether the first one was carried out is
// for the caller to find out.
func TestNothingIsSentTwice(t *testing.T) {
	for _, scheme := range []string{"redis", "redis-cluster"} {
		t.Run(scheme, func(t *testing.T) {
			mini := miniredis.RunT(t)
			s := open(t, Config{URL: scheme + "://" + mini.Addr()})
			if err := life(t.Context(), s); err != nil { // it knows the cluster and has its connections
				t.Fatal(err)
			}
			var sent atomic.Int32
			mini.Server().SetPreHook(func(peer *server.Peer, cmd string, _ ...string) bool {
				if cmd == "HELLO" || cmd == "CLUSTER" {
					return false
				}
				sent.Add(1)
				peer.Close()
				return true
			})
			for name, call := range map[string]func() error{
				"load":   func() error { _, err := s.Load(t.Context(), session.Key{1}); return err },
				"create": func() error { return s.Create(t.Context(), session.Key{1}, record(time.Hour), nil) },
				"slide":  func() error { return s.Slide(t.Context(), session.Key{1}, time.Now().Add(time.Hour)) },
			} {
				sent.Store(0)
				if err := call(); err == nil {
					t.Errorf("%s: no error", name)
				}
				if n := sent.Load(); n != 1 {
					t.Errorf("%s was sent %d times", name, n)
				}
			}
		})
	}
}

// Over TLS 1.3 a server sends session tickets when it likes, and the library, which is told that something has arrived, waits
// without end for what it takes to be an answer: closing a client, or changing to another Sentinel's, then never ended.
func TestWhatTLSSendsByItselfHoldsNothingUp(t *testing.T) {
	pki := sessiontest.NewPKI(t)
	server := sessiontest.Security{PKI: pki}.StartRedis(t)
	security, err := newSecurity(Config{CAFile: pki.File("ca.crt"), CertFile: pki.File("client.crt"), KeyFile: pki.File("client.key")}, true)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(&redis.Options{Addr: server.Addr, Dialer: dialer(security), MinIdleConns: 4, Protocol: 3})
	for deadline := time.Now().Add(5 * time.Second); client.PoolStats().IdleConns < 4; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no idle connections")
		}
	}
	time.Sleep(200 * time.Millisecond) // the tickets arrive
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("ping: %v", err)
	}
	closed := make(chan error, 1)
	go func() { closed <- client.Close() }()
	select {
	case <-closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the client does not close")
	}
}
