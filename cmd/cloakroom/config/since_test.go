package config

import (
	"os"
	"strings"
	"testing"

	"cloakroom/internal/certtest"
)

const steady = `public: {url: https://app.example.com, tls: {cert_file: tls/public.crt, key_file: tls/public.key}}
internal: {url: https://cloakroom:8081}
store: {url: redis://redis:6379/0}
secrets: ["${K1}"]
session: {user_claims: {email: id.email}}
providers:
  main: {issuer: https://idp.example.com, client_id: app, client_secret: "${S1}"}
  other: {issuer: https://other.example.com, client_id: app, client_secret: "${S1}"}
issuers: {desk: {issuer: https://desk.example.com, audiences: [cloakroom]}}
routes: [{path: /api, upstream: http://api:9001, audience: api}]
exchange: {audiences: {api: {}}, clients: {caller: {auth: {secret: "${S2}"}, audiences: [api]}}}
limits: {token_per_second: 5}
log: {level: info}
`

func TestSinceNamesWhatAReloadCannotChange(t *testing.T) {
	dir := folder(t, map[string]string{"tls/public.crt": "cert", "tls/public.key": "key"})
	read := func(edits ...string) *File {
		t.Helper()
		f, err := Parse(dir+"/c.yaml", strings.NewReplacer(edits...).Replace(steady), lookup)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old := read()
	for name, c := range map[string]struct {
		edits []string
		want  []string // path and line
	}{
		"nothing":                       {nil, nil},
		"a default written out":         {[]string{"store: {", `store: {prefix: "cloakroom:", `}, nil},
		"an empty list written out":     {[]string{"public: {", "public: {allowed_origins: [], "}, nil},
		"a rule under another compiler": {[]string{"{email: id.email}", "{email:  id.email}"}, nil},
		"all that may": {[]string{
			`["${K1}"]`, `["${K2}", "${K1}"]`, "desk.example", "front-desk.example", "api:9001", "api:9002", "{api: {}}", "{api: {lifetime: 1m}}",
			"token_per_second: 5", "token_per_second: 6, login_per_minute: 5, egress_allow: [169.254.1.0/24]", "level: info", "level: debug, format: text",
		}, nil},
		"another certificate": {[]string{"tls/public.crt", "tls/../tls/public.crt"}, nil},
		"no certificate":      {[]string{", tls: {cert_file: tls/public.crt, key_file: tls/public.key}", ""}, []string{"public.tls.cert_file 1", "public.tls.key_file 1"}},
		"listeners": {[]string{"public: {", `public: {listen: ":8090", `, "internal: {", "internal: {listen: off, "},
			[]string{"public.listen 1", "internal.listen 2"}},
		"a store":                    {[]string{"redis://redis:6379/0", "redis://other:6379/0, timeout: 1s"}, []string{"store.url 3", "store.timeout 3"}},
		"a password from a variable": {[]string{"store: {", `store: {password: "${S1}", `}, []string{"store.password 3"}},
		"a provider's secret":        {[]string{`main: {issuer: https://idp.example.com, client_id: app, client_secret: "${S1}"`, `main: {issuer: https://idp.example.com, client_id: app, client_secret: "${S2}"`}, []string{"providers.main.client_secret 7"}},
		"a provider's rule":          {[]string{"other: {", "other: {allow: id.email_verified, "}, []string{"providers.other.allow 8"}},
		"what defaults follow from": {[]string{"main: {issuer: https://idp.example.com, client_id: app", "main: {issuer: https://idp.example.com, client_id: other"},
			[]string{"providers.main.client_id 7"}},
		"another provider":     {[]string{"other: {", "another: {"}, []string{"providers 6"}},
		"the default provider": {[]string{"main: {", "x: {", "other: {", "main: {"}, []string{"providers 6"}},
		"user claims":          {[]string{"{email: id.email}", "{email: access.email}"}, []string{"session.user_claims 5"}},
		"what was taken out":   {[]string{"session: {user_claims: {email: id.email}}", ""}, []string{"session.user_claims 1"}},
		"drain and telemetry": {[]string{"log: {level: info}", "drain: {delay: 1s}\nadmin: {token: \"${S1}\"}"},
			[]string{"admin.token 14", "drain.delay 13"}},
	} {
		t.Run(name, func(t *testing.T) {
			next := read(c.edits...)
			faults := next.Since(old)
			quiet(t, faults)
			got := map[string]bool{}
			for _, f := range faults {
				got[f.Path+" "+lineOf(f)] = true
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want %v", faults, c.want)
			}
			for _, want := range c.want {
				if !got[want] {
					t.Errorf("got %v, not %s", faults, want)
				}
			}
			if again := next.Since(old); len(again) != len(faults) {
				t.Errorf("asked again: %v", again)
			}
		})
	}
}

func lineOf(f Fault) string { return strings.Split(f.String(), ":")[1] }

func TestSinceNamesFilesThatHoldSomethingElse(t *testing.T) {
	dir := folder(t, map[string]string{
		"tls/public.crt": "cert", "tls/public.key": "key", "store.ca": "cert", "store.crt": "cert", "store.key": "key", "idp.ca": "cert", "logo.svg": "<svg/>",
	})
	text := strings.NewReplacer(
		"redis://redis:6379/0", "rediss://redis:6379/0, ca_file: store.ca, cert_file: store.crt, key_file: store.key",
		"main: {", "main: {ca_file: idp.ca, ", "public: {", "public: {pages: {logo_file: logo.svg}, ",
	).Replace(steady)
	read := func() *File {
		t.Helper()
		f, err := Parse(dir+"/c.yaml", text, lookup)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	old := read()
	renewed := certtest.Issue(t, certtest.Named("renewed"), nil)
	renewed.Write(t, dir+"/tls/public.crt", dir+"/tls/public.key")
	renewed.Write(t, dir+"/store.crt", dir+"/store.key")
	for name, content := range map[string]string{"store.ca": string(renewed.Cert), "logo.svg": "<svg></svg>"} {
		if err := os.WriteFile(dir+"/"+name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if faults := read().Since(old); len(faults) > 0 {
		t.Errorf("of what is followed: %v", faults)
	}
	if err := os.WriteFile(dir+"/idp.ca", renewed.Cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if faults := read().Since(old); len(faults) != 1 || faults[0].Path != "providers.main.ca_file" || !strings.Contains(faults[0].Problem, "something else") {
		t.Errorf("of a provider's authorities: %v", faults)
	}
}
