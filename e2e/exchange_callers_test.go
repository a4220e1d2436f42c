package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func (s *exchangeStack) tokenRequest(t *testing.T, form url.Values) *http.Request {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.issuer()+"/oauth2/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", formKind)
	return request
}

func (s *exchangeStack) authenticatesClients(t *testing.T) {
	escaped := url.QueryEscape(secretsOf["gateway"])
	basic := func(user, password string) []string {
		return []string{"Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))}
	}
	by := func(id, given string) url.Values { return url.Values{"client_id": {id}, "client_secret": {given}} }
	for _, tc := range []struct {
		name   string
		auth   []string
		with   url.Values
		status int
		code   string
	}{
		{"C-100 no credentials", nil, nil, 401, "invalid_client"},
		{"C-100 a wrong secret by Basic", basic("gateway", "wrong"), nil, 401, "invalid_client"},
		{"C-100 an unknown client by Basic", basic("nobody", "wrong"), nil, 401, "invalid_client"},
		{"C-100 another client's secret", basic("gateway", "orders-secret"), nil, 401, "invalid_client"},
		{"C-100 an empty secret", basic("gateway", ""), nil, 401, "invalid_client"},
		{"C-100 a wrong secret by post", nil, by("gateway", "wrong"), 401, "invalid_client"},
		{"C-100 Basic that is no base64", []string{"Basic !"}, nil, 401, "invalid_client"},
		{"C-100 Bearer", []string{"Bearer " + s.alice.access}, nil, 401, "invalid_client"},
		{"C-100 the browser's side is no client", basic("bff", "x"), nil, 401, "invalid_client"},
		{"C-101 Basic is form-decoded, %20", basic("gateway", "s%20e%3Ac%25ret%2B%C3%A9"), nil, 200, ""},
		{"C-101 Basic is form-decoded, +", basic("gateway", "s+e%3Ac%25ret%2B%C3%A9"), nil, 200, ""},
		{"C-101 the second secret while it is being changed", basic("gateway", "the+gateway%27s+next"), nil, 200, ""},
		{"C-101 by post", nil, by("gateway", secretsOf["gateway"]), 200, ""},
		{"C-101 the name of the scheme in other letters", []string{strings.Replace(basic("gateway", escaped)[0], "Basic", "bASIC", 1)}, nil, 200, ""},
		{"C-102 Basic and post", basic("gateway", escaped), by("gateway", secretsOf["gateway"]), 400, "invalid_request"},
		{"C-102 Basic and an assertion", basic("gateway", escaped), url.Values{"client_assertion": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}, 400, "invalid_request"},
		{"C-102 Basic twice", append(basic("gateway", escaped), basic("orders", "orders-secret")...), nil, 400, "invalid_request"},
		{"C-104 Basic and another client_id", basic("gateway", escaped), url.Values{"client_id": {"orders"}}, 400, "invalid_request"},
		{"C-108 a client without the grant", basic("batch", "batch-secret"), nil, 400, "unauthorized_client"},
		{"C-108 client_credentials by a client that may only exchange", basic("gateway", escaped), url.Values{"grant_type": {"client_credentials"}}, 400, "unauthorized_client"},
		{"C-109 a public client", nil, url.Values{"client_id": {"gateway"}}, 401, "invalid_client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			request := s.tokenRequest(t, s.form(tc.with))
			if tc.auth != nil {
				request.Header["Authorization"] = tc.auth
			}
			a := s.do(t, request)
			if tc.code == "" {
				s.granted(t, a)
				return
			}
			s.refused(t, a, tc.status, tc.code)
		})
	}
	t.Run("C-108 client_credentials by a client that may: nobody's token but its own", func(t *testing.T) {
		a := s.exchange(t, "batch", url.Values{"grant_type": {"client_credentials"}})
		if c := s.granted(t, a); c["sub"] != "batch" || c["idp"] != s.issuer() || c["aud"] != "stock" || c["scope"] != "stock:write" || a.body["issued_token_type"] != nil {
			t.Errorf("%v %s", c, a.raw)
		}
	})
	t.Run("C-110 an unknown client and a wrong secret take the same time, and read the same", func(t *testing.T) {
		const tries = 1000
		took := map[string][]time.Duration{}
		said := map[string]bool{}
		for range tries {
			for _, client := range []string{"nobody", "gateway"} {
				request := s.tokenRequest(t, s.form(nil))
				request.SetBasicAuth(client, "a wrong secret")
				began := time.Now()
				a := s.do(t, request)
				took[client] = append(took[client], time.Since(began))
				said[fmt.Sprint(a.status, a.raw)] = true
			}
		}
		median := func(of []time.Duration) time.Duration { slices.Sort(of); return of[len(of)/2] }
		if apart := (median(took["nobody"]) - median(took["gateway"])).Abs(); apart > time.Millisecond {
			t.Errorf("%s apart", apart)
		}
		if len(said) != 1 {
			t.Errorf("%v", said)
		}
	})
}

func (s *exchangeStack) publishesItself(t *testing.T) {
	get := func(path, etag string) answer {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.issuer()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if etag != "" {
			request.Header.Set("If-None-Match", etag)
		}
		return s.do(t, request)
	}
	t.Run("C-130 metadata of RFC 8414, and its openid-configuration alias", func(t *testing.T) {
		oauth, openid := get("/.well-known/oauth-authorization-server", ""), get("/.well-known/openid-configuration", "")
		if oauth.status != 200 || oauth.raw != openid.raw || !strings.HasPrefix(oauth.header.Get("Content-Type"), "application/json") {
			t.Errorf("%d %s\n%s", oauth.status, oauth.raw, openid.raw)
		}
		for name, want := range map[string]string{"issuer": s.issuer(), "token_endpoint": s.issuer() + "/oauth2/token", "jwks_uri": s.issuer() + "/.well-known/jwks.json", "introspection_endpoint": s.issuer() + "/oauth2/introspect"} {
			if oauth.text(name) != want {
				t.Errorf("%s = %v", name, oauth.body[name])
			}
		}
		for name, want := range map[string]string{"grant_types_supported": tokenExchange, "token_endpoint_auth_methods_supported": "client_secret_basic", "access_token_signing_alg_values_supported": "EdDSA"} {
			if list, _ := oauth.body[name].([]any); !slices.Contains(list, any(want)) {
				t.Errorf("%s = %v", name, oauth.body[name])
			}
		}
	})
	t.Run("C-131 the key set: public, named, cached", func(t *testing.T) {
		a := get("/.well-known/jwks.json", "")
		keys, _ := a.body["keys"].([]any)
		if a.status != 200 || len(keys) < 7 || !strings.Contains(a.header.Get("Cache-Control"), "max-age=3600") {
			t.Errorf("%d, %d keys, %v", a.status, len(keys), a.header)
		}
		for _, one := range keys {
			key, _ := one.(map[string]any)
			if key["kid"] == "" || key["alg"] == "" || key["use"] != "sig" {
				t.Errorf("%v", key)
			}
			for private := range strings.FieldsSeq("d p q dp dq qi k oth") {
				if key[private] != nil {
					t.Errorf("key %v has %s", key["kid"], private)
				}
			}
		}
		if again := get("/.well-known/jwks.json", a.header.Get("ETag")); again.status != http.StatusNotModified || again.raw != "" || a.header.Get("ETag") == "" {
			t.Errorf("If-None-Match: %d %s", again.status, again.raw)
		}
	})
}

// tellsOfItsTokens: RFC 7662, to those a token is meant for and to nobody else.
func (s *exchangeStack) tellsOfItsTokens(t *testing.T) {
	t.Run("C-133 introspection", func(t *testing.T) {
		introspect := func(client, token string) answer {
			t.Helper()
			return s.post(t, http.MethodPost, "/oauth2/introspect", formKind, client, url.Values{"token": {token}}.Encode())
		}
		minted := s.verify(t, s.alice.minted)
		told := introspect("orders", s.alice.minted)
		for _, claim := range []string{"iss", "sub", "aud", "client_id", "scope", "exp", "iat", "jti", "sid"} {
			if fmt.Sprint(told.body[claim]) != fmt.Sprint(minted[claim]) {
				t.Errorf("%s: told %v, minted %v", claim, told.body[claim], minted[claim])
			}
		}
		if told.body["active"] != true || told.body["token_type"] != "Bearer" || told.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %v", told.raw, told.header)
		}
		for why, a := range map[string]answer{
			"of an audience that is not the client's": introspect("gateway", s.alice.minted),
			"of the provider":                         introspect("orders", s.alice.access),
			"an ID token":                             introspect("orders", s.alice.id),
			"with another signature":                  introspect("orders", s.alice.minted[:len(s.alice.minted)-4]+"AAAA"),
			"no token":                                introspect("orders", "x"),
		} {
			if a.status != http.StatusOK || a.raw != `{"active":false}` {
				t.Errorf("%s: %d %s", why, a.status, a.raw)
			}
		}
		if a := introspect("nobody", s.alice.minted); a.status != http.StatusUnauthorized {
			t.Errorf("a client that is none: %d %s", a.status, a.raw)
		}
	})
}

// leavesNoToken: the log, the metrics and the audit after all that came before.
func (s *exchangeStack) leavesNoToken(t *testing.T) {
	answer, err := http.Get(s.adminURL() + "/metrics") //nolint:gosec,noctx // the product's own
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	metrics, log := string(page), s.printed()
	t.Run("C-095 no token in the log or the metrics", func(t *testing.T) {
		if len(s.seen) < 100 {
			t.Fatalf("only %d tokens to look for", len(s.seen))
		}
		for token := range s.seen {
			for name, place := range map[string]string{"log": log, "metrics": metrics} {
				if parts := strings.Split(token, "."); strings.Contains(place, token) || strings.Contains(place, parts[1]) {
					t.Errorf("%v stands in the %s", part(token, 1)["jti"], name)
				}
			}
		}
		for _, given := range secretsOf {
			if strings.Contains(log, given) {
				t.Errorf("a client's secret in the log")
			}
		}
		if strings.Contains(log, s.alice.session) {
			t.Error("a session cookie in the log")
		}
	})
	granted, refused := 0, 0
	t.Run("C-009 C-154 the log is well-formed, and says who asked for what", func(t *testing.T) {
		for line := range strings.SplitSeq(strings.TrimSpace(log), "\n") {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%v: %s", err, line)
			}
			if entry["msg"] != "audit" || entry["event"] != "exchange" && entry["event"] != "exchange-refused" {
				continue
			}
			want := []string{"outcome", "policy", "request_id"}
			if entry["event"] == "exchange" {
				granted++
				want = append(want, "client", "subject", "audience")
			} else {
				refused++
				want = append(want, "reason")
			}
			for _, name := range want {
				if value, _ := entry[name].(string); value == "" {
					t.Errorf("no %s: %s", name, line)
				}
			}
			if subject, _ := entry["subject"].(string); strings.Contains(subject, "5f0a1c7e") || strings.Contains(subject, "alice") {
				t.Errorf("the subject in the clear: %s", line)
			}
		}
		if granted < 250 || refused < 300 {
			t.Errorf("%d granted, %d refused", granted, refused)
		}
	})
	t.Run("C-154 the count of refusals and grants by client", func(t *testing.T) {
		for _, want := range []string{`cloakroom_exchange_total{audience="orders",client="gateway",outcome="granted"}`, `outcome="invalid_target"`, `outcome="invalid_client"`} {
			if !strings.Contains(metrics, want) {
				t.Errorf("no %s", want)
			}
		}
	})
}
