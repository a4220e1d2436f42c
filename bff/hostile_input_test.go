package bff

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	whatwg "github.com/nlnwa/whatwg-url/url"

	"cloakroom/internal/urlpath"
	"cloakroom/secret"
)

// asBrowsersRead resolves a reference as browsers do (WHATWG URL), from a page of origin.
func asBrowsersRead(t *testing.T, origin, reference string) *whatwg.Url {
	t.Helper()
	there, err := whatwg.ParseRef(origin+"/bff/callback/main", reference)
	if err != nil {
		t.Fatalf("no browser reads %q: %v", reference, err)
	}
	return there
}

// fixedKey is the same in every process that fuzzes.
func fixedKey(t testing.TB) secret.Key {
	t.Helper()
	key, err := secret.ParseKey(base64.StdEncoding.EncodeToString([]byte("only for fuzzing: 32 fixed bytes")))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// What comes as a state opens only where it was sealed here, for this purpose, and then as what was sealed.
func FuzzState(f *testing.F) {
	key := fixedKey(f)
	r, err := secret.NewRing(key)
	if err != nil {
		f.Fatal(err)
	}
	age := int64(60)
	sealed := transaction{
		ID: []byte("0123456789abcdef"), Binding: key.Derive("login-binding", nil, []byte("0123456789abcdef"), 16), Provider: "main", ReturnTo: "/app?a&b",
		Older: "handle", Started: time.UnixMilli(1_800_000_000_000).UTC(), MaxAge: &age, ACR: []string{"gold"}, Silent: true,
	}
	state, err := seal(r, loginState, sealed)
	if err != nil {
		f.Fatal(err)
	}
	leaving, err := seal(r, logoutState, farewell{ReturnTo: "/app", Started: sealed.Started})
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{state, leaving, state + "=", state[:len(state)-1], strings.ToUpper(state), "", "AAAA", state + state} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var in transaction
		inErr := unseal(r, loginState, s, &in)
		var out farewell
		outErr := unseal(r, logoutState, s, &out)
		if inErr == nil && outErr == nil {
			t.Fatal("opens as both")
		}
		if inErr == nil && (!reflect.DeepEqual(in, sealed) || !in.boundTo(key)) {
			t.Fatalf("opens as %+v", in)
		}
		if outErr == nil && (out.ReturnTo != "/app" || !out.Started.Equal(sealed.Started)) {
			t.Fatalf("opens as %+v", out)
		}
	})
}

// cgiName is what servers make of a header's name that hand headers on as variables (RFC 3875 section 4.1.18).
func cgiName(name string) string { return strings.ReplaceAll(strings.ToUpper(name), "-", "_") }

// identities are variables that an upstream may take for the truth about who asks, for what, and whence.
var identities = []string{
	"AUTHORIZATION", "REMOTE_USER", "REMOTE_ADDR", "X_REMOTE_USER", "X_USER", "X_USER_ID", "X_USERNAME", "X_EMAIL", "X_GROUPS", "X_ROLES", "X_AUTH_REQUEST_USER", "X_AUTH_TOKEN",
	"X_FORWARDED_FOR", "X_FORWARDED_PROTO", "X_FORWARDED_HOST", "X_FORWARDED_USER", "X_FORWARDED_EMAIL", "X_FORWARDED_PREFIX", "X_FORWARDED_URI", "FORWARDED", "X_REAL_IP",
	"X_ORIGINAL_URL", "X_ORIGINAL_URI", "X_REWRITE_URL", "X_HTTP_METHOD", "X_HTTP_METHOD_OVERRIDE", "X_METHOD_OVERRIDE", "CLIENT_CERT", "CLIENT_CERT_CHAIN", "X_CLIENT_IP",
	"X_CLIENT_CERT", "TXN_TOKEN", "DPOP", "PROXY", "PROXY_AUTHORIZATION", "X_REQUEST_ID", "TRACEPARENT", "TRACESTATE",
}

// Whatever a client writes into its headers, the upstream reads of its identity, its origin and its session only what Cloakroom
// wrote; and of its cookies none of ours, by whichever of two readings.
func FuzzRequestHeaders(f *testing.F) {
	for _, seed := range []string{
		"X-User: admin\r\nx_user: admin\r\nX_Forwarded-For: 6.6.6.6\r\nAuthorization: Bearer stolen\r\nREMOTE_USER: admin\r\n",
		"Connection: close, Authorization, X-Forwarded-For\r\nConnection: x-request-id\r\nKeep-Alive: 5\r\nTE: trailers\r\n",
		"Cookie: a=1; __Host-Http-session=v1.k.s; b=2\r\nCookie: __host-http-LOGIN=x\r\n",
		"Cookie: $Version=1; a=\"x; __Host-Http-session=s; b=y\"\r\n",
		"Cookie: =__Host-Http-session=s;__Host-Http-session\r\n", "Cookie:\t__Host-Http-session\t=\ts\r\n", "Cookie: a=b,__Host-Http-session=s\r\n",
		"Upgrade: websocket\r\nTransfer-Encoding: chunked\r\nTrailer: X-User\r\nExpect: 100-continue\r\n",
	} {
		f.Add(seed)
	}
	target, _ := url.Parse("http://orders:9001")
	u := newUpstream(Route{Upstream: target}, routeConfig{Cookies: []string{"__Host-Http-session", "__Host-Http-login"}}, nil)
	fwd := &forwarded{For: "203.0.113.7", Proto: "https", Host: "app.example", RequestID: "req-1", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"}
	ours := map[string]string{
		"AUTHORIZATION": "Bearer minted", "X_FORWARDED_FOR": fwd.For, "X_FORWARDED_PROTO": fwd.Proto, "X_FORWARDED_HOST": fwd.Host, "X_REQUEST_ID": fwd.RequestID, "TRACEPARENT": fwd.Traceparent,
	}
	f.Fuzz(func(t *testing.T, headers string) {
		in, ok := read(t, "GET / HTTP/1.1\r\nHost: app.example\r\n"+headers+"\r\n")
		if !ok {
			return
		}
		out := &http.Request{Method: http.MethodGet, URL: target, Header: u.requestHeaders(in.Header, "Bearer minted", fwd)}
		var wire bytes.Buffer
		if err := out.Write(&wire); err != nil {
			t.Fatalf("cannot be sent: %v", err)
		}
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil {
			t.Fatalf("the upstream cannot read what %q became: %v", headers, err)
		}
		variables := map[string][]string{}
		for name, values := range got.Header {
			variables[cgiName(name)] = append(variables[cgiName(name)], values...)
		}
		for name, value := range ours {
			if !slices.Equal(variables[name], []string{value}) {
				t.Errorf("%s: the upstream reads %q", name, variables[name])
			}
		}
		for _, name := range identities {
			if values := variables[name]; values != nil && ours[name] == "" {
				t.Errorf("%s: the upstream reads %q", name, values)
			}
		}
		for _, name := range []string{"CONNECTION", "KEEP_ALIVE", "TRAILER", "UPGRADE", "EXPECT"} {
			if variables[name] != nil {
				t.Errorf("%s: %q is of our connection alone", name, variables[name])
			}
		}
		for _, cookie := range got.Cookies() {
			if strings.EqualFold(cookie.Name, "__Host-Http-session") || strings.EqualFold(cookie.Name, "__Host-Http-login") {
				t.Errorf("the upstream reads the cookie %s of %q", cookie.Name, headers)
			}
		}
		for pair := range strings.SplitSeq(got.Header.Get("Cookie"), ";") {
			name, _, _ := strings.Cut(pair, "=")
			if strings.EqualFold(strings.Trim(name, " \t"), "__Host-Http-session") {
				t.Errorf("%q passes", pair)
			}
		}
	})
}

// browserSets is the name of the cookie that a browser stores for a Set-Cookie header (RFC 6265bis section 5.6), as a server reads it
// when it is sent back.
func browserSets(header string) string {
	pair, _, _ := strings.Cut(header, ";")
	name, value, named := strings.Cut(pair, "=")
	if !named {
		name, value = "", pair
	}
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	sent := value
	if name != "" {
		sent = name + "=" + value
	}
	back, _, _ := strings.Cut(sent, "=")
	return strings.Trim(back, " \t")
}

// What an upstream answers sets none of our cookies, and moves nothing to another origin that was at its own.
func FuzzResponseHeaders(f *testing.F) {
	for _, seed := range []string{
		"__Host-Http-session=evil; Path=/; Secure", "=__Host-Http-session=evil", "__Host-Http-session", " \t__HOST-http-login\t = x", "theme=dark; Path=/", "a;__Host-Http-session=x", "==__Host-Http-session=x",
	} {
		f.Add(seed, "http://orders:9001/x//y?z#w")
	}
	for _, seed := range []string{"http://orders:9001//evil.example", `http://orders:9001/\evil.example`, "//orders:9001/x", "http://orders:9001/%2f%2fevil.example", "/..//evil.example", "http://orders:9001/..//evil.example", "http://orders:9001?//evil.example", "http://orders:9001/./%5cevil"} {
		f.Add("a=b", seed)
	}
	upstreams := []*upstream{}
	for _, route := range []Route{
		{Upstream: mustURL(f, "http://orders:9001")}, {Upstream: mustURL(f, "http://orders:9001/v2"), StripPrefix: "/api"}, {Upstream: mustURL(f, "http://orders:9001"), StripPrefix: "/api"},
	} {
		upstreams = append(upstreams, newUpstream(route, routeConfig{Cookies: []string{"__Host-Http-session", "__Host-Http-login"}}, nil))
	}
	f.Fuzz(func(t *testing.T, cookie, location string) {
		wire := "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nSet-Cookie: " + cookie + "\r\nLocation: " + location + "\r\n\r\n"
		for _, u := range upstreams {
			res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(wire)), nil)
			if err != nil || len(res.Header["Location"]) != 1 {
				return
			}
			said := res.Header.Get("Location")
			passed := http.Header{}
			u.takeResponseHeaders(passed, res.Header, false)
			for _, line := range passed["Set-Cookie"] {
				if name := browserSets(line); strings.EqualFold(name, "__Host-Http-session") || strings.EqualFold(name, "__Host-Http-login") {
					t.Errorf("%q sets %s", line, name)
				}
			}
			if to := passed.Get("Location"); to != said {
				if there := asBrowsersRead(t, publicURL, to); there.Protocol() != "https:" || there.Host() != "app.example.com" {
					t.Errorf("%q became %q, which leads to %s", said, to, there.Href(false))
				}
			}
		}
	})
}

// The login endpoint's parameters, read from whatever a browser may send, ask of the provider only what is on its list.
func FuzzLoginQuery(f *testing.F) {
	for _, seed := range []string{
		"returnTo=/app", "returnTo=/app&prompt=none&max_age=5", "prompt=login&prompt=none", "max_age=-1", "client_id=evil&redirect_uri=https://evil.example&scope=all&state=x",
		"returnTo=/a%26redirect_uri%3Dhttps://evil.example", "returnTo=%2f%2fevil.example", "provider=other", "login_hint=%00", "max_age=1e9", "%zz", "returnTo=/a;b",
	} {
		f.Add(seed)
	}
	s := &Server{origin: publicURL, providers: map[string]LoginProvider{}, frontend: Frontend{Providers: []LoginProvider{{LoginParams: []string{"prompt", "max_age", "login_hint"}}}}}
	f.Fuzz(func(t *testing.T, query string) {
		r, ok := read(t, "GET /bff/login?"+query+" HTTP/1.1\r\nHost: app.example.com\r\n\r\n")
		if !ok {
			return
		}
		req, bad := s.readLogin(r)
		if bad != nil {
			if bad.status >= 500 || problemTypes[bad.name].status != 400 {
				t.Errorf("%q is answered with %s", query, bad.name)
			}
			return
		}
		for name, values := range req.params {
			if !slices.Contains([]string{"prompt", "max_age", "login_hint"}, name) || len(values) != 1 || len(values[0]) > maxLoginParam {
				t.Errorf("asks for %s=%q", name, values)
			}
		}
		there := asBrowsersRead(t, publicURL, req.returnTo)
		if there.Protocol() != "https:" || there.Host() != "app.example.com" || strings.HasPrefix(there.Pathname(), "//") || urlpath.Under(there.Pathname(), ownPath) {
			t.Errorf("%q leads to %s", query, there.Href(false))
		}
		if _, err := json.Marshal(req.params); err != nil {
			t.Error(err)
		}
	})
}
