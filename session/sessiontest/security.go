package sessiontest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Security is how the servers of a test are guarded. The zero value: not at all.
type Security struct {
	PKI *PKI // TLS with certificates on both sides; nil: none

	// Users are lines such as "user NAME on >PASSWORD …". With any, nobody but them, and Admin, may do anything.
	Users []string
	// SentinelUsers are those of the Sentinels.
	SentinelUsers []string
}

// The user who may do everything where there are users at all: the servers among themselves, and Redis.Do.
const (
	Admin         = "admin"
	AdminPassword = "admin-password"
)

func (s Security) args(t testing.TB, dir string) []string {
	t.Helper()
	var args []string
	if s.PKI != nil {
		args = append(args, "--port", "0", "--tls-port", "PORT", "--tls-cert-file", s.PKI.File("server.crt"), "--tls-key-file", s.PKI.File("server.key"),
			"--tls-ca-cert-file", s.PKI.File("ca.crt"), "--tls-auth-clients", "yes", "--tls-replication", "yes", "--tls-cluster", "yes")
	}
	if len(s.Users) > 0 {
		args = append(args, "--aclfile", usersFile(t, dir, s.Users), "--masteruser", Admin, "--masterauth", AdminPassword)
	}
	return args
}

func usersFile(t testing.TB, dir string, users []string) string {
	t.Helper()
	file := filepath.Join(dir, "users.acl")
	if err := os.WriteFile(file, []byte(strings.Join(withAdmin(users), "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func withAdmin(users []string) []string {
	return append([]string{"user default off", "user " + Admin + " on >" + AdminPassword + " ~* &* +@all"}, users...)
}

func (s Security) cli() []string {
	var args []string
	if s.PKI != nil {
		args = append(args, "--tls", "--cacert", s.PKI.File("ca.crt"), "--cert", s.PKI.File("client.crt"), "--key", s.PKI.File("client.key"))
	}
	if len(s.Users) > 0 {
		args = append(args, "--user", Admin, "--pass", AdminPassword)
	}
	return args
}

// scheme is that of a store's URL.
func (s Security) scheme(kind string) string {
	if s.PKI != nil {
		return "rediss" + kind + "://"
	}
	return "redis" + kind + "://"
}
