package bff

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestAnUpstreamOverHTTP2(t *testing.T) {
	release := make(chan struct{})
	behind := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
			return
		}
		raw, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Checksum")
		w.Header().Set("X-Seen", r.Proto+" "+r.RequestURI+" "+r.Header.Get("Authorization"))
		_, _ = w.Write(raw)
		w.Header().Set("X-Checksum", "abc")
	}))
	behind.EnableHTTP2 = true
	behind.StartTLS()
	t.Cleanup(behind.Close)
	defer close(release)
	roots := x509.NewCertPool()
	roots.AddCert(behind.Certificate())

	e := newEdgeTo(t, Route{
		Path: "/api", StripPrefix: "/api", Upstream: mustURL(t, behind.URL), KeepEncodedPath: true, TLS: &tls.Config{RootCAs: roots}, Timeout: 2 * time.Second,
	})
	e.bearer = "minted"
	for _, body := range []string{"", "hello"} {
		res, text := e.do(t, "POST", "/api/a%2Fb?c=%20", nil, strings.NewReader(body))
		if res.StatusCode != 200 || text != body || res.Header.Get("X-Seen") != "HTTP/2.0 /a%2Fb?c=%20 Bearer minted" || res.Trailer.Get("X-Checksum") != "abc" {
			t.Errorf("got %d %q %v %v", res.StatusCode, text, res.Header, res.Trailer)
		}
	}
	e = newEdgeTo(t, Route{Path: "/", Upstream: mustURL(t, behind.URL), TLS: &tls.Config{RootCAs: roots}, Timeout: 100 * time.Millisecond})
	for _, body := range []io.Reader{nil, strings.NewReader("hello")} {
		if res, text := e.do(t, "POST", "/slow", nil, body); res.StatusCode != 504 || text != "upstream-timeout" {
			t.Errorf("slow: got %d %q, %v", res.StatusCode, text, e.cause())
		}
	}
}

func TestAnUpstreamThatCannotProveItself(t *testing.T) {
	behind := httptest.NewUnstartedServer(&seen{})
	behind.Config.ErrorLog = log.New(io.Discard, "", 0)
	behind.StartTLS()
	t.Cleanup(behind.Close)
	e := newEdgeTo(t, Route{Path: "/", Upstream: mustURL(t, behind.URL)})
	if res, text := e.do(t, "GET", "/", nil, nil); res.StatusCode != 502 || text != "upstream-unavailable" {
		t.Errorf("got %d %q", res.StatusCode, text)
	}
}
