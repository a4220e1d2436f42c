package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
)

// idp is a provider nobody here wrote, and what it issued so far.
type idp struct {
	issuer string
	issued func() []string
}

// startOIDCProvider runs npm oidc-provider for c; accessTokens is "opaque" (as it comes), "introspected" (the
// same, and it has introspection) or "jwt".
func startOIDCProvider(t *testing.T, c *cloakroom, accessTokens string) idp {
	t.Helper()
	port := freePort(t)
	issuer := fmt.Sprintf("http://localhost:%d", port)
	p := start(t, []string{
		"PORT=" + fmt.Sprint(port), "ISSUER=" + issuer, "ACCESS_TOKENS=" + accessTokens, "CLIENT_ID=" + clientID, "CLIENT_SECRET=" + clientSecret,
		"REDIRECT_URI=" + c.origin() + "/bff/callback/main", "POST_LOGOUT_URI=" + c.origin() + "/bff/logged-out",
	}, "node", "node/provider.mjs")
	said := func() (ready bool, issued []string) {
		for lines := bufio.NewScanner(strings.NewReader(p.printed())); lines.Scan(); {
			var line struct {
				Ready  string
				Issued []string
			}
			if json.Unmarshal(lines.Bytes(), &line) == nil {
				ready = ready || line.Ready != ""
				issued = append(issued, line.Issued...)
			}
		}
		return ready, issued
	}
	eventually(t, 20*time.Second, "oidc-provider is ready", func() bool { ready, _ := said(); return ready })
	return idp{issuer: issuer, issued: func() []string { _, issued := said(); return issued }}
}

// startZitadel runs the example provider of zitadel/oidc for c.
func startZitadel(t *testing.T, c *cloakroom) idp {
	t.Helper()
	var mu sync.Mutex
	var issued []string
	storage.RegisterClients(storage.WebClient(clientID, clientSecret, c.origin()+"/bff/callback/main"))
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	issuer := fmt.Sprintf("http://localhost:%d", l.Addr().(*net.TCPAddr).Port)
	provider := exampleop.SetupServer(issuer, storage.NewStorage(storage.NewUserStore(issuer)), slog.New(slog.DiscardHandler), false)
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/token" {
			provider.ServeHTTP(w, r)
			return
		}
		recorded := httptest.NewRecorder()
		provider.ServeHTTP(recorded, r)
		var grant map[string]any
		if json.Unmarshal(recorded.Body.Bytes(), &grant) == nil {
			mu.Lock()
			for _, name := range []string{"access_token", "refresh_token", "id_token"} {
				if value, ok := grant[name].(string); ok {
					issued = append(issued, value)
				}
			}
			mu.Unlock()
		}
		maps.Copy(w.Header(), recorded.Header())
		w.WriteHeader(recorded.Code)
		_, _ = w.Write(recorded.Body.Bytes())
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	return idp{issuer: issuer, issued: func() []string { mu.Lock(); defer mu.Unlock(); return append([]string(nil), issued...) }}
}

// dialLocal finds the tests' hostname on this machine.
func dialLocal(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}
