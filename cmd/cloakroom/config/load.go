package config

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
)

// Load reads the file at path, with env as os.LookupEnv. Its error is Faults when the content is at fault; it then
// returns, for those who only look, what could be read all the same.
func Load(path string, env func(string) (string, bool)) (*File, error) {
	source, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, source, env)
}

// Parse reads source as if it were the content of the file at path.
func Parse(path, source string, env func(string) (string, bool)) (*File, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	f, faults := parse(path, full, source, env)
	if len(faults) > 0 {
		return f, faults
	}
	return f, nil
}

func read(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return "", err
	}
	if len(raw) > maxFile {
		return "", fmt.Errorf("%s is over %d KiB", path, maxFile>>10)
	}
	return string(raw), nil
}

func parse(name, full, source string, env func(string) (string, bool)) (*File, Faults) {
	r := &report{file: name, places: map[string]place{}}
	f := defaults()
	ex := expander{dir: filepath.Dir(full), env: env, files: Files{full: sha256.Sum256([]byte(source))}}
	f.read, f.Files = r, ex.files
	if !utf8.ValidString(source) {
		r.fault(1, 1, "", "is not UTF-8", "save it as UTF-8")
		return f, r.faults
	}
	if i := strings.IndexAny(source, marks); i >= 0 {
		r.fault(1+strings.Count(source[:i], "\n"), 1, "", "has a character of Unicode's private use", "take it out")
		return f, r.faults
	}
	t := &tree{report: r, expand: ex, anchors: map[string]ast.Node{}}
	top, whole := t.parse(source)
	d := &decoder{report: r, expand: ex}
	d.mark(top, "", 1, 1)
	refuseNotBuilt(r, top) // first: that a setting is not built goes before what is wrong with it
	d.fields(reflect.ValueOf(f).Elem(), top, "")
	f.settle(r)
	if whole {
		(&validator{report: r, File: f}).all()
	}
	f.Warnings = r.warnings.sorted()
	return f, r.faults.sorted()
}

// defaults is the file before anything is read.
func defaults() *File {
	return &File{
		Public:   Public{Listen: ":8080", HSTS: 31536000},
		Internal: Internal{Listen: ":8081"},
		Admin:    Admin{Listen: "127.0.0.1:9090"},
		Store:    Store{URL: Memory, Prefix: "cloakroom:", Timeout: 250 * time.Millisecond},
		Session: Session{
			Idle: 30 * time.Minute, Absolute: 12 * time.Hour, RefreshBefore: time.Minute, RevokeOnEnd: "logout",
			Cookie: Cookie{Name: "session", SameSite: "strict"},
			UserClaims: UserClaims{{Name: "sub"}, {Name: "name"}, {Name: "given_name"}, {Name: "family_name"}, {Name: "email"},
				{Name: "email_verified"}, {Name: "picture"}, {Name: "preferred_username"}},
		},
		Exchange: Exchange{
			Signing:  Signing{Algorithm: "ES256", Rotate: 720 * time.Hour},
			Defaults: Defaults{Lifetime: 5 * time.Minute},
		},
		Limits: Limits{LoginPerMinute: 600},
		Drain:  Drain{Delay: 5 * time.Second, Timeout: 25 * time.Second},
		Log:    Log{Level: "info", Format: "json"},
	}
}

// settle fills in the defaults that follow from other keys.
func (f *File) settle(r *report) {
	if !f.publicIsHTTPS() && !r.given("public.hsts") {
		f.Public.HSTS = 0 // a browser ignores it over plain HTTP (RFC 6797 section 8.1)
	}
	if !r.given("session.idle") {
		f.Session.Idle = min(f.Session.Idle, f.Session.Absolute)
	}
	for i := range f.Providers {
		f.Providers[i].settle()
	}
	if f.Exchange.Issuer == "" {
		f.Exchange.Issuer = f.Internal.URL
		if f.Exchange.Issuer == "" && f.Public.PublishKeys {
			f.Exchange.Issuer = f.Public.URL
		}
	}
	for i := range f.Exchange.Audiences {
		f.Exchange.Audiences[i].settle(f.Exchange)
	}
	for i := range f.Exchange.Clients {
		f.Exchange.Clients[i].settle()
	}
	for i := range f.Routes {
		f.Routes[i].settle()
	}
}
