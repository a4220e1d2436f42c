package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/secret"
)

// checkable is a configuration without faults, a line for each top-level key; a case replaces some.
var checkable = []string{
	`public: {url: "https://app.example.com"}`,
	`internal: {url: "https://cloakroom:8081"}`,
	`store: {url: "redis://redis:6379/0"}`,
	`secrets: ["${KEY}"]`,
	`session: {}`,
	`providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: s3cr3t}}`,
	`routes: [{path: /api, upstream: "http://api:9001", audience: api}]`,
	`exchange: {}`,
}

func checkableWith(replacements string) string {
	lines := slices.Clone(checkable)
	for line := range strings.SplitSeq(replacements, "\n") {
		key, _, _ := strings.Cut(line, ":")
		lines[slices.IndexFunc(lines, func(was string) bool { return strings.HasPrefix(was, key+":") })] = line
	}
	return strings.Join(lines, "\n") + "\n"
}

// checked is what `cloakroom check` ends with and says of a file, and what serve would say once it was read.
func checked(t *testing.T, text string) (code int, said string, refused error) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"c.yaml": text, "script.sh": "#!/bin/sh", "large.svg": "<svg>" + strings.Repeat(" ", 64<<10)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	key := secret.NewKey().Encode().Reveal()
	lookup := func(name string) (string, bool) { return key, name == "KEY" }
	path := filepath.Join(dir, "c.yaml")
	file, _ := config.Load(path, lookup)
	h, refused := assemble(file, slog.New(slog.DiscardHandler))
	if refused == nil {
		_ = h.store.Close()
	}
	var out bytes.Buffer
	code = runCheck([]string{"--config", path}, Env{Stdout: &out, Stderr: io.Discard, Lookup: lookup})
	return code, strings.ReplaceAll(out.String(), dir+string(filepath.Separator), ""), refused
}

// What serve refuses, check has found before: at its line, and with a remedy.
func TestCheckRefusesWhatServeWould(t *testing.T) {
	const client = `client_id: app, client_secret: s3cr3t`
	csp := func(add string) string {
		return `public: {url: "https://app.example.com", content_security_policy: {add: {` + add + `}}}`
	}
	for _, c := range []struct{ name, lines, says string }{
		{"two providers of one issuer", `providers: {a: {issuer: "https://idp.example.com", ` + client + `}, b: {issuer: "https://idp.example.com", ` + client + `}}`, "c.yaml:6:104: providers.b.issuer: "},
		{"a further origin over http", `public: {url: "https://app.example.com", allowed_origins: ["http://localhost:5173"]}`, "c.yaml:1:60: public.allowed_origins[0]: "},
		{"a further origin over http at another host", `public: {url: "http://localhost:8080", allowed_origins: ["http://spa.example.com"]}`, "c.yaml:1:58: public.allowed_origins[0]: "},
		{"upgrade-insecure-requests", csp(`upgrade-insecure-requests: []`), "c.yaml:1:74: public.content_security_policy.add.upgrade-insecure-requests: "},
		{"report-uri", csp(`report-uri: ["/csp"]`), "c.yaml:1:74: public.content_security_policy.add.report-uri: "},
		{"sandbox", csp(`sandbox: [allow-forms]`), "c.yaml:1:74: public.content_security_policy.add.sandbox: "},
		{"a source beyond ASCII", csp(`img-src: ["https://münchen.example"]`), "c.yaml:1:84: public.content_security_policy.add.img-src[0]: "},
		{"a logo that is no image", `public: {url: "https://app.example.com", pages: {logo_file: script.sh}}`, "c.yaml:1:61: public.pages.logo_file: "},
		{"a logo that is too large", `public: {url: "https://app.example.com", pages: {logo_file: large.svg}}`, "c.yaml:1:61: public.pages.logo_file: "},
		{"a path with two spellings", `routes: [{path: /api/@v1, upstream: "http://api:9001", audience: api}]`, "c.yaml:7:17: routes[0].path: "},
		{"a path with a slash at its end", `routes: [{path: /api/, upstream: "http://api:9001", audience: api}]`, "c.yaml:7:17: routes[0].path: "},
		{"an upstream's path with dots", `routes: [{path: /api, upstream: "http://api:9001/a/../b", audience: api}]`, "c.yaml:7:33: routes[0].upstream: "},
		{"an upstream's path with two spellings", `routes: [{path: /api, upstream: "http://api:9001/%61", audience: api}]`, "c.yaml:7:33: routes[0].upstream: "},
		{"an upstream's path with an encoded slash", `routes: [{path: /api, upstream: "http://api:9001/a%2Fb", audience: api}]`, "c.yaml:7:33: routes[0].upstream: "},
		{"a strip prefix with a pattern", `routes: [{path: /api, strip_prefix: "/*", upstream: "http://api:9001", audience: api}]`, "c.yaml:7:37: routes[0].strip_prefix: "},
		{"a user claim that computes sub", `session: {user_claims: {sub: id.email}}`, "c.yaml:5:30: session.user_claims.sub: "},
		{"a store URL with a fragment", `store: {url: "redis://redis:6379/0#1"}`, "c.yaml:3:14: store.url: "},
		{"an audience without a name", `exchange: {audiences: {"": {}}}`, `c.yaml:8:24: exchange.audiences[""]: `},
		{"keys published where Cloakroom itself is", `exchange: {issuer: "https://cloakroom/bff"}` + "\n" + `public: {url: "https://app.example.com", publish_keys: true}`, "c.yaml:8:20: exchange.issuer: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			code, said, refused := checked(t, checkableWith(c.lines))
			if refused == nil {
				t.Error("serve would take it")
			}
			if code != exitFailed || !strings.HasPrefix(said, c.says) || !strings.HasSuffix(said, "c.yaml: 1 fault\n") {
				t.Errorf("ends with %d and says %q, not %q: %v", code, said, c.says, refused)
			}
		})
	}
}

func TestCheckTakesWhatServeDoes(t *testing.T) {
	for _, line := range []string{
		`session: {}`,
		`public: {url: "http://localhost:8080", allowed_origins: ["http://localhost:5173"]}`,
		`public: {url: "https://app.example.com", content_security_policy: {add: {worker-src: ["blob:"], trusted-types: [default]}}}`,
	} {
		code, said, refused := checked(t, checkableWith(line))
		if code != exitDone || refused != nil {
			t.Errorf("%s: ends with %d, says %q; serve: %v", line, code, said, refused)
		}
	}
}

// Which parameters of a sign-in are Cloakroom's own is for provider to say; the configuration says it too, with a remedy.
func TestParametersOfItsOwnAreTheProvidersToo(t *testing.T) {
	params := []string{
		"acr_values", "audience", "claims", "client_assertion", "client_id", "client_secret", "code_challenge", "code_challenge_method", "connection",
		"display", "dpop_jkt", "identity_provider", "login_hint", "max_age", "nonce", "prompt", "redirect_uri", "request", "request_uri", "resource",
		"response_mode", "response_type", "scope", "state", "ui_locales",
	}
	ofTheirOwn := map[string]bool{"audience": true, "resource": true} // keys that set them
	for _, param := range params {
		code, said, refused := checked(t, checkableWith(fmt.Sprintf(
			`providers: {main: {issuer: "https://idp.example.com", client_id: app, client_secret: s3cr3t, login_params: [], authorization_params: {%s: x}}}`, param)))
		if (code == exitFailed) != (refused != nil || ofTheirOwn[param]) {
			t.Errorf("%s: ends with %d, says %q; serve: %v", param, code, said, refused)
		}
	}
}

// The last net: what no rule of the configuration knows.
func TestCheckFindsWhatOnlyAssemblingDoes(t *testing.T) {
	file, err := config.Parse("c.yaml", checkableWith(`secrets: ["`+secret.NewKey().Encode().Reveal()+`"]`), func(string) (string, bool) { return "", false })
	if err != nil {
		t.Fatal(err)
	}
	file.Routes[0].Path = "/api//x"
	var out bytes.Buffer
	if code := checkHouse(file, "c.yaml", false, Env{Stdout: &out}); code != exitFailed || !strings.Contains(out.String(), "c.yaml: serve would refuse it: browser's side: route") {
		t.Errorf("ends with %d and says %q", code, out.String())
	}
}
