package bff

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"
)

func TestUploadEndsAtItsLimit(t *testing.T) {
	tests := []struct {
		name  string
		size  int
		limit int64
		whole bool
	}{
		{"empty", 0, 10, true},
		{"below", 9, 10, true},
		{"at", 10, 10, true},
		{"above", 11, 10, false},
		{"far above", 1000, 10, false},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "with the end": iotest.DataErrReader,
	}
	for _, tt := range tests {
		for how, reader := range readers {
			t.Run(tt.name+", "+how, func(t *testing.T) {
				content := bytes.Repeat([]byte("a"), tt.size)
				b := newUpload(io.NopCloser(reader(bytes.NewReader(content))), tt.limit, time.Hour, func(error) { t.Error("stalled") })
				defer b.done()
				got, err := io.ReadAll(b)
				if tt.whole && (err != nil || !bytes.Equal(got, content) || b.tooLarge.Load()) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
				if !tt.whole && (!errors.Is(err, errBodyTooLarge) || int64(len(got)) > tt.limit || !b.tooLarge.Load()) {
					t.Errorf("got %d bytes, %v", len(got), err)
				}
			})
		}
	}
}

func TestUploadBlamesTheUpstreamOnly(t *testing.T) {
	const timeout = time.Second
	tests := []struct {
		name    string
		run     func(b *upload)
		stalled bool
	}{
		{"never read", func(*upload) { time.Sleep(2 * timeout) }, true},
		{"read once, then no more", func(b *upload) { b.Read(make([]byte, 1)); time.Sleep(2 * timeout) }, true},
		{"read to its end, no answer", func(b *upload) { io.ReadAll(b); time.Sleep(2 * timeout) }, true},
		{"read slowly", func(b *upload) {
			for range 5 {
				time.Sleep(timeout * 3 / 4)
				b.Read(make([]byte, 1))
			}
		}, false},
		{"answered", func(b *upload) { b.Read(make([]byte, 1)); b.done(); time.Sleep(2 * timeout) }, false},
		{"answered, and read on", func(b *upload) { b.done(); b.Read(make([]byte, 1)); time.Sleep(2 * timeout) }, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var cause error
				b := newUpload(io.NopCloser(strings.NewReader(strings.Repeat("a", 100))), 1000, timeout, func(err error) { cause = err })
				tt.run(b)
				synctest.Wait()
				if errors.Is(cause, errUpstreamStall) != tt.stalled {
					t.Errorf("got %v", cause)
				}
				b.done()
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		slow := iotest.OneByteReader(slowly{strings.NewReader("abc"), 10 * timeout})
		b := newUpload(io.NopCloser(slow), 1000, timeout, func(err error) { t.Error("a slow client:", err) })
		if got, err := io.ReadAll(b); string(got) != "abc" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		b.done()
	})
}

type slowly struct {
	io.Reader
	each time.Duration
}

func (s slowly) Read(p []byte) (int, error) {
	time.Sleep(s.each)
	return s.Reader.Read(p)
}

// What a client sends as a body and is none is the client's fault, not the upstream's.
// Where the next request begins nobody knows: the connection ends, whether or not the server has noticed by itself.
func TestABrokenBodyEndsItsConnection(t *testing.T) {
	e := newEdge(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), Route{})
	r := httptest.NewRequest(http.MethodPost, "/", iotest.ErrReader(errors.New("malformed chunked encoding")))
	r.Host = "a"
	answer := httptest.NewRecorder()
	e.Config.Handler.ServeHTTP(answer, r)
	if answer.Code != http.StatusBadRequest || answer.Header().Get("Connection") != "close" {
		t.Errorf("%d %v", answer.Code, answer.Header())
	}
}

func TestABrokenBodyIsTheClientsFault(t *testing.T) {
	const chunked, sized = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"
	for name, raw := range map[string]string{
		"a chunk's length that is no number":  chunked + "xyz\r\n",
		"a chunk that is longer than it says": chunked + "1\r\nabc\r\n0\r\n\r\n",
		"a bare line feed in an extension":    chunked + "1;x\na\r\n0\r\n\r\n",
		"a broken chunk behind a good one":    chunked + "5\r\nabcde\r\nxyz\r\n",
		"too slow a body":                     sized + "abc",
	} {
		t.Run(name, func(t *testing.T) {
			e := newEdge(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), Route{})
			inner := e.Config.Handler
			e.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // as the daemon does
				_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(200 * time.Millisecond))
				inner.ServeHTTP(w, r)
			})
			if res, body := e.raw(t, raw); res.StatusCode != 400 || body != "bad-request" {
				t.Errorf("got %d %q, %v", res.StatusCode, body, e.cause())
			}
		})
	}
}
