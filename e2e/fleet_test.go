package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"cloakroom/internal/idptest"
)

// fleet is replicas of one Cloakroom with no load balancer before them: a test chooses whom it asks. With them come one
// provider, which can be killed, and one upstream, which answers with the token it was sent, after the pause that is asked for,
// or a line every so often, and says back what comes over a WebSocket.
type fleet struct {
	replicas []*cloakroom
	provider *idptest.Provider
	upstream *httptest.Server

	listen string       // the provider's address
	idp    *http.Server // nil while it is down
}

// plan is what a fleet is made of.
type plan struct {
	store    string // its URL
	timeout  string // of an operation of the store; "": 2s, which a busy machine does not reach
	replicas int    // 0: one
	provider idptest.Config
	inMain   string // further settings of the provider, such as "timeout: 1s", one a line
	settings string // further settings at the top
	drain    string // "0s": how long one that drains still answers
}

const gatewaySecret = "gateway-secret"

// newFleet writes the configurations and starts all but the replicas; serve starts them.
func newFleet(t *testing.T, p plan) *fleet {
	t.Helper()
	f := &fleet{listen: fmt.Sprintf("127.0.0.1:%d", freePort(t))}
	f.upstream = httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(f.upstream.Close)
	p.provider.Persona, p.provider.URL = idptest.Generic, "http://"+f.listen
	p.provider.Clients = []idptest.Client{{ID: clientID, Secret: clientSecret}}
	f.provider = idptest.New(p.provider)
	canary.provider(f.provider)
	f.reviveProvider(t)
	t.Cleanup(func() { f.killProvider() })

	first := newCloakroom(t)
	inMain := strings.ReplaceAll("\n"+strings.TrimSpace(p.inMain), "\n", "\n    ")
	first.configure(t, p.store, f.provider.Issuer(), fmt.Sprintf(`    scopes: [openid, email, profile, offline_access, orders-api/read]%s
routes:
  - {path: /api, upstream: "%s", audience: orders}
  - {path: /own, upstream: "%s", token: access}
  - {path: /live, upstream: "%s", audience: orders, websocket: true}
  - {path: /, spa: %s}
exchange:
  clients:
    gateway: {auth: {secret: %s}, audiences: [orders], subject_audiences: [orders]}
%s
`, inMain, f.upstream.URL, f.upstream.URL, f.upstream.URL, spa(t), gatewaySecret, p.settings))
	first.reconfigure(t, fmt.Sprintf("store: {url: %q}", p.store), fmt.Sprintf("store: {url: %q, timeout: %s}", p.store, cmp.Or(p.timeout, "2s")))
	if p.drain != "" {
		first.reconfigure(t, "drain: {delay: 0s}", "drain: {delay: "+p.drain+"}")
	}
	f.replicas = []*cloakroom{first}
	for n := 1; n < p.replicas; n++ {
		f.replicas = append(f.replicas, first.twin(t, fmt.Sprintf("replica-%d.yaml", n)))
	}
	return f
}

// startFleet is newFleet, served.
func startFleet(t *testing.T, p plan) *fleet {
	t.Helper()
	f := newFleet(t, p)
	f.serve(t)
	return f
}

func (f *fleet) serve(t *testing.T) {
	t.Helper()
	for _, r := range f.replicas {
		r.serve(t)
	}
}

func echo(w http.ResponseWriter, r *http.Request) {
	if pause, err := time.ParseDuration(r.URL.Query().Get("pause")); err == nil {
		select {
		case <-time.After(pause):
		case <-r.Context().Done():
			return
		}
	}
	if every, err := time.ParseDuration(r.URL.Query().Get("every")); err == nil {
		murmur(w, r, every)
		return
	}
	if r.Header.Get("Upgrade") == "" {
		_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		return
	}
	echoSocket(w, r)
}

// murmur says a line every now and then, for as long as somebody listens.
func murmur(w http.ResponseWriter, r *http.Request, every time.Duration) {
	w.Header().Set("Content-Type", "text/event-stream")
	for {
		_, _ = io.WriteString(w, ":\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(every):
		case <-r.Context().Done():
			return
		}
	}
}

// echoSocket says what it is told, for as long as it is.
func echoSocket(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() { _ = c.CloseNow() }()
	for {
		kind, said, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, said) != nil {
			return
		}
	}
}

func (f *fleet) reviveProvider(t *testing.T) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", f.listen)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: f.provider.Handler(), ReadHeaderTimeout: 10 * time.Second}
	f.idp = server
	go func() { _ = server.Serve(l) }()
}

func (f *fleet) killProvider() {
	if f.idp != nil {
		_ = f.idp.Close()
		f.idp = nil
	}
}

// twin is another replica of the same Cloakroom, at other ports, by a configuration of its own.
func (c *cloakroom) twin(t *testing.T, name string) *cloakroom {
	t.Helper()
	second := *c
	second.process = nil
	second.public, second.intern, second.admin = freePort(t), freePort(t), freePort(t)
	second.config = filepath.Join(c.dir, name)
	second.write(t, name, c.elsewhere(contentOf(t, c.config), &second))
	return &second
}

// elsewhere is a configuration with the ports of a replica.
func (c *cloakroom) elsewhere(configuration string, r *cloakroom) string {
	for from, to := range map[int]int{c.public: r.public, c.intern: r.intern} {
		configuration = strings.ReplaceAll(configuration, fmt.Sprintf("listen: 127.0.0.1:%d\n", from), fmt.Sprintf("listen: 127.0.0.1:%d\n", to))
	}
	return strings.ReplaceAll(configuration, fmt.Sprintf(`{listen: "127.0.0.1:%d"}`, c.admin), fmt.Sprintf(`{listen: "127.0.0.1:%d"}`, r.admin))
}

// reconfigure changes what the replica will be started with.
func (c *cloakroom) reconfigure(t *testing.T, from, to string) {
	t.Helper()
	before := contentOf(t, c.config)
	if !strings.Contains(before, from) {
		t.Fatalf("%s does not have %q", c.config, from)
	}
	c.write(t, filepath.Base(c.config), strings.ReplaceAll(before, from, to))
}

// at is a place on a replica's public listener.
func (c *cloakroom) at(path string) string {
	return fmt.Sprintf("https://%s:%d%s", host, c.public, path)
}

// reply is what a replica said to a fetch of the SPA.
type reply struct {
	path   string
	status int // 0: nothing came, see err
	header http.Header
	body   string
	took   time.Duration
	err    error
}

func (a reply) String() string {
	if a.err != nil {
		return fmt.Sprintf("%s after %s: %v", a.path, a.took, a.err)
	}
	return fmt.Sprintf("%s after %s: %d %v %.300s", a.path, a.took, a.status, a.header, a.body)
}

// cannotTell: the answer of a replica that does not know now, and that leaves the person signed in.
func (a reply) cannotTell() bool {
	return a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "" && len(a.header.Values("Set-Cookie")) == 0
}

// signInAgain: the answer of one that knows that there is no session.
func (a reply) signInAgain() bool {
	return a.status == http.StatusUnauthorized && strings.Contains(a.body, `"login_url":"/bff/login`)
}

// try sends a fetch of the SPA to a replica.
func (c *cloakroom) try(ctx context.Context, method, path, cookie string, headers ...string) reply {
	a := reply{path: path}
	r, err := http.NewRequestWithContext(ctx, method, c.at(path), nil)
	if err != nil {
		return reply{err: err}
	}
	r.Header.Set("X-CSRF", "1")
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	began := time.Now()
	res, err := c.client.Do(r)
	if err == nil {
		var body []byte
		body, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		a.header, a.body = res.Header, string(body)
		if err == nil {
			a.status = res.StatusCode
		}
	}
	a.took, a.err = time.Since(began), err
	return a
}

// signInUnderWay is one between the way to the provider and the way back.
type signInUnderWay struct{ to, login string }

// beginSignIn goes to a replica for the address of the provider's page.
func (c *cloakroom) beginSignIn(ctx context.Context) (signInUnderWay, error) {
	a := c.try(ctx, http.MethodGet, "/bff/login", "", "Accept", "text/html")
	if a.status != http.StatusFound {
		return signInUnderWay{}, fmt.Errorf("sign-in: %s", a)
	}
	return signInUnderWay{a.header.Get("Location"), cookieIn(a, "__Host-Http-login")}, nil
}

// endSignIn comes back to a replica, whichever began it.
func (c *cloakroom) endSignIn(ctx context.Context, s signInUnderWay, back string) (cookie string, err error) {
	_, path, found := strings.Cut(back, "/bff/callback/")
	if !found {
		return "", fmt.Errorf("the provider sends the browser to %s", back)
	}
	a := c.try(ctx, http.MethodGet, "/bff/callback/"+path, s.login, "Accept", "text/html")
	if cookie = cookieIn(a, "__Host-Http-session"); cookie == "" {
		return "", errNoSession{a}
	}
	return cookie, nil
}

// errNoSession is a sign-in that came to nothing.
type errNoSession struct{ reply }

func (e errNoSession) Error() string { return "no session: " + e.String() }
func (e errNoSession) Unwrap() error { return e.err }

func cookieIn(a reply, name string) string {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name && c.Value != "" {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

// enter signs somebody in at a replica.
func (f *fleet) enter(ctx context.Context, at *cloakroom, browser *http.Client, user string) (cookie string, err error) {
	s, err := at.beginSignIn(ctx)
	if err != nil {
		return "", err
	}
	back, err := f.provider.SignIn(ctx, browser, s.to, user, user)
	if err != nil {
		return "", err
	}
	return at.endSignIn(ctx, s, back)
}

// signIn signs alice in at the first replica and returns the session's cookie.
func (f *fleet) signIn(t *testing.T) string {
	t.Helper()
	return f.signInAs(t, "alice")
}

func (f *fleet) signInAs(t *testing.T, user string) string {
	t.Helper()
	return f.signInBy(t, newBrowser(t), user)
}

// signInBy does as people do whom a busy machine tells to try again in a moment.
func (f *fleet) signInBy(t *testing.T, browser *http.Client, user string) string {
	t.Helper()
	for attempt := 1; ; attempt++ {
		cookie, err := f.enter(t.Context(), f.replicas[0], browser, user)
		if err == nil {
			return cookie
		}
		if none, ok := errors.AsType[errNoSession](err); !ok || !none.reply.cannotTell() || attempt == 10 {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

// want asks a replica until the answer is as it should be.
func want(t *testing.T, within time.Duration, what string, at *cloakroom, path, cookie string, good func(reply) bool) reply {
	t.Helper()
	var last reply
	for deadline := time.Now().Add(within); ; time.Sleep(10 * time.Millisecond) {
		if last = at.try(t.Context(), http.MethodGet, path, cookie); good(last) {
			return last
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s; last %s", within, what, last)
		}
	}
}

func works(a reply) bool { return a.status == http.StatusOK }
