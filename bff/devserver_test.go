package bff

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"cloakroom/internal/idptest"
)

const devURL = "http://localhost:8080"

// withDevServer is a house whose SPA comes from a dev server, as Vite's is one: modules and pages, and a WebSocket at its root.
func withDevServer(t *testing.T) (*house, string) {
	t.Helper()
	sockets := newEchoServer(t)
	dev := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isUpgrade(r):
			sockets.serve(w, r)
		case r.URL.Path == "/@vite/client":
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = io.WriteString(w, r.URL.RequestURI())
		default:
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, `<script type="module">import "/@react-refresh"</script>`)
		}
	}))
	t.Cleanup(dev.Close)
	target, err := url.Parse(dev.URL)
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		if cfg.Frontend.URL, err = url.Parse(devURL); err != nil {
			t.Fatal(err)
		}
		cfg.Frontend.Headers = SecurityHeaders{CSPAdd: map[string][]string{"img-src": {"https://cdn.example"}}}
		routes := cfg.Frontend.Routes
		routes[len(routes)-1] = Route{Path: "/", Upstream: target, DevServer: true, Session: None, LoginOnNoSession: true}
	})
	return h, h.listen()
}

func TestADevServerStandsInForTheFolder(t *testing.T) {
	h, _ := withDevServer(t)
	for target, want := range map[string]string{
		"/": "react-refresh", "/orders/7": "react-refresh", "/@vite/client?t=17&import": "/@vite/client?t=17&import",
	} {
		res := newRecorder(h.server, request("GET", target, navigating...))
		csp := res.Header.Get(cspHeader)
		if res.StatusCode != http.StatusOK || !strings.Contains(bodyOf(res), want) {
			t.Errorf("%s: %d %s", target, res.StatusCode, bodyOf(res))
		}
		for _, directive := range []string{"script-src 'self' 'unsafe-inline';", "style-src 'self' 'unsafe-inline';", "connect-src 'self';", "img-src 'self' data: https://cdn.example;",
			"default-src 'none';", "frame-ancestors 'none';", "worker-src 'self' blob:"} {
			if !strings.Contains(csp+";", directive) {
				t.Errorf("%s: no %s in %s", target, directive, csp)
			}
		}
		if strings.Contains(csp, "require-trusted-types-for") || res.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", target, res.Header)
		}
	}
	if csp := newRecorder(h.server, request("GET", "/@vite/client", fetching...)).Header.Get(cspHeader); !strings.Contains(csp, "'unsafe-inline'") {
		t.Errorf("a worker would have %s", csp)
	}
	if csp := newRecorder(h.server, request("GET", "/bff/login", fetching...)).Header.Get(cspHeader); strings.Contains(csp, "'unsafe-inline'") {
		t.Errorf("pages of our own have %s", csp)
	}
	if res := newRecorder(h.server, request("POST", "/", fetching...)); res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", res.StatusCode)
	}
	if h.last() != nil {
		t.Error("an upstream of another route was asked")
	}
}

// Its socket tells about the source, to whoever may open it: only to pages of our own origin, although there is no session.
func TestADevServersSocketIsForItsOwnPages(t *testing.T) {
	h, address := withDevServer(t)
	b := h.browser()
	for origin, opens := range map[string]bool{
		devURL: true, "": false, "null": false, "https://evil.example": false, "http://localhost:5173": false, "https://localhost:8080": false, devURL + ".evil.example": false,
	} {
		c, res, err := b.dial(t, address, "/?token=abc", "Origin", origin, "Cookie", "")
		if opens != (err == nil) || !opens && res.StatusCode != http.StatusForbidden {
			t.Errorf("from %q: %v, %v", origin, res, err)
		}
		if err == nil {
			echoes(t, c, `{"type":"update"}`)
			_ = c.Close(websocket.StatusNormalClosure, "")
		}
	}
}

func TestADevServerIsForDevelopment(t *testing.T) {
	target := mustURL(t, "http://localhost:5173")
	for name, route := range map[string]Route{
		"with a token":                {Path: "/", Upstream: target, DevServer: true, Token: TokenPlan{Kind: TokenAccess}},
		"without a URL":               {Path: "/", DevServer: true},
		"where the public URL is not": {Path: "/", Upstream: target, DevServer: true, Session: None},
	} {
		cfg := Config{Frontend: Frontend{URL: mustURL(t, publicURL), Routes: []Route{route}}}
		if strings.HasPrefix(name, "with") {
			if err := route.check(); err == nil {
				t.Errorf("%s is taken", name)
			}
		} else if err := cfg.check(); err == nil || !strings.Contains(err.Error(), "dev server is for development") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
