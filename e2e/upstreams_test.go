package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"cloakroom/internal/idptest"
)

// What an upstream gets, and what it may do to the browser and to the process (security.md D7, D9; faults.md F4), by one process that
// signs in at a real provider and hands out its tokens.
func TestUpstreamsGetWhatIsTheirsAndHarmNobody(t *testing.T) {
	t.Parallel()
	u := newUpstreams(t)
	v := u.visitor(t)
	v.atIdP = newBrowser(t)
	if res, body := v.signIn(t, "/bff/login", u.provider); v.session() == "" {
		t.Fatalf("sign-in: %d %s", res.StatusCode, body)
	}

	t.Run("D7 headers in every spelling", func(t *testing.T) { u.spellings(t, v) })
	t.Run("D7 what an upstream answers about the whole origin", func(t *testing.T) { u.answers(t, v) })
	t.Run("D9 redirects are passed on, not followed", func(t *testing.T) {
		res, _ := v.fetch(t, http.MethodGet, "/api/redirect")
		if res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != u.elsewhere.URL+"/" || u.elsewhere.hits.Load() != 0 {
			t.Errorf("%d to %q, followed %d times", res.StatusCode, res.Header.Get("Location"), u.elsewhere.hits.Load())
		}
	})
	t.Run("D9 an upstream at the metadata service is no configuration", u.metadata)
	for path, want := range map[string]int{"/mtls": 200, "/named": 200, "/uncertified": 502, "/unknownca": 502, "/otherhost": 502} {
		t.Run("D9 private CAs and client certificates: "+path, func(t *testing.T) {
			if res, body := v.fetch(t, http.MethodGet, path+"/whoami"); res.StatusCode != want || want == 200 && body != "cloakroom.test" {
				t.Errorf("%d %s, want %d", res.StatusCode, body, want)
			}
		})
	}
	t.Run("an upstream's 401 signs nobody out", func(t *testing.T) { u.unauthorized(t, v) })
	t.Run("F4 an upstream that hangs, or resets", func(t *testing.T) { u.hangs(t, v) })
	t.Run("F4 bodies without end", func(t *testing.T) { u.streams(t, v) })
	t.Run("rate limits count by the address that a trusted proxy gives", u.limits)

	for _, secret := range u.provider.Issued() {
		if strings.Contains(u.printed(), secret) {
			t.Fatal("a token or a code stands in the log")
		}
	}
	if log := u.printed(); strings.Contains(log, "DATA RACE") || strings.Contains(log, "panic") {
		t.Error("the process panics, or races")
	}
}

// upstreams is one process, with a provider and a server behind each of its routes.
type upstreams struct {
	*cloakroom
	provider  *idptest.Provider
	elsewhere *elsewhere

	mu     sync.Mutex
	header http.Header // of the last request to /api
	tokens []string    // that /api/unauthorized was sent
}

const cliff = 256 << 20 // bytes of a body: more than any process here may take

func newUpstreams(t *testing.T) *upstreams {
	t.Helper()
	u := &upstreams{
		cloakroom: newCloakroom(t), elsewhere: newElsewhere(t),
		provider: idptest.New(idptest.Config{Persona: idptest.Generic, Clients: []idptest.Client{{ID: clientID, Secret: clientSecret}}}),
	}
	behind := httptest.NewServer(u)
	t.Cleanup(behind.Close)
	secured := u.secured(t)
	port := secured[strings.LastIndex(secured, ":"):]
	u.configure(t, "memory:", u.provider.Start(t), strings.NewReplacer(
		"BEHIND", behind.URL, "SECURED", secured, "LOCALHOST", "https://localhost"+port, "SPA", spa(t),
	).Replace(`
    scopes: [openid, email, profile, offline_access, orders-api/read]
routes:
  - {path: /api, upstream: "BEHIND", audience: orders, max_body: 1GiB}
  - {path: /legacy, upstream: "BEHIND", token: access, timeout: 300ms}
  - {path: /files, upstream: "BEHIND", token: none, csrf: fetch-metadata}
  - {path: /mtls, upstream: "SECURED", audience: orders, tls: {ca_file: upstream/tls.crt, cert_file: client/tls.crt, key_file: client/tls.key}}
  - {path: /named, upstream: "LOCALHOST", audience: orders, tls: {ca_file: upstream/tls.crt, cert_file: client/tls.crt, key_file: client/tls.key, server_name: app.cloakroom.test}}
  - {path: /uncertified, upstream: "SECURED", audience: orders, tls: {ca_file: upstream/tls.crt}}
  - {path: /unknownca, upstream: "SECURED", audience: orders, tls: {cert_file: client/tls.crt, key_file: client/tls.key}}
  - {path: /otherhost, upstream: "LOCALHOST", audience: orders, tls: {ca_file: upstream/tls.crt, cert_file: client/tls.crt, key_file: client/tls.key}}
  - {path: /, spa: SPA}
limits: {login_per_minute: 5}
`))
	u.write(t, "cloakroom.yaml", strings.Replace(contentOf(t, u.config), "public:\n", "public:\n  trusted_proxies: [127.0.0.1/32]\n", 1))
	u.serve(t)
	return u
}

// secured serves over TLS, for those alone who show the client certificate, and tells them their own name.
func (u *upstreams) secured(t *testing.T) string {
	t.Helper()
	server, client := &cloakroom{dir: u.dir + "/upstream"}, &cloakroom{dir: u.dir + "/client"}
	for _, c := range []*cloakroom{server, client} {
		if err := os.Mkdir(c.dir, 0o700); err != nil {
			t.Fatal(err)
		}
		c.certify(t)
	}
	pair, err := tls.LoadX509KeyPair(server.dir+"/tls.crt", server.dir+"/tls.key")
	if err != nil {
		t.Fatal(err)
	}
	ours := x509.NewCertPool()
	ours.AppendCertsFromPEM([]byte(contentOf(t, client.dir+"/tls.crt")))
	behind := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.TrimPrefix(r.TLS.PeerCertificates[0].Subject.CommonName, "app."))
	}))
	behind.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours, MinVersion: tls.VersionTLS12}
	behind.Config.ErrorLog = log.New(io.Discard, "", 0)
	behind.StartTLS()
	t.Cleanup(behind.Close)
	return behind.URL
}

func (u *upstreams) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/api/redirect":
		http.Redirect(w, r, u.elsewhere.URL+"/", http.StatusTemporaryRedirect)
	case "/api/origin":
		for name, value := range wholeOrigin {
			w.Header().Add(name, value)
		}
		w.Header().Add("Set-Cookie", "theme=dark")
		_, _ = io.WriteString(w, "ok")
	case "/api/unauthorized":
		u.mu.Lock()
		u.tokens = append(u.tokens, r.Header.Get("Authorization"))
		u.mu.Unlock()
		w.Header().Set("WWW-Authenticate", r.URL.Query().Get("challenge"))
		w.WriteHeader(http.StatusUnauthorized)
	case "/api/zeroes":
		zeroes := make([]byte, 64<<10)
		for range cliff / len(zeroes) {
			if _, err := w.Write(zeroes); err != nil {
				return
			}
		}
	case "/api/sink":
		n, _ := io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strconv.FormatInt(n, 10))
	case "/legacy/hangs":
		<-r.Context().Done()
	case "/legacy/resets", "/legacy/cuts":
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		if r.URL.Path == "/legacy/cuts" {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nbegun")
		}
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	default:
		u.mu.Lock()
		u.header = r.Header.Clone()
		u.mu.Unlock()
		_, _ = io.WriteString(w, "ok")
	}
}

// wholeOrigin is what an upstream may not say, as it is about more than its own answer.
var wholeOrigin = map[string]string{
	"Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "true", "Clear-Site-Data": `"*"`, "Strict-Transport-Security": "max-age=0",
	"Service-Worker-Allowed": "/", "Alt-Svc": `h3="evil.example:443"`, "Nel": "{}", "Report-To": "{}", "Set-Cookie": "__Host-Http-session=evil; Path=/; Secure; HttpOnly", "Cache-Control": "public, max-age=600",
	"Connection": "X-Hop", "X-Hop": "1", "Keep-Alive": "timeout=5",
}

func (u *upstreams) spellings(t *testing.T, v *visitor) {
	conn, err := (&tls.Dialer{Config: u.client.Transport.(documented).TLSClientConfig}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", u.public))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	hostile := []string{
		"Authorization: Bearer stolen", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X-User: admin", "Remote-User: admin", "X-Auth-Request-User: admin",
		"X-Email: admin@example.com", "X-Groups: admins", "X-Roles: admin", "X-Original-URL: /admin", "X-Rewrite-URL: /admin", "X-HTTP-Method-Override: DELETE", "X-Method-Override: DELETE", "Client-Cert: :AA==:", "X-Client-IP: 6.6.6.6",
		"Txn-Token: x", "DPoP: x", "Proxy-Authorization: x", "X-Request-Id: theirs", "Traceparent: theirs", "Tracestate: a=b",
	}
	var head strings.Builder
	head.WriteString("GET /api/headers HTTP/1.1\r\nHost: " + host + "\r\nX-CSRF: 1\r\nX-Tenant: blue\r\nConnection: close, authorization, X-Forwarded-For, x-request-id, X-FORWARDED-PROTO\r\nCookie: theme=dark; " + v.session() + "; __host-http-LOGIN=x\r\n")
	for _, line := range hostile {
		name, value, _ := strings.Cut(line, ":")
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToUpper(strings.ReplaceAll(name, "-", "_"))} {
			head.WriteString(spelling + ":" + value + "\r\n")
		}
	}
	if _, err := io.WriteString(conn, head.String()+"\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		t.Fatalf("%v %s", err, answer)
	}
	u.mu.Lock()
	got := u.header
	u.mu.Unlock()
	want := map[string]string{
		"X-Forwarded-For":  "6.6.6.6", // the test is a proxy that is trusted
		"X-Forwarded-Host": fmt.Sprintf("%s:%d", host, u.public), "X-Forwarded-Proto": "https", "Cookie": "theme=dark", "X-Tenant": "blue", "X-Csrf": "1",
	}
	for name, values := range got {
		switch value := values[0]; {
		case len(values) != 1:
			t.Errorf("%s: %q", name, values)
		case name == "Authorization":
			if claims := u.verifyWithJose(t, strings.TrimPrefix(value, "Bearer "), "orders"); claims["aud"] != "orders" {
				t.Errorf("the token says %v", claims)
			}
		case name == "X-Request-Id" || name == "Traceparent":
			if value == "theirs" || value == "" {
				t.Errorf("%s: %q", name, value)
			}
		case want[name] != value && name != "Accept-Encoding" && name != "User-Agent":
			t.Errorf("%s: %q", name, value)
		}
	}
	for name := range want {
		if got.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if got.Get("Authorization") == "" || got.Get("X-Request-Id") == "" || got.Get("Traceparent") == "" {
		t.Errorf("what is ours was dropped: %v", got)
	}
}

// metadata lets the doctor judge upstreams that are none, in every disguise of their address. (A name is judged when it is dialled.)
func (u *upstreams) metadata(t *testing.T) {
	addresses := []string{"169.254.169.254", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "255.255.255.255"}
	var routes strings.Builder
	for i, address := range addresses {
		fmt.Fprintf(&routes, "routes:\n  - {path: /m%d, upstream: \"http://%s\", token: none}\n", i, address)
	}
	written := strings.Replace(contentOf(t, u.config), "routes:\n", "routes:\n"+strings.ReplaceAll(routes.String(), "routes:\n", ""), 1)
	u.write(t, "metadata.yaml", written)
	check := exec.CommandContext(t.Context(), binary, "check", "--config", u.dir+"/metadata.yaml") //nolint:gosec // the binary under test
	check.Env = append(os.Environ(), "CLIENT_SECRET="+clientSecret)
	out, err := check.CombinedOutput()
	if err == nil || strings.Count(string(out), "is a link-local, metadata or multicast address") != len(addresses) {
		t.Errorf("%v\n%s", err, out)
	}
}

func (u *upstreams) answers(t *testing.T, v *visitor) {
	res, _ := v.fetch(t, http.MethodGet, "/api/origin")
	for name, value := range wholeOrigin {
		if slices.Contains(res.Header[name], value) {
			t.Errorf("%s: %q reached the browser", name, value)
		}
	}
	if res.StatusCode != 200 || !slices.Equal(res.Header["Set-Cookie"], []string{"theme=dark"}) || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	delete(v.cookies, "theme")
}

func (u *upstreams) unauthorized(t *testing.T, v *visitor) {
	for challenge, want := range map[string]struct{ status, tokens int }{
		"":                             {502, 1},
		`Bearer error="invalid_token"`: {502, 2}, // once with a token minted anew
		`Bearer error="insufficient_user_authentication", acr_values="gold"`: {401, 1},
	} {
		u.mu.Lock()
		u.tokens = nil
		u.mu.Unlock()
		res, body := v.fetch(t, http.MethodGet, "/api/unauthorized?challenge="+strings.ReplaceAll(challenge, " ", "%20"))
		u.mu.Lock()
		tokens := slices.Compact(slices.Clone(u.tokens))
		u.mu.Unlock()
		if res.StatusCode != want.status || len(tokens) != want.tokens || res.Header.Get("Set-Cookie") != "" || strings.Contains(body, "no-session") {
			t.Errorf("%q: %d %s, %d different tokens, cookie %q", challenge, res.StatusCode, body, len(tokens), res.Header.Get("Set-Cookie"))
		}
	}
	if res, _ := v.fetch(t, http.MethodGet, "/bff/user"); res.StatusCode != 200 {
		t.Errorf("signed out: %d", res.StatusCode)
	}
}

func (u *upstreams) hangs(t *testing.T, v *visitor) {
	for path, want := range map[string]int{"/legacy/hangs": 504, "/legacy/resets": 502} {
		res, body := v.fetch(t, http.MethodGet, path)
		if res.StatusCode != want || !strings.Contains(body, "urn:cloakroom:problem:upstream-") || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.origin()+"/legacy/cuts", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-CSRF", "1")
	r.Header.Set("Cookie", v.session())
	res, err := u.client.Do(r)
	if err != nil {
		return // it had not begun yet
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that breaks off is passed on as whole: %q, %v", body, err)
	}
}

// streams passes on, in either direction, more than the process may take.
func (u *upstreams) streams(t *testing.T, v *visitor) {
	u.forgetPeak(t)
	before, _ := u.memory(t)
	send := func(method, path string, body io.Reader, size int64) *http.Response {
		r, err := http.NewRequestWithContext(t.Context(), method, u.origin()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-CSRF", "1")
		r.Header.Set("Cookie", v.session())
		r.ContentLength = size
		res, err := u.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	res := send(http.MethodGet, "/api/zeroes", nil, 0)
	n, err := io.Copy(io.Discard, res.Body)
	_ = res.Body.Close()
	if n != cliff || err != nil {
		t.Errorf("%d bytes came down, %v", n, err)
	}
	for name, size := range map[string]int64{"with its length": cliff, "in chunks": -1} {
		res := send(http.MethodPost, "/api/sink", io.LimitReader(zeroes{}, cliff), size)
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(body) != strconv.Itoa(cliff) || err != nil {
			t.Errorf("%s: %q bytes went up, %v", name, body, err)
		}
	}
	_, peak := u.memory(t)
	if grown := peak - before; grown > 64<<20 {
		t.Errorf("grew from %d to %d MiB", before>>20, peak>>20)
	} else {
		t.Logf("from %d to at most %d MiB over %d MiB, thrice (a binary with the race detector on)", before>>20, peak>>20, cliff>>20)
	}
}

type zeroes struct{}

func (zeroes) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// limits begins sign-ins as the clients of a proxy, which is trusted at 127.0.0.1 and at no other address.
func (u *upstreams) limits(t *testing.T) {
	begin := func(from string, headers ...string) *http.Response {
		transport := u.client.Transport.(documented).Clone()
		transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
			return d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", u.public))
		}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, u.origin()+"/bff/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Add(headers[i], headers[i+1])
		}
		res, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}
	exhausted := func(who string, begin func(n int) *http.Response) {
		t.Helper()
		for n := range 5 {
			if res := begin(n); res.StatusCode != http.StatusFound {
				t.Errorf("%s: sign-in %d answers %d", who, n, res.StatusCode)
			}
		}
		res := begin(5)
		wait, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if res.StatusCode != http.StatusTooManyRequests || err != nil || wait < 1 || wait > 12 {
			t.Errorf("%s: the sixth answers %d, Retry-After %q", who, res.StatusCode, res.Header.Get("Retry-After"))
		}
	}
	exhausted("a client of the proxy, whatever it writes itself", func(n int) *http.Response {
		return begin("127.0.0.1", "X-Forwarded-For", fmt.Sprintf("198.51.100.%d, 203.0.113.1", n))
	})
	exhausted("another client of it", func(int) *http.Response { return begin("127.0.0.1", "X-Forwarded-For", "203.0.113.2") })
	exhausted("a client within one /64", func(n int) *http.Response {
		return begin("127.0.0.1", "X-Forwarded-For", fmt.Sprintf("2001:db8::%d", n))
	})
	exhausted("a client that only says it is a proxy", func(n int) *http.Response {
		return begin("127.0.0.2", "X-Forwarded-For", fmt.Sprintf("203.0.113.%d", 10+n), "Forwarded", fmt.Sprintf("for=203.0.113.%d", 20+n))
	})
}
