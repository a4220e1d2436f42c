package bff

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestD10_AMessageOverTheLimitOfBodiesClosesTheSocket(t *testing.T) {
	h, e, address := withSockets(t)
	b := h.browser()
	b.signIn("alice")
	c := b.mustDial(t, address, "/live/small")
	echoes(t, c, strings.Repeat("x", smallMessages))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(strings.Repeat("x", smallMessages+1))); err != nil {
		t.Fatal(err)
	}
	closesWith(t, c, websocket.StatusMessageTooBig)
	within(t, 5*time.Second, "the upstream is told", func() bool { return e.open.Load() == 0 })
	if e.closed[0] != websocket.StatusMessageTooBig {
		t.Errorf("the upstream was told %d", e.closed[0])
	}
}

func TestD10_ASocketLivesWhileBothSidesAnswer(t *testing.T) {
	h, e, address := withSockets(t)
	h.server.pingAfter = 250 * time.Millisecond
	b := h.browser()
	b.signIn("alice")
	var asked atomic.Int32
	c, _, err := websocket.Dial(t.Context(), "ws://"+address+"/live", &websocket.DialOptions{
		HTTPHeader:     http.Header{"Origin": {publicURL}, "Cookie": {b.cookie()}},
		OnPingReceived: func(context.Context, []byte) bool { asked.Add(1); return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.CloseNow() }()
	said := make(chan error, 1)
	go func() {
		_, _, err := c.Read(t.Context()) // answers pings meanwhile
		said <- err
	}()
	within(t, 10*time.Second, "many pings", func() bool { return asked.Load() > unanswered+1 })
	if err := c.Write(t.Context(), websocket.MessageText, []byte("still here")); err != nil {
		t.Fatal(err)
	}
	if err := <-said; err != nil || e.open.Load() != 1 {
		t.Errorf("not open any more: %v", err)
	}
}

func TestD10_ASideThatIsGoneWithoutAWordIsFoundOut(t *testing.T) {
	t.Run("the browser", func(t *testing.T) {
		h, e, address := withSockets(t)
		h.server.pingAfter = 50 * time.Millisecond
		b := h.browser()
		b.signIn("alice")
		conn := handshake(t, address, "/live", b.cookie(), "")
		defer conn.Close()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		reader := bufio.NewReader(conn)
		if res, err := http.ReadResponse(reader, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(res, err)
		}
		heard, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		said := strings.ReplaceAll(string(heard), "\x8a\x00", "") // the upstream answers pings, as a browser does
		if want := strings.Repeat("\x89\x00", unanswered) + "\x88"; !strings.HasPrefix(said, want) {
			t.Errorf("it was told %q", heard)
		}
		within(t, 5*time.Second, "the upstream is told", func() bool { return e.open.Load() == 0 })
		if e.closed[0] != websocket.StatusGoingAway {
			t.Errorf("the upstream was told %d", e.closed[0])
		}
	})
	t.Run("the upstream", func(t *testing.T) {
		h, e, address := withSockets(t)
		h.server.pingAfter = 50 * time.Millisecond
		e.set(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.Header().Set("Sec-WebSocket-Accept", acceptance(r.Header.Get("Sec-WebSocket-Key")))
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.Copy(io.Discard, conn) // hears all, and says nothing
				_ = conn.Close()
			}
		})
		b := h.browser()
		b.signIn("alice")
		closesWith(t, b.mustDial(t, address, "/live"), websocket.StatusGoingAway)
	})
}
