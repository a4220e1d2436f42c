package bff

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestRequestHeadersAreOurs(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	e.bearer = "minted"
	res, _ := e.raw(t, "GET /api HTTP/1.1\r\nHost: app.example\r\n"+
		"Authorization: Bearer stolen\r\nX-Forwarded-For: 6.6.6.6\r\nx-forwarded-host: evil\r\nX_Forwarded_Proto: http\r\nX-Forwarded-Prefix: /x\r\nForwarded: for=6.6.6.6\r\n"+
		"X-Real-IP: 6.6.6.6\r\nX-User: admin\r\nX_User: admin\r\nx_uSER_id: admin\r\nRemote_User: admin\r\nX-Auth-Request-Email: a@b\r\nX-Original-URL: /admin\r\n"+
		"X-HTTP-Method-Override: DELETE\r\nTxn-Token: x\r\nDPoP: y\r\nClient-Cert: :AA==:\r\nProxy: evil\r\nX-Request-Id: theirs\r\nTraceparent: theirs\r\nTracestate: a=b\r\n"+
		"Cookie: __Host-Http-session=v1.k.secret; theme=dark; __Host-Http-login=seed\r\nAccept: application/json\r\nX-Tenant: blue\r\nUser-Agent: test\r\nConnection: close\r\n\r\n")
	if res.StatusCode != 200 {
		t.Fatalf("got %d", res.StatusCode)
	}
	want := http.Header{
		"Authorization": {"Bearer minted"}, "X-Forwarded-For": {"203.0.113.7"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"app.example"},
		"X-Request-Id": {"req-1"}, "Traceparent": {e.fwd.Traceparent}, "Cookie": {"theme=dark"}, "Accept": {"application/json"}, "X-Tenant": {"blue"}, "User-Agent": {"test"},
	}
	got := up.request(t)
	for name := range got.Header {
		if want[name] == nil {
			t.Errorf("%s: %q reached the upstream", name, got.Header[name])
		}
	}
	for name, values := range want {
		if len(got.Header[name]) != 1 || got.Header[name][0] != values[0] {
			t.Errorf("%s: got %q, want %q", name, got.Header[name], values)
		}
	}
	if got.Host == "app.example" {
		t.Error("the upstream was called by our host")
	}
}

// CVE-2021-33197, CVE-2024-45410, CVE-2026-29054: a client nominates our headers as hop-by-hop.
func TestConnectionCannotNominateOurHeaders(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	e.bearer = "minted"
	for _, nominated := range []string{"Authorization", "authorization, x-forwarded-for, X-REQUEST-ID", "X-Forwarded-Proto,x-forwarded-host,traceparent", "Authorization\r\nConnection: X-Forwarded-For"} {
		e.raw(t, "GET / HTTP/1.1\r\nHost: a\r\nX-Hop: 1\r\nConnection: close, X-Hop, "+nominated+"\r\n\r\n")
		got := up.request(t).Header
		if got.Get("Authorization") != "Bearer minted" || got.Get("X-Forwarded-For") != "203.0.113.7" || got.Get("X-Forwarded-Proto") != "https" ||
			got.Get("X-Forwarded-Host") != "app.example" || got.Get("X-Request-Id") != "req-1" || got.Get("Traceparent") == "" {
			t.Errorf("%q: got %v", nominated, got)
		}
		if got.Get("X-Hop") != "" {
			t.Error("a hop-by-hop header passed")
		}
	}
}

func TestAuthorizationNeverPassesWithoutATokenOfOurs(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	e.do(t, "GET", "/", http.Header{"Authorization": {"Bearer stolen"}, "Cookie": {"__Host-Http-session=v1.k.s"}}, nil)
	if got := up.request(t).Header; got.Get("Authorization") != "" || got.Get("Cookie") != "" {
		t.Errorf("got %v", got)
	}
}

func TestThePathIsForwardedAsItWasDecidedOn(t *testing.T) {
	tests := []struct{ name, path, strip, base, target, want string }{
		{"as it came", "/", "", "", "/api/orders?x=1", "/api/orders?x=1"},
		{"root", "/", "", "", "/", "/"},
		{"prefix stripped", "/api/orders", "/api", "", "/api/orders/5", "/orders/5"},
		{"prefix stripped, nothing left", "/api", "/api", "", "/api", "/"},
		{"prefix stripped, a slash left", "/api", "/api", "", "/api/", "/"},
		{"stripped whole, with a query", "/api", "/api", "", "/api?x=1", "/?x=1"},
		{"a strip prefix of root", "/", "/", "", "/x", "/x"},
		{"base", "/api", "", "/v2", "/api/x", "/v2/api/x"},
		{"base with a slash", "/api", "/api", "/v2/", "/api/x", "/v2/x"},
		{"base, nothing left", "/api", "/api", "/v2/", "/api", "/v2"},
		{"encoded as it came", "/", "", "", "/a%20b/%c3%bc/[x]!'()*?q=%zz&a=%2f", "/a%20b/%c3%bc/[x]!'()*?q=%zz&a=%2f"},
		{"an empty query", "/", "", "", "/a?", "/a?"},
		{"encoded slash where the route keeps it", "/", "", "", "/a%2Fb%5cc%25", "/a%2Fb%5cc%25"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			up := &seen{}
			route := Route{Path: tt.path, StripPrefix: tt.strip, KeepEncodedPath: true, Upstream: mustURL(t, "http://x"+tt.base)}
			e := newEdge(t, up, route)
			e.raw(t, "GET "+tt.target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			if got := up.request(t).RequestURI; got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestEncodedSlashesAreRefusedUnlessTheRouteKeepsThem(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	for _, target := range []string{"/a%2Fb", "/a%5Cb", "/a%25"} {
		if res, body := e.raw(t, "GET "+target+" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); res.StatusCode != 400 || body != "bad-path" {
			t.Errorf("%s: %d %q", target, res.StatusCode, body)
		}
	}
	if up.count() != 0 {
		t.Error("the upstream was asked")
	}
}

// The forms of security.md D6 and D8 on the wire.
func TestHostileRequestsDoNotReachTheUpstream(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	get := func(target string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	}
	tests := []struct {
		name, request string
		want          int
	}{
		{"dot-dot", get("/api/../admin"), 400},
		{"encoded dot-dot", get("/api/%2e%2e/admin"), 400},
		{"dot-dot with a matrix parameter", get("/api/..;/admin"), 400},
		{"two slashes", get("//evil.example/x"), 400},
		{"NUL", get("/a%00"), 400},
		{"raw fragment", get("/a#b"), 400},
		{"absolute form", get("http://other/api"), 400},
		{"semicolon in the query", get("/a?b;c"), 400},
		{"asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 400},
		{"CONNECT (CVE-2026-56866)", "CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\nConnection: close\r\n\r\n", 400},
		{"CONNECT with a path", "CONNECT /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405},
		{"TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405},
		{"OPTIONS", "OPTIONS / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405},
		{"get in lower case", "get / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405},
		{"a method of its own", "FOO / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405},
		{"GET with a body", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello", 400},
		{"GET with a chunked body", "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", 400},
		{"two transfer codings", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n", 501},
		{"a transfer coding that looks like one", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\nConnection: close\r\n\r\n0\r\n\r\n", 501},
		{"two lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab", 400},
		{"a length with a sign", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\nConnection: close\r\n\r\na", 400},
		{"white space before a colon", "GET / HTTP/1.1\r\nHost: a\r\nX-User : a\r\nConnection: close\r\n\r\n", 400},
		{"two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n", 400},
		{"a WebSocket", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", 400},
		{"an upgrade to HTTP/2", "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n", 400},
		{"an upgrade not nominated", "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := e.raw(t, tt.request)
			if res.StatusCode != tt.want {
				t.Errorf("got %d %q, want %d", res.StatusCode, body, tt.want)
			}
			if strings.Contains(tt.request, "Upgrade: ") && !res.Close {
				t.Error("the connection of a refused upgrade is used again")
			}
		})
	}
	if up.count() != 0 {
		t.Error("the upstream was asked")
	}
}

func TestBodies(t *testing.T) {
	const limit = 1 << 10
	tests := []struct {
		name    string
		size    int
		chunked bool
		want    int
	}{
		{"none", 0, false, 200},
		{"at the limit", limit, false, 200},
		{"at the limit, chunked", limit, true, 200},
		{"over the limit", limit + 1, false, 413},
		{"over the limit, chunked", limit + 1, true, 413},
		{"far over the limit, chunked", 4 << 20, true, 413},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []byte, 1)
			e := newEdge(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				raw, err := io.ReadAll(r.Body)
				if err != nil {
					raw = nil
				}
				got <- raw
			}), Route{MaxBody: limit})
			content := bytes.Repeat([]byte("a"), tt.size)
			var body io.Reader = bytes.NewReader(content)
			if tt.chunked {
				body = struct{ io.Reader }{body}
			}
			res, text := e.do(t, "POST", "/", nil, body)
			if res.StatusCode != tt.want {
				t.Fatalf("got %d %q, want %d", res.StatusCode, text, tt.want)
			}
			switch {
			case tt.want == 200:
				if raw := <-got; !bytes.Equal(raw, content) {
					t.Errorf("the upstream got %d bytes of %d", len(raw), tt.size)
				}
			case text != "body-too-large":
				t.Errorf("got %q", text)
			}
		})
	}
}

func TestABodyThatSaysItIsTooLargeIsNotSentAtAll(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{MaxBody: 512 << 10})
	res, _ := e.do(t, "POST", "/", nil, bytes.NewReader(make([]byte, 1<<20)))
	if res.StatusCode != 413 || up.count() != 0 {
		t.Errorf("got %d after %d requests", res.StatusCode, up.count())
	}
}

func TestRequestTrailersAreNotForwarded(t *testing.T) {
	trailer := make(chan http.Header, 1)
	e := newEdge(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		trailer <- r.Trailer
	}), Route{})
	e.raw(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\nConnection: close\r\n\r\n1\r\na\r\n0\r\nX-User: admin\r\n\r\n")
	if got := <-trailer; len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// CVE-2024-24791: an upstream that answers before the body was sent must not confuse the next request.
func TestExpectContinueIsOurOwnAffair(t *testing.T) {
	up := &seen{}
	e := newEdge(t, up, Route{})
	res, _ := e.do(t, "POST", "/", http.Header{"Expect": {"100-continue"}}, strings.NewReader("body"))
	if res.StatusCode != 200 || up.request(t).Header.Get("Expect") != "" {
		t.Errorf("got %d, %v", res.StatusCode, up.request(t).Header)
	}
}
