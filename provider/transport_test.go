package provider

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// call is one thing that asks the provider over the network, on a Provider that is discovered but, for jwks, has no keys.
type call struct {
	path string
	do   func(p *Provider) error
}

var calls = map[string]call{
	"discovery": {"/.well-known/openid-configuration", func(p *Provider) error {
		_, err := p.AuthURL(background, AuthRequest{})
		return err
	}},
	"clock":      {"/.well-known/openid-configuration", func(p *Provider) error { _, err := p.Clock(background); return err }},
	"jwks":       {"/jwks", func(p *Provider) error { _, err := p.Redeem(background, redemption()); return err }},
	"token":      {"/token", func(p *Provider) error { _, err := p.Redeem(background, redemption()); return err }},
	"refresh":    {"/token", func(p *Provider) error { _, err := p.Refresh(background, canaryRefresh, was()); return err }},
	"userinfo":   {"/userinfo", func(p *Provider) error { _, err := p.UserInfo(background, canaryAccess, subject); return err }},
	"revocation": {"/revoke", func(p *Provider) error { return p.Revoke(background, canaryRefresh) }},
}

func TestB3_7_ARedirectIsAnErrorAndItsTargetIsNeverAsked(t *testing.T) {
	var asked atomic.Int32
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer target.Close()
	for name, c := range calls {
		for _, code := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprintf("%s answers %d", name, code), func(t *testing.T) {
				f := newIDP(t)
				f.route(c.path, redirectTo(code, target.URL))
				mustBe(t, c.do(f.client()), ErrNonsense)
				if f.count(c.path) != 1 || asked.Load() != 0 {
					t.Errorf("the endpoint was asked %d times, the target %d times", f.count(c.path), asked.Load())
				}
			})
		}
	}
}

func TestB3_8_AnAnswerThatIsNotATokenResponseIsNonsense(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
	}{
		{"HTML", body("text/html", "<html>sign in</html>")},
		{"nothing", body("application/json", "")},
		{"truncated JSON", body("application/json", `{"access_token":"`+canaryAccess)},
		{"an empty object", body("application/json", `{}`)},
		{"200 with an error", body("application/json", `{"error":"invalid_grant","error_description":"`+canaryAccess+`"}`)},
		{"a JSON array", body("application/json", `[{"access_token":"a"}]`)},
		{"a JSON string", body("application/json", `"`+canaryAccess+`"`)},
		{"10 MiB", body("application/json", `{"access_token":"`+strings.Repeat("a", 10<<20)+`"}`)},
		{"JSON nested a million deep", body("application/json", strings.Repeat(`{"a":`, 200_000))},
		{"a form as text/plain", body("text/plain", "access_token="+canaryAccess+"&token_type=Bearer&id_token=a.b.c")},
		{"a form", body("application/x-www-form-urlencoded", "access_token="+canaryAccess+"&token_type=Bearer")},
		{"the access token is a number", body("application/json", `{"access_token":7,"token_type":"Bearer"}`)},
		{"the access token holds a line end", body("application/json", `{"access_token":"a\r\nX-Evil: 1","token_type":"Bearer","id_token":"a.b.c"}`)},
		{"the access token holds a letter beyond ASCII", body("application/json", `{"access_token":"é","token_type":"Bearer","id_token":"a.b.c"}`)},
		{"the ID token is an object", body("application/json", `{"access_token":"a","token_type":"Bearer","id_token":{}}`)},
		{"no token_type", body("application/json", `{"access_token":"a","id_token":"a.b.c"}`)},
		{"B3.13 token_type DPoP", body("application/json", `{"access_token":"a","token_type":"DPoP","id_token":"a.b.c"}`)},
		{"gzip that is none", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("not gzip at all"))
		}},
		{"fewer bytes than promised", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(`{"access_token":"`))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/token", tc.answer)
			p := f.client()
			_, err := p.Redeem(background, redemption())
			mustBe(t, err, ErrNonsense)
			if n := f.count("/token"); n != 1 {
				t.Errorf("the code was sent %d times", n)
			}
			_, err = p.Refresh(background, canaryRefresh, was())
			mustBe(t, err, ErrNonsense)
		})
	}
}

func TestB3_9_ABombAtAnyEndpointStaysSmall(t *testing.T) {
	var packed bytes.Buffer
	gz, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	chunk := []byte(strings.Repeat(" ", 1<<20))
	_, _ = gz.Write([]byte(`{"keys":[`))
	for range 256 {
		_, _ = gz.Write(chunk)
	}
	_ = gz.Close()
	bomb := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(packed.Bytes())
	}
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			f.route(c.path, bomb)
			p := f.client()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			mustBe(t, c.do(p), ErrNonsense)
			runtime.ReadMemStats(&after)
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 32<<20 {
				t.Errorf("%d MiB allocated for 256 MiB of gzip", grown>>20)
			}
		})
	}
}

func TestB3_10_ASlowProviderIsGivenUpInTime(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer func(stop <-chan struct{}) http.HandlerFunc
	}{
		{"no headers", func(stop <-chan struct{}) http.HandlerFunc {
			return func(http.ResponseWriter, *http.Request) { <-stop }
		}},
		{"headers, then silence", func(stop <-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(200)
				_ = http.NewResponseController(w).Flush()
				<-stop
			}
		}},
		{"a byte now and then", func(stop <-chan struct{}) http.HandlerFunc {
			return func(w http.ResponseWriter, _ *http.Request) {
				tick := time.NewTicker(20 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-stop:
						return
					case <-tick.C:
						_, _ = w.Write([]byte(" "))
						_ = http.NewResponseController(w).Flush()
					}
				}
			}
		}},
	} {
		for name, c := range calls {
			t.Run(name+": "+tc.name, func(t *testing.T) {
				t.Parallel()
				f := newIDP(t)
				stop := make(chan struct{})
				t.Cleanup(func() { close(stop) })
				f.route(c.path, tc.answer(stop))
				p := f.client(func(cfg *Config) { cfg.Timeout = 250 * time.Millisecond })
				began := time.Now()
				mustBe(t, c.do(p), ErrUnavailable)
				if took := time.Since(began); took > 4*time.Second {
					t.Errorf("took %v", took)
				}
			})
		}
	}
}

func TestB3_11_WhatAStatusMeans(t *testing.T) {
	for _, tc := range []struct {
		name string
		code int
		body string
		want error
	}{
		{"500", 500, "oops", ErrUnavailable},
		{"502 with HTML", 502, "<html>", ErrUnavailable},
		{"503", 503, `{"error":"invalid_grant"}`, ErrUnavailable},
		{"429", 429, "", ErrUnavailable},
		{"B3.18 invalid_grant", 400, `{"error":"invalid_grant","error_description":"` + canaryRefresh + `"}`, ErrRefused},
		{"B3.18 invalid_client", 401, `{"error":"invalid_client"}`, ErrUnavailable},
		{"B3.18 invalid_client with 400", 400, `{"error":"invalid_client"}`, ErrUnavailable},
		{"unauthorized_client", 400, `{"error":"unauthorized_client"}`, ErrUnavailable},
		{"401 without a body", 401, "", ErrUnavailable},
		{"invalid_request", 400, `{"error":"invalid_request"}`, ErrNonsense},
		{"400 with HTML", 400, "<html>", ErrNonsense},
		{"403 of a firewall", 403, "<html>", ErrNonsense},
		{"404", 404, "", ErrNonsense},
		{"an error code that is a token", 400, `{"error":"` + canaryAccess + `"}`, ErrNonsense},
		{"temporarily_unavailable with 400", 400, `{"error":"temporarily_unavailable"}`, ErrUnavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/token", status(tc.code, tc.body))
			p := f.client()
			_, err := p.Redeem(background, redemption())
			mustBe(t, err, tc.want)
			_, err = p.Refresh(background, canaryRefresh, was())
			mustBe(t, err, tc.want)
			if n := f.count("/token"); n != 2 {
				t.Errorf("code and refresh token were sent %d times, not once each", n)
			}
		})
	}
}

func TestAProviderThatIsDownIsUnavailableEverywhere(t *testing.T) {
	for name, c := range calls {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			p := f.client()
			if name != "discovery" {
				if _, err := p.discovered(background); err != nil {
					t.Fatal(err)
				}
			}
			f.server.Close()
			p.client.transport.CloseIdleConnections()
			mustBe(t, c.do(p), ErrUnavailable)
			mustBe(t, p.Ready(), ErrUnavailable)
		})
	}
}

func TestAProviderIsInTroubleUntilItAnswersOrAMinuteIsOver(t *testing.T) {
	f := newIDP(t)
	now := time.Now()
	p := f.client()
	p.cfg.Now = func() time.Time { return now }
	if _, err := p.discovered(background); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		err   error
		of    context.Context
		after time.Duration
		want  error
	}{
		"no answer":                     {p.fail(ErrUnavailable, EndpointToken, "x"), background, 59 * time.Second, ErrUnavailable},
		"nonsense":                      {p.fail(ErrNonsense, EndpointToken, "x"), background, 0, nil},
		"no answer, and none asked for": {p.fail(ErrUnavailable, EndpointToken, "x"), background, time.Minute, nil},
		"a refusal":                     {p.fail(ErrRefused, EndpointToken, "x"), background, 0, nil},
		"a caller who went away":        {p.fail(ErrUnavailable, EndpointUserInfo, "x"), gone(), 0, nil},
	} {
		p.ended(background, EndpointJWKS, nil)
		p.ended(c.of, EndpointToken, c.err)
		now = now.Add(c.after)
		if got := p.Ready(); !errors.Is(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func gone() context.Context {
	ctx, cancel := context.WithCancel(background)
	cancel()
	return ctx
}

func TestB3_15_TLSIsVerified(t *testing.T) {
	f := newIDP(t)
	quiet := log.New(io.Discard, "", 0)
	server := httptest.NewUnstartedServer(f)
	server.Config.ErrorLog = quiet
	server.StartTLS()
	defer server.Close()
	f.issuer = server.URL
	f.meta["issuer"] = server.URL
	caFile := filepath.Join(t.TempDir(), "ca.pem")
	pemBytes := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(caFile, pemBytes, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Run("a certificate nobody vouches for", func(t *testing.T) {
		_, err := f.client().AuthURL(background, AuthRequest{})
		mustBe(t, err, ErrUnavailable)
		if !strings.Contains(err.Error(), "certificate") {
			t.Errorf("the operator cannot see why: %v", err)
		}
	})
	t.Run("one that the CA file vouches for", func(t *testing.T) {
		_, err := f.client(func(c *Config) { c.CAFile = caFile }).AuthURL(background, AuthRequest{})
		mustBe(t, err, nil)
	})
	t.Run("one for another host", func(t *testing.T) {
		other := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
		_, err := f.client(func(c *Config) { c.CAFile, c.Issuer = caFile, other }).AuthURL(background, AuthRequest{})
		mustBe(t, err, ErrUnavailable)
	})
	t.Run("TLS 1.1 only", func(t *testing.T) {
		old := httptest.NewUnstartedServer(f)
		old.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10} //nolint:gosec // the point of the test
		old.Config.ErrorLog = quiet
		old.StartTLS()
		defer old.Close()
		_, err := f.client(func(c *Config) { c.CAFile, c.Issuer = caFile, old.URL }).AuthURL(background, AuthRequest{})
		mustBe(t, err, ErrUnavailable)
	})
	t.Run("a CA file that is missing or holds none", func(t *testing.T) {
		empty := filepath.Join(t.TempDir(), "empty.pem")
		if err := os.WriteFile(empty, []byte("nothing"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{empty, empty + ".gone"} {
			if _, err := New(Config{Issuer: server.URL, ClientID: clientID, ClientSecret: "x", CAFile: file}); err == nil {
				t.Errorf("%s accepted", file)
			}
		}
	})
}

func TestAProxyIsUsedOnlyAsConfigured(t *testing.T) {
	f := newIDP(t)
	var proxied atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxied.Add(1)
		r.RequestURI, r.URL.Host = "", ""
		f.ServeHTTP(w, r)
	}))
	defer proxy.Close()
	if _, err := f.client(func(c *Config) { c.Proxy = proxy.URL }).AuthURL(background, AuthRequest{}); err != nil || proxied.Load() != 1 {
		t.Errorf("error %v, %d requests by the proxy", err, proxied.Load())
	}
	if _, err := New(Config{Issuer: f.issuer, ClientID: clientID, ClientSecret: "x", Proxy: "nonsense"}); err == nil {
		t.Error("a proxy that is no URL is accepted")
	}
}

func TestACallerWhoGoesAwayCancelsNeitherRedemptionNorRefresh(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if err := p.keys.warm(background); err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(background)
	f.route("/token", func(w http.ResponseWriter, _ *http.Request) {
		leave() // the browser closes the tab while the provider rotates
		answerJSON(w, 200, f.response)
	})
	g, err := p.Refresh(ctx, canaryRefresh, was())
	if err != nil || g.Access != canaryAccess {
		t.Errorf("the rotated tokens are lost: %v", err)
	}
	if _, err := p.Redeem(ctx, redemption()); err != nil && !isKind(err, ErrUnavailable) {
		t.Errorf("redemption: %v", err)
	}
}

func TestRunDiscoversAProviderThatComesUpLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries, up atomic.Int32
		listener := pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
		meta := map[string]any{
			"issuer": "http://idp.test", "authorization_endpoint": "http://idp.test/a", "token_endpoint": "http://idp.test/t", "jwks_uri": "http://idp.test/jwks",
		}
		server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/jwks" {
				answerJSON(w, 200, map[string]any{"keys": []any{jwk("k1", &rsaKey().PublicKey, "RS256")}})
				return
			}
			answerJSON(w, 200, meta)
		})}
		go func() { _ = server.Serve(listener) }()
		p, err := New(Config{Name: "main", Issuer: "http://idp.test", ClientID: clientID, ClientSecret: "x"})
		if err != nil {
			t.Fatal(err)
		}
		p.client.transport.Proxy = nil
		p.client.transport.DialContext = func(context.Context, string, string) (net.Conn, error) {
			tries.Add(1)
			if up.Load() == 0 {
				return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
			}
			ours, theirs := net.Pipe()
			listener.conns <- theirs
			return ours, nil
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); p.Run(ctx) }()
		synctest.Wait()
		mustBe(t, p.Ready(), ErrUnavailable)
		time.Sleep(10 * time.Minute)
		if n := tries.Load(); n < 15 || n > 40 {
			t.Errorf("%d tries in ten minutes", n)
		}
		up.Store(1)
		time.Sleep(2 * retryCeiling)
		synctest.Wait()
		mustBe(t, p.Ready(), nil)
		if _, err := p.keys.Candidates(ctx, "k1", "RS256"); err != nil {
			t.Errorf("the keys are not there yet: %v", err)
		}
		stop()
		<-ended
		p.client.transport.CloseIdleConnections()
		_ = server.Close()
		synctest.Wait()
	})
}

// pipeListener accepts in-memory connections, which synctest's clock understands.
type pipeListener struct {
	conns  chan net.Conn
	closed chan struct{}
}

func (l pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}
func (l pipeListener) Close() error   { close(l.closed); return nil }
func (l pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
