package bff

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// talker is an upstream that says a line every now and then, for as long as it is listened to.
type talker struct {
	*httptest.Server
	every time.Duration // 0: it falls silent after the first
	open  atomic.Int32
}

const lineLength = 8 << 10 // more than is kept back of an answer of known length

func newTalker(t *testing.T, kind string, every time.Duration, length int) *talker {
	t.Helper()
	up := &talker{every: every}
	up.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		up.open.Add(1)
		defer up.open.Add(-1)
		w.Header().Set("Content-Type", kind)
		if length > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(length))
		}
		var next <-chan time.Time
		if every > 0 {
			ticker := time.NewTicker(every)
			defer ticker.Stop()
			next = ticker.C
		}
		for said := 0; length == 0 || said < length; said += lineLength {
			_, _ = fmt.Fprintf(w, "%*d\n", lineLength-1, said)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-next:
			case <-r.Context().Done():
				return
			}
		}
	}))
	t.Cleanup(up.Close)
	return up
}

// opened is a house with a talker at /stream.
func (up *talker) opened(t *testing.T) (*house, string) {
	t.Helper()
	h := open(t, idptest.Config{Persona: idptest.Generic}, func(_ *house, cfg *Config) {
		cfg.Frontend.Routes = append(cfg.Frontend.Routes,
			Route{Path: "/stream", Upstream: mustURL(t, up.URL), Session: Optional, Token: TokenPlan{Kind: TokenMinted, Audience: "orders"}})
	})
	return h, h.listen()
}

// listens opens what an upstream goes on to say.
func (b *browser) listens(t *testing.T, client *http.Client, target string) *eventStream {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", target, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-CSRF", "1")
	if b.cookies["__Host-Http-session"] != "" {
		r.Header.Set("Cookie", b.cookie())
	}
	res, err := client.Do(r)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatal(res, err)
	}
	s := &eventStream{res: res, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for lines.Scan() {
			s.mu.Lock()
			s.lines = append(s.lines, lines.Text())
			s.mu.Unlock()
		}
		s.broken = lines.Err() != nil
	}()
	s.hears(t, "0\n")
	return s
}

func TestC6_WhatAnUpstreamGoesOnToSayEndsWithTheSession(t *testing.T) {
	ends := map[string]func(*browser){
		"log-out": func(b *browser) { b.fetch("POST", "/bff/logout") },
		"back-channel": func(b *browser) {
			sub, _ := b.known()
			b.sayToken(b.logoutToken(sub, "", nil))
		},
		"idle end": func(b *browser) { b.later(31 * time.Minute) },
		"absolute end": func(b *browser) {
			for range 25 {
				b.later(29 * time.Minute)
				b.fetch("GET", "/bff/user")
			}
		},
	}
	for what, kind := range map[string]string{"events": "text/event-stream; charset=utf-8", "lines": "application/x-ndjson"} {
		for pace, every := range map[string]time.Duration{"that go on": 20 * time.Millisecond, "that fell silent": 0} {
			for name, end := range ends {
				t.Run(fmt.Sprintf("%s %s, %s", what, pace, name), func(t *testing.T) {
					t.Parallel()
					up := newTalker(t, kind, every, 0)
					h, address := up.opened(t)
					b, other := h.browser(), h.browser()
					b.signIn("alice")
					other.signIn("sam")
					s := b.listens(t, http.DefaultClient, "http://"+address+"/stream")
					nobodys := h.browser().listens(t, http.DefaultClient, "http://"+address+"/stream")
					time.Sleep(2 * followAfter)
					select {
					case <-s.done:
						t.Fatal("it ends before the session")
					default:
					}
					end(b)
					select {
					case <-s.done:
					case <-time.After(time.Second):
						t.Fatal("it goes on a second after the session's end")
					}
					if !s.broken {
						t.Error("what was broken off passes for complete")
					}
					within(t, time.Second, "the upstream is told", func() bool { return up.open.Load() == 1 })
					select {
					case <-nobodys.done:
						t.Error("that of somebody without a session ends too")
					default:
					}
				})
			}
		}
	}
}

func TestC6_WhatBeganJustBeforeTheEndEndsAsWell(t *testing.T) {
	up := newTalker(t, "text/event-stream", 20*time.Millisecond, 0)
	h, address := up.opened(t)
	b := h.browser()
	b.signIn("alice")
	s := b.listens(t, http.DefaultClient, "http://"+address+"/stream")
	b.fetch("POST", "/bff/logout")
	select {
	case <-s.done:
	case <-time.After(time.Second):
		t.Fatal("it goes on a second after the session's end")
	}
}

func TestC6_OverHTTP2(t *testing.T) {
	up := newTalker(t, "text/event-stream", 20*time.Millisecond, 0)
	h, _ := up.opened(t)
	server := httptest.NewUnstartedServer(h.server.Handler())
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close) // once the stream is given up
	b := h.browser()
	b.signIn("alice")
	s := b.listens(t, server.Client(), server.URL+"/stream")
	if s.res.ProtoMajor != 2 {
		t.Fatal(s.res.Proto)
	}
	b.fetch("POST", "/bff/logout")
	s.ends(t)
	if !s.broken {
		t.Error("what was broken off passes for complete")
	}
}

func TestADownloadThatBeganIsCompleted(t *testing.T) {
	up := newTalker(t, "text/csv", 50*time.Millisecond, 30*lineLength)
	h, address := up.opened(t)
	b := h.browser()
	b.signIn("alice")
	s := b.listens(t, http.DefaultClient, "http://"+address+"/stream")
	b.fetch("POST", "/bff/logout")
	s.ends(t)
	if s.broken || len(s.lines) != 30 {
		t.Errorf("%d lines of 30", len(s.lines))
	}
}

// A stream is no fault of the upstream's, nor of the browser's, when its session ends: there is nothing to warn of.
func TestC6_IsNoFault(t *testing.T) {
	up := newTalker(t, "text/event-stream", 0, 0)
	h, address := up.opened(t)
	b := h.browser()
	b.signIn("alice")
	s := b.listens(t, http.DefaultClient, "http://"+address+"/stream")
	b.fetch("POST", "/bff/logout")
	s.ends(t)
	within(t, time.Second, "the upstream is told", func() bool { return up.open.Load() == 0 })
	if logs := h.logs.String(); strings.Contains(logs, `"level":"WARN"`) {
		t.Error(logs)
	}
}
