package exchangehttp_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
)

// TestTransportNeverMixesPeopleUp: 64 at once through one Transport, with a cache too small for them, so that tokens are kept,
// dropped and asked for all the time.
func TestTransportNeverMixesPeopleUp(t *testing.T) {
	x := &exchanger{expires: 60}
	next := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, person, _ := strings.Cut(r.Header.Get("Authorization"), " for ")
		if person != r.URL.Query().Get("person") || len(r.Header.Values("Authorization")) != 1 {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	defer next.Close()
	client := clientAt(t, x, func(c *exchangehttp.ClientConfig) { c.Cached = 20 })
	payments := &http.Client{Transport: &exchangehttp.Transport{Client: client, Ask: exchangehttp.Request{Audience: []string{"payments"}}}}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			for n := range 30 {
				person := fmt.Sprintf("person-%d", (i+n%2)%64) // two at once for most of them
				r, _ := http.NewRequestWithContext(exchangehttp.WithSubject(t.Context(), secret.Text(person)), http.MethodGet, next.URL+"?person="+person, nil)
				resp, err := payments.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				_ = resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("%s came with another's token", person)
				}
			}
		})
	}
	all.Wait()
	if n := x.asked.Load(); n < 64 || n >= 64*30 {
		t.Errorf("asked %d times for 64 people in 1920 requests", n)
	}
}

// hop is the next service; it says what it was sent.
type hop struct {
	status atomic.Int64
	seen   []*http.Request
}

func (h *hop) RoundTrip(r *http.Request) (*http.Response, error) {
	h.seen = append(h.seen, r)
	return &http.Response{StatusCode: int(h.status.Load()), Header: http.Header{}, Body: http.NoBody, Request: r}, nil
}

func newHop() *hop {
	h := &hop{}
	h.status.Store(http.StatusOK)
	return h
}

func request(t *testing.T, subject secret.Text, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(exchangehttp.WithSubject(t.Context(), subject), http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTransportSendsTheExchangedTokenAlone(t *testing.T) {
	next := newHop()
	transport := &exchangehttp.Transport{Client: clientAt(t, &exchanger{expires: 60}), Ask: exchangehttp.Request{Audience: []string{"payments"}}, Base: next}
	r := request(t, "alice", "http://payments/", nil)
	r.Header.Set("Authorization", "Bearer alice")
	if _, err := transport.RoundTrip(r); err != nil {
		t.Fatal(err)
	}
	if got := next.seen[0].Header.Values("Authorization"); len(got) != 1 || got[0] != "Bearer 1 for alice" {
		t.Errorf("sent %q", got)
	}
	if r.Header.Get("Authorization") != "Bearer alice" {
		t.Error("the caller's request was changed")
	}
}

func TestTransportTakesTheSubjectFromTheRequest(t *testing.T) {
	next := newHop()
	transport := &exchangehttp.Transport{
		Client: clientAt(t, &exchanger{expires: 60}), Base: next,
		Subject: func(r *http.Request) (secret.Text, error) {
			if person := r.Header.Get("X-Person"); person != "" {
				return secret.Text(person), nil
			}
			return "", errors.New("nobody")
		},
	}
	r := request(t, "somebody else", "http://payments/", nil)
	r.Header.Set("X-Person", "bob")
	if _, err := transport.RoundTrip(r); err != nil || next.seen[0].Header.Get("Authorization") != "Bearer 1 for bob" {
		t.Errorf("%v", err)
	}
	if _, err := transport.RoundTrip(request(t, "somebody else", "http://payments/", nil)); err == nil || err.Error() != "exchange: subject: nobody" || len(next.seen) != 1 {
		t.Errorf("%v, %d sent", err, len(next.seen))
	}
}

type closing struct {
	io.Reader
	closed bool
}

func (c *closing) Close() error { c.closed = true; return nil }

func TestTransportSendsNothingWithoutAToken(t *testing.T) {
	refuses := &exchanger{answer: func(int64, *http.Request) (int, http.Header, string) {
		return 400, nil, `{"error":"invalid_target","error_description":"no"}`
	}}
	for name, subject := range map[string]secret.Text{"nobody": "", "a refused subject": "alice"} {
		next, body := newHop(), &closing{Reader: strings.NewReader("{}")}
		client := &http.Client{Transport: &exchangehttp.Transport{Client: clientAt(t, refuses), Base: next}}
		resp, err := client.Do(request(t, subject, "http://payments/", body))
		if err == nil {
			_ = resp.Body.Close()
		}
		var refused *exchangehttp.Error
		if err == nil || errors.As(err, &refused) != (subject != "") || subject != "" && refused.Code != exchange.InvalidTarget {
			t.Errorf("%s: %v", name, err)
		}
		if len(next.seen) != 0 || !body.closed {
			t.Errorf("%s: %d sent, body closed: %v", name, len(next.seen), body.closed)
		}
	}
}

func TestTransportFollowsNoRedirectWithAToken(t *testing.T) {
	for to, ok := range map[string]bool{
		"http://payments/other": true, "/other": true, "http://evil.example.com/": false, "http://payments:81/": false, "https://payments/": false,
	} {
		var seen []string
		next := through(func(r *http.Request) (*http.Response, error) {
			seen = append(seen, r.URL.String())
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
			if len(seen) == 1 {
				resp.StatusCode = http.StatusFound
				resp.Header.Set("Location", to)
			}
			return resp, nil
		})
		client := &http.Client{Transport: &exchangehttp.Transport{Client: clientAt(t, &exchanger{expires: 60}), Base: next}}
		resp, err := client.Do(request(t, "alice", "http://payments/", nil))
		if err == nil {
			_ = resp.Body.Close()
		}
		if (err == nil) != ok || len(seen) == 2 != ok {
			t.Errorf("to %s: %v, sent %v", to, err, seen)
		}
	}
}

func TestTransportAsksAnewForATokenThatWasNotTaken(t *testing.T) {
	next := newHop()
	transport := &exchangehttp.Transport{Client: clientAt(t, &exchanger{expires: 60}), Base: next}
	for i, status := range []int64{200, 401, 200, 403, 200} {
		next.status.Store(status)
		if _, err := transport.RoundTrip(request(t, "alice", "http://payments/", nil)); err != nil {
			t.Fatal(err)
		}
		want := "Bearer 1 for alice"
		if i > 1 {
			want = "Bearer 2 for alice"
		}
		if got := next.seen[i].Header.Get("Authorization"); got != want {
			t.Errorf("request %d came with %q, want %q", i, got, want)
		}
	}
}
