package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/internal/demo"
	"cloakroom/secret"
)

// The configuration in docker-compose.yml is one that Cloakroom takes, with one Redis as with Sentinels, and it gives the demo's
// services the very tokens that `cloakroom demo` gives them: what they tell of each claim's origin holds in both.
func TestComposeRunsTheDemosConfiguration(t *testing.T) {
	own := demoConfiguration(t)
	for _, store := range []string{"redis://redis:6379/0", "redis-sentinel://sentinel-1:26379,sentinel-2:26379/0?master=cloakroom"} {
		file := composeConfiguration(t, store)
		for what, of := range map[string]func(*config.File) any{
			"audiences": func(f *config.File) any { return f.Exchange.Audiences },
			"clients":   func(f *config.File) any { return withoutSecrets(f.Exchange.Clients) },
			"provider's scopes": func(f *config.File) any {
				return []any{f.Providers[0].Name, f.Providers[0].ClientID, f.Providers[0].Profile, f.Providers[0].Scopes}
			},
			"routes": func(f *config.File) any {
				var routes []any
				for _, r := range f.Routes {
					routes = append(routes, []any{r.Path, r.StripPrefix, r.Token})
				}
				return routes
			},
		} {
			if here, there := asJSON(t, of(file)), asJSON(t, of(own)); here != there {
				t.Errorf("deploy/compose/cloakroom.yaml and the demo differ in %s:\n%s\n%s", what, here, there)
			}
		}
	}
}

func demoConfiguration(t *testing.T) *config.File {
	t.Helper()
	var own *config.File
	enough := errors.New("enough was seen")
	_, err := demo.Start(t.Context(), demo.Options{Serve: func(_ context.Context, file string, env func(string) (string, bool), _ io.Writer) (func() error, error) {
		var err error
		if own, err = config.Load(file, env); err != nil {
			return nil, err
		}
		return nil, enough
	}})
	if !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return own
}

// composeConfiguration reads the file as the container does, with the environment that docker-compose.yml sets and the folders
// that it mounts.
func composeConfiguration(t *testing.T, store string) *config.File {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/compose/cloakroom.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	spa, err := filepath.Abs("../../web/demo/spa")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("/run/secrets", dir, "/srv/spa", spa).Replace(string(raw))
	for _, name := range []string{"cloakroom-1", "admin-token", "client-secret", "orders-secret", "redis-password"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(secret.NewKey().Encode().Reveal()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(dir, "cloakroom.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{
		"PUBLIC_URL": "http://localhost:8080", "PROVIDER_URL": "http://provider.localhost:8090", "EXCHANGE_URL": "http://cloakroom:8081",
		"ORDERS_URL": "http://orders:8091", "REDIS_URL": store, "TRUSTED_PROXY": "127.0.0.1/32", "ADMIN_LISTEN": "127.0.0.1:9090",
	}
	file, err := config.Load(path, func(name string) (string, bool) { value, set := env[name]; return value, set })
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func withoutSecrets(clients []config.Client) []config.Client {
	var out []config.Client
	for _, c := range clients {
		c.Auth = config.ClientAuth{}
		out = append(out, c)
	}
	return out
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
