//go:build containers

package compose

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// elsewhere is where a visitor says to be, as a TLS terminator would say of a caller, or a caller would make it up.
const elsewhere = "203.0.113.9"

// visitor is a browser without a screen. Like a browser it takes every name below localhost for this machine.
type visitor struct {
	*testing.T
	app     string
	client  *http.Client
	session string // the session's handle
}

func (s *stack) visitor(name string) *visitor {
	s.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.Fatal(err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, network, "127.0.0.1:"+port)
	}}
	s.Cleanup(transport.CloseIdleConnections)
	v := &visitor{T: s.T, app: s.app, client: &http.Client{
		Jar: jar, Timeout: 10 * time.Second, Transport: transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	// It only plays the person at the page of the provider that runs in its container.
	person := idptest.New(idptest.Config{URL: s.idp})
	back, err := person.SignIn(s.Context(), v.client, v.open(s.app+"/bff/login?returnTo=/"), name, name)
	if err != nil {
		s.Fatal(err)
	}
	if to := v.open(back); to != s.app+"/" {
		s.Fatalf("%s signed in, and was sent to %s", name, to)
	}
	status, user := v.fetch("/bff/user")
	session, _ := user["session"].(map[string]any)
	v.session, _ = session["id"].(string)
	if status != http.StatusOK || v.session == "" || !strings.HasPrefix(user["email"].(string), name) {
		s.Fatalf("signed in as %s, /bff/user answers %d, %v", name, status, user)
	}
	return v
}

// open is a navigation; it returns where it is sent.
func (v *visitor) open(url string) string {
	v.Helper()
	req, err := http.NewRequestWithContext(v.Context(), http.MethodGet, url, nil)
	if err != nil {
		v.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("X-Forwarded-For", elsewhere)
	resp, err := v.client.Do(req)
	if err != nil {
		v.Fatal(err)
	}
	defer resp.Body.Close()
	to, err := resp.Location()
	if err != nil {
		body, _ := io.ReadAll(resp.Body)
		v.Fatalf("GET %s answered %s without a redirect: %.300s", req.URL.Path, resp.Status, body)
	}
	return to.String()
}

// fetch is what the page does; status 0 says that there was no answer.
func (v *visitor) fetch(path string) (status int, body map[string]any) {
	v.Helper()
	req, err := http.NewRequestWithContext(v.Context(), http.MethodGet, v.app+path, nil)
	if err != nil {
		v.Fatal(err)
	}
	req.Header.Set("X-CSRF", "1")
	resp, err := v.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		return resp.StatusCode, nil
	}
	return resp.StatusCode, body
}

// orders asks for the orders, which orders completes with what payments answers to a token from the exchange.
func (v *visitor) orders() (status int, actor, audience any) {
	v.Helper()
	status, body := v.fetch("/api/orders")
	payments, _ := body["payments"].(map[string]any)
	verified, _ := payments["verified"].([]any)
	for _, one := range verified {
		claim, _ := one.(map[string]any)
		switch claim["claim"] {
		case "aud":
			audience = claim["value"]
		case "act":
			act, _ := claim["value"].(map[string]any)
			actor = act["sub"]
		}
	}
	return status, actor, audience
}

// address is where Cloakroom takes the visitor to have signed in from.
func (v *visitor) address() string {
	v.Helper()
	status, body := v.fetch("/bff/sessions")
	sessions, _ := body["sessions"].([]any)
	for _, one := range sessions {
		if is, _ := one.(map[string]any); is["id"] == v.session {
			at, _ := is["address"].(string)
			return at
		}
	}
	v.Fatalf("/bff/sessions answers %d, %v, without %s", status, body, v.session)
	return ""
}

// stays checks that it is the session it was.
func (v *visitor) stays() {
	v.Helper()
	status, user := v.fetch("/bff/user")
	session, _ := user["session"].(map[string]any)
	if status != http.StatusOK || session["id"] != v.session {
		v.Fatalf("/bff/user answers %d, %v; the session was %s", status, user, v.session)
	}
}
