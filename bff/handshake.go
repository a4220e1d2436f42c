package bff

import (
	"context"
	"crypto/sha1" //nolint:gosec // the handshake's own; nothing is kept secret by it
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"cloakroom/secret"
)

// isUpgrade tells whether a request asks for another protocol on its connection.
func isUpgrade(r *http.Request) bool { return len(r.Header["Upgrade"]) > 0 }

var (
	errHandshake    = errors.New("not the opening handshake of a WebSocket")
	errOtherVersion = errors.New("another version of the WebSocket protocol than 13")
)

// checkHandshake wants the opening handshake of RFC 6455 section 4.2.1, to the letter: whatever else is asked for, no tunnel
// comes of it.
func checkHandshake(r *http.Request) error {
	h := r.Header
	key, err := base64.StdEncoding.DecodeString(h.Get("Sec-Websocket-Key"))
	switch {
	case r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 || len(r.TransferEncoding) != 0,
		len(h["Upgrade"]) != 1 || !strings.EqualFold(h["Upgrade"][0], "websocket") || !hasToken(h["Connection"], "upgrade"),
		len(h["Sec-Websocket-Key"]) != 1 || err != nil || len(key) != 16:
		return errHandshake
	case !only(h, "Sec-Websocket-Version", "13"):
		return errOtherVersion
	}
	return nil
}

func hasToken(lines []string, token string) bool {
	return slices.ContainsFunc(split(lines), func(one string) bool { return strings.EqualFold(strings.TrimSpace(one), token) })
}

// refusal is an upstream's answer to a handshake that is no 101.
type refusal struct{ res *http.Response }

func (*refusal) Error() string { return "upstream did not switch protocols" }

// upgrade asks the upstream for a WebSocket. The response is a 101 that answers this very handshake, and the connection is the
// caller's to close. Any other answer of the upstream is a *refusal, whose body is the caller's to close.
func (u *upstream) upgrade(ctx context.Context, r *http.Request, path string, bearer secret.Text, fwd *forwarded) (*http.Response, io.ReadWriteCloser, error) {
	authorization := ""
	if bearer != "" {
		authorization = "Bearer " + bearer.Reveal()
	}
	address := u.address(r, path)
	out := (&http.Request{
		Method: http.MethodGet, URL: &address, Header: u.requestHeaders(r.Header, authorization, fwd), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
	}).WithContext(ctx)
	out.Header["Connection"], out.Header["Upgrade"] = []string{"Upgrade"}, []string{"websocket"}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // or the transport would send its own
	}
	res, err := u.upgrades.RoundTrip(out)
	if err != nil {
		return nil, nil, err
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		return nil, nil, &refusal{res}
	}
	conn, ok := res.Body.(io.ReadWriteCloser)
	if !ok || !only(res.Header, "Sec-Websocket-Accept", acceptance(r.Header.Get("Sec-Websocket-Key"))) ||
		!hasToken(res.Header["Upgrade"], "websocket") || !hasToken(res.Header["Connection"], "upgrade") {
		_ = res.Body.Close()
		return nil, nil, errors.New("upstream switched to something else than this WebSocket")
	}
	return res, conn, nil
}

// acceptance proves that an answer is one to the handshake with that key (RFC 6455 section 4.2.2).
func acceptance(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // see the import
	return base64.StdEncoding.EncodeToString(sum[:])
}

// hopByHop are the headers of a response that concern one connection alone (RFC 9110 section 7.6.1).
var hopByHop = []string{"Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade", "Te", "Trailer", "Proxy-Authenticate"}

const maxRefusal = 64 << 10 // of an answer that no browser shows to anyone

// passRefusal passes on what the upstream answered instead of a 101.
func (u *upstream) passRefusal(w http.ResponseWriter, res *http.Response, private bool) {
	for _, name := range split(res.Header["Connection"]) {
		delete(res.Header, http.CanonicalHeaderKey(strings.TrimSpace(name)))
	}
	for _, name := range hopByHop {
		delete(res.Header, name)
	}
	if res.ContentLength > maxRefusal || res.ContentLength < 0 {
		delete(res.Header, "Content-Length")
	}
	u.takeResponseHeaders(w.Header(), res.Header, private)
	w.Header().Set("Connection", "close") // RFC 9931: what follows on it may not be HTTP
	w.WriteHeader(res.StatusCode)
	_, _ = io.CopyN(w, res.Body, maxRefusal)
}

// failUpgrade answers for a handshake that got no answer.
func (u *upstream) failUpgrade(w http.ResponseWriter, r *http.Request, err error) {
	w.Header().Set("Connection", "close")
	network, isNetwork := errors.AsType[net.Error](err)
	switch {
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the browser is gone
	case isNetwork && network.Timeout():
		u.fail(w, r, problemUpstreamTimeout, err)
	default:
		u.fail(w, r, problemUpstreamUnavailable, err)
	}
}

// accept takes the browser's connection over and completes the handshake with what the upstream answered to it.
func accept(w http.ResponseWriter, r *http.Request, res *http.Response, cookies cookieNames) (io.ReadWriteCloser, error) {
	head := http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
	for _, name := range []string{"Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions"} {
		if values := res.Header[name]; values != nil {
			head[name] = values
		}
	}
	if values := append(slices.Clip(w.Header()["Set-Cookie"]), cookies.notSet(res.Header["Set-Cookie"])...); len(values) > 0 {
		head["Set-Cookie"] = values
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	var answer strings.Builder
	answer.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = head.Write(&answer)
	answer.WriteString("\r\n")
	if _, err := io.WriteString(conn, answer.String()); err != nil {
		_ = conn.Close()
		return nil, err
	}
	if early := buffered.Reader.Buffered(); early > 0 { // frames that came on the heels of the handshake
		first, _ := buffered.Reader.Peek(early)
		return &resumed{conn, io.MultiReader(strings.NewReader(string(first)), conn)}, nil
	}
	return conn, nil
}

// resumed is a connection of which something was read already.
type resumed struct {
	net.Conn
	from io.Reader
}

func (c *resumed) Read(p []byte) (int, error) { return c.from.Read(p) }
