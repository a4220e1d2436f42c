package bff

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cloakroom/internal/urlpath"
)

// read makes a request of what a browser would send, as the server does.
func read(t testing.TB, raw string) (*http.Request, bool) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(raw)))
	if err != nil {
		return nil, false // net/http refuses it itself
	}
	return r, true
}

func TestCanonicalPath(t *testing.T) {
	const refused, kept = "refused", "kept only where the route says so"
	tests := []struct{ name, target, want string }{
		{"root", "/", "/"},
		{"plain", "/api/orders", "/api/orders"},
		{"slash at the end", "/api/orders/", "/api/orders/"},
		{"with a query", "/api/orders?page=2&q=a%3Bb", "/api/orders"},
		{"empty query", "/api?", "/api"},
		{"space and umlaut encoded", "/a%20b/%C3%BC", "/a%20b/%C3%BC"},
		{"lower-case escape", "/%c3%bc", "/%c3%bc"},
		{"sub-delimiters", "/a!$&'()*+,=:@b", "/a!$&'()*+,=:@b"},
		{"brackets", "/app/[slug]/page.js", "/app/[slug]/page.js"},
		{"three dots are a name", "/a/.../b", "/a/.../b"},
		{"dots within a name", "/a..b/.c/d.", "/a..b/.c/d."},
		{"another case is another path", "/API/", "/API/"},

		{"two slashes in front", "//api/x", refused},
		{"three slashes in front", "///api", refused},
		{"two slashes within", "/api//x", refused},
		{"two slashes at the end", "/api//", refused},
		{"dot segment", "/api/./x", refused},
		{"dot segment at the end", "/api/.", refused},
		{"dot-dot segment", "/api/../x", refused},
		{"dot-dot segment at the end", "/api/..", refused},
		{"encoded dot", "/api/%2e/x", refused},
		{"encoded dot-dot", "/api/%2E%2e/x", refused},
		{"half-encoded dot-dot", "/api/.%2e/x", refused},
		{"encoded letter", "/%61pi/orders", refused},
		{"encoded tilde", "/%7Euser", refused},
		{"encoded dot twice", "/api/%252e%252e/x", refused},
		{"matrix parameter", "/api;x=1/orders", refused},
		{"matrix parameter on dot-dot", "/api/..;/admin", refused},
		{"matrix parameter then dot-dot", "/api;x=1/..", refused},
		{"encoded semicolon on dot-dot", "/api/..%3B/admin", refused},
		{"NUL", "/api/%00", refused},
		{"CR LF", "/api%0d%0aX:y", refused},
		{"DEL", "/api%7f", refused},
		{"raw fragment", "/api#frag", refused},
		{"raw fragment after a query", "/api?a#frag", refused},
		{"backslash", `/api\x`, refused},
		{"backslash in front", `/\evil.example`, refused},
		{"overlong slash", "/api/%c0%af", refused},
		{"overlong dot", "/api/%c0%ae%c0%ae/x", refused},
		{"not UTF-8", "/api/%ff", refused},
		{"wide slash", "/api%ef%bc%8fadmin", refused},
		{"wide backslash", "/api%EF%BC%BCadmin", refused},
		{"wide dots as a segment", "/api/%ef%bc%8e%ef%bc%8e/x", refused},
		{"wide dot in a name", "/1%ef%bc%8epdf", "/1%ef%bc%8epdf"},
		{"two-dot leader as a segment", "/api/%e2%80%a5/x", refused},
		{"raw bytes above ASCII", "/\xc3\xbc", refused},
		{"raw quote", `/a"b`, refused},
		{"raw pipe", "/a|b", refused},
		{"broken escape", "/a%2", refused},
		{"escape of no hex", "/a%zz", refused},
		{"absolute form", "http://other.example/api", refused},
		{"asterisk", "*", refused},
		{"no slash in front", "api", refused},
		{"semicolon in the query", "/api?a;b", refused},
		{"raw bytes in the query", "/api?a=\xff", refused},
		{"10001 parameters", "/api?" + strings.Repeat("a&", 10000) + "hidden", refused},
		{"10000 parameters", "/api?" + strings.Repeat("a&", 9999) + "last", "/api"},
		{"over 8 KiB", "/" + strings.Repeat("a", 8<<10), refused},
		{"8 KiB", "/" + strings.Repeat("a", 8<<10-1), "/" + strings.Repeat("a", 8<<10-1)},
		{"100000 dot-dot", "/" + strings.Repeat("../", 100000), refused},

		{"encoded slash", "/api/a%2Fb", kept},
		{"encoded backslash", "/api/a%5cb", kept},
		{"encoded percent", "/api/100%25", kept},
		{"encoded slashes in a row", "/api/https:%2F%2Fexample.com", kept},
		{"encoded slash around dot-dot", "/api/..%2fadmin", refused},
		{"encoded slash after dot-dot", "/api/a%2f..%2fadmin", refused},
		{"encoded slash and semicolon around dot-dot", "/api/a%2f..%3b/admin", refused},
		{"encoded backslash around dot-dot", "/api/..%5cadmin", refused},
		{"encoded dot-dot behind an encoded percent", "/api/%252e%252e%252fadmin", refused},
		{"encoded dot-dot behind two encoded percents", "/api/%25252e%25252e/x", refused},
		{"encoded many times over", "/api/%" + strings.Repeat("25", 100) + "20", refused},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := read(t, "POST "+tt.target+" HTTP/1.1\r\nHost: app.example\r\n\r\n")
			got := refused
			if ok {
				path, err := canonicalPath(r)
				switch {
				case err == nil:
					got = path
				case isEncodedPath(err):
					if got = kept; !strings.HasPrefix(tt.target, path) {
						t.Errorf("path %q", path)
					}
				case path != "":
					t.Errorf("refused, but with path %q", path)
				}
			}
			if got != tt.want {
				t.Errorf("%.80q: got %.80q, want %.80q", tt.target, got, tt.want)
			}
		})
	}
}

func TestCanonicalPathRefusesABodyOnGETAndHEAD(t *testing.T) {
	tests := []struct {
		name, raw string
		ok        bool
	}{
		{"GET without a body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true},
		{"GET with an empty body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", true},
		{"GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", false},
		{"GET with a chunked body", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", false},
		{"HEAD with a body", "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", false},
		{"POST with a body", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", true},
		{"DELETE with a body", "DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, ok := read(t, tt.raw)
			if !ok {
				t.Fatal("not read")
			}
			if _, err := canonicalPath(r); (err == nil) != tt.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}

// In HTTP/2 net/http lets a handler see a length that it could not read, and a body that it will not read.
func TestCanonicalPathRefusesALengthThatIsNone(t *testing.T) {
	for _, tt := range []struct {
		length []string
		ok     bool
	}{
		{nil, true}, {[]string{"0"}, true}, {[]string{"05"}, true},
		{[]string{""}, false}, {[]string{"+5"}, false}, {[]string{"-5"}, false}, {[]string{"5, 5"}, false}, {[]string{"0x5"}, false}, {[]string{"5", "5"}, false},
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			r := httptest.NewRequest(method, "/", nil)
			if tt.length != nil {
				r.Header["Content-Length"] = tt.length
			}
			if _, err := canonicalPath(r); (err == nil) != tt.ok {
				t.Errorf("%s, Content-Length %q: %v", method, tt.length, err)
			}
		}
	}
}

func TestCanonicalPathIsBoundedInTime(t *testing.T) {
	worst := "/" + strings.Repeat("%25", (8<<10)/3)
	if n := testing.AllocsPerRun(10, func() { _, _ = urlpath.Check(worst) }); n > 20 {
		t.Errorf("%v allocations", n)
	}
	plain, _ := http.NewRequest("GET", "/api/orders/123?x=y", nil)
	plain.RequestURI = "/api/orders/123?x=y"
	if n := testing.AllocsPerRun(10, func() { _, _ = canonicalPath(plain) }); n > 0 {
		t.Errorf("a plain path costs %v allocations", n)
	}
}

// FuzzCanonicalPath: what the upstream reads off the wire is what was decided on, byte for byte, and means the same however it
// decodes it.
func FuzzCanonicalPath(f *testing.F) {
	for _, seed := range []string{
		"/", "/api/orders?x=1", "/a%20b", "/%2e%2e/x", "/a%2fb", "/..;/x", "//x", "/a%252fb", "/a/[b]?c=[d]", "/a?b#c", "/é",
		"http://x/y", "*", "/%ef%bc%8f", "/a%5c..%5cb", "/api?", "/api/?a=%zz", "/a/..%3b/b", "/api/x!$&'()*+,=:@",
	} {
		f.Add(seed)
	}
	var wire bytes.Buffer
	upstreamURL, _ := url.Parse("http://orders:9001/base/")
	rs, err := newRoutes([]Route{{Path: "/", Upstream: upstreamURL, Session: None, KeepEncodedPath: true}}, routeConfig{
		Fail: func(w http.ResponseWriter, _ *http.Request, problem string, err error) { panic(err) },
	})
	if err != nil {
		f.Fatal(err)
	}
	route, _ := rs.match("/")
	route.upstream.transport = roundTrip(func(out *http.Request) (*http.Response, error) {
		wire.Reset()
		return &http.Response{StatusCode: 204, Body: http.NoBody, Header: http.Header{}, Request: out}, out.Write(&wire)
	})
	f.Fuzz(func(t *testing.T, target string) {
		r, ok := read(t, "GET "+target+" HTTP/1.1\r\nHost: app.example\r\n\r\n")
		if !ok {
			return
		}
		path, err := canonicalPath(r)
		if err != nil && !errors.Is(err, urlpath.ErrEncoded) {
			return
		}
		route.serveUpstream(httptest.NewRecorder(), r, path, "", forwarded{})
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			t.Fatalf("the upstream cannot read %q: %v", target, err)
		}
		want := "/base" + path
		if _, query, ok := strings.Cut(target, "?"); ok {
			want += "?" + query
		}
		if want = strings.SplitN(want, " ", 2)[0]; got.RequestURI != want {
			t.Fatalf("decided on %q, forwarded %q", want, got.RequestURI)
		}
		again, err2 := canonicalPath(got)
		if again != "/base"+path || (err == nil) != (err2 == nil) && !isEncodedPath(err2) {
			t.Fatalf("%q is canonical here, at the upstream it is %q, %v", path, again, err2)
		}
		if browsers := asBrowsersRead(t, "https://app.example", path); browsers.Host() != "app.example" || browsers.Pathname() != path {
			t.Fatalf("%q is %s to browsers", path, browsers.Href(false))
		}
		decoded, _ := url.PathUnescape(path)
		for segment := range strings.SplitSeq(strings.ReplaceAll(decoded, `\`, "/"), "/") {
			if segment == "." || segment == ".." || strings.HasPrefix(segment, "..;") {
				t.Fatalf("%q hides a dot segment", path)
			}
		}
		if strings.Contains(path, "//") || strings.ContainsAny(path, ";\\#") || strings.ContainsFunc(decoded, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q accepted", path)
		}
		_, _ = io.Copy(io.Discard, got.Body)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
