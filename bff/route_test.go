package bff

import (
	"net/url"
	"strings"
	"testing"
	"testing/fstest"
)

func mustURL(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func page(content string) fstest.MapFS {
	return fstest.MapFS{"index.html": {Data: []byte(content)}}
}

func TestMatchFindsTheLongestPrefixOnSegmentBoundaries(t *testing.T) {
	up := mustURL(t, "http://orders:9001")
	rs, err := newRoutes([]Route{
		{Path: "/", SPA: page("home"), Session: None},
		{Path: "/api", Upstream: up},
		{Path: "/api/orders", Upstream: up},
		{Path: "/api/orders/archive", Upstream: up},
	}, routeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct{ path, want string }{
		{"/", "/"},
		{"/index.html", "/"},
		{"/apix", "/"},
		{"/api", "/api"},
		{"/api/", "/api"},
		{"/api/ordersx", "/api"},
		{"/api/orders", "/api/orders"},
		{"/api/orders/", "/api/orders"},
		{"/api/orders/42", "/api/orders"},
		{"/api/orders/archive", "/api/orders/archive"},
		{"/api/orders/archive/2025/x", "/api/orders/archive"},
		{"/api/orders/archives", "/api/orders"},
		{"/API/orders", "/"},
		{"/api%2Forders", "/"},
		{"/x/api/orders", "/"},
	}
	for _, tt := range tests {
		if got, ok := rs.match(tt.path); !ok || got.Path != tt.want {
			t.Errorf("%s: got %v %v, want %s", tt.path, got, ok, tt.want)
		}
	}
	long := "/api/orders/archive/" + strings.Repeat("x/", 4000)
	if n := testing.AllocsPerRun(100, func() { rs.match("/api/orders/42"); rs.match(long) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestMatchWithoutARootRoute(t *testing.T) {
	rs, err := newRoutes([]Route{{Path: "/api", Upstream: mustURL(t, "http://orders:9001")}}, routeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/", "/ap", "/apix", "/x/api"} {
		if got, ok := rs.match(path); ok || got != nil {
			t.Errorf("%s: got %v", path, got)
		}
	}
}

func TestNewRoutesRefuses(t *testing.T) {
	up := mustURL(t, "http://orders:9001")
	tests := []struct {
		name  string
		route Route
		want  string
	}{
		{"no path", Route{Upstream: up}, "does not begin"},
		{"a relative path", Route{Path: "api", Upstream: up}, "does not begin"},
		{"a path that is not canonical", Route{Path: "/api/../x", Upstream: up}, "dot segment"},
		{"a path with several spellings", Route{Path: "/a:b", Upstream: up}, "one spelling"},
		{"an encoded path", Route{Path: "/a%20b", Upstream: up}, "one spelling"},
		{"a path with a slash at its end", Route{Path: "/api/", Upstream: up}, "ends with /"},
		{"Cloakroom's own path", Route{Path: "/bff", Upstream: up}, "own"},
		{"a path under Cloakroom's own", Route{Path: "/bff/x", Upstream: up}, "own"},
		{"neither upstream nor SPA", Route{Path: "/x"}, "either"},
		{"both upstream and SPA", Route{Path: "/x", Upstream: up, SPA: page("")}, "either"},
		{"an upstream of another scheme", Route{Path: "/x", Upstream: mustURL(t, "ftp://orders")}, "upstream must be"},
		{"an upstream without a host", Route{Path: "/x", Upstream: mustURL(t, "http:///x")}, "upstream must be"},
		{"an upstream with a password", Route{Path: "/x", Upstream: mustURL(t, "http://u:p@orders")}, "upstream must be"},
		{"an upstream with a query", Route{Path: "/x", Upstream: mustURL(t, "http://orders?x")}, "upstream must be"},
		{"an upstream with a path that is not canonical", Route{Path: "/x", Upstream: mustURL(t, "http://orders/a//b")}, "empty segment"},
		{"a strip prefix beside the path", Route{Path: "/api/x", StripPrefix: "/other", Upstream: up}, "strip prefix"},
		{"a strip prefix that cuts a segment", Route{Path: "/api/x", StripPrefix: "/ap", Upstream: up}, "strip prefix"},
		{"TRACE", Route{Path: "/x", Upstream: up, Methods: []string{"TRACE"}}, "never forwarded"},
		{"a minted token without an audience", Route{Path: "/x", Upstream: up, Token: TokenPlan{Kind: TokenMinted}}, "audience"},
		{"a user's token without a session", Route{Path: "/x", Upstream: up, Session: None, Token: TokenPlan{Kind: TokenMinted, Audience: "a"}}, "needs a session"},
		{"an access token without a session", Route{Path: "/x", Upstream: up, Session: None, Token: TokenPlan{Kind: TokenAccess}}, "needs a session"},
		{"an SPA with a token", Route{Path: "/x", SPA: page(""), Token: TokenPlan{Kind: TokenAccess}}, "no token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newRoutes([]Route{tt.route}, routeConfig{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	_, err := newRoutes([]Route{{Path: "/api", Upstream: up}, {Path: "/api", Upstream: up}, {Path: "/bff", Upstream: up}}, routeConfig{})
	if err == nil || !strings.Contains(err.Error(), "another") || !strings.Contains(err.Error(), "own") {
		t.Errorf("two faults at once: got %v", err)
	}
}

func TestRoutesToOneServerShareItsConnections(t *testing.T) {
	up := mustURL(t, "http://orders:9001")
	rs, err := newRoutes([]Route{{Path: "/a", Upstream: up}, {Path: "/b", Upstream: up}, {Path: "/c", Upstream: up, Timeout: 1}}, routeConfig{})
	if err != nil {
		t.Fatal(err)
	}
	of := func(path string) any { c, _ := rs.match(path); return c.upstream.transport }
	if of("/a") != of("/b") {
		t.Error("two pools")
	}
	if of("/a") == of("/c") {
		t.Error("one pool for two timeouts")
	}
}
