package exchangehttp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom/exchange"
	"cloakroom/token"
)

// post sends a body as it stands.
func (w *world) post(method, target, kind, body string) reply {
	w.t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	r.SetBasicAuth("gateway", url.QueryEscape(secretA))
	return w.serve(r)
}

const formKind = "application/x-www-form-urlencoded"

func TestParsing(t *testing.T) {
	w := newWorld(t)
	good := w.ask(nil).Encode()
	for _, tc := range []struct {
		name, method, target, kind, body string
		status                           int
		code                             exchange.Code // "" is granted
	}{
		{"C-001 GET", "GET", "/oauth2/token?" + good, "", "", 405, "invalid_request"},
		{"C-001 PUT", "PUT", "/oauth2/token", formKind, good, 405, "invalid_request"},
		{"C-001 the URL is not read", "POST", "/oauth2/token?" + good, formKind, "", 400, "invalid_request"},
		{"C-001 the URL does not add", "POST", "/oauth2/token?audience=stock", formKind, good, 200, ""},
		{"C-002 JSON", "POST", "/oauth2/token", "application/json", `{"grant_type":"client_credentials"}`, 400, "invalid_request"},
		{"C-002 multipart", "POST", "/oauth2/token", "multipart/form-data; boundary=x", "--x--", 400, "invalid_request"},
		{"C-002 no type", "POST", "/oauth2/token", "", good, 400, "invalid_request"},
		{"C-002 another charset", "POST", "/oauth2/token", formKind + "; charset=latin1", good, 400, "invalid_request"},
		{"the charset may be said", "POST", "/oauth2/token", formKind + "; charset=UTF-8", good, 200, ""},
		{"C-003 unknown parameters, also twice", "POST", "/oauth2/token", formKind, good + "&x=1&x=2", 200, ""},
		{"C-004 empty optional parameters", "POST", "/oauth2/token", formKind, good + "&actor_token=&actor_token_type=&requested_token_type=&scope=&resource=&audience=&request_details=&subject_id_token=&subject_issuer=", 200, ""},
		{"C-004 empty is absent for a mandatory one", "POST", "/oauth2/token", formKind, w.ask(url.Values{"subject_token": {""}}).Encode(), 400, "invalid_request"},
		{"C-005 grant_type twice", "POST", "/oauth2/token", formKind, good + "&grant_type=client_credentials", 400, "invalid_request"},
		{"C-005 subject_token twice", "POST", "/oauth2/token", formKind, good + "&subject_token=x", 400, "invalid_request"},
		{"C-005 subject_token_type twice", "POST", "/oauth2/token", formKind, good + "&subject_token_type=x", 400, "invalid_request"},
		{"C-005 actor_token twice", "POST", "/oauth2/token", formKind, good + "&actor_token=x&actor_token=x", 400, "invalid_request"},
		{"C-005 actor_token_type twice", "POST", "/oauth2/token", formKind, good + "&actor_token_type=x&actor_token_type=x", 400, "invalid_request"},
		{"C-005 requested_token_type twice", "POST", "/oauth2/token", formKind, good + "&requested_token_type=x&requested_token_type=x", 400, "invalid_request"},
		{"C-005 scope twice", "POST", "/oauth2/token", formKind, good + "&scope=a&scope=b", 400, "invalid_request"},
		{"C-005 client_id twice", "POST", "/oauth2/token", formKind, good + "&client_id=gateway&client_id=gateway", 400, "invalid_request"},
		{"C-007 no grant_type", "POST", "/oauth2/token", formKind, w.ask(url.Values{"grant_type": nil}).Encode(), 400, "invalid_request"},
		{"C-007 unknown grant_type", "POST", "/oauth2/token", formKind, w.ask(url.Values{"grant_type": {"password"}}).Encode(), 400, "unsupported_grant_type"},
		{"C-008 a body over the limit", "POST", "/oauth2/token", formKind, good + "&x=" + strings.Repeat("y", 256<<10), 413, "invalid_request"},
		{"C-008 ten thousand scopes", "POST", "/oauth2/token", formKind, good + "&scope=" + strings.Repeat("a+", 10_000), 400, "invalid_scope"},
		{"C-008 a thousand audiences", "POST", "/oauth2/token", formKind, good + strings.Repeat("&audience=x", 1000), 400, "invalid_request"},
		{"C-008 twenty audiences", "POST", "/oauth2/token", formKind, good + strings.Repeat("&audience=invoices", 20), 400, "invalid_request"},
		{"C-008 an audience of 2 KiB", "POST", "/oauth2/token", formKind, good + "&audience=" + strings.Repeat("x", 2048), 400, "invalid_target"},
		{"C-009 not UTF-8", "POST", "/oauth2/token", formKind, good + "&scope=%ff", 400, "invalid_request"},
		{"C-009 not UTF-8 in an unknown parameter's name", "POST", "/oauth2/token", formKind, good + "&%ff=x", 400, "invalid_request"},
		{"C-009 NUL", "POST", "/oauth2/token", formKind, good + "&audience=a%00b", 400, "invalid_request"},
		{"C-009 broken escapes", "POST", "/oauth2/token", formKind, good + "&scope=%zz", 400, "invalid_request"},
		{"a semicolon is no separator", "POST", "/oauth2/token", formKind, good + ";scope=a", 400, "invalid_request"},
		{"a scope with a quote", "POST", "/oauth2/token", formKind, good + "&scope=a%22b", 400, "invalid_scope"},
		{"C-011 no subject_token", "POST", "/oauth2/token", formKind, w.ask(url.Values{"subject_token": nil}).Encode(), 400, "invalid_request"},
		{"C-012 no subject_token_type", "POST", "/oauth2/token", formKind, w.ask(url.Values{"subject_token_type": nil}).Encode(), 400, "invalid_request"},
		{"C-013 actor_token without its type", "POST", "/oauth2/token", formKind, good + "&actor_token=x", 400, "invalid_request"},
		{"C-014 actor_token_type without actor_token", "POST", "/oauth2/token", formKind, good + "&actor_token_type=" + string(exchange.AccessToken), 400, "invalid_request"},
		{"C-015 unknown subject_token_type", "POST", "/oauth2/token", formKind, w.ask(url.Values{"subject_token_type": {"urn:x"}}).Encode(), 400, "invalid_request"},
		{"C-015 a refresh token as subject", "POST", "/oauth2/token", formKind, w.ask(url.Values{"subject_token_type": {"urn:ietf:params:oauth:token-type:refresh_token"}}).Encode(), 400, "invalid_request"},
		{"C-017 unknown requested_token_type", "POST", "/oauth2/token", formKind, good + "&requested_token_type=urn:x", 400, "invalid_request"},
		{"C-017 an ID token is not issued", "POST", "/oauth2/token", formKind, good + "&requested_token_type=" + string(exchange.IDToken), 400, "invalid_request"},
		{"C-020 a refresh token is not issued", "POST", "/oauth2/token", formKind, good + "&requested_token_type=urn:ietf:params:oauth:token-type:refresh_token", 400, "invalid_request"},
		{"C-022 a relative resource", "POST", "/oauth2/token", formKind, good + "&resource=/orders", 400, "invalid_target"},
		{"C-022 a resource with a fragment", "POST", "/oauth2/token", formKind, good + "&resource=https://orders.internal.example.com%23a", 400, "invalid_target"},
		{"C-022 a resource with an empty fragment", "POST", "/oauth2/token", formKind, good + "&resource=https://orders.internal.example.com%23", 400, "invalid_target"},
		{"C-022 a resource that is no URI", "POST", "/oauth2/token", formKind, good + "&resource=:", 400, "invalid_target"},
		{"request_details that are no object", "POST", "/oauth2/token", formKind, good + "&request_details=[]", 400, "invalid_request"},
		{"request_details with a member twice", "POST", "/oauth2/token", formKind, good + `&request_details={"a":1,"a":2}`, 400, "invalid_request"},
		{"request_details", "POST", "/oauth2/token", formKind, good + `&request_details={"a":1}`, 200, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			r := w.post(tc.method, tc.target, tc.kind, tc.body)
			if tc.code == "" {
				w.claims(r)
				w.unkept(r)
				return
			}
			w.refused(r, tc.status, tc.code)
			if allow := r.header.Get("Allow"); (tc.status == 405) != (allow == "POST") {
				t.Errorf("Allow: %q", allow)
			}
			for _, name := range []string{"grant_type", "subject_token_type", "actor_token_type", "subject_token"} {
				if strings.HasSuffix(tc.name, "no "+name) && !strings.Contains(r.raw, name) {
					t.Errorf("does not name %s: %s", name, r.raw)
				}
			}
		})
	}
	if log := w.log.String(); strings.Contains(log, "panic") {
		t.Error(log)
	}
}

func TestClientAuthentication(t *testing.T) {
	w := newWorld(t)
	body := func(with url.Values) string { return w.ask(with).Encode() }
	for _, tc := range []struct {
		name   string
		auth   []string // Authorization headers
		body   string
		status int
		code   exchange.Code
	}{
		{"C-100 no credentials", nil, body(nil), 401, "invalid_client"},
		{"C-109 a client_id alone", nil, body(url.Values{"client_id": {"gateway"}}), 401, "invalid_client"},
		{"C-100 a wrong secret", []string{basic("gateway", "wrong")}, body(nil), 401, "invalid_client"},
		{"C-100 an unknown client", []string{basic("nobody", "x")}, body(nil), 401, "invalid_client"},
		{"C-100 another client's secret", []string{basic("gateway", "orders-secret")}, body(nil), 401, "invalid_client"},
		{"C-100 the secret's beginning", []string{basic("orders", "orders-secre")}, body(nil), 401, "invalid_client"},
		{"C-100 an empty secret", []string{basic("gateway", "")}, body(nil), 401, "invalid_client"},
		{"a client that has no secret", []string{basic("keyed", "x")}, body(nil), 401, "invalid_client"},
		{"the browser's side is no client", []string{basic("bff", "x")}, body(nil), 401, "invalid_client"},
		{"not base64", []string{"Basic !!!"}, body(nil), 401, "invalid_client"},
		{"no colon", []string{"Basic " + encode("gateway")}, body(nil), 401, "invalid_client"},
		{"another scheme", []string{"Bearer x"}, body(nil), 401, "invalid_client"},
		{"broken escapes in Basic", []string{"Basic " + encode("gateway:%zz")}, body(nil), 401, "invalid_client"},
		{"C-101 Basic is form-decoded", []string{"basic " + encode("gateway:s+e%3Ac%25ret%2B%C3%A9")}, body(nil), 200, ""},
		{"C-101 with %20 for a blank", []string{"Basic " + encode("gateway:s%20e%3Ac%25ret%2B%C3%A9")}, body(nil), 200, ""},
		{"Basic and the same client_id", []string{basic("gateway", secretA)}, body(url.Values{"client_id": {"gateway"}}), 200, ""},
		{"Basic and another client_id", []string{basic("gateway", secretA)}, body(url.Values{"client_id": {"orders"}}), 400, "invalid_request"},
		{"post", nil, body(url.Values{"client_id": {"gateway"}, "client_secret": {secretA}}), 200, ""},
		{"post with a wrong secret", nil, body(url.Values{"client_id": {"gateway"}, "client_secret": {"wrong"}}), 401, "invalid_client"},
		{"the next secret while it is being changed", nil, body(url.Values{"client_id": {"gateway"}, "client_secret": {"gateway-next"}}), 200, ""},
		{"C-102 Basic and post", []string{basic("gateway", secretA)}, body(url.Values{"client_secret": {secretA}}), 400, "invalid_request"},
		{"C-102 Basic twice", []string{basic("gateway", secretA), basic("gateway", secretA)}, body(nil), 400, "invalid_request"},
		{"C-102 Basic and an assertion", []string{basic("gateway", secretA)}, body(url.Values{"client_assertion": {"x"}}), 400, "invalid_request"},
		{"C-102 post and an assertion's type", nil, body(url.Values{"client_id": {"gateway"}, "client_secret": {secretA}, "client_assertion_type": {"x"}}), 400, "invalid_request"},
		{"an assertion, where no client has keys", nil, body(url.Values{"client_assertion": {"x"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}}), 401, "invalid_client"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(tc.body))
			r.Header.Set("Content-Type", formKind)
			r.Header["Authorization"] = tc.auth
			got := w.serve(r)
			if tc.code == "" {
				w.claims(got)
				return
			}
			w.refused(got, tc.status, tc.code)
			if e := w.lastEvent(); e.Minted || e.Client != "" || e.Reason == "" || e.Code != tc.code {
				t.Errorf("C-154: observed %+v", e)
			}
		})
	}
}

func TestUnknownClientAndWrongSecretReadTheSame(t *testing.T) {
	w := newWorld(t)
	unknown, wrong := w.send("nobody", "x", "/oauth2/token", w.ask(nil)), w.send("gateway", "x", "/oauth2/token", w.ask(nil))
	if unknown.status != wrong.status || unknown.raw != wrong.raw {
		t.Errorf("%d %s\n%d %s", unknown.status, unknown.raw, wrong.status, wrong.raw)
	}
}

func TestGranted(t *testing.T) {
	w := newWorld(t)
	r := w.token("gateway", w.ask(nil))
	c := w.claims(r)
	w.unkept(r)
	if r.body["issued_token_type"] != string(exchange.AccessToken) || r.body["token_type"] != "Bearer" || r.body["expires_in"] != 300.0 {
		t.Errorf("C-018, C-092: %s", r.raw)
	}
	if r.body["scope"] != "orders-api/read payments-api/read" || c["scope"] != r.body["scope"] {
		t.Errorf("C-087: scope %v", r.body["scope"])
	}
	if _, there := r.body["refresh_token"]; there {
		t.Error("C-020: a refresh token")
	}
	header, _, err := token.Inspect(r.body["access_token"].(string))
	if err != nil || header.Type != "at+jwt" || header.Algorithm != "ES256" || header.KeyID != w.keys.CurrentID() {
		t.Errorf("C-090: header %+v, %v", header, err)
	}
	want := token.Claims{"iss": us, "aud": "invoices", "sub": "alice", "idp": idp, "client_id": "gateway", "iat": w.now.Unix(), "exp": w.now.Unix() + 300, "auth_time": w.now.Unix() - 60}
	for name, value := range want {
		if c[name] != value {
			t.Errorf("C-090, C-083: %s = %v, want %v", name, c[name], value)
		}
	}
	if again := w.claims(w.token("gateway", w.ask(nil))); again["jti"] == c["jti"] || again["sub"] != c["sub"] || len(c.Text("jti")) < 16 {
		t.Errorf("C-049, C-093: jti %v and %v", c["jti"], again["jti"])
	}
	if c := w.claims(w.token("gateway", w.ask(url.Values{"audience": {"ledger"}}))); c["aud"] != "ledger" {
		t.Errorf("aud %v", c["aud"])
	}
	e := w.lastEvent()
	if !e.Minted || e.Client != "gateway" || e.Subject != "alice" || e.Issuer != idp || e.Audience != "ledger" || e.Scope == "" || e.Policy != w.service.Policy().Version() {
		t.Errorf("C-154: %+v", e)
	}
}

func TestAlgorithmOfTheAudience(t *testing.T) {
	w := newWorld(t)
	r := w.token("gateway", w.ask(url.Values{"audience": {"ledger"}}))
	header, _, err := token.Inspect(r.body["access_token"].(string))
	if err != nil || header.Algorithm != "EdDSA" {
		t.Errorf("%+v, %v", header, err)
	}
	w.refused(w.token("gateway", w.ask(url.Values{"audience": {"ledger", "invoices"}})), 400, "invalid_target")
}

func TestRequestedTypes(t *testing.T) {
	w := newWorld(t)
	for _, kind := range []exchange.TokenType{exchange.AccessToken, exchange.JWT} {
		r := w.token("gateway", w.ask(url.Values{"requested_token_type": {string(kind)}}))
		if w.claims(r); r.body["issued_token_type"] != string(kind) || r.body["token_type"] != "Bearer" {
			t.Errorf("C-019: %s", r.raw)
		}
	}
}

func TestSubjectToken(t *testing.T) {
	w := newWorld(t)
	soon, past := w.now.Unix()+3600, w.now.Unix()-3600
	raw := func(s string) []byte { return []byte(s) }
	good := w.access(nil).Reveal()
	for _, tc := range []struct{ name, token string }{
		{"C-030 a changed payload", good[:strings.Index(good, ".")+8] + "A" + good[strings.Index(good, ".")+9:]},
		{"C-030 signed by another key", string(w.issuers[evil].sign(t, nil, raw(fmt.Sprintf(`{"iss":%q,"sub":"alice","client_id":"spa","token_use":"access","exp":%d}`, idp, soon))))},
		{"C-031 alg none", none(fmt.Sprintf(`{"iss":%q,"sub":"alice","client_id":"spa","token_use":"access","exp":%d}`, idp, soon))},
		{"C-033 an unknown key id", string(w.issuers[idp].sign(t, header("kid", "other"), raw(fmt.Sprintf(`{"iss":%q,"sub":"alice","client_id":"spa","token_use":"access","exp":%d}`, idp, soon))))},
		{"C-035 crit", string(w.issuers[idp].sign(t, header("crit", []string{"x"}), raw(fmt.Sprintf(`{"iss":%q,"sub":"alice","client_id":"spa","token_use":"access","exp":%d}`, idp, soon))))},
		{"C-036 a key of its own", string(w.issuers[evil].sign(t, header("jwk", w.issuers[evil].jwk()), raw(fmt.Sprintf(`{"iss":%q,"sub":"alice","client_id":"spa","token_use":"access","exp":%d}`, idp, soon))))},
		{"C-037 expired", w.access(token.Claims{"exp": past}).Reveal()},
		{"C-038 no exp", w.access(token.Claims{"exp": nil}).Reveal()},
		{"C-039 nbf ahead", w.access(token.Claims{"nbf": soon}).Reveal()},
		{"C-040 iat ahead", w.access(token.Claims{"iat": soon}).Reveal()},
		{"C-042 an issuer that is not trusted", w.signed(evil, changed(w.accessClaims("alice"), token.Claims{"iss": evil})).Reveal()},
		{"C-042 no issuer", w.access(token.Claims{"iss": nil}).Reveal()},
		{"C-043 the key of another trusted issuer", w.signed(desk, w.accessClaims("alice")).Reveal()},
		{"C-044 another client of the same pool", w.access(token.Claims{"client_id": "other"}).Reveal()},
		{"C-021 an ID token as access token", w.id(nil).Reveal()},
		{"C-021 an ID token of another client of the same pool, whose signature any API would accept", w.id(token.Claims{"aud": "other"}).Reveal()},
		{"C-046 five parts", good + ".a.b"},
		{"C-046 two parts", good[:strings.LastIndex(good, ".")]},
		{"C-047 a JSON serialisation", `{"payload":"e30","protected":"e30","signature":""}`},
		{"C-048 a claim twice", string(w.issuers[idp].sign(t, nil, raw(fmt.Sprintf(`{"iss":%q,"sub":"mallory","sub":"alice","client_id":"spa","token_use":"access","exp":%d}`, idp, soon))))},
		{"opaque", "opaque-token"},
		{"no subject", w.access(token.Claims{"sub": nil}).Reveal()},
		{"C-121 bound to a key", w.access(token.Claims{"cnf": map[string]any{"jkt": "x"}}).Reveal()},
		{"C-063 act a list", w.access(token.Claims{"act": []any{map[string]any{"sub": "sam"}}}).Reveal()},
		{"one of ours, for another audience", w.signIn("alice", "orders").Reveal()},
		{"less than five seconds left", w.access(token.Claims{"exp": w.now.Unix() + 4}).Reveal()},
		{"very long", strings.Repeat("a", 100_000)},
		{"many dots", strings.Repeat(".", 60_000)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			r := w.token("gateway", w.ask(url.Values{"subject_token": {tc.token}}))
			w.refused(r, 400, "invalid_request")
			if strings.Contains(r.raw, "signature") || strings.Contains(r.raw, "expired") || strings.Contains(r.raw, "unknown") {
				t.Errorf("tells why: %s", r.raw)
			}
			if e := w.lastEvent(); e.Minted || e.Client != "gateway" || e.Reason == "" || strings.Contains(e.Reason, tc.token) {
				t.Errorf("C-154: observed %+v", e)
			}
		})
	}
}

func TestIDTokenAsSubject(t *testing.T) {
	w := newWorld(t)
	as := func(subject string) url.Values {
		return w.ask(url.Values{"subject_token": {subject}, "subject_token_type": {string(exchange.IDToken)}})
	}
	c := w.claims(w.token("gateway", as(w.id(nil).Reveal())))
	if c["email"] != "alice@example.com" || c["scope"] != nil || c["nonce"] != nil || c["id_iat"] != w.now.Unix()-60 {
		t.Errorf("%v", c)
	}
	w.refused(w.token("gateway", as(w.access(nil).Reveal())), 400, "invalid_request")
	w.refused(w.token("gateway", as(w.id(token.Claims{"aud": "other"}).Reveal())), 400, "invalid_request")
	w.refused(w.token("gateway", as(w.signIn("alice", "orders").Reveal())), 400, "invalid_request")
	w.refused(w.token("orders", as(w.id(nil).Reveal())), 400, "invalid_request")
	w.refused(w.token("gateway", w.ask(url.Values{"subject_token": {w.id(nil).Reveal()}, "subject_token_type": {string(exchange.IDToken)}, "audience": {"orders"}})), 400, "invalid_scope")
}

func TestJoinedIDToken(t *testing.T) {
	w := newWorld(t)
	access := w.access(nil)
	with := func(id string) url.Values {
		return w.ask(url.Values{"subject_token": {access.Reveal()}, "subject_id_token": {id}, "audience": {"orders"}})
	}
	hash := token.HalfHash("ES256", access.Reveal())
	c := w.claims(w.token("gateway", with(w.id(token.Claims{"at_hash": hash}).Reveal())))
	if c["email"] != "alice@example.com" || c["scope"] != "orders:read" || c["id_iat"] != w.now.Unix()-60 || c["nonce"] != nil || c["at_hash"] != nil {
		t.Errorf("the join: %v", c)
	}
	if c := w.claims(w.token("gateway", with(w.id(token.Claims{"exp": w.now.Unix() + 100}).Reveal()))); c["exp"] != w.now.Unix()+100 {
		t.Errorf("C-092: exp %v does not end with the ID token", c["exp"])
	}
	if c := w.claims(w.token("gateway", with(""))); c["email"] != nil {
		t.Errorf("an e-mail from nowhere: %v", c)
	}
	for _, tc := range []struct{ name, id string }{
		{"another person's", w.signed(idp, w.idClaims("bob")).Reveal()},
		{"of another app client", w.id(token.Claims{"aud": "second"}).Reveal()},
		{"with the hash of another access token", w.id(token.Claims{"at_hash": token.HalfHash("ES256", "other")}).Reveal()},
		{"of another sign-in", w.id(token.Claims{"auth_time": w.now.Unix() - 61}).Reveal()},
		{"expired", w.id(token.Claims{"exp": w.now.Unix() - 100}).Reveal()},
		{"by another issuer", w.signed(evil, changed(w.idClaims("alice"), token.Claims{"iss": evil})).Reveal()},
		{"an access token", access.Reveal()},
		{"no token", "x"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			w.refused(w.token("gateway", with(tc.id)), 400, "invalid_request")
		})
	}
	w.t = t
	minted := w.ask(url.Values{"subject_token": {w.signIn("alice", "orders").Reveal()}, "subject_id_token": {w.id(nil).Reveal()}, "audience": nil})
	w.refused(w.token("orders", minted), 400, "invalid_request")
	id := w.ask(url.Values{"subject_token": {w.id(nil).Reveal()}, "subject_token_type": {string(exchange.IDToken)}, "subject_id_token": {w.id(nil).Reveal()}})
	w.refused(w.token("gateway", id), 400, "invalid_request")
}

func TestSubjectIssuer(t *testing.T) {
	w := newWorld(t)
	for _, named := range []string{"main", idp} {
		w.claims(w.token("gateway", w.ask(url.Values{"subject_issuer": {named}})))
	}
	w.refused(w.token("gateway", w.ask(url.Values{"subject_issuer": {"support-desk"}})), 400, "invalid_request")
}

func TestMintedSubject(t *testing.T) {
	w := newWorld(t)
	minted := w.signIn("alice", "orders")
	ask := w.ask(url.Values{"subject_token": {minted.Reveal()}, "audience": nil})
	c := w.claims(w.token("orders", ask))
	act, _ := c["act"].(map[string]any)
	if c["aud"] != "payments" || c["sub"] != "alice" || c["idp"] != idp || c["scope"] != "payments:read" || c["email"] != "alice@example.com" || c["sid"] != "sid-alice" || act["sub"] != "orders" || act["iss"] != us {
		t.Errorf("C-061: %v", c)
	}
	if e := w.lastEvent(); e.Actor != us+" orders" || e.SID != "sid-alice" {
		t.Errorf("C-154: %+v", e)
	}
	ask.Set("subject_token_type", string(exchange.JWT))
	w.claims(w.token("orders", ask))

	w.refused(w.token("gateway", w.ask(url.Values{"subject_token": {minted.Reveal()}})), 400, "invalid_request") // C-045
	w.sessions.down = true
	w.refused(w.token("orders", ask), 503, "temporarily_unavailable")
	w.sessions.down = false
	w.revoked.down = true
	w.refused(w.token("orders", ask), 503, "temporarily_unavailable")
	w.revoked.down = false

	// A session of another provider under the same handle is not the token's.
	e := w.sessions.of["sid-alice"]
	e.Issuer = evil
	w.sessions.of["sid-alice"] = e
	w.refused(w.token("orders", ask), 400, "invalid_request")

	delete(w.sessions.of, "sid-alice") // C-050: signed out
	w.refused(w.token("orders", ask), 400, "invalid_request")
}

func TestSessionSubject(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice", "orders")
	as := func(client, value string) reply {
		return w.token(client, w.ask(url.Values{"subject_token": {value}, "subject_token_type": {string(exchange.SessionToken)}, "audience": nil, "resource": {"https://orders.internal.example.com"}}))
	}
	if c := w.claims(as("gateway", "v1.sid-alice")); c["aud"] != "orders" || c["sub"] != "alice" || c["sid"] != "sid-alice" || c["email"] != "alice@example.com" {
		t.Errorf("%v", c)
	}
	w.refused(as("gateway", "v1.sid-nobody"), 400, "invalid_request")
	w.refused(as("gateway", "sid-alice"), 400, "invalid_request")
	w.refused(as("orders", "v1.sid-alice"), 400, "invalid_request")
	w.sessions.down = true
	w.refused(as("gateway", "v1.sid-alice"), 503, "temporarily_unavailable")
}

func TestActorToken(t *testing.T) {
	w := newWorld(t)
	sam := func(with token.Claims) string {
		return w.signed(idp, changed(changed(w.accessClaims("sam"), token.Claims{"groups": []string{"support"}}), with)).Reveal()
	}
	ask := func(ticket token.Claims, actor, kind string) reply {
		return w.token("support", w.ask(url.Values{
			"subject_token": {w.ticket(ticket).Reveal()}, "subject_token_type": {string(exchange.JWT)}, "audience": nil,
			"actor_token": {actor}, "actor_token_type": {kind},
		}))
	}
	at := string(exchange.AccessToken)
	c := w.claims(ask(nil, sam(nil), at))
	act, _ := c["act"].(map[string]any)
	if c["sub"] != "carol" || c["idp"] != idp || act["sub"] != "sam" || act["iss"] != idp || c["scope"] != "payments:read" {
		t.Errorf("the support desk's ticket: %v", c)
	}
	for _, tc := range []struct {
		name        string
		ticket      token.Claims
		actor, kind string
		status      int
		code        exchange.Code
	}{
		{"C-016 an unknown actor_token_type", nil, sam(nil), "urn:x", 400, "invalid_request"},
		{"C-016 an ID token as actor", nil, w.id(nil).Reveal(), string(exchange.IDToken), 400, "invalid_request"},
		{"C-060 a bad signature", nil, sam(nil) + "A", at, 400, "invalid_request"},
		{"C-060 expired", nil, sam(token.Claims{"exp": w.now.Unix() - 100}), at, 400, "invalid_request"},
		{"C-060 of an issuer that is not trusted", nil, w.signed(evil, changed(w.accessClaims("sam"), token.Claims{"iss": evil})).Reveal(), at, 400, "invalid_request"},
		{"C-060 no subject", nil, sam(token.Claims{"sub": nil}), at, 400, "invalid_request"},
		{"C-060 one of ours for another audience", nil, w.signIn("sam", "orders").Reveal(), at, 400, "invalid_request"},
		{"C-066 another employee", token.Claims{"may_act": map[string]any{"iss": idp, "sub": "eve"}}, sam(nil), at, 400, "invalid_request"},
		{"C-067 may_act a text", token.Claims{"may_act": "sam"}, sam(nil), at, 400, "invalid_request"},
		{"C-068 no actor token", nil, "", "", 400, "invalid_request"},
		{"a ticket for somebody else's exchange", token.Claims{"aud": "elsewhere"}, sam(nil), at, 400, "invalid_request"},
		{"an actor without the group", nil, sam(token.Claims{"groups": []string{"sales"}}), at, 400, "invalid_scope"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			w.refused(ask(tc.ticket, tc.actor, tc.kind), tc.status, tc.code)
		})
	}
	w.t = t
	if c := w.claims(ask(nil, sam(token.Claims{"exp": w.now.Unix() + 50}), at)); c["exp"] != w.now.Unix()+50 {
		t.Errorf("C-092: exp %v does not end with the actor token", c["exp"])
	}
	w.refused(w.token("gateway", w.ask(url.Values{"actor_token": {sam(nil)}, "actor_token_type": {at}})), 400, "invalid_request")
}

func TestMintedActor(t *testing.T) {
	w := newWorld(t, func(p *exchange.PolicyConfig, _ *exchangehttpConfig) {
		p.Audiences = append(p.Audiences, exchange.AudienceConfig{Name: "support", Lifetime: time.Minute, Subject: `"employee-" + id.sub`, Claims: []exchange.ClaimConfig{{Claim: "groups", Value: `["support"]`}}})
	})
	sam := w.signIn("sam", "support")
	ask := w.ask(url.Values{
		"subject_token": {w.ticket(nil).Reveal()}, "subject_token_type": {string(exchange.JWT)}, "audience": nil,
		"actor_token": {sam.Reveal()}, "actor_token_type": {string(exchange.AccessToken)},
	})
	c := w.claims(w.token("support", ask))
	if act, _ := c["act"].(map[string]any); act["sub"] != "sam" || act["iss"] != idp || c["sid"] != nil || c["exp"] != w.now.Unix()+60 {
		t.Errorf("%v", c)
	}
	delete(w.sessions.of, "sid-sam")
	w.refused(w.token("support", ask), 400, "invalid_request")
}

func TestTargetsAndScopes(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		name string
		with url.Values
		code exchange.Code
	}{
		{"C-080 an unknown audience", url.Values{"audience": {"nowhere"}}, "invalid_target"},
		{"C-080 an unknown resource", url.Values{"audience": nil, "resource": {"https://nowhere.example.com"}}, "invalid_target"},
		{"C-081 an audience of other clients", url.Values{"audience": {"stock"}}, "invalid_target"},
		{"C-082 one of two", url.Values{"audience": {"invoices", "stock"}}, "invalid_target"},
		{"C-084 none", url.Values{"audience": nil}, "invalid_target"},
		{"C-085 over-asking", url.Values{"scope": {"orders-api/read orders-api/write"}}, "invalid_scope"},
		{"allow says no", url.Values{"audience": {"private"}}, "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			w.refused(w.token("gateway", w.ask(tc.with)), 400, tc.code)
		})
	}
	w.t = t
	unknown, others := w.token("gateway", w.ask(url.Values{"audience": {"nowhere"}})), w.token("gateway", w.ask(url.Values{"audience": {"stock"}}))
	if unknown.raw != others.raw {
		t.Errorf("C-081: %s, %s", unknown.raw, others.raw)
	}
	for _, order := range [][]string{{"invoices", "payments"}, {"payments", "invoices"}} { // C-006
		c := w.claims(w.token("gateway", w.ask(url.Values{"audience": order})))
		if fmt.Sprint(c.Audience()) != fmt.Sprint(order) {
			t.Errorf("C-083: aud %v", c["aud"])
		}
	}
	r := w.token("gateway", w.ask(url.Values{"scope": {"orders-api/read"}}))
	if c := w.claims(r); c["scope"] != "orders-api/read" {
		t.Errorf("C-085: %v", c)
	}
}

func TestClientCredentials(t *testing.T) {
	w := newWorld(t)
	form := url.Values{"grant_type": {"client_credentials"}}
	r := w.token("batch", form)
	c := w.claims(r)
	if c["sub"] != "batch" || c["idp"] != us || c["client_id"] != "batch" || c["aud"] != "stock" || c["scope"] != "stock:write" || c["act"] != nil || r.body["issued_token_type"] != nil {
		t.Errorf("%v %s", c, r.raw)
	}
	w.refused(w.token("orders", form), 400, "unauthorized_client") // C-108
	w.refused(w.token("batch", url.Values{"grant_type": {"client_credentials"}, "audience": {"payments"}}), 400, "invalid_target")
	// A client's own token is a subject like any other, for who may present it.
	own := w.ask(url.Values{"subject_token": {r.body["access_token"].(string)}, "audience": nil})
	if c := w.claims(w.token("batch", own)); c["sub"] != "batch" || c["idp"] != us {
		t.Errorf("%v", c)
	}
}

func TestDPoPProofIsNotIgnored(t *testing.T) {
	w := newWorld(t)
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(w.ask(nil).Encode()))
	r.Header.Set("Content-Type", formKind)
	r.Header.Set("DPoP", "x.y.z")
	r.SetBasicAuth("gateway", url.QueryEscape(secretA))
	w.refused(w.serve(r), 400, "invalid_request")
}

func TestKeysThatCannotBeHad(t *testing.T) {
	w := newWorld(t)
	w.issuers[idp].down = true
	w.refused(w.token("gateway", w.ask(nil)), 503, "temporarily_unavailable") // C-151
	if log := w.log.String(); !strings.Contains(log, `"level":"WARN"`) || strings.Contains(log, w.access(nil).Reveal()[:40]) {
		t.Errorf("log: %s", log)
	}
}

// A token of ours is an access token, for the audiences its bearer answers to, and nothing else.
func TestMintedTokenIsOnlyWhatItIs(t *testing.T) {
	w := newWorld(t, func(p *exchange.PolicyConfig, _ *exchangehttpConfig) {
		for i := range p.Clients {
			switch p.Clients[i].ID {
			case "gateway":
				p.Clients[i].SubjectAudiences = nil
			case "orders":
				p.Clients[i].SubjectTypes = append(p.Clients[i].SubjectTypes, exchange.IDToken)
			}
		}
	})
	minted := w.signIn("alice", "orders").Reveal()
	w.refused(w.token("gateway", w.ask(url.Values{"subject_token": {minted}})), 400, "invalid_request")
	w.refused(w.token("orders", w.ask(url.Values{"subject_token": {minted}, "subject_token_type": {string(exchange.IDToken)}, "audience": nil})), 400, "invalid_request")
}

func TestIDTokenIsNoActor(t *testing.T) {
	w := newWorld(t)
	ticket := w.ticket(token.Claims{"may_act": map[string]any{"iss": idp, "sub": "alice"}}).Reveal()
	ask := w.ask(url.Values{
		"subject_token": {ticket}, "subject_token_type": {string(exchange.JWT)}, "audience": nil,
		"actor_token": {w.id(token.Claims{"groups": []string{"support"}}).Reveal()}, "actor_token_type": {string(exchange.IDToken)},
	})
	w.refused(w.token("support", ask), 400, "invalid_request")
}

func TestActorWithoutANameIsNoActor(t *testing.T) {
	w := newWorld(t, func(p *exchange.PolicyConfig, _ *exchangehttpConfig) {
		for i := range p.Clients {
			if p.Clients[i].ID == "gateway" {
				p.Clients[i].Actor = exchange.ActorOptional
			}
		}
	})
	ask := func(actor token.Claims) reply {
		return w.token("gateway", w.ask(url.Values{
			"actor_token": {w.signed(idp, changed(w.accessClaims("sam"), actor)).Reveal()}, "actor_token_type": {string(exchange.AccessToken)},
		}))
	}
	if act, _ := w.claims(ask(nil))["act"].(map[string]any); act["sub"] != "sam" {
		t.Errorf("act %v", act)
	}
	w.refused(ask(token.Claims{"sub": nil}), 400, "invalid_request") // C-060
}
