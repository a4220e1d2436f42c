package exchangehttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

// FuzzTokenEndpoint: whatever is sent, the answer is JSON that nobody keeps, no failure of ours, and no token without
// credentials.
func FuzzTokenEndpoint(f *testing.F) {
	w := newWorld(f)
	good := w.ask(nil).Encode()
	f.Add("", formKind, good)
	f.Add(basic("gateway", secretA), formKind, good)
	f.Add(basic("gateway", secretA), formKind, good+"&actor_token=&scope=a+b&resource=https://x")
	f.Add(basic("gateway", "wrong"), formKind+"; charset=utf-8", "grant_type=client_credentials&client_id=x")
	f.Add(basic("batch", "batch-secret"), formKind, "grant_type=client_credentials&audience=payments&request_details={}")
	f.Add("Basic Og==", formKind, "client_id=gateway&client_secret=%00&&&==&%")
	f.Fuzz(func(t *testing.T, authorization, kind, body string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header["Content-Type"] = []string{kind}
		if authorization != "" {
			r.Header["Authorization"] = []string{authorization}
		}
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		if rec.Code >= 500 {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if !strings.HasPrefix(rec.Body.String(), "{") || rec.Header().Get("Content-Type") != "application/json" || rec.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%v %s", rec.Header(), rec.Body)
		}
		if (rec.Code == http.StatusOK) != strings.HasPrefix(rec.Body.String(), `{"access_token":`) {
			t.Errorf("%d %s", rec.Code, rec.Body)
		}
		if rec.Code == http.StatusOK && authorization == "" && !strings.Contains(body, "client_secret=") {
			t.Errorf("a token without credentials: %s", rec.Body)
		}
	})
}

// FuzzClientAssertion: whatever a client's key signed, and whatever is sent in place of an assertion, a token is only
// given to who may have it, and for each jti once.
func FuzzClientAssertion(f *testing.F) {
	w := newWorld(f)
	form := w.ask(url.Values{"audience": {"ledger"}})
	for _, with := range []token.Claims{
		nil, {"aud": []string{us, us + "/oauth2/token"}}, {"aud": []string{us, "https://other.example"}}, {"exp": w.now.Unix() + 301}, {"exp": nil}, {"exp": "soon"},
		{"jti": nil}, {"jti": "twice"}, {"jti": "twice", "x": 1}, {"sub": "gateway"}, {"iss": "gateway", "sub": "gateway"}, {"nbf": w.now.Unix() + 600}, {"iat": 1e30},
	} {
		payload, err := json.Marshal(w.assertionClaims(with))
		if err != nil {
			f.Fatal(err)
		}
		f.Add("JWT", string(payload), "", "")
		f.Add("", string(payload), "", "keyed")
	}
	f.Add("at+jwt", `{"iss":"keyed","sub":"keyed","aud":"`+us+`","aud":"x"}`, "", "")
	f.Add("", "", none(`{"iss":"keyed","sub":"keyed"}`), "")
	f.Add("", "", w.assert("rsa", jose.RS256, header("kid", nil), nil), "keyed")
	f.Add("", "", "a.b.c", "nobody")
	used := map[string]bool{}
	f.Fuzz(func(t *testing.T, typ, payload, raw, clientID string) {
		signed := raw == ""
		if signed {
			raw = assertion(t, keyed()["ec"], "ec", jose.ES256, header("typ", typ), []byte(payload))
		}
		body := asserted(raw, form)
		body["client_id"] = []string{clientID}
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body.Encode()))
		r.Header.Set("Content-Type", formKind)
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		if rec.Code >= 500 || !strings.HasPrefix(rec.Body.String(), "{") {
			t.Fatalf("%d %s", rec.Code, rec.Body)
		}
		if rec.Code != http.StatusOK {
			return
		}
		_, c, err := token.Inspect(raw)
		exp, isDate := c["exp"].(int64)
		aud := c.Audience()
		jti, _ := c["jti"].(string)
		if err != nil || c["iss"] != "keyed" || c["sub"] != "keyed" || (clientID != "" && clientID != "keyed") || !isDate || exp > w.now.Unix()+300 || exp <= w.now.Unix()-30 ||
			len(aud) == 0 || slices.ContainsFunc(aud, func(one string) bool { return one != us && one != us+"/oauth2/token" }) || jti == "" {
			t.Errorf("a token for %v (%v)", c, err)
		}
		if signed && used[jti] {
			t.Errorf("a token for a jti that was used: %q", jti)
		}
		used[jti] = true
	})
}
