package daemon_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/certtest"
	"cloakroom/internal/daemon"
)

var discard = slog.New(slog.DiscardHandler)

func fetch(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Get(url) //nolint:gosec,noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

func TestARequestWithoutAnEndLeavesTimeForWhatComesLast(t *testing.T) {
	asked := make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	left := time.Duration(0)
	d, err := daemon.Start(ctx, daemon.Options{
		Listeners: []daemon.Listener{{Name: "public", Address: "127.0.0.1:0", Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			close(asked)
			<-r.Context().Done()
		})}},
		Health: daemon.NewHealth(),
		Drained: []func(context.Context) error{func(ctx context.Context) error {
			end, _ := ctx.Deadline()
			left = time.Until(end)
			return ctx.Err()
		}},
		Timeout: 2 * time.Second,
		Log:     discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if res, err := http.Get("http://" + d.Address("public").String()); err == nil { //nolint:bodyclose // it gets none
			_ = res.Body.Close()
		}
	}()
	<-asked
	stop()
	if err := d.Wait(); err == nil || !strings.Contains(err.Error(), "requests still in flight") || left < 100*time.Millisecond {
		t.Errorf("%v; %s were left for the rest", err, left)
	}
}

func TestTheWayDownIsReadinessRequestsBackgroundThenTheRest(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(what string) { mu.Lock(); defer mu.Unlock(); order = append(order, what) }
	health := daemon.NewHealth()
	inFlight, finish := make(chan struct{}), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	d, err := daemon.Start(ctx, daemon.Options{
		Listeners: []daemon.Listener{{Name: "public", Address: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			close(inFlight)
			<-finish
			note("request")
		})}},
		Health:     health,
		Background: []func(context.Context){func(ctx context.Context) { <-ctx.Done(); note("background") }},
		Drained:    []func(context.Context) error{func(context.Context) error { note("rest"); return nil }},
		Timeout:    10 * time.Second,
		Log:        discard,
	})
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan int)
	go func() {
		code, _ := fetch(t, "http://"+d.Address("public").String())
		answered <- code
	}()
	<-inFlight
	stop()
	for !health.Draining() {
		time.Sleep(time.Millisecond)
	}
	close(finish)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("the request in flight got %d", code)
	}
	if err := d.Wait(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"request", "background", "rest"}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

func TestAStreamIsToldThatTheListenerCloses(t *testing.T) {
	closing, streaming := make(chan struct{}), make(chan struct{})
	ctx, stop := context.WithCancel(t.Context())
	d, err := daemon.Start(ctx, daemon.Options{
		Listeners: []daemon.Listener{{
			Name: "public", Address: "127.0.0.1:0", Closing: func() { close(closing) },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_ = http.NewResponseController(w).Flush()
				close(streaming)
				<-closing // or it would go on for ever
				_, _ = io.WriteString(w, "the end")
			}),
		}},
		Health: daemon.NewHealth(), Log: discard, Timeout: 10 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	said := make(chan string)
	go func() {
		_, body := fetch(t, "http://"+d.Address("public").String())
		said <- body
	}()
	<-streaming
	stop()
	if body := <-said; body != "the end" {
		t.Errorf("the stream said %q", body)
	}
	if err := d.Wait(); err != nil {
		t.Error(err)
	}
}

func TestABusyAddressIsAnErrorThatNamesTheListenerAndOpensNothing(t *testing.T) {
	busy := httptest.NewServer(http.NotFoundHandler())
	defer busy.Close()
	_, err := daemon.Start(t.Context(), daemon.Options{
		Listeners: []daemon.Listener{
			{Name: "public", Address: "127.0.0.1:0", Handler: http.NotFoundHandler()},
			{Name: "internal", Address: busy.Listener.Addr().String(), Handler: http.NotFoundHandler()},
		},
		Health: daemon.NewHealth(), Log: discard,
	})
	if err == nil || !strings.Contains(err.Error(), "internal") {
		t.Errorf("error %v", err)
	}
}

func TestReadiness(t *testing.T) {
	down := daemon.Check{Name: "store", Probe: func(context.Context) error { return errors.New("refused") }}
	up := daemon.Check{Name: "provider", Probe: func(context.Context) error { return nil }}
	for name, c := range map[string]struct {
		checks []daemon.Check
		start  bool
		query  string
		code   int
		body   string
	}{
		"starting is 503":                           {nil, false, "", 503, `"starting"`},
		"ready is 200":                              {[]daemon.Check{up}, true, "", 200, `"ready"`},
		"a degraded dependency is still 200":        {[]daemon.Check{up, down}, true, "", 200, `"store":"degraded"`},
		"a degraded dependency is 503 where strict": {[]daemon.Check{up, down}, true, "?strict", 503, `"degraded"`},
	} {
		t.Run(name, func(t *testing.T) {
			health := daemon.NewHealth(c.checks...)
			if c.start {
				ctx, stop := context.WithCancel(t.Context())
				d, err := daemon.Start(ctx, daemon.Options{Health: health, Log: discard})
				if err != nil {
					t.Fatal(err)
				}
				defer func() { stop(); _ = d.Wait() }()
			}
			w := httptest.NewRecorder()
			health.Ready(w, httptest.NewRequest("GET", "/readyz"+c.query, nil))
			if w.Code != c.code || !strings.Contains(w.Body.String(), c.body) {
				t.Errorf("%d %s, want %d with %s", w.Code, w.Body, c.code, c.body)
			}
		})
	}
}

func TestARenewedCertificateIsServedWithoutARestart(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile, "first", time.Now().Add(-time.Hour))
	broken := make(chan error, 10)
	certificate, err := daemon.LoadCertificate(certFile, keyFile, func(err error) { broken <- err })
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	d, err := daemon.Start(ctx, daemon.Options{
		Listeners: []daemon.Listener{{Name: "public", Address: "127.0.0.1:0", TLS: certificate, Handler: http.NotFoundHandler()}},
		Health:    daemon.NewHealth(), Log: discard, Timeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { stop(); _ = d.Wait() }()
	address := d.Address("public").String()
	if name := servedName(t, address); name != "first" {
		t.Fatalf("served %q", name)
	}
	writePair(t, certFile, keyFile, "second", time.Now())
	for deadline := time.Now().Add(5 * time.Second); servedName(t, address) != "second"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the renewed certificate is not served")
		}
	}
	if err := os.WriteFile(certFile, []byte("not a certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(5 * time.Second); len(broken) == 0; time.Sleep(50 * time.Millisecond) {
		if name := servedName(t, address); name != "second" {
			t.Fatalf("a broken file replaced the certificate: %q", name)
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody heard of the broken file")
		}
	}
}

func TestACertificateBecomesAnother(t *testing.T) {
	dir := t.TempDir()
	load := func(name string) *daemon.Certificate {
		t.Helper()
		certFile, keyFile := filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")
		writePair(t, certFile, keyFile, name, time.Now())
		c, err := daemon.LoadCertificate(certFile, keyFile, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	served := func(config *tls.Config) string {
		t.Helper()
		pair, err := config.GetCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.Subject.CommonName
	}
	c := load("old")
	listening := c.Config()
	c.Become(load("new"))
	if name := served(listening); name != "new" {
		t.Errorf("serves %q", name)
	}
	writePair(t, filepath.Join(dir, "new.crt"), filepath.Join(dir, "new.key"), "renewed", time.Now().Add(time.Hour))
	for deadline := time.Now().Add(5 * time.Second); served(listening) != "renewed"; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other's files are not followed")
		}
	}
}

func servedName(t *testing.T, address string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // looks at the certificate itself
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

func writePair(t *testing.T, certFile, keyFile, name string, stamp time.Time) {
	t.Helper()
	certtest.Issue(t, certtest.Named(name), nil).Write(t, certFile, keyFile)
	for _, file := range []string{certFile, keyFile} {
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
}
