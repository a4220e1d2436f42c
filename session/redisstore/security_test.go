package redisstore

import (
	"os"
	"testing"
	"time"

	"cloakroom/session/sessiontest"
)

// A machine renews certificates, its authority with them, and starts Redis anew; nobody starts Cloakroom anew.
func TestRenewedCertificatesNeedNoRestart(t *testing.T) {
	pki := sessiontest.NewPKI(t)
	server := sessiontest.Security{PKI: pki}.StartRedis(t)
	store := open(t, Config{
		URL: "rediss://" + server.Addr, CAFile: pki.File("ca.crt"), CertFile: pki.File("client.crt"), KeyFile: pki.File("client.key"), Timeout: time.Second,
	})
	if err := store.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	renewed := sessiontest.NewPKI(t)
	for _, name := range []string{"ca.crt", "server.crt", "server.key", "client.crt", "client.key"} {
		content, err := os.ReadFile(renewed.File(name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(pki.File(name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	server.Restart(t)
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("with renewed certificates: %v", err)
	}
	// Between its two halves a renewal is no pair; what was read last serves.
	if err := os.WriteFile(pki.File("client.key"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	server.Restart(t)
	if err := store.Ping(t.Context()); err != nil {
		t.Errorf("in the middle of a renewal: %v", err)
	}
}
