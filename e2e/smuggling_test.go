package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// What two servers could read as different requests (security.md D6, D8), written to the real listener byte by byte. Each row says what
// is answered and what arrives at the upstream: nothing else does, in no order, and no byte of what was hidden.
func TestNothingIsSmuggledPastTheListener(t *testing.T) {
	t.Parallel()
	w := newWire(t, `
routes:
  - {path: /open, upstream: "TAP", token: none, session: none}
  - {path: /keep, upstream: "TAP", token: none, session: none, encoded_path: keep}
  - {path: /live, upstream: "TAP", token: none, session: none, websocket: true}
  - {path: /closed, upstream: "TAP", audience: orders}
  - {path: /, spa: SPA}
`)
	const (
		post   = "POST /open HTTP/1.1\r\nHost: app.cloakroom.test\r\n"
		get    = "GET /open HTTP/1.1\r\nHost: app.cloakroom.test\r\n"
		hidden = "GET /open/hidden HTTP/1.1\r\nHost: app.cloakroom.test\r\n\r\n"
		te     = "Transfer-Encoding: chunked\r\n"
		cl     = "Content-Length: 5\r\n"
		chunk  = "5\r\nhello\r\n0\r\n\r\n"
		closed = "Connection: close\r\n"
	)
	at := func(target string) string {
		return "GET " + target + " HTTP/1.1\r\nHost: app.cloakroom.test\r\n" + closed + "\r\n"
	}
	rows := []smuggled{
		{"two requests, one after the other", get + "\r\n" + get + closed + "\r\n", []int{200, 200}, []string{"GET /open", "GET /open"}},
		{"a body by its length", post + cl + "\r\nhello" + get + closed + "\r\n", []int{200, 200}, []string{"GET /open", "POST /open hello"}},
		{"a body by chunks", post + te + "\r\n" + chunk, []int{200}, []string{"POST /open hello"}},
		{"chunks with an extension", post + te + "\r\n5;name=value\r\nhello\r\n0\r\n\r\n", []int{200}, []string{"POST /open hello"}},
		{"chunks with a trailer", post + te + "Trailer: X-User\r\n\r\n5\r\nhello\r\n0\r\nX-User: admin\r\n\r\n", []int{200}, []string{"POST /open hello"}},
		{"heads with bare line feeds", strings.ReplaceAll(get+closed+"\r\n", "\r\n", "\n"), []int{200}, []string{"GET /open"}},
		{"DELETE with a body", "DELETE /open HTTP/1.1\r\nHost: a\r\n" + closed + cl + "\r\nhello", []int{200}, []string{"DELETE /open hello"}},
		{"two equal lengths", post + cl + cl + closed + "\r\nhello", []int{200}, []string{"POST /open hello"}},
		{"Expect: 100-continue", post + cl + closed + "Expect: 100-continue\r\n\r\nhello", []int{200}, []string{"POST /open hello"}},

		refused("a length, then chunks", post+cl+te+"\r\n"+chunk+hidden),
		refused("chunks, then a length", post+te+cl+"\r\n"+chunk+hidden),
		refused("both, other headers between", post+cl+"X-A: b\r\n"+te+"\r\n"+chunk+hidden),
		refused("both, in other letters", post+"cOnTeNt-LeNgTh: 5\r\ntRaNsFeR-eNcOdInG: chunked\r\n\r\n"+chunk+hidden),
		refused("both, over HTTP/1.0", strings.Replace(post, "1.1", "1.0", 1)+"Connection: keep-alive\r\n"+cl+te+"\r\n"+chunk+hidden),
		refused("both, behind a good request", get+"\r\n"+post+cl+te+"\r\n"+chunk+hidden).behind("GET /open"),
		refused("both, behind a body that reads like it", post+"Content-Length: 30\r\n\r\n"+te+"ab"+post+cl+te+"\r\n"+chunk+hidden).behind("POST /open " + te + "ab"),
		refused("two lengths", post+"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"+hidden),
		refused("two lengths in one", post+"Content-Length: 5, 6\r\n\r\nhello"+hidden),
		refused("a length with a sign", post+"Content-Length: +5\r\n\r\nhello"+hidden),
		refused("a length below zero", post+"Content-Length: -5\r\n\r\nhello"+hidden),
		refused("a length in hexadecimal", post+"Content-Length: 0x5\r\n\r\nhello"+hidden),
		refused("a length with blanks in it", post+"Content-Length: 5 5\r\n\r\nhello"+hidden),
		refused("a length beyond 64 bits", post+"Content-Length: 99999999999999999999\r\n\r\nhello"+hidden),
		refused("an empty length", post+"Content-Length:\r\n\r\nhello"+hidden),
		refused("two codings", post+te+te+"\r\n"+chunk+hidden).with(501),
		refused("a coding besides chunked", post+"Transfer-Encoding: gzip, chunked\r\n\r\n"+chunk+hidden).with(501),
		refused("chunked, then another coding", post+"Transfer-Encoding: chunked, identity\r\n\r\n"+chunk+hidden).with(501),
		refused("no coding by name", post+"Transfer-Encoding: identity\r\n"+cl+"\r\nhello"+hidden),
		refused("a coding that looks like chunked", post+"Transfer-Encoding: xchunked\r\n\r\n"+chunk+hidden).with(501),
		refused("a coding with a vertical tab", post+"Transfer-Encoding: \vchunked\r\n\r\n"+chunk+hidden),
		refused("a coding in quotes", post+"Transfer-Encoding: \"chunked\"\r\n\r\n"+chunk+hidden).with(501),
		refused("an empty coding", post+"Transfer-Encoding:\r\n\r\n"+chunk+hidden).with(501),
		refused("a blank before the colon", post+"Transfer-Encoding : chunked\r\n\r\n"+chunk+hidden),
		refused("a folded coding", post+"Transfer-Encoding:\r\n chunked\r\n\r\n"+chunk+hidden),
		refused("a folded line", get+"X-A: b\r\n c\r\n\r\n"+hidden),
		refused("a folded first line", "GET /open HTTP/1.1\r\n Host: evil\r\nHost: a\r\n\r\n"+hidden),
		refused("a NUL in a value", get+"X-A: a\x00b\r\n\r\n"+hidden),
		refused("a bare carriage return in a value", get+"X-A: a\rX-B: c\r\n\r\n"+hidden),
		refused("a line without a colon", get+"X-A\r\n\r\n"+hidden),
		refused("a header without a name", get+": a\r\n\r\n"+hidden),
		refused("a name with a blank", get+"X A: b\r\n\r\n"+hidden),
		refused("a name beyond ASCII", get+"X-\xc3\xa4: b\r\n\r\n"+hidden),
		refused("GET with a body", get+closed+cl+"\r\nhello"+hidden),
		refused("GET with chunks", get+closed+te+"\r\n"+chunk+hidden),
		refused("HEAD with a body", strings.Replace(get, "GET", "HEAD", 1)+closed+cl+"\r\nhello"+hidden),
		refused("no host", "GET /open HTTP/1.1\r\n\r\n"+hidden),
		refused("two hosts", get+"Host: evil.example\r\n\r\n"+hidden),
		refused("a host with a path", "GET /open HTTP/1.1\r\nHost: a/b\r\n\r\n"+hidden),
		refused("a host with a user", "GET /open HTTP/1.1\r\nHost: a@evil.example\r\n\r\n"+hidden),
		refused("a host with a blank", "GET /open HTTP/1.1\r\nHost: a b\r\n\r\n"+hidden),
		refused("another version", "GET /open HTTP/3.0\r\nHost: a\r\n\r\n"+hidden).with(505),
		refused("no version", "GET /open\r\n\r\n"+hidden),
		refused("a version in small letters", "GET /open http/1.1\r\nHost: a\r\n\r\n"+hidden),
		refused("two blanks in the first line", "GET  /open HTTP/1.1\r\nHost: a\r\n\r\n"+hidden),
		refused("a tab in the first line", "GET\t/open\tHTTP/1.1\r\nHost: a\r\n\r\n"+hidden),
		refused("something behind the version", "GET /open HTTP/1.1 x\r\nHost: a\r\n\r\n"+hidden),
		refused("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+hidden),
		refused("a head over 32 KiB", get+"X-A: "+strings.Repeat("a", 40<<10)+"\r\n\r\n"+hidden).with(431),
		refused("a head of ten thousand lines", get+strings.Repeat("X-A: b\r\n", 10_000)+"\r\n"+hidden).with(431),
		refused("a first line over 32 KiB", at("/open?"+strings.Repeat("a", 40<<10))+hidden).with(431),
		refused("an upgrade to h2c", get+"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"+hidden),
		refused("E-14 a WebSocket where there is none", get+"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"+hidden),
		{"E-14 E-53 a WebSocket that the upstream does not want", strings.Replace(get, "/open", "/live", 1) + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n" + hidden, []int{200}, []string{"GET /live"}},
		refused("a WebSocket with a body", strings.Replace(get, "/open", "/live", 1)+"Connection: Upgrade, close\r\nUpgrade: websocket\r\nContent-Length: 5\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\nhello"),
		refused("an upgrade that is not nominated", get+"Upgrade: websocket\r\n\r\n"+hidden),
		refused("Expect that is not understood", post+cl+"Expect: 200-maybe\r\n\r\nhello"+hidden).with(417),

		// What breaks within a body has begun to be forwarded: the upstream must see that it is cut, and nothing behind it.
		cut("E-10 a bare line feed in an extension", post+te+"\r\n5;x\nhello\r\n0\r\n\r\n"+hidden),
		cut("a bare line feed behind a size", post+te+"\r\n5\nhello\r\n0\r\n\r\n"+hidden),
		cut("a size with a sign", post+te+"\r\n+5\r\nhello\r\n0\r\n\r\n"+hidden),
		cut("a size in 0x", post+te+"\r\n0x5\r\nhello\r\n0\r\n\r\n"+hidden),
		cut("a size with a blank in front", post+te+"\r\n 5\r\nhello\r\n0\r\n\r\n"+hidden),
		cut("a size beyond 64 bits", post+te+"\r\n10000000000000005\r\nhello\r\n0\r\n\r\n"+hidden),
		cut("a chunk longer than its size", post+te+"\r\n4\r\nhello\r\n0\r\n\r\n"+hidden),
		cut("extensions without end", post+te+"\r\n5;"+strings.Repeat("x", 64<<10)+"\r\nhello\r\n0\r\n\r\n"+hidden),
		cut("a trailer that is none", post+te+"\r\n5\r\nhello\r\n0\r\nno trailer\r\n\r\n"+hidden),
	}
	for name, target := range map[string]string{
		"a dot-dot segment": "/open/../closed", "an encoded dot-dot segment": "/open/%2e%2e/closed", "half of it encoded": "/open/.%2E/closed", "dot-dot with a parameter": "/open/..;/closed",
		"an encoded slash": "/open/..%2fclosed", "an encoded backslash": "/open/..%5cclosed", "encoded twice": "/open/%252e%252e/closed", "an encoded slash where it is kept": "/keep/..%2fclosed",
		"a NUL": "/open/%00", "a line end": "/open/%0d%0aX-User:%20admin", "two slashes": "//evil.example/open", "two slashes within": "/open//closed", "a semicolon": "/open;/closed",
		"an overlong dot": "/open/%c0%ae%c0%ae/closed", "a wide slash": "/open/%ef%bc%8f../closed", "a fragment": "/open#/../closed", "a backslash": `/open\..\closed`, "a letter encoded": "/%6fpen",
		"an absolute target": "http://evil.example/open", "our own, absolute": "https://app.cloakroom.test/open", "an authority": "evil.example:80", "an asterisk": "*", "a semicolon in the query": "/open?a;b",
		"a raw byte": "/open/\xff", "a path over 8 KiB": "/open/" + strings.Repeat("a", 9<<10), "E-06 ten thousand and one parameters": "/open?" + strings.Repeat("&", 10_000), "nothing": "", "no slash": "open",
	} {
		rows = append(rows, refused("D6 "+name, at(target)))
	}
	for name, line := range map[string]string{
		"E-02 CONNECT": "CONNECT evil.example:443", "CONNECT with a path": "CONNECT /open", "TRACE": "TRACE /open", "get": "get /open", "a method of its own": "FOO /open", "OPTIONS": "OPTIONS /open", "OPTIONS *": "OPTIONS *",
	} {
		row := refused("D8 "+name, line+" HTTP/1.1\r\nHost: app.cloakroom.test\r\n"+closed+"\r\n"+hidden)
		if !strings.Contains(line, "*") && !strings.Contains(line, ":443") {
			row = row.with(405)
		}
		rows = append(rows, row)
	}
	for _, target := range []string{
		"/open", "/open/", "/open/a%20b/%C3%BC", "/open?a=%2f%2e%2e&b=%zz&c", "/open?", "/open/...", "/open/a..b", "/open/!$&'()*+,=:@", "/open/[id]", "/keep/a%2Fb%5cc", "/keep/100%25",
	} {
		rows = append(rows, smuggled{"D6 forwarded as it came: " + target, at(target), []int{200}, []string{"GET " + target}})
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			time.Sleep(50 * time.Millisecond) // what the row before has set going arrives
			w.tap.forget()
			statuses := w.say(t, row.text)
			if !slices.Equal(statuses, row.statuses) {
				t.Errorf("answered %v, want %v", statuses, row.statuses)
			}
			requests, raw := w.tap.got()
			got := lines(requests)
			if row.upstream != nil && row.upstream[0] == beganOnly {
				for _, one := range requests {
					if one.whole {
						t.Errorf("the upstream takes %q for a whole request", one.line+" "+one.body)
					}
				}
			} else if !slices.Equal(got, row.upstream) && len(got)+len(row.upstream) > 0 {
				t.Errorf("the upstream reads %q, want %q", got, row.upstream)
			}
			if strings.Contains(raw, "hidden") || strings.Contains(strings.ToLower(raw), "x-user") {
				t.Errorf("what was hidden is in what the upstream was sent: %q", raw)
			}
			for _, one := range requests {
				if "http://"+one.host != w.tap.url() || one.header.Get("X-Forwarded-Host") != fmt.Sprintf("%s:%d", host, w.public) {
					t.Errorf("asked as %q, forwarded for %q", one.host, one.header.Get("X-Forwarded-Host"))
				}
			}
		})
	}
}

// smuggled is what is written to a connection, what is answered to it, and what may arrive at the upstream.
type smuggled struct {
	name, text string
	statuses   []int
	upstream   []string
}

// beganOnly says that a request may have begun to arrive, and did not come to its end.
const beganOnly = "(cut)"

func refused(name, text string) smuggled { return smuggled{name, text, []int{400}, nil} }
func cut(name, text string) smuggled     { return smuggled{name, text, []int{400}, []string{beganOnly}} }

func (s smuggled) with(status int) smuggled {
	s.statuses = append(s.statuses[:len(s.statuses)-1:len(s.statuses)-1], status)
	return s
}

// behind says that a good request came first.
func (s smuggled) behind(arrives string) smuggled {
	s.statuses, s.upstream = append([]int{200}, s.statuses...), []string{arrives}
	return s
}
