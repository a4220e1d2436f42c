package e2e

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

func TestTheExchangeUnderBadLuckAndBadCallers(t *testing.T) {
	t.Parallel()
	s := newExchangeStack(t, "memory:", nil, exchangePolicy+"limits: {token_per_second: 40}\n", nil)
	s.alice = s.signIn(t, "alice")
	form := func(raw string) url.Values { return s.form(url.Values{"subject_token": {raw}, "audience": nil}) }
	keys := func(answer http.HandlerFunc) {
		m := idptest.Misbehave{KeySet: s.publishForged}
		if answer != nil {
			m.Answer = idptest.At(answer, idptest.JWKS)
		}
		s.pool.Set(m)
	}

	var slow sync.WaitGroup
	for name, begin := range map[string]string{
		"a connection that says nothing":            "",
		"a request line without an end":             "POST /oauth2/token HT",
		"headers without an end":                    "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: " + formKind + "\r\n",
		"a body of which only the first byte comes": "POST /oauth2/token HTTP/1.1\r\nHost: x\r\nContent-Type: " + formKind + "\r\nContent-Length: 1000\r\n\r\ng",
	} {
		slow.Go(func() {
			if took := s.holdsOpen(t, begin); took > 35*time.Second {
				t.Errorf("C-153 %s is held for more than %s, by a caller who need not be a client", name, took.Round(time.Second))
			}
		})
	}

	t.Run("C-150 a client over its rate is told when to come back; another is not held up", func(t *testing.T) {
		var limited int
		var asking sync.WaitGroup
		var mu sync.Mutex
		for range 8 {
			asking.Go(func() {
				for range 60 {
					a := s.exchange(t, "narrow", form("")) // soon refused, so that a busy machine asks often enough too
					mu.Lock()
					if a.status == http.StatusTooManyRequests {
						limited++
						s.refused(t, a, http.StatusTooManyRequests, "temporarily_unavailable")
					} else {
						s.refused(t, a, http.StatusBadRequest, "invalid_request")
					}
					mu.Unlock()
				}
			})
		}
		asking.Wait()
		if limited == 0 {
			t.Error("480 requests, and none too many")
		}
		s.granted(t, s.exchange(t, "gateway", s.form(nil)))
		s.granted(t, s.exchange(t, "capped", form(s.alice.access)))
	})
	keys(idptest.Status(http.StatusInternalServerError, "down"))
	t.Run("C-151 known keys serve while the key set is down, and for a new one nothing can be said", func(t *testing.T) {
		s.granted(t, s.exchange(t, "capped", form(s.alice.access)))
		raw := s.pool.Sign(idptest.AccessToken, map[string]any{"kid": "new"}, part(s.alice.access, 1))
		s.refused(t, s.exchange(t, "capped", form(raw)), 503, "temporarily_unavailable")
	})
	cold := s.replica(t)
	ask := func(raw string) answer {
		request := s.tokenRequest(t, form(raw))
		request.URL.Host = fmt.Sprintf("127.0.0.1:%d", cold.intern)
		request.SetBasicAuth("capped", secretsOf["capped"])
		return s.do(t, request)
	}
	t.Run("C-151 a cold start without the key set cannot tell, and recovers", func(t *testing.T) {
		s.refused(t, ask(s.alice.access), 503, "temporarily_unavailable")
		keys(nil)
		eventually(t, 15*time.Second, "the exchange grants again", func() bool { return ask(s.alice.access).status == http.StatusOK })
	})
	t.Run("C-152 a flood of unknown key ids makes one fetch in ten seconds", func(t *testing.T) {
		before, began := s.pool.Count(idptest.JWKS), time.Now()
		for n := range 30 {
			raw := s.pool.Sign(idptest.AccessToken, map[string]any{"kid": fmt.Sprint("random", n)}, part(s.alice.access, 1))
			s.refused(t, ask(raw), 400, "invalid_request")
		}
		if fetched := s.pool.Count(idptest.JWKS) - before; fetched > 1+int(time.Since(began)/(10*time.Second)) {
			t.Errorf("%d fetches in %s", fetched, time.Since(began))
		}
	})
	slow.Wait()
}

// holdsOpen says something to the internal listener and then nothing more, and returns how long that is borne: more than 35 s
// where it saw no end.
func (s *exchangeStack) holdsOpen(t *testing.T, begin string) time.Duration {
	conf := s.http.Transport.(documented).TLSClientConfig.Clone()
	raw, err := new(net.Dialer).DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", s.intern))
	if err != nil {
		t.Error(err)
		return 0
	}
	defer raw.Close()
	var conn net.Conn = raw
	if begin != "" {
		secured := tls.Client(raw, conf)
		if err := secured.HandshakeContext(t.Context()); err != nil {
			t.Error(err)
			return 0
		}
		if _, err := io.WriteString(secured, begin); err != nil {
			t.Error(err)
		}
		conn = secured
	}
	began := time.Now()
	_ = conn.SetReadDeadline(began.Add(36 * time.Second))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		return time.Since(began)
	}
	return min(time.Since(began), 35*time.Second)
}

// names.md: one JSON object a line, whatever a library would rather write.
func TestTheLogStaysJSONWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	redis := startRedis(t)
	s := newExchangeStack(t, redis.url(), nil, exchangePolicy, nil)
	s.alice = s.signIn(t, "alice")
	redis.kill()
	for range 3 {
		a := s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.alice.session}, "subject_token_type": {typeSession}}))
		s.refused(t, a, 503, "temporarily_unavailable")
		a = s.onward(t, "orders", s.alice.minted, nil)
		s.refused(t, a, 503, "temporarily_unavailable")
		a = s.post(t, http.MethodPost, "/oauth2/introspect", formKind, "orders", url.Values{"token": {s.alice.minted}}.Encode())
		s.refused(t, a, 503, "temporarily_unavailable")
		s.granted(t, s.exchange(t, "gateway", s.form(nil))) // which needs no store
	}
	for line := range strings.SplitSeq(strings.TrimSpace(s.printed()), "\n") {
		if !json.Valid([]byte(line)) {
			t.Errorf("in the log: %s", line)
		}
	}
}
