package bff

import (
	"net/http"
	"strings"
	"testing"
)

func TestDroppedHeaders(t *testing.T) {
	dropped := []string{
		"Authorization", "X-Request-Id", "Traceparent", "Tracestate", "Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host",
		"X-Forwarded-Prefix", "X-Forwarded-User", "X-Forwarded", "X-Real-Ip", "X-Original-Url", "X-Original-Host", "X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override",
		"X-Method-Override", "Remote-User", "Remote-Addr", "X-Remote-User", "X-User", "X-User-Id", "X-Userinfo", "X-Auth-Request-Email", "X-Auth-Token",
		"X-Email", "X-Groups", "X-Roles", "Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Client-Ip", "Txn-Token", "Dpop",
		"Proxy", "Proxy-Authorization", "Proxy-Connection", "Expect", "Connection", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Cookie",
	}
	for _, name := range dropped {
		for _, spelling := range []string{name, strings.ToLower(name), strings.ToUpper(name), strings.ReplaceAll(name, "-", "_"), strings.ToLower(strings.ReplaceAll(name, "-", "_")), strings.Replace(name, "-", "_", 1)} {
			if !droppedHeader(spelling) {
				t.Errorf("%s passes", spelling)
			}
		}
	}
	for _, name := range []string{
		"Accept", "Accept-Language", "Content-Type", "Content-Length", "User-Agent", "Range", "If-None-Match", "X-Csrf", "X-Requested-With", "X-Tenant",
		"Referer", "Origin", "Traffic", "X-Emails", "Expected", "Depth", "Prefer", "X-Remote", "Remote", "", "Sec-Fetch-Mode", "X-Origin",
	} {
		if droppedHeader(name) {
			t.Errorf("%s is dropped", name)
		}
	}
	if !droppedHeader("X-User-" + strings.Repeat("a", 5000)) {
		t.Error("a long name passes")
	}
	if n := testing.AllocsPerRun(100, func() { droppedHeader("X_Forwarded_For"); droppedHeader("Traceparent") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOurCookiesAreTakenOut(t *testing.T) {
	names := cookieNames{"__Host-Http-session", "__Host-Http-login"}
	tests := []struct {
		name string
		in   []string
		want string
	}{
		{"only ours", []string{"__Host-Http-session=v1.a.b"}, ""},
		{"both of ours", []string{"__Host-Http-session=a; __Host-Http-login=b"}, ""},
		{"one that is not ours", []string{"theme=dark"}, "theme=dark"},
		{"ours between others", []string{"a=1; __Host-Http-session=x; b=2"}, "a=1; b=2"},
		{"ours twice", []string{"__Host-Http-session=x; a=1; __Host-Http-session=y"}, "a=1"},
		{"in another case", []string{"a=1; __host-http-SESSION=x"}, "a=1"},
		{"without white space", []string{"a=1;__Host-Http-session=x;b=2"}, "a=1; b=2"},
		{"with white space before the equals sign", []string{"a=1; __Host-Http-session =x"}, "a=1"},
		{"without a value", []string{"a=1; __Host-Http-session"}, "a=1"},
		{"over two headers, as HTTP/2 splits them", []string{"a=1", "__Host-Http-session=x", "b=2"}, "a=1; b=2"},
		{"a name that begins like ours", []string{"__Host-Http-session2=x; __Host-Http-sessio=y"}, "__Host-Http-session2=x; __Host-Http-sessio=y"},
		{"a value with equals signs", []string{"a=b=c; d=="}, "a=b=c; d=="},
		{"nothing", []string{""}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := names.without(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUpstreamsDoNotSetOurCookies(t *testing.T) {
	names := cookieNames{"__Host-Http-session", "__Host-Http-login"}
	tests := []struct {
		header string
		ours   bool
	}{
		{"__Host-Http-session=evil; Path=/; Secure; HttpOnly", true},
		{"__Host-Http-login=", true},
		{"__HOST-http-Session=evil; Path=/", true},
		{" __Host-Http-session =evil", true},
		{"=__Host-Http-session=evil", true}, // a cookie without a name comes back as its value
		{"= __Host-Http-session=evil", true},
		{"__Host-Http-session", true},
		{"theme=dark; Path=/", false},
		{"theme=__Host-Http-session=x", false},
		{"__Host-Http-session2=x", false},
		{"", false},
	}
	for _, tt := range tests {
		if got := names.set(tt.header); got != tt.ours {
			t.Errorf("%q: got %v", tt.header, got)
		}
	}
}

func TestLocation(t *testing.T) {
	tests := []struct{ name, upstream, strip, in, want string }{
		{"at the upstream", "http://orders:9001", "", "http://orders:9001/orders/5?a=b#c", "/orders/5?a=b#c"},
		{"at the upstream, host in another case", "http://orders:9001", "", "http://ORDERS:9001/orders/5", "/orders/5"},
		{"at the upstream, default port written out", "http://orders", "", "http://orders:80/orders/5", "/orders/5"},
		{"at the upstream without a scheme", "http://orders:9001", "", "//orders:9001/orders/5", "/orders/5"},
		{"at the upstream without a path", "http://orders:9001", "/api", "http://orders:9001", "/api/"},
		{"at the upstream, behind a stripped prefix", "http://orders:9001", "/api", "http://orders:9001/orders/5", "/api/orders/5"},
		{"a path, behind a stripped prefix", "http://orders:9001", "/api", "/orders/5", "/api/orders/5"},
		{"a path under the upstream's own", "http://orders:9001/v2/", "/api", "/v2/orders/5", "/api/orders/5"},
		{"the upstream's own path", "http://orders:9001/v2", "", "http://orders:9001/v2", "/"},
		{"a path outside of the upstream's own", "http://orders:9001/v2", "/api", "/login", "/login"},
		{"a path", "http://orders:9001", "", "/orders/5", "/orders/5"},
		{"relative", "http://orders:9001", "/api", "../orders/5", "../orders/5"},
		{"only a query", "http://orders:9001", "/api", "?page=2", "?page=2"},
		{"encoded characters stay", "http://orders:9001", "/api", "/a%20b%2Fc?x=%20", "/api/a%20b%2Fc?x=%20"},
		{"another host", "http://orders:9001", "/api", "https://elsewhere.example/x", "https://elsewhere.example/x"},
		{"another port", "http://orders:9001", "/api", "http://orders:9002/x", "http://orders:9002/x"},
		{"another scheme", "http://orders:9001", "/api", "https://orders:9001/x", "https://orders:9001/x"},
		{"another host without a scheme", "http://orders:9001", "", "//elsewhere.example/x", "//elsewhere.example/x"},
		{"would become another host", "http://orders:9001", "", "http://orders:9001//evil.example", "http://orders:9001//evil.example"},
		{"not a URL", "http://orders:9001", "", "http://[", "http://["},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u := newUpstream(Route{Upstream: mustURL(t, tt.upstream), StripPrefix: tt.strip}, routeConfig{}, nil)
			if got := u.publicLocation(tt.in); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestMakePrivate(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"none", "", "no-store"},
		{"public", "public, max-age=60", "no-store"},
		{"private", "private, max-age=60", "no-store"},
		{"no-store already", "no-store, no-cache, must-revalidate", "no-store, no-cache, must-revalidate"},
		{"in another case", "private, No-Store", "private, No-Store"},
		{"something that only contains it", "max-age=5, x-no-store", "no-store"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := http.Header{"Cdn-Cache-Control": {"max-age=60"}, "Surrogate-Control": {"max-age=60"}, "Expires": {"0"}}
			if tt.in != "" {
				h.Set("Cache-Control", tt.in)
			}
			makePrivate(h)
			if len(h) != 1 || h.Get("Cache-Control") != tt.want {
				t.Errorf("got %v, want %q", h, tt.want)
			}
		})
	}
}
