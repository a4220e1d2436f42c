package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/secret"
)

// secretFile is where init puts the server's secret, beside the configuration.
const secretFile = "secrets/cloakroom-1"

// plan is what `cloakroom init` is asked for.
type plan struct {
	issuer, clientID, secretEnv, spa, url, path string
	apis                                        []api
}

type api struct{ path, upstream, audience string }

// runInit is `cloakroom init`. It writes nothing unless all of it would be a good configuration, and overwrites nothing.
func runInit(args []string, env Env) int {
	p := plan{}
	set := env.flags("init", "--issuer URL --client-id ID --spa FOLDER --api PATH=URL … [flags]")
	set.StringVar(&p.issuer, "issuer", "", "the provider's issuer `URL`, as its metadata has it")
	set.StringVar(&p.clientID, "client-id", "", "the client `ID` that the provider gave Cloakroom")
	set.StringVar(&p.secretEnv, "client-secret-env", "", "the environment variable `NAME` with the client's secret (default COGNITO_CLIENT_SECRET or CLIENT_SECRET)")
	set.StringVar(&p.spa, "spa", "", "the `FOLDER` with the built single-page app")
	set.StringVar(&p.url, "url", "http://localhost:8080", "the `URL` that the browser will see")
	set.StringVar(&p.path, "config", "cloakroom.yaml", "the `FILE` to write")
	set.Func("api", "a path and the service behind it, `PATH=URL`; may be repeated", p.addAPI)
	if code, ok := env.parse(set, args); !ok {
		return code
	}
	if p.issuer == "" || p.clientID == "" || p.spa == "" {
		return env.usage("init: --issuer, --client-id and --spa are needed (init -h explains)")
	}
	if err := p.complete(); err != nil {
		return env.fail(err)
	}
	text := p.render()
	file, err := p.check(text)
	if err != nil {
		return env.fail(err)
	}
	madeSecret, err := p.write(text)
	if err != nil {
		return env.fail(err)
	}
	env.say("%s", p.report(file, madeSecret))
	return exitDone
}

func (p *plan) addAPI(text string) error {
	path, upstream, ok := strings.Cut(text, "=")
	if !ok || !strings.HasPrefix(path, "/") {
		return errors.New("write it as /api/orders=http://orders:9001")
	}
	a := api{path: path, upstream: upstream, audience: audienceOf(path)}
	for _, other := range p.apis {
		if other.audience == a.audience {
			a.audience = strings.Trim(notInName.ReplaceAllString(path, "-"), "-")
		}
	}
	p.apis = append(p.apis, a)
	return nil
}

var notInName = regexp.MustCompile(`[^A-Za-z0-9._-]+`)

// audienceOf names a service by the last segment of its path.
func audienceOf(path string) string {
	name := notInName.ReplaceAllString(filepath.Base(path), "-")
	if name == "" || name == "-" || name == "." {
		return "api"
	}
	return name
}

// complete fills in what follows from the rest.
func (p *plan) complete() error {
	spa, err := filepath.Abs(p.spa)
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	dir, err := filepath.Abs(filepath.Dir(p.path))
	if err != nil {
		return fmt.Errorf("init: %w", err)
	}
	if p.spa, err = filepath.Rel(dir, spa); err != nil {
		p.spa = spa
	}
	if p.secretEnv == "" {
		p.secretEnv = "CLIENT_SECRET"
		if strings.Contains(p.issuer, "//cognito-idp") {
			p.secretEnv = "COGNITO_CLIENT_SECRET"
		}
	}
	return nil
}

// render writes the configuration; contract/minimal.yaml is what it looks like.
func (p *plan) render() string {
	var b strings.Builder
	internal, store := "http://cloakroom:8081", "store: {url: \"${REDIS_URL}\"}\n"
	if p.local() {
		internal, store = "http://localhost:8081", "" // the embedded store
	}
	fmt.Fprintf(&b, "# Every key, with its meaning and default: `cloakroom config example`. Check this file: `cloakroom check --config FILE`.\n")
	fmt.Fprintf(&b, "public: {url: %s}\ninternal: {url: %s}\n%s", quote(p.url), quote(internal), store)
	fmt.Fprintf(&b, "secrets: [\"${file:%s}\"]\n", secretFile)
	fmt.Fprintf(&b, "providers:\n  main:\n    issuer: %s\n    client_id: %s\n    client_secret: \"${%s}\"\n", quote(p.issuer), quote(p.clientID), p.secretEnv)
	b.WriteString("routes:\n")
	for _, a := range p.apis {
		fmt.Fprintf(&b, "  - {path: %s, upstream: %s, audience: %s}\n", quote(a.path), quote(a.upstream), quote(a.audience))
	}
	fmt.Fprintf(&b, "  - {path: /, spa: %s}\nexchange: {defaults: {claims: {email: id.email}}}\n", quote(p.spa))
	return b.String()
}

func (p *plan) local() bool { return config.Public{URL: p.url}.Loopback() }

// quote writes a text so that YAML reads it back as it is, and no ${ in it as a reference.
func quote(text string) string { return strconv.Quote(strings.ReplaceAll(text, "${", "$${")) }

// check reads what would be written as serve will. What is yet to come is no fault: the secret, variables, the built SPA.
func (p *plan) check(text string) (*config.File, error) {
	stub := func(name string) (string, bool) {
		if name == "REDIS_URL" {
			return "redis://redis:6379/0", true
		}
		return "set", true
	}
	file, err := config.Parse(p.path, text, stub)
	faults, ok := errors.AsType[config.Faults](err)
	if err != nil && !ok {
		return nil, err
	}
	var wrong []string
	for _, f := range faults {
		if f.Path != "secrets[0]" && f.Path != fmt.Sprintf("routes[%d].spa", len(p.apis)) {
			wrong = append(wrong, fmt.Sprintf("%s %s; %s", f.Path, f.Problem, f.Remedy))
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("init: nothing is written, because\n  %s", strings.Join(wrong, "\n  "))
	}
	return file, nil
}

// write makes the two files. An existing secret is kept, an existing configuration is an error.
func (p *plan) write(text string) (madeSecret bool, err error) {
	if _, err := os.Lstat(p.path); !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("init: %s is there already, and is not overwritten; choose another with --config", p.path)
	}
	full := filepath.Join(filepath.Dir(p.path), secretFile)
	if err := os.MkdirAll(filepath.Dir(full), 0o700); err != nil {
		return false, fmt.Errorf("init: %w", err)
	}
	err = create(full, secret.NewKey().Encode().Reveal()+"\n", 0o600)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, fmt.Errorf("init: %w", err)
	}
	madeSecret = err == nil
	if err := create(p.path, text, 0o644); err != nil {
		return madeSecret, fmt.Errorf("init: %w", err)
	}
	return madeSecret, nil
}

// create writes a file that is not there yet.
func create(path, text string, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// report says what there is now, and what is to be done next.
func (p *plan) report(file *config.File, madeSecret bool) string {
	var b strings.Builder
	provider, base := file.Providers[0], file.Public.URL
	fmt.Fprintf(&b, "Wrote %s.\n", p.path)
	if madeSecret {
		fmt.Fprintf(&b, "Wrote %s: keep it secret, and keep a copy.\n", filepath.Join(filepath.Dir(p.path), secretFile))
	} else {
		fmt.Fprintf(&b, "Kept %s, which was there.\n", filepath.Join(filepath.Dir(p.path), secretFile))
	}
	fmt.Fprintf(&b, "\nRegister at the provider, for client %s:\n", provider.ClientID)
	fmt.Fprintf(&b, "  callback URL (redirect URI)        %s/bff/callback/%s\n", base, provider.Name)
	fmt.Fprintf(&b, "  sign-out URL (post-logout)         %s/bff/logged-out\n", base)
	fmt.Fprintf(&b, "  client type                        confidential (with a secret), authorization code grant with PKCE\n")
	fmt.Fprintf(&b, "  scopes                             openid profile email\n")
	fmt.Fprintf(&b, "\nThen:\n  export %s=…\n", p.secretEnv)
	if !p.local() {
		b.WriteString("  export REDIS_URL=redis://…\n")
	}
	fmt.Fprintf(&b, "  cloakroom check --config %s\n  cloakroom serve --config %s\n", p.path, p.path)
	return b.String()
}
