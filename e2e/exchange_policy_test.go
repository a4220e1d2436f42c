package e2e

import (
	"encoding/json"
	"net/url"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

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
