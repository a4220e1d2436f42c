package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// canary knows every token, code, secret and cookie that was issued while these tests ran, and reads what Cloakroom left
// behind: its logs, its metrics, its admin answers. None may stand in any of them.
var canary = &birds{secrets: map[string]string{}}

type birds struct {
	mu        sync.Mutex
	secrets   map[string]string // what it is
	providers []interface{ Issued() []string }
	processes []*process // of Cloakroom
	places    []place
}

// place is something that others than the one it is meant for may read.
type place struct{ name, text string }

func (b *birds) issued(what string, secrets ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range secrets {
		b.secrets[one] = what
	}
}

func (b *birds) provider(p interface{ Issued() []string }) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.providers = append(b.providers, p)
}

func (b *birds) process(p *process) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.processes = append(b.processes, p)
}

func (b *birds) place(name, text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places = append(b.places, place{name, text})
}

// watch remembers what a request and its answer hold that nobody else may see.
func (b *birds) watch(r *http.Request, answer *http.Response, body string) {
	for _, c := range answer.Cookies() {
		b.issued("a cookie", c.Value)
	}
	if query := r.URL.Query(); strings.HasPrefix(r.URL.Path, "/bff/callback/") {
		b.issued("a code", query.Get("code"))
	}
	if at, err := url.Parse(answer.Header.Get("Location")); err == nil {
		b.issued("a state, nonce or challenge", at.Query()["state"]...)
	}
	if _, given, ok := r.BasicAuth(); ok {
		if plain, err := url.QueryUnescape(given); err == nil {
			b.issued("a client's secret", plain)
		}
	}
	var granted struct {
		Token string `json:"access_token"`
	}
	if json.Unmarshal([]byte(body), &granted) == nil {
		b.issued("a minted token", granted.Token)
	}
	if path := r.URL.Path; path == "/metrics" || path == "/readyz" || strings.HasPrefix(path, "/admin/") {
		b.place("the answer of "+path, body)
	}
}

// window is how much of a secret must stand somewhere to be found. Shorter ones are words of the tests' own.
const window = 20

// fingerprints are the parts of a secret that no other text has: of a JWT the end of its claims and its signature, since all
// begin alike; of anything else its beginning.
func fingerprints(secret string) (all []string) {
	if parts := strings.Split(secret, "."); len(parts) == 3 && strings.HasPrefix(secret, "eyJ") {
		for _, part := range parts[1:] {
			if len(part) >= window {
				all = append(all, part[len(part)-window:])
			}
		}
		return all
	}
	if len(secret) < window {
		return nil
	}
	return []string{secret[len(secret)-window:]}
}

// found tells which secrets stand where, and how many were looked for in how much text.
func (b *birds) found() (faults []string, secrets, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	prints := map[string]string{}
	for _, p := range b.providers {
		for _, one := range p.Issued() {
			b.secrets[one] = "issued by the provider"
		}
	}
	for one, what := range b.secrets {
		for _, print := range fingerprints(one) {
			prints[print] = what
		}
	}
	// The last bytes of a window make most of the text pass quickly.
	var tails [1 << 16]bool
	for print := range prints {
		tails[uint16(print[window-2])<<8|uint16(print[window-1])] = true
	}
	places := b.places
	for _, p := range b.processes {
		places = append(places, place{"the log of " + strings.Join(p.cmd.Args[1:], " "), p.printed()})
	}
	for _, at := range places {
		bytes += len(at.text)
		for i := window; i <= len(at.text); i++ {
			if !tails[uint16(at.text[i-2])<<8|uint16(at.text[i-1])] {
				continue
			}
			if what, there := prints[at.text[i-window:i]]; there {
				from := max(strings.LastIndexByte(at.text[:i-window], '\n')+1, i-window-200)
				faults = append(faults, fmt.Sprintf("%s stands in %s, after %q", what, at.name, at.text[from:i-window]))
			}
		}
	}
	return faults, len(prints), bytes
}

// misnamed tells of the audit lines that are not as the contract has them.
func (b *birds) misnamed() (faults []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.processes {
		_, some := auditEvents(p.printed())
		faults = append(faults, some...)
	}
	return faults
}

func TestTheCanarySings(t *testing.T) {
	const jwt = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSIsImlzcyI6Imh0dHBzOi8vaWRwIn0.c2lnbmF0dXJlLW9mLXRoaXMtdG9rZW4tYWxvbmU"
	for name, tc := range map[string]struct {
		secret, text string
		faults       int
	}{
		"a token":                 {jwt, `{"msg":"x"}` + "\n" + `{"msg":"got ` + jwt + `"}`, 2},
		"its claims alone":        {jwt, "x" + strings.Split(jwt, ".")[1], 1},
		"its signature alone":     {jwt, strings.Split(jwt, ".")[2] + "x", 1},
		"another with its header": {jwt, "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJib2IifQ.AAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 0},
		"an opaque one":           {"v1.k1.0123456789abcdefghij", "Cookie: session=v1.k1.0123456789abcdefghij;", 1},
		"nothing":                 {jwt, "", 0},
	} {
		b := &birds{secrets: map[string]string{}}
		b.issued("a secret", tc.secret)
		b.place("a log", tc.text)
		if faults, _, _ := b.found(); len(faults) != tc.faults {
			t.Errorf("%s: %q", name, faults)
		}
	}
}
