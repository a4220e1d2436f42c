package main

import (
	"bytes"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/internal/idptest"
	"cloakroom/provider"
)

func TestCheckOnlineAsksEverything(t *testing.T) {
	party := idptest.New(idptest.Config{})
	party.Start(t)
	idp := party.Issuer()
	upstream := httptest.NewServer(http.NotFoundHandler())
	defer upstream.Close()
	closed := closedAddress(t)
	for _, c := range []struct {
		name, issuer, upstream string
		code                   int
		says                   []string
	}{
		{"all is well", idp, upstream.URL, exitDone, []string{"online: store: fine", "online: provider main: fine", "online: clock against provider main: fine", "online: upstream " + upstream.URL + ": fine"}},
		{"an upstream that is not there", idp, "http://" + closed, exitFailed, []string{"online: provider main: fine", "online: upstream http://" + closed + ": cannot be reached", "start it, or correct"}},
		{"a provider that is not there", "http://" + closed, upstream.URL, exitFailed, []string{"online: store: fine", "online: provider main: no sign-in could begin", "http://" + closed + "/.well-known/openid-configuration"}},
		{"a provider that is another", strings.Replace(idp, "127.0.0.1", "localhost", 1), upstream.URL, exitFailed, []string{"online: provider main: no sign-in could begin"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := fmt.Sprintf(`
public: {url: "http://localhost:8080"}
internal: {url: "http://localhost:8081"}
providers: {main: {issuer: %q, client_id: app, client_secret: s3cr3t}}
routes: [{path: /api, upstream: %q, audience: api}]
`, c.issuer, c.upstream)
			file, err := config.Parse("c.yaml", text, func(string) (string, bool) { return "", false })
			if err != nil {
				t.Fatal(err)
			}
			h, err := assemble(file, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = h.store.Close() }()
			var out bytes.Buffer
			code := exitDone
			if !checkOnline(h, Env{Stdout: &out}) {
				code = exitFailed
			}
			if code != c.code {
				t.Errorf("ends with %d, not %d", code, c.code)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("does not say %q:\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "s3cr3t") {
				t.Errorf("shows a secret: %s", out.String())
			}
		})
	}
}

func TestClockIsComparedWithTheProviders(t *testing.T) {
	theirs := time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", theirs.Format(http.TimeFormat))
	}))
	defer server.Close()
	for _, c := range []struct {
		name string
		off  time.Duration
		says string
	}{
		{"the same time", 0, ""},
		{"ahead within the skew", 60 * time.Second, ""},
		{"behind within the skew", -60 * time.Second, ""},
		{"ahead", 90 * time.Second, "is 1m29s off"},
		{"behind", -90 * time.Second, "is 1m30s off"},
	} {
		t.Run(c.name, func(t *testing.T) {
			problem, _ := askClock(t.Context(), clientOf(t, server.URL), time.Minute, func() time.Time { return theirs.Add(c.off) })
			if (problem == "") != (c.says == "") || !strings.Contains(problem, c.says) {
				t.Errorf("says %q, not %q", problem, c.says)
			}
		})
	}
	if problem, _ := askClock(t.Context(), clientOf(t, "http://"+closedAddress(t)), time.Minute, time.Now); problem != "" {
		t.Errorf("says %q of a provider that does not answer", problem)
	}
}

func clientOf(t *testing.T, issuer string) *provider.Provider {
	t.Helper()
	p, err := provider.New(provider.Config{Name: "main", Issuer: issuer, ClientID: "app", ClientSecret: "s3cr3t"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// closedAddress is an address of this machine at which nobody listens.
func closedAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
