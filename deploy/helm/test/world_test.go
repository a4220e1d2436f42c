package chart

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// world is what a cluster holds that the value files refer to: the data of its Secrets and ConfigMaps by name, and the files
// of the app's image.
type world struct {
	secrets, configMaps map[string]map[string]string
	image               map[string]string // by path within the image
	authority           string            // that signed every certificate, PEM
}

const (
	adminToken = "the operators' own token"
	page       = "<!doctype html><title>The app</title>"
)

// theWorld is made once: its keys take a second.
var theWorld = sync.OnceValue(makeWorld)

func makeWorld() world {
	certificate, key := selfSigned("app.example.com")
	pair := map[string]string{"tls.crt": certificate, "tls.key": key}
	seal := func() string {
		out, err := exec.Command(binary, "secret").Output()
		if err != nil {
			panic(err)
		}
		return string(out)
	}
	return world{
		authority: certificate,
		secrets: map[string]map[string]string{
			"cloakroom":              {"cloakroom-1": seal(), "cloakroom-2": seal(), "admin-token": adminToken + "\n", "admin": adminToken},
			"vault-cloakroom":        {"seal.2026": seal(), "seal.2025": seal(), "admin.token": adminToken},
			"cloakroom-redis":        {"url": "redis://redis.invalid:6379/0"},
			"redis":                  {"url": "redis://redis.invalid:6379/0", "tls-url": "rediss://redis.invalid:6380/0", "username": "app", "password": "of redis"},
			"cloakroom-provider":     {"client-secret": "of the client"},
			"providers":              {"staff": "of the staff's client", "customers": "of the customers' client"},
			"cloakroom-clients":      {"orders": "of orders"},
			"provider":               {"client-secret": "of the client", "ca.crt": certificate},
			"clients":                {"orders": "of orders", "orders.next": "the next of orders", "reports.jwks.json": keySet()},
			"signing":                {"rsa.pem": rsaKey()},
			"app-tls":                pair,
			"internal-tls":           pair,
			"cloakroom-internal-tls": pair,
		},
		configMaps: map[string]map[string]string{
			"app":          {"index.html": page, "app.js": "export {}"},
			"cluster":      {"region": "eu-west-1"},
			"provider":     {"client-id": "app"},
			"redis-ca":     {"ca.crt": certificate},
			"support-keys": {"jwks.json": keySet()},
			"brand":        {"logo": "logo.svg", "logo.svg": `<svg xmlns="http://www.w3.org/2000/svg"/>`},
		},
		image: map[string]string{
			"/usr/share/nginx/html/index.html": page, "/usr/share/nginx/html/assets/app.js": "export {}", "/dist/index.html": page, "/etc/passwd": "",
		},
	}
}

// secret and configMap are the data of one, which must be there.
func (w world) secret(t *testing.T, name string) map[string]string {
	t.Helper()
	return found(t, w.secrets, "Secret", name)
}

func (w world) configMap(t *testing.T, name string) map[string]string {
	t.Helper()
	return found(t, w.configMaps, "ConfigMap", name)
}

func found[V any](t *testing.T, all map[string]V, kind, name string) V {
	t.Helper()
	value, ok := all[name]
	if !ok {
		t.Fatalf("the world has no %s %s", kind, name)
	}
	return value
}

func selfSigned(host string) (certificate, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	return armoured("CERTIFICATE", raw), pkcs8(private)
}

func rsaKey() string {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pkcs8(private)
}

func pkcs8(private any) string {
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return armoured("PRIVATE KEY", raw)
}

func armoured(kind string, raw []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
}

// keySet is a JWK Set of one public key.
func keySet() string {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	point, err := private.PublicKey.Bytes() // 4, x, y
	if err != nil {
		panic(err)
	}
	text := base64.RawURLEncoding.EncodeToString
	raw, err := json.Marshal(map[string]any{"keys": []any{map[string]string{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one", "x": text(point[1:33]), "y": text(point[33:]),
	}}})
	if err != nil {
		panic(err)
	}
	return string(raw)
}

// write makes a folder hold files as the kubelet does: each is a link into a folder that is swapped as a whole.
func write(t *testing.T, folder string, files map[string]string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	version, err := os.MkdirTemp(folder, "..2026_") //nolint:usetesting // within the volume, as the kubelet makes it
	if err != nil {
		t.Fatal(err)
	}
	old, _ := filepath.EvalSymlinks(folder + "/..data")
	link(t, filepath.Base(version), folder+"/..data_tmp")
	for name, content := range files {
		if strings.Contains(name, "/") {
			t.Fatalf("%s is no key of a Secret or ConfigMap", name)
		}
		if err := os.WriteFile(version+"/"+name, []byte(content), 0o440); err != nil {
			t.Fatal(err)
		}
		if old == "" {
			link(t, "..data/"+name, folder+"/"+name)
		}
	}
	if err := os.Rename(folder+"/..data_tmp", folder+"/..data"); err != nil {
		t.Fatal(err)
	}
	if old == "" {
		return
	}
	if err := os.RemoveAll(old); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}
