package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/certtest"
)

const (
	host         = "app.cloakroom.test"
	clientID     = "spa-backend"
	clientSecret = "a client secret: with %+ in it" //nolint:gosec // the tests' own
)

// cloakroom is the product, run as `cloakroom serve` over TLS with a real hostname, so that its cookies bear their
// production names.
type cloakroom struct {
	*process
	program               string // its binary
	older                 bool   // it is another release's, which has a description of its own
	dir, config           string
	public, intern, admin int
	client                *http.Client // trusts its certificate and finds its host
	under                 []string     // the command that runs it, where one does
}

// newCloakroom writes the configuration that settings ends; start it with serve.
func newCloakroom(t *testing.T) *cloakroom {
	t.Helper()
	c := &cloakroom{program: binary, dir: t.TempDir(), public: freePort(t), intern: freePort(t), admin: freePort(t)}
	c.config = filepath.Join(c.dir, "cloakroom.yaml")
	c.client = c.certify(t)
	key, err := exec.Command(binary, "secret").Output()
	if err != nil {
		t.Fatal(err)
	}
	c.write(t, "secret", string(key))
	return c
}

func (c *cloakroom) origin() string   { return fmt.Sprintf("https://%s:%d", host, c.public) }
func (c *cloakroom) issuer() string   { return fmt.Sprintf("https://127.0.0.1:%d", c.intern) }
func (c *cloakroom) adminURL() string { return fmt.Sprintf("http://127.0.0.1:%d", c.admin) }

func (c *cloakroom) write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// configure writes the file: the listeners, the store, one provider, then whatever the test adds.
func (c *cloakroom) configure(t *testing.T, store, issuer, rest string) {
	t.Helper()
	c.write(t, "cloakroom.yaml", fmt.Sprintf(`
public:
  url: %s
  listen: 127.0.0.1:%d
  tls: {cert_file: tls.crt, key_file: tls.key}
internal:
  url: %s
  listen: 127.0.0.1:%d
  tls: {cert_file: tls.crt, key_file: tls.key}
admin: {listen: "127.0.0.1:%d"}
store: {url: "%s"}
secrets: ["${file:secret}"]
drain: {delay: 0s}
log: {level: debug}
providers:
  main:
    issuer: %s
    client_id: %s
    client_secret: "${CLIENT_SECRET}"
%s`, c.origin(), c.public, c.issuer(), c.intern, c.admin, store, issuer, clientID, rest))
}

// configureDevelopment writes the file of somebody who develops an app: a loopback origin without TLS, nothing to keep.
func (c *cloakroom) configureDevelopment(t *testing.T, issuer, rest string) {
	t.Helper()
	c.write(t, "cloakroom.yaml", fmt.Sprintf(`
public: {url: "http://localhost:%d", listen: "127.0.0.1:%[1]d"}
internal: {listen: "127.0.0.1:%d"}
admin: {listen: "127.0.0.1:%d"}
providers: {main: {issuer: "%s", client_id: %s, client_secret: "${CLIENT_SECRET}"}}
%s`, c.public, c.intern, c.admin, issuer, clientID, rest))
}

func (c *cloakroom) serve(t *testing.T) {
	t.Helper()
	if !c.older {
		description.watch(strings.TrimPrefix(c.origin(), "https://"), strings.TrimPrefix(c.issuer(), "https://"), strings.TrimPrefix(c.adminURL(), "http://"))
	}
	c.traced(t)
	command := append(slices.Clone(c.under), c.program, "serve", "--config", c.config)
	c.process = start(t, []string{"CLIENT_SECRET=" + clientSecret}, command[0], command[1:]...)
	eventually(t, 10*time.Second, "cloakroom answers /healthz", func() bool { return answers(http.DefaultClient, c.adminURL()+"/healthz") })
}

// certify makes the self-signed certificate and a client that trusts it.
func (c *cloakroom) certify(t *testing.T) *http.Client {
	t.Helper()
	template := certtest.Named(host)
	template.DNSNames, template.IPAddresses, template.IsCA, template.BasicConstraintsValid = []string{host}, []net.IP{net.IPv4(127, 0, 0, 1)}, true, true
	template.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	pair := certtest.Issue(t, template, nil)
	pair.Write(t, filepath.Join(c.dir, "tls.crt"), filepath.Join(c.dir, "tls.key"))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pair.Cert)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: host, MinVersion: tls.VersionTLS12}, DialContext: dialLocal, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: documented{transport}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// get asks the public listener as a fetch of the SPA would, with the cookies given.
func (c *cloakroom) get(t *testing.T, path, cookie string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.origin()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-CSRF", "1")
	if cookie != "" {
		request.Header.Set("Cookie", cookie)
	}
	answer, err := c.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// api is an internal service: it keeps the bearer tokens it got and answers what it saw.
type api struct {
	*httptest.Server
	mu      sync.Mutex
	bearers []string
	headers []http.Header
}

func startAPI(t *testing.T) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		defer a.mu.Unlock()
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		a.bearers = append(a.bearers, bearer)
		a.headers = append(a.headers, r.Header.Clone())
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"path": r.URL.RequestURI(), "orders": []string{"one", "two"}})
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) last(t *testing.T) (bearer string, headers http.Header) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.bearers) == 0 {
		t.Fatal("the API was never called")
	}
	return a.bearers[len(a.bearers)-1], a.headers[len(a.headers)-1]
}

// report is what node/browser.mjs saw.
type report struct {
	Anonymous, User, After map[string]any
	API, Logout            struct {
		Status int
		Type   string
		Body   map[string]any
	}
	Cookies []struct {
		Name, Value, SameSite string
		HTTPOnly              bool `json:"httpOnly"`
		Secure                bool
	}
	Storage map[string]string
	Traffic []struct {
		Kind, Method, URL, Body string
		Status                  int
		Headers                 json.RawMessage
	}
	ConsoleErrors []string
}

// browse lets a person sign in, call the API and sign out in Chromium.
func (c *cloakroom) browse(t *testing.T, signIn string) report {
	t.Helper()
	var r report
	chromium(t, "browser.mjs", &r, "APP="+c.origin(), "SIGN_IN="+signIn, "RESOLVE=MAP "+host+" 127.0.0.1")
	return r
}

// chromium lets one of the scripts in node/ drive a real browser, and reads what it reports.
func chromium(t *testing.T, script string, report any, env ...string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "report.json")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute) // many times what any of them takes
	defer cancel()
	browser := exec.CommandContext(ctx, "node", filepath.Join("node", script))
	browser.Env = append(append(os.Environ(), "REPORT="+file), env...)
	if out, err := browser.CombinedOutput(); err != nil {
		t.Fatalf("the browser: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, report); err != nil {
		t.Fatal(err)
	}
}

// verifyWithJose verifies a minted token as an API in Node would.
func (c *cloakroom) verifyWithJose(t *testing.T, bearer, audience string) map[string]any {
	t.Helper()
	verify := exec.CommandContext(t.Context(), "node", "node/verify.mjs")
	verify.Env = append(os.Environ(), "JWKS="+c.issuer()+"/.well-known/jwks.json", "ISSUER="+c.issuer(), "AUDIENCE="+audience, "NODE_EXTRA_CA_CERTS="+filepath.Join(c.dir, "tls.crt"))
	verify.Stdin = strings.NewReader(bearer)
	var stderr bytes.Buffer
	verify.Stderr = &stderr
	out, err := verify.Output()
	if err != nil {
		t.Fatalf("jose refuses the token: %v\n%s", err, stderr.String())
	}
	var verified struct{ Payload map[string]any }
	if err := json.Unmarshal(out, &verified); err != nil {
		t.Fatal(err)
	}
	return verified.Payload
}

// spa is the folder of the smallest app there can be.
func spa(t *testing.T) string {
	t.Helper()
	folder, err := filepath.Abs("testdata/spa")
	if err != nil {
		t.Fatal(err)
	}
	return folder
}
