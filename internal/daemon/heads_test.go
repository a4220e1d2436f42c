package daemon

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strings"
	"testing"
)

// through passes a stream through heads in pieces of n bytes.
func through(stream string, n int) string {
	var h heads
	p := []byte(stream)
	for i := 0; i < len(p); i += n {
		h.read(p[i:min(len(p), i+n)])
	}
	return string(p)
}

// served parses a stream as a connection of net/http's server does, up to where paced closes it, and returns the raw head of
// each request that would be handed to a handler.
func served(stream, original string) (heads []string, complete bool) {
	counted := &countingReader{Reader: strings.NewReader(stream)}
	buffered := bufio.NewReader(counted)
	position := func() int { return counted.n - buffered.Buffered() }
	last := ""
	for {
		if last == http.MethodPost {
			peek, _ := buffered.Peek(4)
			for _, b := range peek {
				if b != '\r' && b != '\n' {
					break
				}
				_, _ = buffered.Discard(1)
			}
		}
		from := position()
		r, err := http.ReadRequest(buffered)
		if err != nil {
			return heads, errors.Is(err, io.EOF)
		}
		heads = append(heads, original[from:position()])
		if r.Close || r.ProtoMajor != 1 || r.ProtoMinor == 0 || len(r.TransferEncoding) > 0 {
			return heads, true
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return heads, false
		}
		last = r.Method
	}
}

type countingReader struct {
	io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

// ambiguous tells whether a raw head has what two servers may understand differently.
func ambiguous(head string) bool {
	_, fields, _ := strings.Cut(head, "\n")
	for line := range strings.Lines(fields) {
		if line[0] == ' ' || line[0] == '\t' {
			return true
		}
	}
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(fields))).ReadMIMEHeader()
	return err == nil && h["Content-Length"] != nil && h["Transfer-Encoding"] != nil
}

func TestHeadsThatCanBeReadTwoWaysAreSpoilt(t *testing.T) {
	const before, after = "POST / HTTP/1.1\r\nHost: a\r\n", "\r\n0\r\n\r\n"
	long := strings.Repeat("a\n b\n", 60)
	for name, stream := range map[string]string{
		"length, then chunks":           before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
		"chunks, then length":           before + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + after,
		"others between":                before + "Content-Length: 5\r\nA: b\r\nTransfer-Encoding: chunked\r\n" + after,
		"in other letters":              before + "cONTENT-lENGTH:5\r\ntransfer-encoding:chunked\r\n" + after,
		"bare line feeds":               "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\r\n\r\n",
		"a length of 0":                 before + "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n" + after,
		"HTTP/1.0":                      "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n" + after,
		"a folded line":                 before + "A: b\r\n c\r\n" + after,
		"a length in a folded line":     before + "Content-Length:\r\n 5\r\n\r\n01234",
		"a name in a folded line":       before + "A: b\r\n\tTransfer-Encoding: chunked\r\nContent-Length: 5\r\n" + after,
		"the second request":            before + "\r\n" + before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
		"behind a body":                 before + "Content-Length: 3\r\n\r\nabc" + before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
		"behind a longer body":          before + "Content-Length: 300\r\n\r\n" + long + before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
		"behind a body, said twice":     before + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc" + before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
		"behind empty lines of a POST":  before + "Content-Length: 3\r\n\r\nabc\r\n\r\n" + before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
		"behind a body that reads like": before + "Content-Length: 4\r\n\r\n\r\n\r\n" + before + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + after,
	} {
		t.Run(name, func(t *testing.T) {
			whole, _ := served(stream, stream)
			if len(whole) == 0 || !ambiguous(whole[len(whole)-1]) {
				t.Fatalf("net/http serves %q without us", whole)
			}
			for _, n := range []int{1, 2, 3, 7, len(stream)} {
				got, _ := served(through(stream, n), stream)
				if len(got) != len(whole)-1 {
					t.Errorf("in pieces of %d: served %q", n, got)
				}
			}
		})
	}
}

func TestEverythingElsePassesAsItIs(t *testing.T) {
	const both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n fold\r\n\r\n"
	const before = "POST / HTTP/1.1\r\nHost: a\r\n"
	long := strings.Repeat("x", 5000)
	for name, stream := range map[string]string{
		"no body":                   "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a length":                  before + "Content-Length: 5\r\n\r\n01234" + before + "Content-Length: 5\r\n\r\n01234",
		"a length in the body":      before + "Content-Length: 56\r\n\r\n" + both[:56],
		"chunks":                    before + "Transfer-Encoding: chunked\r\n\r\n3a\r\n" + both + "\r\n0\r\n\r\n",
		"a name that is longer":     before + "Content-Length: 0\r\nTransfer-Encodings: chunked\r\nX-Transfer-Encoding: chunked\r\n\r\n",
		"a name that is shorter":    before + "Content-Lengt: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a value that reads like":   before + "Content-Length: 0\r\nA: Transfer-Encoding: chunked\r\n\r\n",
		"a target that reads like":  "POST /Transfer-Encoding:chunked HTTP/1.1\r\nContent-Length: 0\r\nHost: a\r\n\r\n",
		"each of two has one":       before + "Content-Length: 0\r\n\r\n" + before + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"long names and values":     before + long + ": " + long + "\r\nContent-Length: 3\r\n\r\nabc" + before + "\r\n",
		"a body with folded lines":  before + "Content-Length: 300\r\n\r\n" + strings.Repeat("a\n b\n", 60) + before + "\r\n",
		"a body of many a piece":    before + "Content-Length: 5000\r\n\r\n" + long + before + "\r\n",
		"an empty line between two": before + "Content-Length: 1\r\n\r\na\r\n" + before + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{1, 2, 3, 7, len(stream)} {
				if got := through(stream, n); got != stream {
					t.Errorf("in pieces of %d: changed at %d", n, firstDifference(got, stream))
				}
			}
			if got, complete := served(stream, stream); len(got) == 0 || !complete {
				t.Errorf("net/http serves %q", got)
			}
		})
	}
}

func firstDifference(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// Whatever comes, in whatever pieces: no head that can be read two ways is served, and of what net/http serves without us nothing
// is lost up to the first such head.
func FuzzHeads(f *testing.F) {
	f.Add("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", 5)
	f.Add("GET / HTTP/1.1\nA: b\n c\n\n\r\nGET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
	f.Add("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n\n\nPOST / HTTP/1.1\r\n\rA: b\r\n\r\n", 2)
	f.Add("POST / HTTP/1.1\r\nContent-Length: \t+1 \r\n\r\n\n\nPOST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", 64)
	f.Fuzz(func(t *testing.T, stream string, n int) {
		if n < 1 {
			n = len(stream) + 1
		}
		spoilt := through(stream, n)
		got, _ := served(spoilt, stream)
		for _, head := range got {
			if ambiguous(head) {
				t.Errorf("served: %q", head)
			}
		}
		whole, _ := served(stream, stream)
		for i, head := range whole {
			if ambiguous(head) {
				break
			}
			if i >= len(got) || got[i] != head {
				t.Fatalf("not served: %q", head)
			}
		}
	})
}

func BenchmarkHeads(b *testing.B) {
	head := []byte("GET /api/orders/42 HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36\r\n" +
		"Accept: application/json\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-US,en;q=0.9\r\nX-CSRF: 1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n" +
		"Cookie: __Host-Http-session=" + string(bytes.Repeat([]byte("x"), 120)) + "\r\n\r\n")
	var h heads
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		h.read(head)
	}
}
