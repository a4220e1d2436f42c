package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// onward exchanges a token of ours, or the pool's, as a client that has one audience.
func (s *exchangeStack) onward(t *testing.T, client, subject string, with url.Values) answer {
	t.Helper()
	form := s.form(url.Values{"subject_token": {subject}, "audience": nil})
	for name, values := range with {
		form[name] = values
	}
	return s.exchange(t, client, form)
}

func byActor(raw string) url.Values {
	return url.Values{"actor_token": {raw}, "actor_token_type": {typeAccess}}
}

// actors reads `act` from the outside in, as "iss sub".
func actors(claims map[string]any) []string {
	var out []string
	for act, _ := claims["act"].(map[string]any); act != nil; act, _ = act["act"].(map[string]any) {
		out = append(out, fmt.Sprint(act["iss"], " ", act["sub"]))
	}
	return out
}

func chainOf(n int) map[string]any {
	var act map[string]any
	for i := range n {
		outer := map[string]any{"iss": "https://before.example.com", "sub": fmt.Sprint("hop", i)}
		if act != nil {
			outer["act"] = act
		}
		act = outer
	}
	return act
}

func (s *exchangeStack) keepsTheChainOfActors(t *testing.T) {
	sub, pool, ours := part(s.alice.access, 1)["sub"], s.pool.Issuer(), s.issuer()
	sam := s.accessOf(map[string]any{"sub": "sam", "username": "sam", "cognito:groups": []string{"support"}, "jti": "sam's"})
	for _, tc := range s.badSubjects(t, "https://elsewhere.example.com") {
		t.Run("C-060 an actor token: "+tc.name, func(t *testing.T) {
			s.refused(t, s.onward(t, "desk", s.alice.access, byActor(tc.token)), 400, "invalid_request")
		})
	}
	t.Run("C-061 the actor stands in act, the subject stays", func(t *testing.T) {
		c := s.granted(t, s.onward(t, "support", s.alice.access, byActor(sam)))
		if c["sub"] != sub || c["idp"] != pool || !slices.Equal(actors(c), []string{pool + " sam"}) || c["aud"] != "payments" {
			t.Errorf("%v", c)
		}
	})
	t.Run("C-062 act nests, the newest outermost", func(t *testing.T) {
		raw := s.alice.access
		for hop := 1; hop <= 5; hop++ {
			a := s.onward(t, "relay", raw, nil)
			if c := s.granted(t, a); len(actors(c)) != hop || c["sub"] != sub {
				t.Errorf("after %d exchanges: %v", hop, c["act"])
			}
			raw = a.text("access_token")
		}
		s.refused(t, s.onward(t, "relay", raw, nil), 400, "invalid_request")
		a := s.onward(t, "relay", s.onward(t, "orders", s.alice.minted, nil).text("access_token"), nil)
		s.refused(t, a, 400, "invalid_request") // for payments, which is not the relay's
	})
	t.Run("C-062 a chain from elsewhere counts", func(t *testing.T) {
		c := s.granted(t, s.onward(t, "relay", s.accessOf(map[string]any{"act": chainOf(4)}), nil))
		if all := actors(c); len(all) != 5 || all[0] != ours+" relay" || all[4] != "https://before.example.com hop0" {
			t.Errorf("%v", all)
		}
		s.refused(t, s.onward(t, "relay", s.accessOf(map[string]any{"act": chainOf(5)}), nil), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": chainOf(6)})}})), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": chainOf(500)})}})), 400, "invalid_request")
	})
	t.Run("C-064 only identity is copied into act", func(t *testing.T) {
		act := map[string]any{"iss": pool, "sub": "sam", "exp": 9999999999, "nbf": 1, "iat": 1, "aud": "x", "jti": "y", "scope": "admin", "groups": []string{"root"}, "email": "sam@example.com", "cnf": map[string]any{"jkt": "z"}}
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": act})}})))
		got, _ := c["act"].(map[string]any)
		for name := range got {
			if !slices.Contains([]string{"iss", "sub", "client_id", "sub_profile", "act"}, name) {
				t.Errorf("act has %s", name)
			}
		}
		c = s.granted(t, s.onward(t, "support", s.alice.access, byActor(sam)))
		if got, _ := c["act"].(map[string]any); len(got) != 2 {
			t.Errorf("act %v", got)
		}
	})
	named := func(may any) string { return s.accessOf(map[string]any{"may_act": may}) }
	t.Run("C-065 may_act names the actor", func(t *testing.T) {
		for _, may := range []map[string]any{{"iss": pool, "sub": "sam"}, {"sub": "sam"}, {"iss": pool, "sub": "sam", "client_id": clientID}} {
			if c := s.granted(t, s.onward(t, "support", named(may), byActor(sam))); !slices.Equal(actors(c), []string{pool + " sam"}) {
				t.Errorf("%v", c["act"])
			}
		}
	})
	for name, may := range map[string]map[string]any{
		"another subject": {"iss": pool, "sub": "eve"}, "another issuer": {"iss": "https://evil.example.com", "sub": "sam"},
		"a client that is another": {"iss": pool, "sub": "sam", "client_id": otherApp}, "a claim the actor has not": {"iss": pool, "sub": "sam", "email": "sam@example.com"},
	} {
		t.Run("C-066 may_act names "+name, func(t *testing.T) {
			s.refused(t, s.onward(t, "support", named(may), byActor(sam)), 400, "invalid_request")
			s.refused(t, s.onward(t, "desk", named(may), byActor(sam)), 400, "invalid_request")
		})
	}
	for name, may := range map[string]any{"a text": "sam", "a list": []any{map[string]any{"sub": "sam"}}, "empty": map[string]any{}, "without a sub": map[string]any{"iss": pool}} {
		t.Run("C-067 may_act is "+name, func(t *testing.T) {
			s.refused(t, s.onward(t, "support", named(may), byActor(sam)), 400, "invalid_request")
			s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {named(may)}})), 400, "invalid_request")
		})
	}
	t.Run("C-067 may_act is null", func(t *testing.T) {
		raw := s.forge(`{"alg":"RS256","kid":"forge-rsa"}`, strings.Replace(s.claimsOf(nil), "{", `{"may_act":null,`, 1))
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {raw}})), 400, "invalid_request")
	})
	t.Run("C-068 may_act and no actor_token: the client must be who it names", func(t *testing.T) {
		for _, client := range []string{"gateway", "desk", "orders", "support"} {
			form := s.form(url.Values{"subject_token": {named(map[string]any{"iss": pool, "sub": "sam"})}})
			if client != "gateway" {
				delete(form, "audience")
			}
			s.refused(t, s.exchange(t, client, form), 400, "invalid_request")
			form.Set("actor_token", "") // nor by an empty one
			form.Set("actor_token_type", "")
			s.refused(t, s.exchange(t, client, form), 400, "invalid_request")
		}
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {named(map[string]any{"iss": ours, "sub": "gateway"})}})))
		if !slices.Equal(actors(c), []string{ours + " gateway"}) {
			t.Errorf("%v", c["act"])
		}
	})
	t.Run("C-069 a delegated token is never washed", func(t *testing.T) {
		delegated := s.onward(t, "relay", s.alice.access, nil).text("access_token")
		c := s.granted(t, s.onward(t, "payments", delegated, nil)) // for whom nobody acts
		if !slices.Equal(actors(c), []string{ours + " relay"}) || c["aud"] != "ledger" {
			t.Errorf("%v", c)
		}
		c = s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": chainOf(2)})}})))
		if !slices.Equal(actors(c), []string{"https://before.example.com hop1", "https://before.example.com hop0"}) {
			t.Errorf("%v", c["act"])
		}
		c = s.granted(t, s.onward(t, "desk", s.alice.access, byActor(s.accessOf(map[string]any{"sub": "sam", "act": chainOf(1)}))))
		if !slices.Equal(actors(c), []string{pool + " sam", "https://before.example.com hop0"}) {
			t.Errorf("an actor's own actor is forgotten: %v", c["act"])
		}
	})
	t.Run("C-070 without an actor_token, as each client is configured", func(t *testing.T) {
		if c := s.granted(t, s.exchange(t, "gateway", s.form(nil))); c["act"] != nil {
			t.Errorf("actor none: %v", c["act"])
		}
		if c := s.granted(t, s.onward(t, "desk", s.alice.access, nil)); c["act"] != nil {
			t.Errorf("actor optional: %v", c["act"])
		}
		c := s.granted(t, s.onward(t, "orders", s.alice.minted, nil))
		if !slices.Equal(actors(c), []string{ours + " orders"}) || c["client_id"] != "orders" || c["sub"] != sub {
			t.Errorf("actor implicit: %v", c)
		}
		s.refused(t, s.onward(t, "support", s.alice.access, nil), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(byActor(sam))), 400, "invalid_request")
		s.refused(t, s.onward(t, "orders", s.alice.minted, byActor(sam)), 400, "invalid_request")
	})
	t.Run("C-016 an ID token is no actor_token", func(t *testing.T) {
		s.refused(t, s.onward(t, "support", s.alice.access, url.Values{"actor_token": {s.alice.id}, "actor_token_type": {typeID}}), 400, "invalid_request")
	})
}

func (s *exchangeStack) staysWithinTargetsAndScopes(t *testing.T) {
	for _, tc := range []struct {
		name, client string
		with         url.Values
		code         string
	}{
		{"C-080 an unknown audience", "gateway", url.Values{"audience": {"nowhere"}}, "invalid_target"},
		{"C-080 an audience in other letters", "gateway", url.Values{"audience": {"Orders"}}, "invalid_target"},
		{"C-080 an unknown resource", "gateway", url.Values{"audience": nil, "resource": {"https://nowhere.example.com"}}, "invalid_target"},
		{"C-081 an audience of other clients", "gateway", url.Values{"audience": {"stock"}}, "invalid_target"},
		{"C-081 a resource of other clients", "orders", url.Values{"audience": nil, "resource": {"https://orders.internal.example.com"}}, "invalid_target"},
		{"C-082 one of several", "gateway", url.Values{"audience": {"orders", "invoices", "stock"}}, "invalid_target"},
		{"C-082 a good audience and a bad resource", "gateway", url.Values{"resource": {"https://nowhere.example.com"}}, "invalid_target"},
		{"C-082 two that cannot share a token", "gateway", url.Values{"audience": {"invoices", "ledger"}}, "invalid_target"},
		{"C-084 no target and more than one to choose from", "gateway", url.Values{"audience": nil}, "invalid_target"},
		{"C-085 over-asking", "gateway", url.Values{"scope": {"orders:read orders:write"}}, "invalid_scope"},
		{"C-085 a scope the subject has and the audience has not", "gateway", url.Values{"scope": {"orders-api/read"}}, "invalid_scope"},
		{"C-085 a scope the audience never grants", "orders", url.Values{"audience": nil, "scope": {"payments:refund"}}, "invalid_scope"},
		{"C-085 OpenID's own scopes are not passed on", "gateway", url.Values{"audience": {"invoices"}, "scope": {"openid"}}, "invalid_scope"},
		{"C-085 what another audience grants", "gateway", url.Values{"audience": {"orders"}, "scope": {"payments:read"}}, "invalid_scope"},
		{"C-085 narrow, and nothing of it granted", "narrow", url.Values{"scope": {"orders:write"}}, "invalid_scope"},
		{"C-086 a subject without scope", "gateway", url.Values{"subject_token": {s.accessOf(map[string]any{"scope": nil})}}, "invalid_scope"},
		{"C-086 an ID token authorises nothing", "gateway", url.Values{"subject_token": {s.alice.id}, "subject_token_type": {typeID}}, "invalid_scope"},
		{"allow says no", "gateway", url.Values{"audience": {"private"}, "subject_id_token": {s.alice.id}}, "invalid_request"},
		{"C-082 allow of one of two says no", "gateway", url.Values{"audience": {"invoices", "private"}, "subject_id_token": {s.alice.id}}, "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.refused(t, s.exchange(t, tc.client, s.form(tc.with)), 400, tc.code)
		})
	}
	t.Run("C-081 not allowed reads as unknown does", func(t *testing.T) {
		unknown, others := s.exchange(t, "gateway", s.form(url.Values{"audience": {"nowhere"}})), s.exchange(t, "gateway", s.form(url.Values{"audience": {"stock"}}))
		if unknown.raw != others.raw {
			t.Errorf("%s\n%s", unknown.raw, others.raw)
		}
	})
	for _, tc := range []struct {
		name, client string
		with         url.Values
		aud, scope   string
	}{
		{"C-083 aud is the audience asked for", "gateway", nil, "orders", "orders:read"},
		{"C-083 aud is the audience's name, also by its resource", "gateway", url.Values{"audience": nil, "resource": {"https://orders.internal.example.com"}}, "orders", "orders:read"},
		{"C-083 the same target twice is one", "gateway", url.Values{"audience": {"orders", "orders"}, "resource": {"https://orders.internal.example.com"}}, "orders", "orders:read"},
		{"C-084 the client's only audience", "narrow", url.Values{"audience": nil}, "orders", "orders:read"},
		{"C-085 less than is granted", "gateway", url.Values{"audience": {"invoices"}, "scope": {"payments-api/read"}}, "invoices", "payments-api/read"},
		{"C-085 C-087 over-asking is narrowed, and said so", "narrow", url.Values{"scope": {"orders:write orders:read other"}}, "orders", "orders:read"},
		{"C-085 within what the client may have", "capped", url.Values{"audience": nil}, "long", "orders-api/read"},
		{"C-086 C-087 the subject's scopes less OpenID's", "gateway", url.Values{"audience": {"invoices"}}, "invoices", "orders-api/read payments-api/read"},
		{"C-086 a subject without scope, where scopes are the subject's", "gateway", url.Values{"audience": {"invoices"}, "subject_token": {s.accessOf(map[string]any{"scope": nil})}}, "invoices", ""},
		{"C-086 an ID token, where scopes are the subject's", "gateway", url.Values{"audience": {"invoices"}, "subject_token": {s.alice.id}, "subject_token_type": {typeID}}, "invoices", ""},
		{"C-086 an audience without scopes", "gateway", url.Values{"audience": {"crm"}}, "crm", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := s.exchange(t, tc.client, s.form(tc.with))
			c := s.granted(t, a)
			scope, _ := c["scope"].(string)
			if c["aud"] != tc.aud || !sameWords(scope, tc.scope) || c["client_id"] != tc.client {
				t.Errorf("aud %v, scope %v, client_id %v", c["aud"], c["scope"], c["client_id"])
			}
			if _, there := c["scope"]; there && tc.scope == "" {
				t.Error("an empty scope claim")
			}
		})
	}
}

func (s *exchangeStack) mintsByTheBook(t *testing.T) {
	t.Run("C-090 header and claims of RFC 9068", func(t *testing.T) {
		a := s.exchange(t, "gateway", s.form(url.Values{"audience": {"crm"}, "subject_id_token": {s.alice.id}}))
		c, header := s.granted(t, a), part(a.text("access_token"), 0)
		if len(header) != 3 || header["alg"] != "ES256" || header["typ"] != "at+jwt" || header["kid"] == "" {
			t.Errorf("header %v", header)
		}
		if iat, _ := c["iat"].(float64); time.Since(time.Unix(int64(iat), 0)).Abs() > 5*time.Second {
			t.Errorf("iat %v", c["iat"])
		}
		if groups, _ := c["groups"].([]any); c["email"] != "alice@example.com" || c["given_name"] != "Alice" || !sameTexts(groups, "customers") || c["idp"] != s.pool.Issuer() {
			t.Errorf("%v", c)
		}
		for name := range c {
			if !slices.Contains(strings.Fields("iss aud sub idp exp iat jti client_id auth_time id_iat email given_name groups"), name) {
				t.Errorf("nobody asked for %s", name)
			}
		}
	})
	t.Run("a rule for sub, and what the request says of itself", func(t *testing.T) {
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"audience": {"mail"}, "subject_id_token": {s.alice.id}})))
		if c["sub"] != "alice@example.com" || c["idp"] != s.pool.Issuer() {
			t.Errorf("%v", c)
		}
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"audience": {"mail"}})), 400, "invalid_request") // nothing to call her by
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"audience": {"mail", "invoices"}, "subject_id_token": {s.alice.id}})), 400, "invalid_target")
		c = s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"audience": {"crm"}, "request_details": {`{"ticket":"T-1"}`}})))
		if c["ticket"] != "T-1" {
			t.Errorf("%v", c)
		}
		for _, details := range []string{"[]", "x", `{"ticket":"T-1","ticket":"T-2"}`, `{"ticket":"T-1"} x`} {
			s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"audience": {"crm"}, "request_details": {details}})), 400, "invalid_request")
		}
	})
	for audience, algorithm := range map[string]string{"ledger": "EdDSA", "archive": "RS256", "orders": "ES256"} {
		t.Run("C-090 signed with the algorithm of the audience "+audience, func(t *testing.T) {
			a := s.exchange(t, "gateway", s.form(url.Values{"audience": {audience}}))
			s.granted(t, a)
			if header := part(a.text("access_token"), 0); header["alg"] != algorithm {
				t.Errorf("%v", header)
			}
		})
	}
	t.Run("C-091 how somebody signed in is carried, and never made up", func(t *testing.T) {
		known := s.accessOf(map[string]any{"acr": "urn:example:strong", "amr": []string{"pwd", "otp"}, "auth_time": 1700000000})
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {known}})))
		if amr, _ := c["amr"].([]any); c["acr"] != "urn:example:strong" || !sameTexts(amr, "pwd", "otp") || c["auth_time"] != 1700000000.0 {
			t.Errorf("%v", c)
		}
		c = s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"auth_time": nil})}})))
		if c["acr"] != nil || c["amr"] != nil || c["auth_time"] != nil {
			t.Errorf("%v", c)
		}
	})
	now := time.Now().Unix()
	sam := s.accessOf(map[string]any{"sub": "sam", "exp": now + 90})
	for _, tc := range []struct {
		name, client string
		with         url.Values
		ends         int64 // not after
	}{
		{"C-092 not after the subject token", "gateway", url.Values{"subject_token": {s.accessOf(map[string]any{"exp": now + 60})}}, now + 60},
		{"C-092 not after the actor token", "desk", url.Values{"audience": nil, "actor_token": {sam}, "actor_token_type": {typeAccess}}, now + 90},
		{"C-092 not after a subject_id_token that was sent", "gateway", url.Values{"subject_id_token": {s.idOf(map[string]any{"exp": now + 70})}}, now + 70},
		{"C-092 within the client's lifetime", "capped", url.Values{"audience": nil}, 0},
		{"C-092 within the audience's lifetime", "gateway", url.Values{"audience": {"brief"}}, 0},
		{"C-092 within the shortest of two audiences", "gateway", url.Values{"audience": {"long", "brief"}}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := s.granted(t, s.exchange(t, tc.client, s.form(tc.with)))
			exp, iat := c["exp"].(float64), c["iat"].(float64)
			switch lasts := int64(exp - iat); {
			case tc.ends != 0 && int64(exp) != tc.ends:
				t.Errorf("exp %d, want %d", int64(exp), tc.ends)
			case tc.ends == 0 && lasts != map[string]int64{"capped": 30, "gateway": 10}[tc.client]:
				t.Errorf("lasts %d s", lasts)
			}
		})
	}
	t.Run("C-092 not after the session", func(t *testing.T) {
		_, body := s.get(t, "/bff/user", s.alice.cookie)
		var user struct {
			Session struct {
				Expires time.Time `json:"expires_at"`
			}
		}
		if err := json.Unmarshal([]byte(body), &user); err != nil || user.Session.Expires.IsZero() {
			t.Fatalf("%v: %s", err, body)
		}
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.alice.session}, "subject_token_type": {typeSession}, "audience": {"long"}})))
		if exp, _ := c["exp"].(float64); int64(exp) != user.Session.Expires.Unix() {
			t.Errorf("exp %v, the session ends %v", time.Unix(int64(exp), 0), user.Session.Expires)
		}
	})
	t.Run("C-093 two hundred tokens have as many jti, and one sub", func(t *testing.T) {
		ids := map[any]bool{}
		for range 200 {
			c := part(s.exchange(t, "gateway", s.form(nil)).text("access_token"), 1)
			if ids[c["jti"]] = true; c["sub"] != part(s.alice.access, 1)["sub"] {
				t.Errorf("sub %v", c["sub"])
			}
		}
		if len(ids) != 200 || ids[nil] {
			t.Errorf("%d different", len(ids))
		}
	})
	t.Run("C-094 what comes in overwrites nothing", func(t *testing.T) {
		in := map[string]any{"jti": "theirs", "idp": "https://evil.example.com", "sid": "theirs", "id_iat": 1, "txn": "theirs", "authorization_details": []any{map[string]any{"type": "x"}}, "email": "eve@example.com", "groups": []string{"root"}, "aud": []string{clientID, "stock"}, "unknown": "x"}
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(in)}})))
		for name, want := range map[string]any{"idp": s.pool.Issuer(), "sid": nil, "id_iat": nil, "txn": nil, "authorization_details": nil, "email": nil, "groups": nil, "unknown": nil, "aud": "orders", "client_id": "gateway", "iss": s.issuer()} {
			if c[name] != want {
				t.Errorf("%s = %v, want %v", name, c[name], want)
			}
		}
		if c["jti"] == "theirs" {
			t.Error("their jti")
		}
	})
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "cnf", "client_id", "scope"} {
		t.Run("C-094 a rule for "+name+" is a fault of the configuration", func(t *testing.T) {
			t.Parallel()
			app := newCloakroom(t)
			app.configure(t, "memory:", "https://idp.example.com", "\nexchange: {audiences: {orders: {claims: {"+name+": '\"x\"'}}}}\n")
			check := exec.Command(binary, "check", "--config", app.config) //nolint:gosec // the binary under test
			check.Env = []string{"CLIENT_SECRET=" + clientSecret}
			if out, err := check.CombinedOutput(); err == nil || !strings.Contains(string(out), "orders.claims."+name) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	t.Run("C-120 a DPoP proof is never answered with a token that is not bound", func(t *testing.T) {
		request := s.tokenRequest(t, s.form(nil))
		request.SetBasicAuth("gateway", url.QueryEscape(secretsOf["gateway"]))
		request.Header.Set("DPoP", s.forge(`{"alg":"RS256","typ":"dpop+jwt"}`, `{"htm":"POST"}`))
		s.refused(t, s.do(t, request), 400, "invalid_request")
	})
}

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
			for _, private := range strings.Fields("d p q dp dq qi k oth") {
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
		for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
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
