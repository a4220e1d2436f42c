package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestABrokenConfigurationListsAllItsFaults(t *testing.T) {
	app := newCloakroom(t)
	app.write(t, "cloakroom.yaml", `
public: {url: "ftp://app.example.com", listne: ":8080"}
store: {url: "${NOT_SET_ANYWHERE}"}
session: {idle: soon}
providers:
  main: {issuer: "https://idp.example.com"}
routes:
  - {path: /api, upstream: "http://orders:9001"}
  - {path: /, spa: no-such-folder}
exchange: {audiences: {orders: {claims: {aud: "1"}, allow: "id.email =="}}}
`)
	for _, command := range []string{"check", "serve"} {
		out, err := exec.Command(binary, command, "--config", app.config).CombinedOutput() //nolint:gosec // the binary under test
		if err == nil {
			t.Fatalf("%s accepts it:\n%s", command, out)
		}
		for line, fault := range map[int]string{
			2: "ftp://", 3: "NOT_SET_ANYWHERE", 4: "soon", 6: "client_id", 8: "token", 9: "no-such-folder", 10: "aud",
		} {
			if !strings.Contains(string(out), fmt.Sprintf("cloakroom.yaml:%d", line)) || !strings.Contains(string(out), fault) {
				t.Errorf("%s does not report line %d (%s):\n%s", command, line, fault, out)
			}
		}
		if !strings.Contains(string(out), "listne") || !strings.Contains(string(out), "orders.allow") {
			t.Errorf("%s misses the second fault of a line:\n%s", command, out)
		}
	}
}

func TestAProviderThatIsDownAtStartIsWaitedFor(t *testing.T) {
	app := newCloakroom(t)
	port := freePort(t)
	issuer := fmt.Sprintf("http://localhost:%d", port)
	app.configure(t, "memory:", issuer, "routes:\n  - {path: /, spa: "+spa(t)+"}\n")
	app.serve(t)

	login := navigate(t, app, "/bff/login")
	if login.StatusCode != http.StatusServiceUnavailable || login.Header.Get("Retry-After") == "" || !strings.HasPrefix(login.Header.Get("Content-Type"), "text/html") {
		t.Errorf("login answers %d %v", login.StatusCode, login.Header)
	}
	if status, body := ready(t, app, ""); status != http.StatusOK || !strings.Contains(body, "degraded") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := ready(t, app, "?strict"); status != http.StatusServiceUnavailable {
		t.Errorf("/readyz?strict: %d", status)
	}

	provider := &http.Server{ReadHeaderTimeout: time.Second, Handler: discovery(issuer)}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)) //nolint:noctx // a test's own listener
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = provider.Serve(l) }()
	t.Cleanup(func() { _ = provider.Close() })
	eventually(t, 20*time.Second, "/readyz shows the provider well", func() bool {
		_, body := ready(t, app, "")
		return !strings.Contains(body, "degraded")
	})
	if login := navigate(t, app, "/bff/login"); login.StatusCode != http.StatusFound || !strings.HasPrefix(login.Header.Get("Location"), issuer+"/authorize?") {
		t.Errorf("login answers %d to %s", login.StatusCode, login.Header.Get("Location"))
	}
}

// signIn goes through oidc-provider's own pages by script and returns the session cookie.
func signIn(t *testing.T, app *cloakroom) (cookie string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	person := &http.Client{Jar: jar, Transport: app.client.Transport}
	do := func(request *http.Request, err error) *http.Response {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/html")
		answer, err := person.Do(request.WithContext(t.Context()))
		if err != nil {
			t.Fatal(err)
		}
		return answer
	}
	page := do(http.NewRequest(http.MethodGet, app.origin()+"/bff/login", nil)) //nolint:noctx // do gives it the test's
	for range 5 {
		body, err := io.ReadAll(page.Body)
		_ = page.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(page.Request.URL.String(), app.origin()) {
			own, _ := url.Parse(app.origin())
			for _, c := range jar.Cookies(own) {
				if c.Name == "__Host-Http-session" {
					return c.Name + "=" + c.Value
				}
			}
			t.Fatalf("back at %s (%d) without a session: %s", page.Request.URL.Path, page.StatusCode, body)
		}
		action := between(string(body), `action="`, `"`)
		target, err := page.Request.URL.Parse(action)
		if err != nil {
			t.Fatal(err)
		}
		form := url.Values{"prompt": {between(string(body), `name="prompt" value="`, `"`)}, "login": {"alice"}, "password": {"any"}}
		post, err := http.NewRequest(http.MethodPost, target.String(), strings.NewReader(form.Encode())) //nolint:noctx // do gives it the test's
		if err == nil {
			post.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		page = do(post, err)
	}
	t.Fatal("the provider's pages do not end")
	return ""
}

func between(s, from, to string) string {
	_, s, _ = strings.Cut(s, from)
	s, _, _ = strings.Cut(s, to)
	return s
}

func navigate(t *testing.T, app *cloakroom, path string) *http.Response {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, app.origin()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none", "Accept": "text/html"} {
		request.Header.Set(name, value)
	}
	answer, err := app.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	return answer
}

func ready(t *testing.T, app *cloakroom, query string) (status int, body string) {
	t.Helper()
	return askAdmin(t, app, "/readyz"+query)
}

func askAdmin(t *testing.T, app *cloakroom, path string) (status int, body string) {
	t.Helper()
	return fetch(t, app.adminURL()+path)
}

// fetch gets a page over plain HTTP.
func fetch(t *testing.T, address string) (status int, body string) {
	t.Helper()
	answer, err := http.Get(address) //nolint:gosec,noctx // the test's own
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(raw)
}

// discovery is the least a provider must say for a sign-in to begin.
func discovery(issuer string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]any{
				"issuer": issuer, "authorization_endpoint": issuer + "/authorize", "token_endpoint": issuer + "/token", "jwks_uri": issuer + "/jwks",
				"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
				"id_token_signing_alg_values_supported": []string{"RS256"}, "code_challenge_methods_supported": []string{"S256"},
			})
		case "/jwks":
			_, _ = io.WriteString(w, `{"keys":[]}`)
		default:
			http.NotFound(w, r)
		}
	})
}
