package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The same over HTTP/2 (security.md D8), where each field can hold what a line of HTTP/1.1 could not: frames written to the real listener,
// and what arrives at an upstream that speaks HTTP/1.1.
func TestNothingIsSmuggledInFramesEither(t *testing.T) {
	t.Parallel()
	w := newWire(t, `
routes:
  - {path: /open, upstream: "TAP", token: none, session: none}
  - {path: /closed, upstream: "TAP", audience: orders}
  - {path: /, spa: SPA}
`)
	request := func(method, path string, more ...string) []string {
		return append([]string{":method", method, ":scheme", "https", ":authority", "app.cloakroom.test", ":path", path}, more...)
	}
	reset := []int{0} // the stream or the connection, without an answer
	rows := []framed{
		{name: "GET", fields: request("GET", "/open?x=1"), statuses: []int{200}, upstream: []string{"GET /open?x=1"}},
		{name: "a body", fields: request("POST", "/open", "content-length", "5"), data: "hello", statuses: []int{200}, upstream: []string{"POST /open hello"}},
		{name: "a body without a length", fields: request("POST", "/open"), data: "hello", statuses: []int{200}, upstream: []string{"POST /open hello"}},
		{name: "a body that is a request", fields: request("POST", "/open"), data: "0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n", statuses: []int{200}, upstream: []string{"POST /open 0\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"}},
		{name: "D2.3 a Cookie header in crumbs", fields: request("GET", "/open", "cookie", "theme=dark", "cookie", "__Host-Http-session=v1.a.b", "cookie", "lang=en"), statuses: []int{200}, upstream: []string{"GET /open"}},
		{name: "D7 headers in any spelling", fields: request("GET", "/open", "x-user", "admin", "x_user", "admin", "authorization", "Bearer stolen", "remote_user", "admin", "x-forwarded-for", "6.6.6.6"), statuses: []int{200}, upstream: []string{"GET /open"}},
		{name: "another authority", fields: []string{":method", "GET", ":scheme", "https", ":authority", "evil.example", ":path", "/open"}, statuses: []int{200}, upstream: []string{"GET /open"}},
		{name: "a trailer", fields: request("POST", "/open", "trailer", "x-user"), data: "hello", trailer: []string{"x-user", "admin"}, statuses: []int{200}, upstream: []string{"POST /open hello"}},

		{name: "CRLF in a value", fields: request("GET", "/open", "x-a", "b\r\nx-user: admin"), statuses: reset},
		{name: "a line feed in a value", fields: request("GET", "/open", "x-a", "b\nx-user: admin"), statuses: reset},
		{name: "a NUL in a value", fields: request("GET", "/open", "x-a", "b\x00"), statuses: reset},
		{name: "CRLF in a name", fields: request("GET", "/open", "x-a: b\r\nx-user", "admin"), statuses: reset},
		{name: "a colon in a name", fields: request("GET", "/open", "x-a:b", "c"), statuses: reset},
		{name: "a blank in a name", fields: request("GET", "/open", "transfer-encoding ", "chunked"), statuses: reset},
		{name: "a capital letter in a name", fields: request("GET", "/open", "X-A", "b"), statuses: reset},
		{name: "CRLF in the path", fields: request("GET", "/open HTTP/1.1\r\nHost: a\r\n\r\nGET /hidden"), statuses: []int{0, 400}},
		{name: "a blank in the path", fields: request("GET", "/open HTTP/1.1"), statuses: []int{400}},
		{name: "CRLF in the method", fields: request("GET /hidden HTTP/1.1\r\nHost: a\r\n\r\nGET", "/open"), statuses: []int{0, 400}},
		{name: "a blank in the method", fields: request("GET /hidden", "/open"), statuses: []int{0, 400, 405}},
		{name: "CRLF in the authority", fields: []string{":method", "GET", ":scheme", "https", ":authority", "a\r\nX-User: admin", ":path", "/open"}, statuses: []int{0, 400}},
		{name: "transfer-encoding", fields: request("POST", "/open", "transfer-encoding", "chunked"), data: "0\r\n\r\n", statuses: []int{0, 400}},
		{name: "connection", fields: request("GET", "/open", "connection", "x-forwarded-for"), statuses: []int{0, 400}},
		{name: "proxy-connection", fields: request("GET", "/open", "proxy-connection", "keep-alive"), statuses: []int{0, 400}},
		{name: "upgrade", fields: request("GET", "/open", "upgrade", "websocket"), statuses: []int{0, 400}},
		{name: "te", fields: request("GET", "/open", "te", "gzip"), statuses: []int{0, 400}},
		{name: "two methods", fields: request("GET", "/open", ":method", "POST"), statuses: reset},
		{name: "two paths", fields: append(request("GET", "/open")[:8:8], ":path", "/closed"), statuses: reset},
		{name: "a pseudo-header behind others", fields: []string{":method", "GET", ":scheme", "https", "x-a", "b", ":path", "/open"}, statuses: reset},
		{name: "a pseudo-header that is none", fields: request("GET", "/open", ":status", "200"), statuses: reset},
		{name: "no path", fields: []string{":method", "GET", ":scheme", "https", ":authority", "a"}, statuses: reset},
		{name: "an empty path", fields: request("GET", ""), statuses: []int{0, 400}},
		{name: "no method", fields: []string{":scheme", "https", ":authority", "a", ":path", "/open"}, statuses: reset},
		{name: "another scheme", fields: []string{":method", "GET", ":scheme", "ftp", ":authority", "a", ":path", "/open"}, statuses: reset},
		{name: "an absolute path", fields: request("GET", "http://evil.example/open"), statuses: []int{0, 400}},
		{name: "a path that begins with two slashes", fields: request("GET", "//evil.example/open"), statuses: []int{400}},
		{name: "a dot-dot segment", fields: request("GET", "/open/../closed"), statuses: []int{400}},
		{name: "a fragment", fields: request("GET", "/open#/closed"), statuses: []int{400}},
		{name: "an asterisk", fields: request("OPTIONS", "*"), statuses: []int{400}},
		{name: "CONNECT", fields: []string{":method", "CONNECT", ":authority", "evil.example:443"}, statuses: []int{400, 405}},
		{name: "a WebSocket by CONNECT (RFC 8441)", fields: request("CONNECT", "/open", ":protocol", "websocket"), statuses: []int{0, 400}},
		{name: "GET with a body", fields: request("GET", "/open"), data: "hello", statuses: []int{400}},
		{name: "two lengths", fields: request("POST", "/open", "content-length", "5", "content-length", "6"), data: "hello", statuses: []int{0, 400}},
		{name: "a length with a sign", fields: request("POST", "/open", "content-length", "+5"), data: "hello", statuses: []int{0, 400}},
		{name: "a length that is none, of a GET", fields: request("GET", "/open", "content-length", "five"), data: "hello", statuses: []int{0, 400}},
		{name: "more than the length", fields: request("POST", "/open", "content-length", "1"), data: "hello", statuses: []int{0, 400}, upstream: []string{beganOnly}},
		{name: "less than the length", fields: request("POST", "/open", "content-length", "50"), data: "hello", statuses: []int{0, 400}, upstream: []string{beganOnly}},
		{name: "a head over 32 KiB", fields: request("GET", "/open", "x-a", strings.Repeat("a", 40<<10)), statuses: []int{0, 431}},
		{name: "a head of ten thousand fields", fields: request("GET", "/open", slices.Repeat([]string{"x-a", "b"}, 10_000)...), statuses: []int{0, 431}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			time.Sleep(50 * time.Millisecond) // what the row before has set going arrives
			w.tap.forget()
			if status := row.send(t, w.dial(t, "h2")); !slices.Contains(row.statuses, status) {
				t.Errorf("answered %d, want one of %v (0: reset)", status, row.statuses)
			}
			requests, raw := w.tap.got()
			if row.upstream != nil && row.upstream[0] == beganOnly {
				for _, one := range requests {
					if one.whole {
						t.Errorf("the upstream takes %q for a whole request", one.line+" "+one.body)
					}
				}
			} else if got := lines(requests); !slices.Equal(got, row.upstream) && len(got)+len(row.upstream) > 0 {
				t.Errorf("the upstream reads %q, want %q", got, row.upstream)
			}
			if strings.Contains(strings.ToLower(raw), "admin") || strings.Contains(raw, "stolen") || strings.Contains(raw, "session") {
				t.Errorf("what does not pass is in what the upstream was sent: %q", raw)
			}
			for _, one := range requests {
				if "http://"+one.host != w.tap.url() || one.header.Get("X-Forwarded-Host") != fmt.Sprintf("%s:%d", host, w.public) {
					t.Errorf("asked as %q, forwarded for %q", one.host, one.header.Get("X-Forwarded-Host"))
				}
			}
		})
	}
}

// framed is one request of HTTP/2, field by field.
type framed struct {
	name     string
	fields   []string // name, value, name, value
	data     string
	trailer  []string
	statuses []int // any of these; 0: no answer
	upstream []string
}

// send writes the request as the first stream of a connection, and returns the answer's status; 0 where there is none.
func (f framed) send(t *testing.T, conn *tls.Conn) (status int) {
	t.Helper()
	if conn.ConnectionState().NegotiatedProtocol != "h2" {
		t.Fatal("the listener does not speak HTTP/2")
	}
	if _, err := io.WriteString(conn, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	framer.AllowIllegalWrites = true
	if err := framer.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	go func() { // while the listener refuses already
		defer close(written)
		ends := f.data == "" && f.trailer == nil
		writeHead(framer, f.fields, ends)
		if f.data != "" {
			_ = framer.WriteData(1, f.trailer == nil, []byte(f.data))
		}
		if f.trailer != nil {
			writeHead(framer, f.trailer, true)
		}
	}()
	defer func() { _ = conn.Close(); <-written }()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || strings.Contains(err.Error(), "reset by peer") || strings.Contains(err.Error(), "broken pipe") {
				return status
			}
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			if status, err = strconv.Atoi(frame.PseudoValue("status")); err != nil {
				t.Fatal(err)
			}
			if frame.StreamEnded() {
				return status
			}
		case *http2.DataFrame:
			if frame.StreamEnded() {
				return status
			}
		case *http2.RSTStreamFrame:
			if frame.ErrCode == http2.ErrCodeNo {
				return status
			}
			return 0
		case *http2.GoAwayFrame:
			return 0
		}
	}
}

// writeHead writes a block of fields in frames of the size that every listener takes.
func writeHead(framer *http2.Framer, fields []string, ends bool) {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i+1 < len(fields); i += 2 {
		_ = encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	const most = 16 << 10
	rest := block.Bytes()
	first := rest[:min(most, len(rest))]
	rest = rest[len(first):]
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: first, EndStream: ends, EndHeaders: len(rest) == 0})
	for len(rest) > 0 {
		next := rest[:min(most, len(rest))]
		rest = rest[len(next):]
		_ = framer.WriteContinuation(1, len(rest) == 0, next)
	}
}
