package redisstore

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
		{"Sentinels", Config{URL: "redis-sentinel://h:1/0?master=m"}},
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

// acl is what Cloakroom needs of Redis, and all of it.
const acl = "user cloakroom on >pass:w@rd/%20 ~cloakroom:* resetchannels -@all +hello +auth +ping +select +get +set +del +getrange " +
	"+setrange +pttl +pexpire +zadd +zremrangebyscore +zrange +eval +evalsha"

func TestAUserWithTheLeastRightsSuffices(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "users.acl")
	if err := os.WriteFile(file, []byte(acl+"\nuser default off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	server := sessiontest.StartRedis(t, "--aclfile", file)
	s := open(t, Config{URL: "redis://" + server.Addr, Username: "cloakroom", Password: "pass:w@rd/%20", Prefix: "cloakroom:"})
	if err := s.Create(t.Context(), session.Key{1}, record(time.Hour), []session.Index{"index"}); err != nil {
		t.Fatal(err)
	}
	for name, err := range everyOperation(t.Context(), s, session.Key{1}) {
		if errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	inURL := open(t, Config{URL: "redis://cloakroom:pass%3Aw%40rd%2F%2520@" + server.Addr, Prefix: "cloakroom:"})
	if err := inURL.Ping(t.Context()); err != nil {
		t.Errorf("user and password in the URL: %v", err)
	}
	for name, cfg := range map[string]Config{
		"a wrong password": {URL: "redis://" + server.Addr, Username: "cloakroom", Password: "hunter2", Prefix: "cloakroom:"},
		"no user":          {URL: "redis://" + server.Addr, Prefix: "cloakroom:"},
		"another prefix":   {URL: "redis://" + server.Addr, Username: "cloakroom", Password: "pass:w@rd/%20", Prefix: "other:"},
	} {
		err := open(t, cfg).Create(t.Context(), session.Key{1}, record(time.Hour), nil)
		if !errors.Is(err, session.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTLSIsCheckedBothWays(t *testing.T) {
	pki := newPKI(t)
	server := sessiontest.StartRedis(t, "--port", "0", "--tls-port", "PORT", "--tls-cert-file", pki.file("server.crt"),
		"--tls-key-file", pki.file("server.key"), "--tls-ca-cert-file", pki.file("ca.crt"), "--tls-auth-clients", "yes")
	good := Config{URL: "rediss://" + server.Addr, CAFile: pki.file("ca.crt"), CertFile: pki.file("client.crt"), KeyFile: pki.file("client.key")}
	if err := open(t, good).Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newPKI(t)
	for name, cfg := range map[string]Config{
		"without TLS":                       {URL: "redis://" + server.Addr},
		"by the system's authorities":       {URL: good.URL, CertFile: good.CertFile, KeyFile: good.KeyFile},
		"by another authority":              {URL: good.URL, CAFile: other.file("ca.crt"), CertFile: good.CertFile, KeyFile: good.KeyFile},
		"without a certificate of our own":  {URL: good.URL, CAFile: good.CAFile},
		"with a certificate of another one": {URL: good.URL, CAFile: good.CAFile, CertFile: other.file("client.crt"), KeyFile: other.file("client.key")},
		"under another name":                {URL: strings.Replace(good.URL, "127.0.0.1", "localhost", 1), CAFile: good.CAFile, CertFile: good.CertFile, KeyFile: good.KeyFile},
	} {
		cfg.Timeout = time.Second
		if err := open(t, cfg).Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

func TestWhatTheLibraryWouldDoByItselfIsOff(t *testing.T) {
	o := open(t, Config{URL: "rediss://u:p@h/7", Username: "v", Password: "q", Timeout: 123 * time.Millisecond}).client.Options()
	if !o.ContextTimeoutEnabled || o.MaxRetries != 0 || o.DialerRetries != 1 || o.DB != 7 || o.Username != "v" || o.Password != "q" {
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

// pki is an authority and what it signed for a server and a client.
type pki struct{ dir string }

func (p pki) file(name string) string { return filepath.Join(p.dir, name) }

func newPKI(t *testing.T) pki {
	t.Helper()
	p := pki{t.TempDir()}
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	caKey := p.issue(t, "ca", ca, ca, nil)
	for i, name := range []string{"server", "client"} {
		leaf := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		}
		p.issue(t, name, leaf, ca, caKey)
	}
	return p
}

func (p pki) issue(t *testing.T, name string, cert, by *x509.Certificate, byKey *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if byKey == nil {
		byKey = key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for suffix, block := range map[string]*pem.Block{".crt": {Type: "CERTIFICATE", Bytes: der}, ".key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(p.file(name+suffix), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}
