package bff

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloakroom/secret"
)

// BenchmarkUpstream compares a proxied call with a bare ReverseProxy in the same run: tuned alike, and setting the same headers as any
// proxy would; and with one that also sets the headers Cloakroom owes both sides, which client and upstream must read.
// cpu-ns/op is the whole process's: client, proxy and upstream.
//
//	go test ./bff -run '^$' -bench Upstream -count 6
func BenchmarkUpstream(b *testing.B) {
	body := strings.Repeat(`{"id":42,"owner":"alice"},`, 40)
	behind := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, body)
	}))
	defer behind.Close()
	target := mustURL(b, behind.URL)
	bearer := secret.Text(strings.Repeat("t", 900))

	rs, err := newRoutes([]Route{{Path: "/", Upstream: target}, {Path: "/api/orders", Upstream: target, StripPrefix: "/api"}}, routeConfig{
		Fail: failPlainly, Cookies: []string{"__Host-Http-session", "__Host-Http-login"},
	})
	if err != nil {
		b.Fatal(err)
	}
	headers, err := newSecurityHeaders(SecurityHeaders{HSTS: 31536000})
	if err != nil {
		b.Fatal(err)
	}
	ours := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers.apply(w.Header())
		path, err := canonicalPath(r)
		if err != nil {
			failPlainly(w, r, "bad-path", err)
			return
		}
		c, _ := rs.match(path)
		c.serveUpstream(w, r, path, bearer, forwarded{
			For: "127.0.0.1", Proto: "https", Host: "app.example", RequestID: "0af7651916cd43dd", Traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", Session: true,
		})
	})
	bare := &httputil.ReverseProxy{
		Transport:  newTransports(nil).of(nil, 30*time.Second),
		BufferPool: buffers,
		Rewrite: func(pr *httputil.ProxyRequest) {
			pr.SetURL(target)
			pr.Out.URL.Path = strings.TrimPrefix(pr.Out.URL.Path, "/api")
			pr.SetXForwarded()
			pr.Out.Header.Set("Authorization", "Bearer "+bearer.Reveal())
			pr.Out.Header.Del("Cookie")
		},
	}
	same := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		headers.apply(w.Header())
		w.Header().Set("Cache-Control", "no-store")
		r.Header.Set("X-Request-Id", "0af7651916cd43dd")
		r.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")
		bare.ServeHTTP(w, r)
	})
	b.Run("bare+headers", func(b *testing.B) { benchProxy(b, same) })
	b.Run("bare", func(b *testing.B) { benchProxy(b, bare) })
	b.Run("cloakroom", func(b *testing.B) { benchProxy(b, ours) })
}

func benchProxy(b *testing.B, proxy http.Handler) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{Handler: proxy}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	pool := &http.Transport{DisableCompression: true}
	defer pool.CloseIdleConnections()
	url := "http://" + listener.Addr().String() + "/api/orders/42?page=1"
	call := func() {
		r, _ := http.NewRequestWithContext(b.Context(), "GET", url, nil)
		r.Header = http.Header{
			"Accept": {"application/json"}, "Accept-Language": {"en"}, "Accept-Encoding": {"gzip, deflate, br"}, "X-Csrf": {"1"}, "Referer": {"https://app.example/orders"},
			"Cookie":         {"__Host-Http-session=v1.k1." + strings.Repeat("s", 120)},
			"Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Dest": {"empty"}, "User-Agent": {"Mozilla/5.0 (X11; Linux x86_64) Chrome/156"},
		}
		res, err := pool.RoundTrip(r)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != 200 {
			b.Fatal(res.Status)
		}
	}
	call()
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		call()
	}
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpu(b *testing.B) int64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return used.Utime.Nano() + used.Stime.Nano()
}
