package exchangehttp_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections are in memory, and so in a test's own time.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A client that sends its form slowly, or stops, does not hold the endpoint for longer than a few seconds.
func TestC153_ASlowFormEnds(t *testing.T) {
	for name, form := range map[string]struct {
		size   int
		drip   bool
		status int
		within [2]time.Duration // of the answer
	}{
		"stops":                   {1000, false, http.StatusBadRequest, [2]time.Duration{5 * time.Second, 15 * time.Second}},
		"comes by drops":          {1000, true, http.StatusBadRequest, [2]time.Duration{5 * time.Second, 15 * time.Second}},
		"is small, and soon over": {3, true, http.StatusUnauthorized, [2]time.Duration{3 * time.Second, 4 * time.Second}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			synctest.Test(t, func(t *testing.T) {
				p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
				server := &http.Server{Handler: w.handler, ReadHeaderTimeout: time.Minute}
				go func() { _ = server.Serve(p) }()
				client, served := net.Pipe()
				p.accepted <- served
				began := time.Now()
				go func() {
					_, err := io.WriteString(client, fmt.Sprintf("POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n", form.size))
					for form.drip && err == nil {
						time.Sleep(time.Second)
						_, err = io.WriteString(client, "x")
					}
				}()
				res, err := http.ReadResponse(bufio.NewReader(client), nil)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if took := time.Since(began); res.StatusCode != form.status || took < form.within[0] || took > form.within[1] {
					t.Errorf("%d after %v", res.StatusCode, took)
				}
				_ = client.Close()
				_ = server.Close()
				time.Sleep(time.Second) // the server waits a moment for its last words to arrive
			})
		})
	}
}
