package daemon_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/daemon"
)

// serve runs one listener until the test ends, and returns its address.
func serve(t *testing.T, l daemon.Listener) string {
	t.Helper()
	l.Name, l.Address = "public", "127.0.0.1:0"
	ctx, stop := context.WithCancel(context.Background())
	d, err := daemon.Start(ctx, daemon.Options{Listeners: []daemon.Listener{l}, Health: daemon.NewHealth(), Log: discard, Timeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := d.Wait(); err != nil {
			t.Error(err)
		}
	})
	return d.Address("public").String()
}

func certificate(t *testing.T) *daemon.Certificate {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile, "first", time.Now())
	c, err := daemon.LoadCertificate(certFile, keyFile, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// dial opens a raw connection, over TLS where proto names what to speak there.
func dial(t *testing.T, address, proto string) net.Conn {
	t.Helper()
	var c net.Conn
	var err error
	if proto == "" {
		c, err = new(net.Dialer).DialContext(t.Context(), "tcp", address)
	} else {
		config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{proto}} //nolint:gosec // a test's own certificate
		c, err = (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", address)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	return c
}

// exchange sends text and returns the status and body of each response, until the server hangs up or want have come.
func exchange(t *testing.T, c net.Conn, text string, want int) []string {
	t.Helper()
	go func() { _, _ = io.WriteString(c, text) }()
	var got []string
	in := bufio.NewReader(c)
	for len(got) < want {
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			break
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		got = append(got, fmt.Sprintf("%d %s", res.StatusCode, bytes.TrimSpace(body)))
	}
	return got
}

// echo answers with what it got.
func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	_, _ = fmt.Fprintf(w, "%s %s %v", r.URL.Path, body, err)
}

func TestD8_ContentLengthBesideTransferEncodingIsRefused(t *testing.T) {
	const (
		post   = " HTTP/1.1\r\nHost: a\r\n"
		length = "Content-Length: 6\r\n"
		te     = "Transfer-Encoding: chunked\r\n"
		chunks = "0\r\n\r\nX"
		refuse = "400 400 Bad Request"
	)
	tests := map[string]struct {
		text string
		want []string
	}{
		"length first":                {"POST /a" + post + length + te + "\r\n" + chunks, []string{refuse}},
		"chunks first":                {"POST /a" + post + te + length + "\r\n" + chunks, []string{refuse}},
		"pipelined behind another":    {"GET /a" + post + "\r\nPOST /b" + post + length + te + "\r\n" + chunks, []string{"200 /a  <nil>", refuse}},
		"pipelined behind a body":     {"POST /a" + post + length + "\r\n012345POST /b" + post + length + te + "\r\n" + chunks, []string{"200 /a 012345 <nil>", refuse}},
		"a folded line":               {"GET /a" + post + "A: b\r\n c\r\n\r\n", []string{refuse}},
		"HTTP/1.0":                    {"POST /a HTTP/1.0\r\nConnection: keep-alive\r\n" + length + te + "\r\n" + chunks, []string{refuse}},
		"a body that reads like it":   {"POST /a" + post + "Content-Length: 45\r\n\r\n" + length + te[:26] + "GET /b" + post + "\r\n", []string{"200 /a " + length + te[:26] + " <nil>", "200 /b  <nil>"}},
		"nothing follows chunks":      {"POST /a" + post + te + "\r\n1\r\nx\r\n0\r\n\r\nPOST /b" + post + length + te + "\r\n" + chunks, []string{"200 /a x <nil>"}},
		"nothing follows HTTP/1.0":    {"POST /a HTTP/1.0\r\nConnection: keep-alive\r\n" + te + "\r\nPOST /b" + post + length + te + "\r\n" + chunks, []string{"200 /a  <nil>"}},
		"nothing follows a bad chunk": {"POST /a" + post + te + "\r\nxx\r\nPOST /b" + post + length + te + "\r\n" + chunks, []string{"200 /a  invalid byte in chunk length"}},
	}
	plain := serve(t, daemon.Listener{Handler: http.HandlerFunc(echo)})
	secured := serve(t, daemon.Listener{Handler: http.HandlerFunc(echo), TLS: certificate(t)})
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			for proto, address := range map[string]string{"": plain, "http/1.1": secured} {
				got := exchange(t, dial(t, address, proto), test.text, len(test.want)+1-strings.Count(name, "reads like"))
				if fmt.Sprintf("%q", got) != fmt.Sprintf("%q", test.want) {
					t.Errorf("%s: got %q, want %q", proto, got, test.want)
				}
			}
		})
	}
}

// A WebSocket's frames are no heads, whatever they read like.
func TestNothingIsChangedOnAHijackedConnection(t *testing.T) {
	address := serve(t, daemon.Listener{Patience: 200 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		_, _ = io.Copy(c, buffered)
	})})
	c := dial(t, address, "")
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	in := bufio.NewReader(c)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatal(res, err)
	}
	const sent = "POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n fold\r\n\r\n"
	for range 3 { // also after the server's patience
		_, _ = io.WriteString(c, sent)
		got := make([]byte, len(sent))
		if _, err := io.ReadFull(in, got); err != nil || string(got) != sent {
			t.Fatalf("got %q, %v", got, err)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

const patience = 400 * time.Millisecond

// A body that stops, or that comes by drops, ends; nobody else notices.
func TestF4_ASlowBodyEnds(t *testing.T) {
	ended := make(chan error, 10)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := io.Copy(io.Discard, r.Body)
		ended <- err
	})
	for name, test := range map[string]struct {
		head string
		drop string
	}{
		"stops":                     {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n0123", ""},
		"stops within a chunk":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n0123", ""},
		"stops before its end":      {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n0\r\n", ""},
		"comes by drops":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", "x"},
		"comes in drops of a chunk": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			address := serve(t, daemon.Listener{Patience: patience, Handler: handler})
			slow, began := dial(t, address, ""), time.Now()
			_, _ = io.WriteString(slow, test.head)
			stop := make(chan struct{})
			defer close(stop)
			go func() {
				for test.drop != "" {
					select {
					case <-stop:
						return
					case <-time.After(patience / 4):
						_, _ = io.WriteString(slow, test.drop)
					}
				}
			}()
			if got := exchange(t, dial(t, address, ""), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n0", 1); len(got) != 1 || got[0] != "200" && got[0] != "200 " {
				t.Errorf("another client got %q", got)
			}
			if err := <-ended; err != nil {
				t.Errorf("another client's body: %v", err)
			}
			select {
			case err := <-ended:
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("ended with %v", err)
				}
				if took := time.Since(began); took < patience || took > 20*patience {
					t.Errorf("after %v", took)
				}
			case <-time.After(10 * time.Second):
				t.Error("does not end")
			}
		})
	}
}

// So does a head; and a handshake, and the preface of HTTP/2.
func TestF4_ASlowHeadEnds(t *testing.T) {
	address, secured := serve(t, daemon.Listener{Patience: patience, Handler: http.HandlerFunc(echo)}), serve(t, daemon.Listener{Patience: patience, TLS: certificate(t), Handler: http.HandlerFunc(echo)})
	for name, test := range map[string]struct{ address, proto, first, drop string }{
		"nothing comes":              {address, "", "", ""},
		"it stops":                   {address, "", "GET / HTTP/1.1\r\nHost: a\r\n", ""},
		"it comes by drops":          {address, "", "GET / HTTP/1.1\r\nHost: a\r\n", "A: b\r\n"},
		"the second one stops":       {address, "", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP", ""},
		"a handshake stops":          {secured, "", "\x16\x03\x01", ""},
		"it comes by drops over TLS": {secured, "http/1.1", "GET / HTTP/1.1\r\n", "A: b\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, began := dial(t, test.address, test.proto), time.Now()
			_, _ = io.WriteString(c, test.first)
			go func() {
				for test.drop != "" {
					time.Sleep(patience / 4)
					if _, err := io.WriteString(c, test.drop); err != nil {
						return
					}
				}
			}()
			_, err := io.Copy(io.Discard, c)
			if took := time.Since(began); took > 20*patience || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%v after %v", err, took)
			}
		})
	}
}

func TestABodyThatComesSteadilyMayTakeItsTime(t *testing.T) {
	for proto, secured := range map[string]*daemon.Certificate{"http/1.1": nil, "h2": certificate(t)} {
		address := serve(t, daemon.Listener{Patience: patience, TLS: secured, Handler: http.HandlerFunc(echoLength)})
		pieces := make(chan []byte)
		go func() {
			defer close(pieces)
			for range 12 {
				pieces <- make([]byte, 500)
				time.Sleep(patience / 4)
			}
		}()
		if got := post(t, address, secured != nil, &chunks{from: pieces}); got != "6000 <nil>" {
			t.Errorf("%s: %s", proto, got)
		}
	}
}

func TestNothingIsChangedInHTTP2(t *testing.T) {
	address := serve(t, daemon.Listener{TLS: certificate(t), Handler: http.HandlerFunc(echo)})
	const sent = "a\n\n b\n c\n\nd\nContent-Length: 1\nTransfer-Encoding: chunked\n\n"
	if got := post(t, address, true, strings.NewReader(sent)); got != "/ "+sent+" <nil>" {
		t.Errorf("got %q", got)
	}
}

// The handler's time is not the client's, and a client that has sent everything is still listened to.
func TestAHandlerMayTakeItsTime(t *testing.T) {
	for proto, secured := range map[string]*daemon.Certificate{"http/1.1": nil, "h2": certificate(t)} {
		address := serve(t, daemon.Listener{Patience: patience, TLS: secured, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			first := make([]byte, 10)
			_, err := io.ReadFull(r.Body, first)
			time.Sleep(2 * patience)
			rest, err2 := io.ReadAll(r.Body)
			time.Sleep(2 * patience)
			_, _ = fmt.Fprint(w, len(first)+len(rest), errors.Join(err, err2, r.Context().Err()))
		})})
		pieces := make(chan []byte)
		go func() {
			defer close(pieces)
			pieces <- make([]byte, 10)
			time.Sleep(patience * 3 / 2)
			pieces <- make([]byte, 10)
		}()
		if got := post(t, address, secured != nil, &chunks{from: pieces}); got != "20 <nil>" {
			t.Errorf("%s: %s", proto, got)
		}
	}
}

func echoLength(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	_, _ = fmt.Fprint(w, n, " ", err)
}

// chunks is a body that comes as it is sent.
type chunks struct {
	from <-chan []byte
	rest []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		var ok bool
		if c.rest, ok = <-c.from; !ok {
			return 0, io.EOF
		}
	}
	n := copy(p, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// client speaks HTTP/2 over TLS, and HTTP/1.1 otherwise.
func client(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // a test's own certificate
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 30 * time.Second}
}

func urlOf(address string, secured bool) string {
	if secured {
		return "https://" + address
	}
	return "http://" + address
}

func post(t *testing.T, address string, secured bool, body io.Reader) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, urlOf(address, secured), body)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if secured != (res.ProtoMajor == 2) {
		t.Errorf("spoke %s", res.Proto)
	}
	all, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

func get(t *testing.T, address string, secured bool) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, urlOf(address, secured), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client(t).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if secured != (res.ProtoMajor == 2) {
		t.Errorf("spoke %s", res.Proto)
	}
	return res
}

// A reader who stops does not hold what serves it; nobody else notices.
func TestF4_ASlowReaderEnds(t *testing.T) {
	for proto, secured := range map[string]*daemon.Certificate{"http/1.1": nil, "h2": certificate(t)} {
		t.Run(proto, func(t *testing.T) {
			ended := make(chan error, 1)
			address := serve(t, daemon.Listener{Patience: patience, TLS: secured, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					echoLength(w, r)
					return
				}
				block := make([]byte, 1<<20)
				for range 256 {
					if _, err := w.Write(block); err != nil {
						ended <- err
						return
					}
				}
				ended <- nil
			})})
			get(t, address, secured != nil)
			began := time.Now()
			if got := post(t, address, secured != nil, strings.NewReader("x")); got != "1 <nil>" {
				t.Errorf("another client got %q", got)
			}
			select {
			case err := <-ended:
				if took := time.Since(began); err == nil || took > 20*patience {
					t.Errorf("ended with %v after %v", err, took)
				}
			case <-time.After(10 * time.Second):
				t.Error("does not end")
			}
		})
	}
}

// Also where it is small pieces that are not taken, on a connection that has served before.
func TestF4_ASlowReaderOfSmallPiecesEnds(t *testing.T) {
	ended := make(chan error, 1)
	address := serve(t, daemon.Listener{Patience: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/large" {
			echo(w, r)
			return
		}
		block := make([]byte, 4<<10)
		for range 1 << 16 {
			if _, err := w.Write(block); err != nil {
				ended <- err
				return
			}
		}
		ended <- nil
	})})
	c := dial(t, address, "")
	exchange(t, c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1)
	_, _ = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
	select {
	case err := <-ended:
		if err == nil {
			t.Error("everything was taken")
		}
	case <-time.After(10 * time.Second):
		t.Error("does not end")
	}
}

// A body that no handler reads, net/http does, before it answers.
func TestF4_ABodyThatNobodyWantsIsNotWaitedForLong(t *testing.T) {
	address := serve(t, daemon.Listener{Patience: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	})})
	c, began := dial(t, address, ""), time.Now()
	if got := exchange(t, c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", 2); len(got) != 1 || got[0] != "403 " {
		t.Errorf("got %q", got)
	}
	if took := time.Since(began); took > 20*patience {
		t.Errorf("after %v", took)
	}
}

// Events may be far apart, a large answer may take long, and a connection may rest: progress is what counts.
func TestAnAnswerThatIsTakenMayLast(t *testing.T) {
	for proto, secured := range map[string]*daemon.Certificate{"http/1.1": nil, "h2": certificate(t)} {
		t.Run(proto, func(t *testing.T) {
			const patience = time.Second
			address := serve(t, daemon.Listener{Patience: patience, TLS: secured, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for range 3 {
					_, _ = io.WriteString(w, "data: x\n\n")
					if err := http.NewResponseController(w).Flush(); err != nil {
						t.Error(err)
					}
					time.Sleep(patience * 3 / 2)
				}
				_, _ = w.Write(make([]byte, 8<<20)) // taken at 20 MiB a second or less
			})})
			res := get(t, address, secured != nil)
			var got int
			block := make([]byte, 256<<10)
			for {
				n, err := res.Body.Read(block)
				got += n
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(12 * time.Millisecond)
			}
			if want := 3*len("data: x\n\n") + 8<<20; got != want {
				t.Errorf("got %d bytes of %d", got, want)
			}
		})
	}
}

func TestARestedConnectionServesOn(t *testing.T) {
	var first sync.Once
	address := serve(t, daemon.Listener{Patience: 100 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { // as a stream of events does for each
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
				t.Error(err)
			}
		})
		echo(w, r)
	})})
	c := dial(t, address, "")
	for range 3 {
		if got := exchange(t, c, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 1); len(got) != 1 || got[0] != "200 /a x <nil>" {
			t.Fatalf("got %q", got)
		}
		time.Sleep(300 * time.Millisecond)
	}
}

func TestAHandlersOwnDeadlineIsKept(t *testing.T) {
	ended := make(chan time.Duration, 1)
	for proto, secured := range map[string]*daemon.Certificate{"http/1.1": nil, "h2": certificate(t)} {
		address := serve(t, daemon.Listener{Patience: time.Minute, TLS: secured, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began := time.Now()
			if err := http.NewResponseController(w).SetWriteDeadline(began.Add(patience)); err != nil {
				t.Error(err)
			}
			block := make([]byte, 1<<20)
			for range 256 {
				if _, err := w.Write(block); err != nil {
					break
				}
			}
			ended <- time.Since(began)
		})})
		get(t, address, secured != nil)
		if took := <-ended; took < patience/2 || took > 20*patience {
			t.Errorf("%s: after %v", proto, took)
		}
	}
}

func TestAHandlersOwnDeadlineForTheBodyIsKept(t *testing.T) {
	for proto, secured := range map[string]*daemon.Certificate{"http/1.1": nil, "h2": certificate(t)} {
		pieces := make(chan []byte, 1)
		pieces <- make([]byte, 10)
		address := serve(t, daemon.Listener{Patience: time.Minute, TLS: secured, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)); err != nil {
				t.Error(err)
			}
			_, err := io.ReadAll(r.Body)
			close(pieces) // a client would wait for its end
			_, _ = fmt.Fprint(w, errors.Is(err, os.ErrDeadlineExceeded))
		})})
		if got := post(t, address, secured != nil, &chunks{from: pieces}); got != "true" {
			t.Errorf("%s: %s", proto, got)
		}
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	var open atomic.Int32
	goOn := make(chan struct{})
	address := serve(t, daemon.Listener{MaxConnections: 2, Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		open.Add(1)
		<-goOn
	})})
	const request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	for range 2 {
		_, _ = io.WriteString(dial(t, address, ""), request)
	}
	third := dial(t, address, "")
	_ = third.SetReadDeadline(time.Now().Add(1500 * time.Millisecond))
	if got := exchange(t, third, request, 1); len(got) != 0 || open.Load() != 2 {
		t.Fatalf("served beyond the limit: %q, %d", got, open.Load())
	}
	close(goOn)
	_ = third.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got := exchange(t, third, "", 1); len(got) != 1 || open.Load() != 3 {
		t.Errorf("not served when there is room: %q", got)
	}
}

func TestConnectionsThatWaitInVainAreToldToComeBack(t *testing.T) {
	say := func(what string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, what) })
	}
	const most, request = 8, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	address := serve(t, daemon.Listener{MaxConnections: most, Handler: say("well"), Busy: say("busy")})
	said := func(c net.Conn) (what string, last bool) {
		t.Helper()
		_, _ = io.WriteString(c, request)
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(body), res.Close
	}
	var kept []net.Conn
	for n := range most * 3 / 4 {
		c := dial(t, address, "")
		if what, last := said(c); what != "well" || last {
			t.Errorf("connection %d: %q, closed: %t", n, what, last)
		}
		kept = append(kept, c)
	}
	for range 3 * most { // they come and go, since none may stay for a next request
		if what, last := said(dial(t, address, "")); what != "well" || !last {
			t.Errorf("with few places left: %q, closed: %t", what, last)
		}
	}
	var silent []net.Conn
	for range most / 4 {
		silent = append(silent, dial(t, address, ""))
	}
	began := time.Now()
	for n := range 3 {
		if what, last := said(dial(t, address, "")); what != "busy" || !last {
			t.Errorf("with no place left: %q, closed: %t", what, last)
		}
		if took := time.Since(began); n == 0 && took < 900*time.Millisecond {
			t.Errorf("told so after %s: it might have waited", took)
		}
	}
	for _, c := range append(silent, kept[:3]...) {
		_ = c.Close()
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if what, last := said(dial(t, address, "")); what == "well" && !last {
			break
		}
		if time.Now().After(end) {
			t.Fatal("there is room again, and it is not used")
		}
	}
}
