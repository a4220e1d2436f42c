package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/internal/idptest"
)

// shortLived makes tokens that have to be renewed before they are used.
func shortLived(body map[string]any) { body["expires_in"] = 1 }

// refreshes plays what a provider may answer to a refresh: another person's tokens end the session, a refusal ends it, and
// nothing else does.
func (s *hostileStack) refreshes(t *testing.T) {
	t.Helper()
	type row struct {
		name    string
		manners idptest.Misbehave
		status  int  // of the API call that needs the refresh
		ends    bool // the session
		once    bool // the refresh token is sent once; what may have been done all the same is asked for once more
	}
	rows := []row{}
	ends := func(name string, m idptest.Misbehave) { rows = append(rows, row{name, m, 401, true, true}) }
	for name, change := range map[string]map[string]any{
		"another sub":               {"sub": "somebody-else"},
		"another iss":               {"iss": "https://evil.example"},
		"an aud of another client":  {"aud": "other"},
		"an aud with somebody else": {"aud": []string{clientID, "evil"}, "azp": clientID},
		"another azp":               {"azp": "other"},
		"another auth_time":         {"auth_time": time.Now().Add(-time.Hour).Unix()},
		"another nonce":             {"nonce": "of another sign-in"},
	} {
		ends("B3.16 "+name, ofID(change))
	}
	ends("B3.18 invalid_grant", idptest.Misbehave{Answer: idptest.At(idptest.Status(400, `{"error":"invalid_grant"}`), idptest.Token)})
	for name, answer := range nonsense(s.elsewhere.URL) {
		// An answer that broke off may have been a good one: it is asked for once more (faults.md F3.6).
		once := !strings.Contains(name, "fewer bytes than promised") && !strings.Contains(name, "gzip that is none")
		rows = append(rows, row{name, idptest.Misbehave{Answer: idptest.At(answer, idptest.Token)}, 502, false, once})
	}
	for name, answer := range trouble() {
		rows = append(rows, row{name, idptest.Misbehave{Answer: idptest.At(answer, idptest.Token)}, 503, false, false})
	}
	rows = append(rows,
		row{"B3.18 invalid_client", idptest.Misbehave{Answer: idptest.At(idptest.Status(401, `{"error":"invalid_client"}`), idptest.Token)}, 503, false, true},
		row{"B3.13 token_type DPoP", idptest.Misbehave{TokenResponse: func(body map[string]any) { body["token_type"] = "DPoP" }}, 502, false, true},
		row{"B2.2 an ID token whose signature is none", idptest.Misbehave{Sign: func(kind idptest.Kind, h, c map[string]any, signed string, public any) string {
			if kind != idptest.IDToken {
				return signed
			}
			return idptest.BrokenSignature(kind, h, c, signed, public)
		}}, 502, false, true},
		row{"B3.17 no refresh token", idptest.Misbehave{TokenResponse: func(body map[string]any) { delete(body, "refresh_token") }}, 200, false, true},
		row{"no ID token", idptest.Misbehave{TokenResponse: func(body map[string]any) { delete(body, "id_token") }}, 200, false, true},
	)
	kept := map[string]string{} // cookies of sessions that have to go on, once the provider may be asked again
	for _, row := range rows {
		t.Run("refresh: "+row.name, func(t *testing.T) {
			s.behave(idptest.Misbehave{TokenResponse: shortLived})
			v := s.visitor(t)
			if res, body := v.signIn(t, "/bff/login", s.provider); v.session() == "" {
				t.Fatalf("sign-in: %d %s", res.StatusCode, body)
			}
			cookie, calls := v.session(), s.orders.calls()
			if len(kept) > 0 {
				time.Sleep(1100 * time.Millisecond) // after some of these the provider is asked once a second only
			}
			s.behave(row.manners)
			sent := s.provider.Count(idptest.Token)
			res, body := v.fetch(t, http.MethodGet, "/api/orders/1")
			if res.StatusCode != row.status || strings.Contains(body, hostileWord) {
				t.Errorf("the API call: %d %s, want %d", res.StatusCode, body, row.status)
			}
			if got := s.orders.calls() - calls; (got != 0) != (row.status == 200) {
				t.Errorf("the upstream was called %d times", got)
			}
			if n := s.provider.Count(idptest.Token) - sent; n != 1 && (row.once || n != 2) {
				t.Errorf("the refresh token was sent %d times", n)
			}
			s.behave(idptest.Misbehave{})
			sent = s.provider.Count(idptest.Token)
			answer, body := s.get(t, "/bff/user", cookie)
			if want := map[bool]int{true: 401, false: 200}[row.ends]; answer.StatusCode != want {
				t.Errorf("afterwards the session answers %d %s, want %d", answer.StatusCode, body, want)
			}
			if cleared := res.Header.Get("Set-Cookie") != ""; cleared != row.ends {
				t.Errorf("the cookie: %q", res.Header.Values("Set-Cookie"))
			}
			if row.ends {
				if s.get(t, "/api/orders/1", cookie); s.provider.Count(idptest.Token) != sent {
					t.Error("the refresh token of an ended session was sent again")
				}
				return
			}
			kept[row.name] = cookie
		})
	}
	for name, cookie := range kept {
		eventually(t, 10*time.Second, "the API is there again after "+name, func() bool {
			answer, _ := s.get(t, "/api/orders/1", cookie)
			return answer.StatusCode == 200
		})
	}
}

// floods plays what asks for keys that are not there.
func (s *hostileStack) floods(t *testing.T) {
	t.Helper()
	t.Run("B3.2 the keys change while somebody signs in", func(t *testing.T) {
		s.behave(idptest.Misbehave{})
		fetched := s.provider.Count(idptest.JWKS)
		v := s.visitor(t)
		back, err := s.provider.SignIn(t.Context(), v.atIdP, v.begin(t, "/bff/login"), "alice", "alice")
		if err != nil {
			t.Fatal(err)
		}
		s.provider.RotateKeys(false)
		if res, body := v.navigate(t, back); res.StatusCode != http.StatusSeeOther {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		if n := s.provider.Count(idptest.JWKS) - fetched; n != 1 {
			t.Errorf("the key set was fetched %d times", n)
		}
	})
	t.Run("B3.4 C21 a flood of unknown key ids", func(t *testing.T) {
		fetched, began := s.provider.Count(idptest.JWKS), time.Now()
		for n := range 20 {
			s.behave(headerOfID(map[string]any{"kid": fmt.Sprint("unknown", n)}))
			v := s.visitor(t)
			res, body := v.signIn(t, "/bff/login", s.provider)
			s.refuses(t, v, res, body, 400)
		}
		for n := range 200 {
			raw := s.provider.LogoutToken(clientID, idptest.DefaultUsers()[0].Subject, "", map[string]any{"n": n})
			raw = forgedBy(t, jose.RS256, fmt.Sprint("nobody", n), s.keys.any, map[string]any{"typ": "logout+jwt"}, part(raw, 1))
			res, err := s.client.PostForm(s.origin()+"/bff/backchannel-logout/main", url.Values{"logout_token": {raw}}) //nolint:noctx // ends with the test
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != 400 && res.StatusCode != 429 {
				t.Fatalf("logout token %d: %d", n, res.StatusCode)
			}
		}
		if n := s.provider.Count(idptest.JWKS) - fetched; n > 1+int(time.Since(began)/(10*time.Second)) {
			t.Errorf("the key set was fetched %d times in %s", n, time.Since(began))
		}
		s.mustSignIn(t)
	})
	t.Run("B3.12 an access token of 64 KiB", func(t *testing.T) {
		m := ofID(map[string]any{"at_hash": nil})
		m.TokenResponse = func(body map[string]any) { body["access_token"] = strings.Repeat("a", 64<<10) }
		s.behave(m)
		v := s.visitor(t)
		res, body := v.signIn(t, "/bff/login", s.provider)
		if v.session() == "" || len(v.session()) > 512 {
			t.Fatalf("sign-in: %d %s, a cookie of %d bytes", res.StatusCode, body, len(v.session()))
		}
		if res, body := v.fetch(t, http.MethodGet, "/legacy/1"); res.StatusCode != 502 || strings.Contains(body, "aaaa") {
			t.Errorf("with the token itself: %d %s", res.StatusCode, body)
		}
		eventually(t, 5*time.Second, "the log says why", func() bool { return strings.Contains(s.printed(), "too long for a header") })
		if res, body := v.fetch(t, http.MethodGet, "/api/orders/1"); res.StatusCode != 200 {
			t.Errorf("with a minted token: %d %s", res.StatusCode, body)
		}
	})
	t.Run("B1.13 a callback by POST", func(t *testing.T) {
		sent := s.provider.Count(idptest.Token)
		res, err := s.client.PostForm(s.origin()+"/bff/callback/main", url.Values{"code": {"x"}, "state": {"y"}}) //nolint:noctx // ends with the test
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var problem struct{ Type string }
		if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || res.StatusCode != 405 || problem.Type != "urn:cloakroom:problem:method-not-allowed" || s.provider.Count(idptest.Token) != sent {
			t.Errorf("%d %v", res.StatusCode, problem)
		}
	})
}

func (a *api) calls() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.bearers)
}
