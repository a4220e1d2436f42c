package bff

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// listen serves the house over real connections, with the manager in step, as the daemon would.
func (h *house) listen() string {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { h.sessions.Run(ctx); close(done) }()
	server := httptest.NewUnstartedServer(h.server.Handler())
	server.Config.RegisterOnShutdown(h.server.EndStreams)
	server.Start()
	h.t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		cancel()
		<-done
	})
	return strings.TrimPrefix(server.URL, "http://")
}

// cookie is the browser's session cookie as a header.
func (b *browser) cookie() string {
	return "__Host-Http-session=" + b.cookies["__Host-Http-session"]
}

// within waits for something to become true.
func within(t *testing.T, limit time.Duration, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", limit, what)
		}
	}
}
