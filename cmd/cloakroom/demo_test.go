package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/demo"
)

// visitor is a browser without a screen: cookies, and a record of everything it was answered.
type visitor struct {
	*testing.T
	client *http.Client
	demo   *demo.Demo

	mu   sync.Mutex
	seen bytes.Buffer
}

func visit(t *testing.T) *visitor {
	t.Helper()
	d, err := demo.Start(t.Context(), demo.Options{Serve: serveDemo})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	v := &visitor{T: t, demo: d}
	v.client = &http.Client{
		Jar: jar, Transport: v, Timeout: 10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return v
}

// RoundTrip keeps what came back: headers, where the provider's redirect holds the code, apart.
func (v *visitor) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	v.mu.Lock()
	defer v.mu.Unlock()
	v.seen.Write(body)
	for name, values := range resp.Header {
		if name != "Location" {
			v.seen.WriteString(strings.Join(values, "\n"))
		}
	}
	return resp, nil
}

// fetch is what the page does: with the header, on Cloakroom's origin.
func (v *visitor) fetch(method, path string, headers ...string) (int, map[string]any) {
	v.Helper()
	if headers == nil {
		headers = []string{"X-CSRF", "1"}
	}
	resp := v.send(method, v.demo.URL+path, headers...)
	body := map[string]any{}
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		v.Fatal(err)
	}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &body); err != nil {
			v.Fatalf("%s %s answered %d, %.200s: %v", method, path, resp.StatusCode, raw, err)
		}
	}
	return resp.StatusCode, body
}

func (v *visitor) send(method, url string, headers ...string) *http.Response {
	v.Helper()
	req, err := http.NewRequestWithContext(v.Context(), method, url, nil)
	if err != nil {
		v.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := v.client.Do(req)
	if err != nil {
		v.Fatal(err)
	}
	v.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// open is a navigation; it returns where it is sent.
func (v *visitor) open(url string) string {
	v.Helper()
	resp := v.send(http.MethodGet, url, "Accept", "text/html")
	to, err := resp.Location()
	if err != nil {
		body, _ := io.ReadAll(resp.Body)
		v.Fatalf("GET %s answered %s without a redirect: %.300s", resp.Request.URL.Path, resp.Status, body)
	}
	return to.String()
}

func (v *visitor) signIn(name string) {
	v.Helper()
	back, err := v.demo.Provider.SignIn(v.Context(), v.client, v.open(v.demo.URL+"/bff/login?returnTo=/"), name, name)
	if err != nil {
		v.Fatal(err)
	}
	if to := v.open(back); to != v.demo.URL+"/" {
		v.Fatalf("signed in, and sent to %s", to)
	}
}

// claims lists what a service verified, by name.
func claims(t *testing.T, answer map[string]any) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	verified, ok := answer["verified"].([]any)
	if !ok {
		t.Fatalf("nothing verified: %v", answer)
	}
	for _, one := range verified {
		claim, _ := one.(map[string]any)
		name, _ := claim["claim"].(string)
		out[name] = claim
	}
	return out
}

func TestDemoFillsItsFourBoxes(t *testing.T) {
	v := visit(t)
	if status, _ := v.fetch(http.MethodGet, "/bff/user"); status != http.StatusUnauthorized {
		t.Fatalf("before signing in /bff/user answers %d", status)
	}
	v.signIn("alice")

	// The provider: the e-mail is in the ID token only, whose audience is the client.
	_, issued := v.fetch(http.MethodGet, "/demo/issued")
	access, _ := issued["access"].(map[string]any)
	id, _ := issued["id"].(map[string]any)
	if access["email"] != nil || !strings.Contains(access["scope"].(string), "orders-api/read") {
		t.Errorf("access token: %v", access)
	}
	if id["email"] != "alice@example.com" || id["aud"] != access["client_id"] {
		t.Errorf("ID token: %v", id)
	}

	// orders: scope and e-mail in one token of its own.
	status, answer := v.fetch(http.MethodGet, "/api/orders")
	if status != http.StatusOK {
		t.Fatalf("orders answers %d: %v", status, answer)
	}
	verified := claims(t, answer)
	for name, want := range map[string][2]any{
		"aud":       {"orders", "Cloakroom"},
		"scope":     {"orders:read", "access token"},
		"email":     {"alice@example.com", "ID token"},
		"sub":       {id["sub"], "access token"},
		"idp":       {v.demo.Provider.Issuer(), "access token"},
		"client_id": {"bff", "Cloakroom"},
	} {
		if got := verified[name]; got["value"] != want[0] || got["from"] != want[1] {
			t.Errorf("orders verified %s: %v, want %v", name, got, want)
		}
	}

	// payments: another one, in which orders acts for alice.
	inner, _ := answer["payments"].(map[string]any)
	verified = claims(t, inner)
	act, _ := verified["act"]["value"].(map[string]any)
	if act["iss"] != v.demo.Internal || act["sub"] != "orders" || verified["aud"]["value"] != "payments" ||
		verified["scope"]["value"] != "payments:read" || verified["email"]["value"] != "alice@example.com" {
		t.Errorf("payments verified %v", verified)
	}

	// The browser, and the log: nothing that the provider ever issued.
	v.sawNoSecret()
}

func (v *visitor) sawNoSecret() {
	v.Helper()
	log, err := os.ReadFile(v.demo.LogFile)
	if err != nil {
		v.Fatal(err)
	}
	if !bytes.Contains(log, []byte("audit")) {
		v.Error("the log has no audit line: what it does not hold proves nothing")
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, secret := range v.demo.Provider.Issued() {
		if bytes.Contains(v.seen.Bytes(), []byte(secret)) || bytes.Contains(log, []byte(secret)) {
			v.Errorf("%.12s… reached the browser or the log", secret)
		}
	}
	if regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]*\.[\w-]*`).Match(v.seen.Bytes()) {
		v.Error("something like a token reached the browser")
	}
}

func TestDemoRefusesWhatMustNotWork(t *testing.T) {
	v := visit(t)
	v.signIn("alice")
	for path, want := range map[string]struct {
		status float64
		says   string
	}{
		"/demo/try/id-token":      {401, "aud is 1example23456789, not orders"},
		"/api/orders/try/forward": {401, "aud is orders, not payments"},
		"/api/orders/try/scope":   {400, "invalid_scope"},
	} {
		status, told := v.fetch(http.MethodPost, path)
		said, err := json.Marshal(told["answer"])
		if err != nil {
			t.Fatal(err)
		}
		if status != http.StatusOK || told["status"] != want.status || !bytes.Contains(said, []byte(want.says)) {
			t.Errorf("%s: %d, %v", path, status, told)
		}
	}
	if status, problem := v.fetch(http.MethodGet, "/api/orders", "Accept", "application/json"); status != http.StatusForbidden ||
		problem["type"] != "urn:cloakroom:problem:csrf" {
		t.Errorf("without X-CSRF: %d, %v", status, problem)
	}
	v.sawNoSecret()
}

func TestDemoGrantsSupportWhatACustomerLacks(t *testing.T) {
	v := visit(t)
	v.signIn("sam")
	if _, told := v.fetch(http.MethodPost, "/api/orders/try/scope"); told["status"] != 200.0 {
		t.Errorf("sam is refused: %v", told)
	}
	_, answer := v.fetch(http.MethodGet, "/api/orders")
	inner, _ := answer["payments"].(map[string]any)
	if inner["whose"] != "everybody’s" {
		t.Errorf("sam sees %v payments", inner["whose"])
	}
}

func TestDemoSignsOutEverywhere(t *testing.T) {
	v := visit(t)
	v.signIn("alice")
	status, told := v.fetch(http.MethodPost, "/bff/logout?returnTo=/")
	to, _ := told["logout_url"].(string)
	if status != http.StatusOK || !strings.HasPrefix(to, v.demo.Provider.URL("logout")) {
		t.Fatalf("logout answers %d, %v", status, told)
	}
	for range 2 { // to the provider, back to /bff/logged-out, and on to the page
		to = v.open(to)
	}
	if to != v.demo.URL+"/" {
		t.Errorf("ends at %s", to)
	}
	if status, _ := v.fetch(http.MethodGet, "/bff/user"); status != http.StatusUnauthorized {
		t.Errorf("/bff/user answers %d", status)
	}
	if to := v.open(v.demo.URL + "/bff/login?returnTo=/"); !strings.HasPrefix(v.open(to), v.demo.Provider.URL("login")) {
		t.Error("the provider still knows this browser")
	}
}

func TestDemoServesThePageUnderItsPolicy(t *testing.T) {
	v := visit(t)
	for path, want := range map[string]string{
		"/": "text/html", "/app.js": "text/javascript", "/watch.js": "text/javascript", "/style.css": "text/css",
		"/ticket.svg": "image/svg+xml", "/bff/client.js": "text/javascript",
	} {
		resp := v.send(http.MethodGet, v.demo.URL+path, "Accept", "text/html")
		if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), want) {
			t.Errorf("%s: %s, %s", path, resp.Status, resp.Header.Get("Content-Type"))
		}
	}
	policy := v.send(http.MethodGet, v.demo.URL+"/", "Accept", "text/html").Header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "require-trusted-types-for 'script'"} {
		if !slices.Contains(strings.Split(policy, "; "), want) {
			t.Errorf("the page's policy has no %s: %s", want, policy)
		}
	}
}

func TestProcessStartIsInThePast(t *testing.T) {
	now := time.Now()
	if age := now.Sub(processStart(now)); age < 0 || age > 10*time.Minute {
		t.Errorf("this process is %v old", age)
	}
}

func TestDemoRefusesArgumentsItDoesNotKnow(t *testing.T) {
	for _, args := range [][]string{{"--port", "99999"}, {"--port", "-1"}, {"--port", "x"}, {"--prot", "1"}, {"8080"}} {
		var said bytes.Buffer
		if code := runDemo(args, Env{Stdout: &said, Stderr: &said}); code != exitUsage || said.Len() == 0 {
			t.Errorf("%q ends with %d and says %q", args, code, &said)
		}
	}
}
