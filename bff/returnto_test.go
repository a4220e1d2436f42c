package bff

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// escaping are strings that a URL parser (WHATWG) reads as another origin, seen from a page of ours.
var escaping = []string{
	"//evil.example", "///evil.example", "////evil.example", `/\evil.example`, `\\evil.example`, `\/evil.example`, "/\t/evil.example", "/\n/evil.example",
	"/\r\n/evil.example", "\t//evil.example", " //evil.example", "\x00//evil.example", "https:///evil.example", "https://evil.example",
	"hTTps://evil.example", "http:evil.example", "//app.example@evil.example", "//app.example:80#@evil.example/", "https://app.example@evil.example",
	"https://app.example.evil.example", "https://app.example%2eevil.example", `https://evil.example\@app.example`, "https://evil.example#app.example",
	"https://evil.example?app.example", "//evil。example", "//ⅇvil.example", "//evil%E3%80%82example", "//[::1]/", "//0x7f.1/", "//2130706433/",
	"javascript:alert(1)", "java\tscript:alert(1)", " javascript:alert(1)", "JaVaScRiPt://app.example/%0aalert(1)", "data:text/html,x", "vbscript:x",
	"https://app.example:8443/", "http://app.example/", "wss://app.example/",
}

// misleading stay at our origin, but at a path that somebody on the way may read as another.
var misleading = []string{
	"/..//evil.example", "/.//evil.example", `/./\evil.example`, "/a/..//evil.example", "/%2e%2e//evil.example", "/a/%2e%2e/%2e%2e//evil.example",
	"..//evil.example", "https:evil.example", "https:/evil.example", "/%09/evil.example", "/%2f/evil.example", "/%2f%2fevil.example", "/%5cevil.example", "/;//evil.example",
	"〱evil.example", "evil.example", "@evil.example", ":80//evil.example", "blob:https://app.example/x", "/path%0d%0aSet-Cookie:a=b",
	"/path\r\nSet-Cookie:a=b", "", "/" + strings.Repeat("a", 2048), "/\xff", "/\u2028", "/\u00a0", "/bff", "/bff/", "/bff/login?returnTo=/", "/bff/logout",
	"/bff/logged-out?returnTo=/x", "/bff#x", "/bff?x", "/a\\b", "/a?b\\c", "/a?b;c", `/a?"onload=x`, "/a#<script>", "/%252f%252fevil.example", "/.", "/..", "/a/.",
	"?a", "#a", "/#%zz", "/" + strings.Repeat("a", 1024),
}

var places = []string{
	"/", "/orders", "/orders/", "/orders/42?tab=items&q=a%20b", "/app#/orders/42", "/orders?next=https://evil.example//x", "/a#//b", "/bffx", "/BFF/login",
	"/%C3%BCber/uns", "/a:b@c", "/a?b#c?d", "/" + strings.Repeat("a", 1023),
}

func TestCleanReturnTo(t *testing.T) {
	for _, s := range append(escaping, misleading...) {
		if got, ok := cleanReturnTo(s); ok || got != "" {
			t.Errorf("%.80q accepted as %.80q", s, got)
		}
	}
	for _, s := range places {
		if got, ok := cleanReturnTo(s); !ok || got != s {
			t.Errorf("%.80q: got %.80q, %v", s, got, ok)
		}
	}
}

// TestCleanReturnToByAWHATWGParser has Node's URL, which reads as browsers do, judge what is accepted of all the above and of what
// mutations make of it.
func TestCleanReturnToByAWHATWGParser(t *testing.T) {
	var accepted []string
	seen := map[string]bool{}
	for _, s := range append(append(escaping, misleading...), places...) {
		for _, in := range []string{"/", "", "//", "?", "#", "/\\", "/.", "%2f", "@", ":", "/a/"} {
			for at := range min(len(s), 12) + 1 {
				mutant := s[:at] + in + s[at:]
				if clean, ok := cleanReturnTo(mutant); ok && !seen[clean] {
					seen[clean] = true
					accepted = append(accepted, clean)
				}
			}
		}
	}
	if len(accepted) < 100 {
		t.Fatalf("only %d to judge", len(accepted))
	}
	mustStayHere(t, accepted)
}

// mustStayHere has Node's URL, which reads as browsers do, judge places that were accepted.
func mustStayHere(t *testing.T, accepted []string) {
	t.Helper()
	input, err := json.Marshal(accepted)
	if err != nil {
		t.Fatal(err)
	}
	node := exec.CommandContext(t.Context(), "node", "-e", `
		const bad = JSON.parse(require("fs").readFileSync(0, "utf8")).filter(s => {
			const url = new URL(s, "https://app.example/bff/callback/main");
			return url.origin !== "https://app.example" || url.pathname !== s.split(/[?#]/)[0] || url.pathname.startsWith("//");
		});
		process.stdout.write(JSON.stringify(bad));`)
	node.Stdin = bytes.NewReader(input)
	out, err := node.Output()
	if err != nil {
		t.Fatalf("node: %v (make test installs Node.js where it is missing)", err)
	}
	if string(out) != "[]" {
		t.Errorf("accepted, but leads elsewhere: %s", out)
	}
}

// The list that oauth2-proxy collected after CVE-2020-4037, from its own module: as it stands, and as what a parser of queries makes of it.
func TestP03_ThePayloadsOfOthersLeadNowhere(t *testing.T) {
	download := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "github.com/oauth2-proxy/oauth2-proxy/v7")
	download.Dir = "../tools/corpus"
	out, err := download.Output()
	if err != nil {
		t.Fatalf("go mod download: %v\n%s", err, out)
	}
	var module struct{ Dir string }
	if err := json.Unmarshal(out, &module); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(module.Dir, "testdata", "openredirects.txt"))
	if err != nil {
		t.Fatal(err)
	}
	payloads := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if len(payloads) < 550 {
		t.Fatalf("only %d payloads", len(payloads))
	}
	var accepted []string
	for _, payload := range payloads {
		decoded, _ := url.QueryUnescape(payload)
		twice, _ := url.QueryUnescape(decoded)
		for _, s := range []string{payload, decoded, twice} {
			if clean, ok := cleanReturnTo(s); ok {
				accepted = append(accepted, clean)
			}
		}
	}
	slices.Sort(accepted)
	accepted = slices.Compact(accepted)
	t.Logf("%d payloads; paths of our own that are among them: %q", len(payloads), accepted)
	if len(accepted) > 20 {
		t.Errorf("%d of them are accepted", len(accepted))
	}
	mustStayHere(t, accepted)
}

func FuzzReturnTo(f *testing.F) {
	for _, s := range append(append(escaping, misleading...), places...) {
		f.Add(s)
	}
	base, _ := url.Parse("https://app.example/bff/callback/main")
	f.Fuzz(func(t *testing.T, s string) {
		clean, ok := cleanReturnTo(s)
		if !ok {
			return
		}
		if again, ok := cleanReturnTo(clean); !ok || again != clean {
			t.Fatalf("%q is not clean when cleaned", clean)
		}
		if clean[0] != '/' || len(clean) > 1 && (clean[1] == '/' || clean[1] == '\\') {
			t.Fatalf("%q begins like a host", clean)
		}
		if i := strings.IndexFunc(clean, func(r rune) bool { return r <= ' ' || r > '~' }); i >= 0 {
			t.Fatalf("%q has a character that parsers strip or fold", clean)
		}
		u, err := url.Parse(clean)
		if err != nil {
			t.Fatalf("%q: %v", clean, err)
		}
		if u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
			t.Fatalf("%q is more than a path", clean)
		}
		there := base.ResolveReference(u)
		if there.Scheme != "https" || there.Host != "app.example" || there.EscapedPath() != u.EscapedPath() || strings.HasPrefix(there.Path, "//") {
			t.Fatalf("%q leads to %q", clean, there)
		}
		read := asBrowsersRead(t, "https://app.example", clean)
		if read.Protocol() != "https:" || read.Host() != "app.example" || read.Pathname() != strings.SplitN(strings.SplitN(clean, "#", 2)[0], "?", 2)[0] || read.Username()+read.Password() != "" {
			t.Fatalf("%q leads browsers to %s", clean, read.Href(false))
		}
		if u.Path == "/bff" || strings.HasPrefix(u.Path, "/bff/") {
			t.Fatalf("%q is Cloakroom's own", clean)
		}
	})
}
