package redisstore

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

func TestNewRefuses(t *testing.T) {
	for _, tt := range []struct {
		name string
		cfg  Config
	}{
		{"no URL", Config{}},
		{"another scheme", Config{URL: "http://redis:6379"}},
		{"a socket", Config{URL: "unix:///run/redis"}},
		{"Sentinels without the master's name", Config{URL: "redis-sentinel://:hunter2@h:1,i:2/0"}},
		{"a master without Sentinels", Config{URL: "redis://:hunter2@h:1?master=m"}},
		{"several hosts that are neither", Config{URL: "redis://:hunter2@h:1,i:2"}},
		{"a database of a cluster", Config{URL: "redis-cluster://:hunter2@h:1,i:2/1"}},
		{"an empty host among several", Config{URL: "redis-cluster://:hunter2@h:1,,i:2"}},
		{"a user in the middle", Config{URL: "redis-cluster://h:1,:hunter2@i:2,j:x"}},
		{"no host", Config{URL: "redis:///0"}},
		{"a path that is no number", Config{URL: "redis://:hunter2@h/first"}},
		{"options of the library", Config{URL: "redis://:hunter2@h?max_retries=3"}},
		{"something that is no URL", Config{URL: "redis://:hunter2@[h"}},
		{"certificates without TLS", Config{URL: "redis://h", CAFile: "ca.pem"}},
		{"a CA file that is not there", Config{URL: "rediss://h", CAFile: "no-such.pem"}},
		{"a CA file without certificates", Config{URL: "rediss://h", CAFile: "config_test.go"}},
		{"a key without a certificate", Config{URL: "rediss://h", KeyFile: "config_test.go"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := New(tt.cfg)
			if err == nil {
				_ = s.Close()
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the password: %v", err)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]address{
		"redis://h":                 {hosts: []string{"h:6379"}},
		"rediss://u:p%40@[::1]:7/3": {hosts: []string{"[::1]:7"}, secure: true, username: "u", password: "p@", database: 3},
		"redis-sentinel://a,b:2,[::1]/1?master=m%20x": {kind: sentinel, hosts: []string{"a:26379", "b:2", "[::1]:26379"}, database: 1, master: "m x"},
		"rediss-sentinel://:p@a:1?master=m":           {kind: sentinel, hosts: []string{"a:1"}, secure: true, password: "p", master: "m"},
		"redis-cluster://a:1,b":                       {kind: cluster, hosts: []string{"a:1", "b:6379"}},
		"rediss-cluster://u:p@a:1,b:2/0":              {kind: cluster, hosts: []string{"a:1", "b:2"}, secure: true, username: "u", password: "p"},
	} {
		if got, err := parse(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

func TestTLSIsCheckedBothWays(t *testing.T) {
	pki := sessiontest.NewPKI(t)
	server := sessiontest.Security{PKI: pki}.StartRedis(t)
	good := Config{URL: "rediss://" + server.Addr, CAFile: pki.File("ca.crt"), CertFile: pki.File("client.crt"), KeyFile: pki.File("client.key")}
	if err := open(t, good).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := sessiontest.NewPKI(t)
	for name, cfg := range map[string]Config{
		"without TLS":                       {URL: "redis://" + server.Addr},
		"by the system's authorities":       {URL: good.URL, CertFile: good.CertFile, KeyFile: good.KeyFile},
		"by another authority":              {URL: good.URL, CAFile: other.File("ca.crt"), CertFile: good.CertFile, KeyFile: good.KeyFile},
		"without a certificate of our own":  {URL: good.URL, CAFile: good.CAFile},
		"with a certificate of another one": {URL: good.URL, CAFile: good.CAFile, CertFile: other.File("client.crt"), KeyFile: other.File("client.key")},
		"under another name":                {URL: strings.Replace(good.URL, "127.0.0.1", "localhost", 1), CAFile: good.CAFile, CertFile: good.CertFile, KeyFile: good.KeyFile},
	} {
		cfg.Timeout = time.Second
		if err := open(t, cfg).Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func TestWhatTheLibraryWouldDoByItselfIsOff(t *testing.T) {
	o := open(t, Config{URL: "rediss://u:p@h/7", Username: "v", Password: "q", Timeout: 123 * time.Millisecond}).client.(*redis.Client).Options()
	if !o.ContextTimeoutEnabled || o.MaxRetries != 0 || o.DialerRetries != 1 || o.Protocol != 2 || o.PoolSize != connections || o.DB != 7 || o.Username != "v" || o.Password != "q" {
		t.Errorf("options: deadline %t, retries %d and %d, database %d", o.ContextTimeoutEnabled, o.MaxRetries, o.DialerRetries, o.DB)
	}
	for name, d := range map[string]time.Duration{"dial": o.DialTimeout, "read": o.ReadTimeout, "write": o.WriteTimeout, "pool": o.PoolTimeout} {
		if d != 123*time.Millisecond {
			t.Errorf("%s timeout is %v", name, d)
		}
	}
	if o.MaintNotificationsConfig.Mode != "disabled" {
		t.Errorf("maintenance notifications are %s", o.MaintNotificationsConfig.Mode)
	}
}
