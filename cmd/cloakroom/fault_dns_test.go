package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"cloakroom/internal/idptest"
	"cloakroom/secret"
	"cloakroom/session/sessiontest"
)

// withNameServer is the program itself, with the name server of a test in the place of the machine's.
func withNameServer() {
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", os.Getenv("NAME_SERVER"))
	}}
	main()
}

// nameServer says of every name that it is this machine, or what else it is told to.
type nameServer struct {
	address string
	trouble atomic.Int32 // a dnsmessage.RCode, or silent
	asked   atomic.Int32
}

const silent = -1

func startNameServer(t *testing.T) *nameServer {
	t.Helper()
	socket, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	s := &nameServer{address: socket.LocalAddr().String()}
	go func() {
		packet := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(packet)
			if err != nil {
				return
			}
			s.asked.Add(1)
			if answer, ok := s.answer(packet[:n]); ok {
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	return s
}

func (s *nameServer) answer(question []byte) ([]byte, bool) {
	var m dnsmessage.Message
	trouble := s.trouble.Load()
	if trouble == silent || m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil, false
	}
	m.Response, m.RCode, m.Additionals = true, dnsmessage.RCode(trouble), nil //nolint:gosec // one of two small numbers
	if q := m.Questions[0]; trouble == 0 && q.Type == dnsmessage.TypeA {
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
		}}
	}
	packed, err := m.Pack()
	return packed, err == nil
}

// Names of the store and of an upstream cannot be resolved any more: the connections there are serve on, and where a new one is
// needed, the answer comes in time.
func TestFaultDNSFailure(t *testing.T) {
	names, redis := startNameServer(t), sessiontest.StartRedis(t)
	upstream := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(upstream.Close)
	_, upstreamPort, _ := strings.Cut(strings.TrimPrefix(upstream.URL, "http://"), ":")
	provider := idptest.New(idptest.Config{Persona: idptest.Generic})
	client := idptest.DefaultClient()
	issuer := provider.Start(t)
	const upstreamTime, storeTime = time.Second, 500 * time.Millisecond
	app := startWithNames(t, names, fmt.Sprintf(`
store: {url: "redis://redis.cloakroom.test:%s", timeout: %s}
providers: {main: {issuer: "%s", client_id: %s, client_secret: %s, scopes: [openid, offline_access]}}
routes:
  - {path: /api, upstream: "http://orders.cloakroom.test:%s", audience: orders, timeout: %s}
`, redis.Port(), storeTime, issuer, client.ID, client.Secret, upstreamPort, upstreamTime))
	app.signIn(t, provider)
	served := func() bool {
		return app.get(t, "/api") == http.StatusOK && app.get(t, "/bff/sessions") == http.StatusOK
	}
	// warm opens as many connections as are needed at a time: two requests, and the replica's own messages.
	warm := func() {
		t.Helper()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { served() })
		}
		all.Wait()
		if !served() {
			t.Fatal("not served with all well")
		}
	}
	warm()
	if names.asked.Load() == 0 {
		t.Fatal("nobody asks the name server: the test does not test")
	}
	for what, trouble := range map[string]int32{"silent": silent, "no such name": int32(dnsmessage.RCodeNameError)} {
		names.trouble.Store(trouble)
		for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			if !served() {
				t.Fatalf("%s: not served over the connections there are", what)
			}
		}
		inTime := func(path string, limit time.Duration, want ...int) {
			t.Helper()
			began := time.Now()
			got := app.get(t, path)
			took := time.Since(began)
			t.Logf("%s: %s answers %d after %s", what, path, got, took)
			if !slices.Contains(want, got) || took > limit+2*time.Second { // what a busy machine may add
				t.Errorf("%s: %s answers %d after %s, want %v within %s", what, path, got, took, want, limit)
			}
		}
		upstream.CloseClientConnections()
		inTime("/api", upstreamTime, http.StatusBadGateway, http.StatusGatewayTimeout)
		redis.Do(t, "CLIENT", "KILL", "TYPE", "pubsub")
		redis.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		for range 3 {
			inTime("/bff/sessions", storeTime, http.StatusServiceUnavailable)
			inTime("/api", storeTime+upstreamTime, http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusGatewayTimeout)
		}
		names.trouble.Store(0)
		began := time.Now()
		for !served() {
			if time.Since(began) > 20*time.Second { // Go shares a look-up that is under way, and that may take ten
				t.Fatalf("%s: not served when names are known again", what)
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Logf("%s: recovered after %s", what, time.Since(began))
		warm()
	}
}

// named is a program under withNameServer, and the browser of somebody who uses it.
type named struct {
	url     string
	browser *http.Client
}

func startWithNames(t *testing.T, names *nameServer, rest string) *named {
	t.Helper()
	public, admin := sessiontest.FreePort(t), sessiontest.FreePort(t)
	file := filepath.Join(t.TempDir(), "cloakroom.yaml")
	content := fmt.Sprintf(`
public: {url: "http://localhost:%s", listen: "127.0.0.1:%s"}
internal: {url: "http://localhost:1", listen: off}
admin: {listen: "127.0.0.1:%s"}
secrets: ["%s"]
drain: {delay: 0s}
%s`, public, public, admin, secret.NewKey().Encode().Reveal(), rest)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	program := &exec.Cmd{Path: self, Args: []string{"cloakroom-with-names", "serve", "--config", file}, Env: append(os.Environ(), "NAME_SERVER="+names.address), Stdout: &log, Stderr: &log}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = program.Process.Signal(os.Interrupt)
		if err := program.Wait(); err != nil {
			t.Errorf("it ends with %v", err)
		}
		if t.Failed() {
			t.Log(log.String())
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	app := &named{url: "http://localhost:" + public, browser: &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if res, err := http.Get("http://127.0.0.1:" + admin + "/readyz"); err == nil { //nolint:noctx,gosec // the product's own probe
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return app
			}
		}
		if time.Now().After(end) {
			t.Fatal("it does not start")
		}
	}
}

// signIn goes through the provider's page as alice.
func (n *named) signIn(t *testing.T, provider *idptest.Provider) {
	t.Helper()
	open := func(address string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		res, err := n.browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	to := open(n.url + "/bff/login").Header.Get("Location")
	back, err := provider.SignIn(t.Context(), n.browser, to, "alice", "alice")
	if err != nil {
		t.Fatal(err)
	}
	if res := open(back); res.StatusCode != http.StatusFound && res.StatusCode != http.StatusSeeOther {
		t.Fatalf("the callback answers %d", res.StatusCode)
	}
}

// get asks as a fetch of the SPA.
func (n *named) get(t *testing.T, path string) (status int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-CSRF", "1")
	res, err := n.browser.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if len(res.Header.Values("Set-Cookie")) > 0 {
		t.Errorf("%s touches the cookie: %v", path, res.Header)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}
