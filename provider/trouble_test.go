package provider

import (
	"errors"
	"net/http"
	"testing"
	"time"
)

// A refresh token that was sent and not answered may be used up (faults.md F3.6); one that was not sent is not.
func TestWhetherARefreshTokenMayBeUsedUpIsTold(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc // nil: nobody listens
		kind   error
		want   bool
	}{
		"nobody listens":            {nil, ErrUnavailable, false},
		"silence":                   {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrUnavailable, true},
		"the connection breaks":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, ErrUnavailable, true},
		"the answer breaks off":     {brokenOff, ErrNonsense, true},
		"503":                       {status(503, ""), ErrUnavailable, false},
		"429":                       {status(429, ""), ErrUnavailable, false},
		"invalid_client":            {status(401, `{"error":"invalid_client"}`), ErrUnavailable, false},
		"invalid_grant":             {status(400, `{"error":"invalid_grant"}`), ErrRefused, false},
		"an answer of another kind": {body("text/html", "<html>"), ErrNonsense, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			p := f.client(func(cfg *Config) { cfg.Timeout = 250 * time.Millisecond })
			if err := p.keys.warm(background); err != nil {
				t.Fatal(err)
			}
			f.route("/token", tt.answer)
			if tt.answer == nil {
				f.server.Close()
				p.client.transport.CloseIdleConnections()
			}
			_, err := p.Refresh(background, canaryRefresh, was())
			mustBe(t, err, tt.kind)
			if got := errors.Is(err, ErrUncertain); got != tt.want {
				t.Errorf("may be used up: %t, want %t: %v", got, tt.want, err)
			}
		})
	}
}

func brokenOff(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte(`{"access_token":"`))
}

func TestAProviderMayAskToBeLeftAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		said   string
		want   time.Duration
	}{
		"429":             {429, "", time.Second},
		"429 with a time": {429, "17", 17 * time.Second},
		"429 with a day":  {429, "86400", time.Hour},
		"503":             {503, "", 0},
		"503 with a time": {503, "17", 17 * time.Second},
		"502 with a time, by whoever stands before it": {502, "17", 0},
		"400 with a time": {400, "17", 0},
	} {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/token", func(w http.ResponseWriter, _ *http.Request) {
				if tt.said != "" {
					w.Header().Set("Retry-After", tt.said)
				}
				w.WriteHeader(tt.status)
			})
			var outcomes []string
			p := f.client(func(cfg *Config) {
				cfg.Observe = func(endpoint, outcome string) {
					if endpoint == EndpointToken {
						outcomes = append(outcomes, outcome)
					}
				}
			})
			_, err := p.Refresh(background, canaryRefresh, was())
			own, ok := errors.AsType[*Error](err)
			if !ok || own.RetryAfter() != tt.want {
				t.Fatalf("left alone for %v, want %v: %v", own.RetryAfter(), tt.want, err)
			}
			if throttled := len(outcomes) == 1 && outcomes[0] == "throttled"; throttled != (tt.want > 0) {
				t.Errorf("counted as %q", outcomes)
			}
		})
	}
}
