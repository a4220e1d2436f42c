package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// wire is one process in front of an upstream that keeps every byte it is sent, with nothing between the test and either.
type wire struct {
	*cloakroom
	tap *tap
}

func newWire(t *testing.T, settings string) *wire {
	t.Helper()
	w := &wire{newCloakroom(t), newTap(t)}
	w.configure(t, "memory:", fmt.Sprintf("http://127.0.0.1:%d", freePort(t)), strings.NewReplacer("TAP", w.tap.url(), "SPA", spa(t)).Replace(settings))
	w.serve(t)
	return w
}

// tap is an upstream that keeps what comes over each connection, byte by byte, and answers each request that it finds in it.
type tap struct {
	listener net.Listener

	mu    sync.Mutex
	conns []*tapped
}

type tapped struct {
	raw      bytes.Buffer
	requests []arrived
	err      error // that ended it; io.EOF where it ended between two requests
}

// arrived is a request as an upstream reads it.
type arrived struct {
	line   string // method and target
	host   string
	header http.Header
	body   string
	whole  bool // the body came to its end
}

func newTap(t *testing.T) *tap {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{listener: listener}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return p
}

func (p *tap) url() string { return "http://" + p.listener.Addr().String() }

func (p *tap) serve(conn net.Conn) {
	defer conn.Close()
	c := &tapped{}
	p.mu.Lock()
	p.conns = append(p.conns, c)
	p.mu.Unlock()
	from := bufio.NewReader(io.TeeReader(conn, lockedWriter{&p.mu, &c.raw}))
	for {
		r, err := http.ReadRequest(from)
		if err != nil {
			p.mu.Lock()
			c.err = err
			p.mu.Unlock()
			return
		}
		body, err := io.ReadAll(r.Body)
		p.mu.Lock()
		c.requests = append(c.requests, arrived{r.Method + " " + r.RequestURI, r.Host, r.Header, string(body), err == nil})
		p.mu.Unlock()
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

type lockedWriter struct {
	mu *sync.Mutex
	to io.Writer
}

func (w lockedWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(b)
}

// forget begins anew.
func (p *tap) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.raw.Reset()
		c.requests = nil
	}
}

// got is what arrived since forget, and all bytes of it.
func (p *tap) got() (requests []arrived, raw string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		requests = append(requests, c.requests...)
		raw += c.raw.String()
	}
	return requests, raw
}

// dial opens a connection to the public listener.
func (w *wire) dial(t *testing.T, protocols ...string) *tls.Conn {
	t.Helper()
	config := w.client.Transport.(documented).TLSClientConfig.Clone()
	config.NextProtos = protocols
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", w.public))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn.(*tls.Conn)
}

// say writes what it is given, and returns the statuses of all answers until the listener closes the connection, as it must.
func (w *wire) say(t *testing.T, text string) (statuses []int) {
	t.Helper()
	conn := w.dial(t)
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		_, _ = io.WriteString(conn, text) // an error: it was not listened to until the end
	}()
	defer func() { _ = conn.Close(); <-writing }()
	method, _, _ := strings.Cut(text, " ")
	for answers := bufio.NewReader(conn); ; {
		res, err := http.ReadResponse(answers, &http.Request{Method: method})
		if err != nil {
			if network, ok := errors.AsType[net.Error](err); ok && network.Timeout() {
				t.Errorf("the connection is held open behind %d answers", len(statuses))
			}
			return statuses
		}
		if res.StatusCode != http.StatusContinue {
			statuses = append(statuses, res.StatusCode)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("answer %d breaks off: %v", len(statuses), err)
		}
		_ = res.Body.Close()
	}
}

// lines are the first lines of what arrived, each with its body.
func lines(requests []arrived) []string {
	out := make([]string, 0, len(requests))
	for _, one := range requests {
		line := one.line
		if one.body != "" {
			line += " " + one.body
		}
		if !one.whole {
			line += " (cut)"
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}
