package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
	"weak"

	"go.uber.org/goleak"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/internal/certtest"
	"cloakroom/internal/daemon"
	"cloakroom/secret"
)

// served is `cloakroom serve` in this process, and the file it was given.
type served struct {
	*testing.T
	dir    string
	signal chan os.Signal
	daemon *daemon.Daemon
	logs   *lockedBuffer
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

const reloadable = `public: {url: "http://localhost:8080", listen: "127.0.0.1:0"}
internal: {url: "https://localhost:8081", listen: "127.0.0.1:0", tls: {cert_file: one.crt, key_file: one.key}}
admin: {listen: "127.0.0.1:0"}
secrets: ["${file:secret-1}"]
providers: {main: {issuer: "http://127.0.0.1:1", client_id: app, client_secret: "${file:client-secret}"}}
drain: {delay: 0s}
log: {level: warn}
routes:
  - {path: /one, upstream: "UPSTREAM", session: none, token: none}
exchange:
  audiences: {stock: {scopes: []}}
  clients: {batch: {auth: {secret: before}, grants: [client_credentials], audiences: [stock], subject_audiences: [stock]}}
`

func serveReloadable(t *testing.T, upstream string) *served {
	t.Helper()
	s := &served{T: t, dir: t.TempDir(), signal: make(chan os.Signal, 1), logs: &lockedBuffer{}}
	for _, name := range []string{"secret-1", "secret-2"} {
		s.put(name, secret.NewKey().Encode().Reveal()+"\n")
	}
	s.put("client-secret", "the provider's")
	s.certify("one")
	s.put("c.yaml", strings.ReplaceAll(reloadable, "UPSTREAM", upstream))
	load := func() (*config.File, error) { return config.Load(filepath.Join(s.dir, "c.yaml"), os.LookupEnv) }
	file, err := load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	running, err := start(ctx, file, s.logs, &reloader{load: load, asked: s.signal})
	if err != nil {
		stop()
		t.Fatal(err)
	}
	s.daemon = running.(*daemon.Daemon)
	t.Cleanup(func() {
		stop()
		if err := running.Wait(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.logs)
		}
	})
	return s
}

func (s *served) put(name, content string) {
	s.Helper()
	next := filepath.Join(s.dir, name+".next")
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		s.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(s.dir, name)); err != nil {
		s.Fatal(err)
	}
}

// edit changes the file; pairs are old, new.
func (s *served) edit(pairs ...string) {
	s.Helper()
	raw, err := os.ReadFile(filepath.Join(s.dir, "c.yaml"))
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(string(raw), pairs[i]) {
			s.Fatalf("there is no %q to change", pairs[i])
		}
	}
	s.put("c.yaml", strings.NewReplacer(pairs...).Replace(string(raw)))
}

func (s *served) certify(name string) {
	s.Helper()
	pair := certtest.Issue(s, certtest.Named(name), nil)
	s.put(name+".key", string(pair.Key))
	s.put(name+".crt", string(pair.Cert))
}

// client asks each time on a connection of its own: what a handshake shows is then the present certificate.
var insecure = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
	DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // looks at the certificate itself
}}

func (s *served) get(listener, path string) (int, string) {
	s.Helper()
	scheme := map[string]string{"internal": "https"}[listener]
	if scheme == "" {
		scheme = "http"
	}
	res, err := insecure.Get(scheme + "://" + s.daemon.Address(listener).String() + path) //nolint:noctx // bounded by the client
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// mints tells how the token endpoint answers the client with that secret.
func (s *served) mints(clientSecret string) int {
	s.Helper()
	form := url.Values{"grant_type": {"client_credentials"}}
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, "https://"+s.daemon.Address("internal").String()+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		s.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth("batch", clientSecret)
	res, err := insecure.Do(r)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// reloads is how many there were with that outcome, and whether the files are what is in use.
func (s *served) reloads(outcome string) (n int, current bool) {
	s.Helper()
	_, metrics := s.get("admin", "/metrics")
	_, after, _ := strings.Cut(metrics, fmt.Sprintf("\ncloakroom_config_reloads_total{outcome=%q} ", outcome))
	if _, err := fmt.Sscan(after, &n); err != nil {
		s.Fatalf("no such metric: %v", err)
	}
	return n, strings.Contains(metrics, "\ncloakroom_config_current 1\n")
}

func (s *served) waitFor(outcome string, n int) {
	s.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if got, _ := s.reloads(outcome); got >= n {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("not %d reloads that were %s", n, outcome)
		}
	}
}

// said tells of the lines that were logged with a message.
func (s *served) said(message string) (lines []map[string]any) {
	s.Helper()
	for line := range strings.Lines(s.logs.String()) {
		var fields map[string]any
		if json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == message {
			lines = append(lines, fields)
		}
	}
	return lines
}

func hello(t *testing.T) string {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(upstream.Close)
	return upstream.URL
}

func TestAReloadAppliesAllThatMayChange(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent(), goleak.IgnoreAnyFunction("github.com/maypok86/otter/v2.periodicCleanUp[...]"))
	t.Run("served", func(t *testing.T) {
		s := serveReloadable(t, hello(t))
		s.certify("two")
		keys := func() int {
			_, body := s.get("internal", "/.well-known/jwks.json")
			return strings.Count(body, `"kid"`)
		}
		name := func() string {
			conn, err := tls.Dial("tcp", s.daemon.Address("internal").String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // likewise
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
		}
		status := func(path string) int { code, _ := s.get("public", path); return code }
		if got := fmt.Sprintln(status("/one"), status("/two"), s.mints("before"), s.mints("after"), keys(), name()); got != "200 404 200 401 3 one\n" {
			t.Fatalf("at first: %s", got)
		}
		s.edit("path: /one", "path: /two", "secret: before", "secret: after", `"${file:secret-1}"`, `"${file:secret-2}", "${file:secret-1}"`,
			"one.", "two.", "level: warn", "level: info", "log:", "limits: {token_per_second: 1}\nlog:")
		s.waitFor("applied", 1)
		if got := fmt.Sprintln(status("/one"), status("/two"), s.mints("before"), s.mints("after"), keys(), name()); got != "404 200 401 200 6 two\n" {
			t.Errorf("after the reload: %s", got)
		}
		if got := s.mints("after"); got != http.StatusTooManyRequests {
			t.Errorf("limits.token_per_second: %d", got)
		}
		if len(s.said("configuration reloaded")) != 1 {
			t.Error("log.level is not applied, or the reload is not told of")
		}
		if _, current := s.reloads("applied"); !current {
			t.Error("the file is not what is in use")
		}
		_, body := s.get("admin", "/admin/keys")
		var listed struct{ Keys []struct{ Signs bool } }
		if err := json.Unmarshal([]byte(body), &listed); err != nil || len(listed.Keys) != 6 {
			t.Errorf("/admin/keys shows %s", body)
		}
	})
	insecure.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
}

func TestAReloadThatWouldChangeMoreChangesNothing(t *testing.T) {
	s := serveReloadable(t, hello(t))
	s.edit("path: /one", "path: /two", `admin: {listen: "127.0.0.1:0"}`, `admin: {listen: "127.0.0.1:0", token: "${file:client-secret}"}`, "delay: 0s", "delay: 1s", "client_id: app", "client_id: other")
	s.waitFor("refused", 1)
	if code, _ := s.get("public", "/one"); code != http.StatusOK {
		t.Errorf("the old route answers %d", code)
	}
	if code, _ := s.get("public", "/two"); code != http.StatusNotFound {
		t.Errorf("the new route answers %d", code)
	}
	if _, current := s.reloads("refused"); current {
		t.Error("the metric says that the file is in use")
	}
	want := map[string]any{"admin.token": 3.0, "providers.main.client_id": 5.0, "drain.delay": 6.0}
	for _, line := range s.said("configuration not reloaded: the previous one stays") {
		setting, _ := line["setting"].(string)
		if want[setting] != line["line"] || !strings.HasSuffix(fmt.Sprint(line["file"]), "c.yaml") || line["remedy"] == "" {
			t.Errorf("told of %v", line)
		}
		delete(want, setting)
	}
	if len(want) > 0 {
		t.Errorf("not told of %v", want)
	}
	// What is taken back needs no restart.
	s.edit("delay: 1s", "delay: 0s", "client_id: other", "client_id: app", `, token: "${file:client-secret}"}`, "}")
	s.waitFor("applied", 1)
	if code, _ := s.get("public", "/two"); code != http.StatusOK {
		t.Errorf("the new route answers %d", code)
	}
}

// F4 "Config reload broken".
func TestABrokenReloadKeepsTheConfigurationAndSaysSo(t *testing.T) {
	s := serveReloadable(t, hello(t))
	for n, edit := range [][]string{
		{"path: /one", "path: /two", "level: warn", "level: loud", "audiences: {stock", "audiences: {stck"},
		{"level: loud", "level: [warn"},
	} {
		s.edit(edit...)
		s.signal <- syscall.SIGHUP
		s.waitFor("broken", n+1)
	}
	if err := os.Remove(filepath.Join(s.dir, "c.yaml")); err != nil {
		t.Fatal(err)
	}
	before, _ := s.reloads("broken")
	s.waitFor("broken", before+1)
	if code, body := s.get("public", "/one"); code != http.StatusOK || body != "hello" {
		t.Errorf("the old route answers %d %s", code, body)
	}
	if got := s.mints("before"); got != http.StatusOK {
		t.Errorf("a client gets %d", got)
	}
	if _, current := s.reloads("broken"); current {
		t.Error("the metric says that the file is in use")
	}
	told := map[string]bool{}
	for _, line := range s.said("configuration not reloaded: the previous one stays") {
		told[fmt.Sprint(line["line"], " ", line["setting"])] = true
	}
	for _, want := range []string{"7 log.level", "12 exchange.clients.batch.audiences[0]", "12 exchange.clients.batch.subject_audiences[0]"} {
		if !told[want] {
			t.Errorf("not told of %s: %v", want, told)
		}
	}
	if strings.Contains(s.logs.String(), "the provider's") {
		t.Error("a secret is in the log")
	}
	s.put("c.yaml", strings.NewReplacer("UPSTREAM", hello(t), "path: /one", "path: /two").Replace(reloadable))
	s.waitFor("applied", 1)
	if code, _ := s.get("public", "/two"); code != http.StatusOK {
		t.Errorf("once it is mended: %d", code)
	}
}

// The file stays as it is, and a secret that it names changes: by itself, and as Kubernetes does it, whose mounts are links to links.
func TestFilesThatTheConfigurationNamesAreFollowed(t *testing.T) {
	s := serveReloadable(t, hello(t))
	mount := filepath.Join(s.dir, "mount")
	for _, version := range []string{"..1", "..2"} {
		if err := os.MkdirAll(filepath.Join(mount, version), 0o700); err != nil {
			t.Fatal(err)
		}
		s.put("mount/"+version+"/secret", "mounted"+version)
	}
	swap := func(version string) {
		link := filepath.Join(mount, "..data")
		if err := os.Symlink(version, link+".next"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".next", link); err != nil {
			t.Fatal(err)
		}
	}
	swap("..1")
	if err := os.Symlink("..data/secret", filepath.Join(mount, "secret")); err != nil {
		t.Fatal(err)
	}
	s.edit("secret: before", `secret: "${file:mount/secret}"`)
	s.waitFor("applied", 1)
	if got := s.mints("mounted..1"); got != http.StatusOK {
		t.Fatalf("with the mounted secret: %d", got)
	}
	swap("..2")
	s.waitFor("applied", 2)
	if got := fmt.Sprint(s.mints("mounted..1"), s.mints("mounted..2")); got != "401 200" {
		t.Errorf("once it is swapped: %s", got)
	}
	s.put("client-secret", "another") // which cannot change
	s.waitFor("refused", 1)
	for _, line := range s.said("configuration not reloaded: the previous one stays") {
		if line["setting"] != "providers.main.client_secret" {
			t.Errorf("told of %v", line)
		}
	}
}

// What a configuration was made into is gone with the last request that it served: nothing piles up.
func TestAHouseIsForgottenOnceAnotherStands(t *testing.T) {
	file, err := config.Parse("c.yaml", strings.NewReplacer("UPSTREAM", hello(t), "${file:secret-1}", secret.NewKey().Encode().Reveal(),
		"${file:client-secret}", "s", ", tls: {cert_file: one.crt, key_file: one.key}", "").Replace(reloadable), os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	h, err := assemble(file, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	g := h.grounds
	defer func() { _ = g.store.Close() }()
	answer := httptest.NewRecorder()
	h.browser.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/one", nil))
	earlier, its := weak.Make(h), weak.Make(h.browser)
	h = nil
	if err := g.takeOver(file); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); earlier.Value() != nil || its.Value() != nil; time.Sleep(10 * time.Millisecond) {
		if runtime.GC(); time.Now().After(deadline) {
			t.Fatal("the earlier house, or its browser's side, is still held")
		}
	}
}

func TestRequestsAndReloadsDoNotMeet(t *testing.T) {
	s := serveReloadable(t, hello(t))
	ctx, stop := context.WithCancel(t.Context())
	var asked atomic.Int64
	var asking sync.WaitGroup
	for n := range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if n%2 == 0 {
					if code, body := s.get("public", "/one"); code != http.StatusOK || body != "hello" {
						t.Errorf("%d %s", code, body)
						return
					}
				} else if code := s.mints("before"); code != http.StatusOK {
					t.Errorf("minting: %d", code)
					return
				}
				asked.Add(1)
			}
		})
	}
	for n := 1; n <= 10; n++ {
		s.signal <- syscall.SIGHUP
		s.waitFor("applied", n)
	}
	stop()
	asking.Wait()
	if asked.Load() < 20 {
		t.Errorf("only %d requests", asked.Load())
	}
}
