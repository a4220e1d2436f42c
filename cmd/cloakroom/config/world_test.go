package config

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/internal/certtest"
	"cloakroom/secret"
)

// Values of secrets and variables in these tests: none of them may ever be printed.
var (
	secretKeys = []string{secret.NewKey().Encode().Reveal(), secret.NewKey().Encode().Reveal(), secret.NewKey().Encode().Reveal(), secret.NewKey().Encode().Reveal()}
	variables  = map[string]string{
		"K1": secretKeys[0], "K2": secretKeys[1], "K3": secretKeys[2], "K4": secretKeys[3],
		"S1": "s3cr3t-of-the-provider", "S2": "s3cr3t-of-a-client", "EMPTY": "",
		"CLIENT_SECRET": "s3cr3t-1", "COGNITO_CLIENT_SECRET": "s3cr3t-2", "ORDERS_SECRET": "s3cr3t-3", "SUPPORT_SECRET": "s3cr3t-4",
		"REDIS_PASSWORD": "s3cr3t-5", "REDIS_URL": "redis://app:s3cr3t-6@redis:6379/0", "BAD": "s3cr3t-7 {", "HSTS": "60", "YES": "true",
	}
)

func lookup(name string) (string, bool) { v, ok := variables[name]; return v, ok }

// quiet fails when a fault shows a secret.
func quiet(t *testing.T, faults Faults) {
	t.Helper()
	text := faults.Error()
	if strings.Contains(text, "s3cr3t") {
		t.Errorf("shows a secret: %s", text)
	}
	for _, k := range secretKeys {
		if strings.Contains(text, k) {
			t.Errorf("shows a key: %s", text)
		}
	}
}

// folder makes files by relative path; a content of "cert", "key", "keyset" or "secret" is made up.
func folder(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	authority := certtest.Named("test")
	authority.IsCA = true
	pair := certtest.Issue(t, authority, nil)
	for name, content := range files {
		switch content {
		case "cert":
			content = string(pair.Cert)
		case "key":
			content = string(pair.Key)
		case "secret":
			content = secretKeys[0] + "\n"
		case "keyset": // of RFC 7515 appendix A.3
			content = `{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}`
		}
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func rsaPEM(t *testing.T) string {
	t.Helper()
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(k)}))
}

// contractFiles are what contract/cloakroom.yaml, contract/minimal.yaml and example.yaml name.
var contractFiles = map[string]string{
	"tls/public.crt": "cert", "tls/public.key": "key", "tls/internal.crt": "cert", "tls/internal.key": "key", "tls/clients-ca.crt": "cert",
	"brand/logo.svg": "<svg/>", "secrets/admin-token": "s3cr3t-of-admin", "secrets/cloakroom-1": "secret", "secrets/pairwise": "secret",
	"web/demo/index.html": "<p>", "dist/index.html": "<p>", "keys/reports.jwks.json": "keyset", "keys/cluster.jwks.json": `{"keys":[]}`,
	"keys/spiffe-bundle.json": `{"keys":[]}`,
}

// loadIn loads a file of this package's as if it stood in dir.
func loadIn(t *testing.T, dir, file string) (*File, error) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(path, source, 0o600); err != nil {
		t.Fatal(err)
	}
	return Load(path, lookup)
}
