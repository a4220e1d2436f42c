package exchangehttp_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/token"
)

type exchangehttpConfig = exchangehttp.Config

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func basic(id, given string) string {
	return "Basic " + encode(url.QueryEscape(id)+":"+url.QueryEscape(given))
}

func header(name jose.HeaderKey, value any) map[jose.HeaderKey]any {
	return map[jose.HeaderKey]any{name: value}
}

// none is a token that nobody signed.
func none(payload string) string {
	b := base64.RawURLEncoding
	return b.EncodeToString([]byte(`{"alg":"none"}`)) + "." + b.EncodeToString([]byte(payload)) + "."
}

func (w *world) get(path string, ifNoneMatch string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	if ifNoneMatch != "" {
		r.Header.Set("If-None-Match", ifNoneMatch)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

func TestMetadata(t *testing.T) {
	w := newWorld(t)
	one, other := w.get("/.well-known/oauth-authorization-server", ""), w.get("/.well-known/openid-configuration", "")
	if one.Code != 200 || one.Body.String() != other.Body.String() {
		t.Fatalf("C-130: %d %s, %s", one.Code, one.Body, other.Body)
	}
	var m map[string]any
	if err := json.Unmarshal(one.Body.Bytes(), &m); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"issuer": `"` + us + `"`, "token_endpoint": `"` + us + `/oauth2/token"`, "jwks_uri": `"` + us + `/.well-known/jwks.json"`,
		"introspection_endpoint": `"` + us + `/oauth2/introspect"`, "revocation_endpoint": `"` + us + `/oauth2/revoke"`, "response_types_supported": `[]`,
		"grant_types_supported":                                    `["urn:ietf:params:oauth:grant-type:token-exchange","client_credentials"]`,
		"token_endpoint_auth_methods_supported":                    `["client_secret_basic","client_secret_post","private_key_jwt"]`,
		"introspection_endpoint_auth_methods_supported":            `["client_secret_basic","client_secret_post","private_key_jwt"]`,
		"revocation_endpoint_auth_methods_supported":               `["client_secret_basic","client_secret_post","private_key_jwt"]`,
		"token_endpoint_auth_signing_alg_values_supported":         `["RS256","PS256","ES256","EdDSA"]`,
		"introspection_endpoint_auth_signing_alg_values_supported": `["RS256","PS256","ES256","EdDSA"]`,
		"revocation_endpoint_auth_signing_alg_values_supported":    `["RS256","PS256","ES256","EdDSA"]`,
		"access_token_signing_alg_values_supported":                `["ES256","EdDSA"]`,
	}
	for name, value := range want {
		got, err := json.Marshal(m[name])
		if err != nil || string(got) != value {
			t.Errorf("C-130: %s = %s, want %s", name, got, value)
		}
	}
	if len(m) != len(want) {
		t.Errorf("C-130: more is told than works: %s", one.Body)
	}
}

func TestMetadataOfAnIssuerWithAPath(t *testing.T) {
	w := newWorld(t, func(p *exchange.PolicyConfig, c *exchangehttpConfig) { p.Issuer, c.URL = us+"/sts", us+"/" })
	for _, path := range []string{
		"/.well-known/oauth-authorization-server", "/.well-known/oauth-authorization-server/sts", "/.well-known/openid-configuration/sts", "/sts/.well-known/openid-configuration",
	} {
		if rec := w.get(path, ""); rec.Code != 200 || !strings.Contains(rec.Body.String(), `"issuer":"`+us+`/sts"`) || !strings.Contains(rec.Body.String(), us+"/oauth2/token") {
			t.Errorf("C-130: %s: %d %s", path, rec.Code, rec.Body)
		}
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	rec := w.get("/.well-known/jwks.json", "")
	set, err := token.ParseJWKS(rec.Body.Bytes())
	if rec.Code != 200 || err != nil || len(set) == 0 {
		t.Fatalf("C-131: %d %v %s", rec.Code, err, rec.Body)
	}
	for _, key := range set {
		if key.KeyID == "" || key.Algorithm == "" || key.Use != "sig" || !key.IsPublic() {
			t.Errorf("C-131: %+v", key)
		}
	}
	if cache := rec.Header().Get("Cache-Control"); cache != "public, max-age=1800" {
		t.Errorf("C-131: Cache-Control %q", cache)
	}
	etag := rec.Header().Get("ETag")
	for _, known := range []string{etag, "W/" + etag, `"x", ` + etag, "*"} {
		if again := w.get("/.well-known/jwks.json", known); again.Code != 304 || again.Body.Len() != 0 || again.Header().Get("ETag") != etag {
			t.Errorf("C-131: If-None-Match %s: %d", known, again.Code)
		}
	}
	if again := w.get("/.well-known/jwks.json", `"x"`); again.Code != 200 {
		t.Errorf("C-131: another ETag: %d", again.Code)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	w := newWorld(t)
	for _, tc := range []struct {
		method, path, allow string
		status              int
	}{
		{"GET", "/", "", 404},
		{"POST", "/oauth2/token/", "", 404},
		{"GET", "/oauth2/introspect", "POST", 405},
		{"DELETE", "/oauth2/revoke", "POST", 405},
		{"POST", "/.well-known/jwks.json", "GET, HEAD", 405},
		{"BREW", "/oauth2/token", "", 405},
	} {
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, httptest.NewRequest(tc.method, tc.path, nil))
		if rec.Code != tc.status || (tc.allow != "" && rec.Header().Get("Allow") != tc.allow) || !strings.HasPrefix(rec.Body.String(), `{"error":"invalid_request"`) {
			t.Errorf("%s %s: %d, Allow %q, %s", tc.method, tc.path, rec.Code, rec.Header().Get("Allow"), rec.Body)
		}
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequest(http.MethodHead, "/.well-known/jwks.json", nil))
	if rec.Code != 200 {
		t.Errorf("HEAD: %d", rec.Code)
	}
}

func TestPublished(t *testing.T) {
	w := newWorld(t)
	server, err := exchangehttp.New(exchangehttp.Config{Service: w.service, Keys: w.keys, URL: us, Log: discard()})
	if err != nil {
		t.Fatal(err)
	}
	published := server.Published()
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration"} {
		rec := httptest.NewRecorder()
		if published[path] == nil {
			t.Fatalf("%s is not published", path)
		}
		published[path].ServeHTTP(rec, httptest.NewRequest(http.MethodGet, path, nil))
		if rec.Code != http.StatusOK {
			t.Errorf("%s: %d", path, rec.Code)
		}
	}
	for path := range published {
		if !strings.HasPrefix(path, "/.well-known/") {
			t.Errorf("%s is published", path)
		}
	}
}

func TestIntrospection(t *testing.T) {
	w := newWorld(t)
	minted := w.signIn("alice", "orders").Reveal()
	ask := func(client, raw string) reply {
		return w.send(client, secrets[client], "/oauth2/introspect", url.Values{"token": {raw}})
	}
	inactive := func(why string, r reply) {
		t.Helper()
		if r.status != 200 || r.raw != `{"active":false}` {
			t.Errorf("C-133: %s: %d %s", why, r.status, r.raw)
		}
	}
	r := ask("orders", minted)
	w.unkept(r)
	if r.body["active"] != true || r.body["sub"] != "alice" || r.body["aud"] != "orders" || r.body["scope"] != "orders:read" || r.body["token_type"] != "Bearer" || r.body["client_id"] != "bff" {
		t.Errorf("C-133: %s", r.raw)
	}
	delegated := w.token("orders", w.ask(url.Values{"subject_token": {minted}, "audience": nil})).body["access_token"].(string)
	inactive("not of the caller's audience", ask("orders", delegated))
	inactive("a provider's token", ask("orders", w.access(nil).Reveal()))
	inactive("no token", ask("orders", "x"))
	inactive("a changed token", ask("orders", minted+"A"))
	w.refused(w.send("", "", "/oauth2/introspect", url.Values{"token": {minted}}), 401, "invalid_client")
	w.refused(ask("orders", ""), 400, "invalid_request")
	w.sessions.down = true
	w.refused(ask("orders", minted), 503, "temporarily_unavailable")
	w.sessions.down = false
	delete(w.sessions.of, "sid-alice")
	inactive("C-135 signed out", ask("orders", minted))
	minted = w.signIn("bob", "orders").Reveal()
	w.now = w.now.Add(300 * time.Second)
	inactive("ended", ask("orders", minted))
}

func TestRevocation(t *testing.T) {
	w := newWorld(t)
	own := w.token("batch", url.Values{"grant_type": {"client_credentials"}}).body["access_token"].(string)
	revoke := func(client, raw string) reply {
		return w.send(client, secrets[client], "/oauth2/revoke", url.Values{"token": {raw}, "token_type_hint": {"access_token"}})
	}
	introspect := func() any {
		return w.send("batch", secrets["batch"], "/oauth2/introspect", url.Values{"token": {own}}).body["active"]
	}
	if introspect() != true {
		t.Fatal("not active")
	}
	w.refused(revoke("orders", own), 400, "unauthorized_client")
	w.refused(w.send("", "", "/oauth2/revoke", url.Values{"token": {own}}), 401, "invalid_client")
	w.refused(revoke("batch", ""), 400, "invalid_request")
	if r := revoke("batch", "unknown"); r.status != 200 {
		t.Errorf("C-134: an unknown token: %d", r.status)
	}
	if introspect() != true {
		t.Error("C-134: another client revoked it")
	}
	w.revoked.down = true
	w.refused(revoke("batch", own), 503, "temporarily_unavailable")
	w.revoked.down = false
	if r := revoke("batch", own); r.status != 200 || introspect() != false {
		t.Errorf("C-134: %d, active %v", r.status, introspect())
	}
	w.refused(w.token("batch", w.ask(url.Values{"subject_token": {own}, "audience": nil})), 400, "invalid_request") // C-050
}

func TestRate(t *testing.T) {
	w := newWorld(t, func(_ *exchange.PolicyConfig, c *exchangehttpConfig) { c.TokensPerSecond = 2 })
	for range 2 {
		w.claims(w.token("gateway", w.ask(nil)))
	}
	r := w.token("gateway", w.ask(nil))
	w.refused(r, 429, "temporarily_unavailable") // C-150
	if e := w.lastEvent(); e.Client != "gateway" || e.Reason != "over its rate" {
		t.Errorf("C-154: %+v", e)
	}
	for range 5 { // who hammers is held back no longer for it
		w.refused(w.token("gateway", w.ask(nil)), 429, "temporarily_unavailable")
	}
	w.claims(w.token("batch", url.Values{"grant_type": {"client_credentials"}})) // another client is not held back
	w.now = w.now.Add(time.Second)
	w.claims(w.token("gateway", w.ask(nil)))
}

// TestNobodyGetsAnothersToken: 64 clients at once, each with its own person, on the route cache and the endpoint.
func TestNobodyGetsAnothersToken(t *testing.T) {
	w := newWorld(t)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			person := fmt.Sprintf("person-%d", i)
			for range 5 {
				minted := w.signIn(person, "orders")
				_, c, err := token.Inspect(minted.Reveal())
				if err != nil || c["sub"] != person || c["email"] != person+"@example.com" || c["sid"] != "sid-"+person {
					t.Errorf("%s got %v, %v", person, c, err)
				}
				c = w.claims(w.token("orders", w.ask(url.Values{"subject_token": {minted.Reveal()}, "audience": nil})))
				if c["sub"] != person || c["email"] != person+"@example.com" || c["sid"] != "sid-"+person {
					t.Errorf("%s got %v", person, c)
				}
				c = w.claims(w.token("gateway", w.ask(url.Values{"subject_token": {w.signed(idp, w.accessClaims(person)).Reveal()}, "subject_id_token": {w.signed(idp, w.idClaims(person)).Reveal()}})))
				if c["sub"] != person || c["email"] != person+"@example.com" {
					t.Errorf("%s got %v", person, c)
				}
			}
		})
	}
	all.Wait()
}

// TestNoTokenIsToldOn: whatever is asked, no presented token stands in an answer, an event or the log (C-095).
func TestNoTokenIsToldOn(t *testing.T) {
	w := newWorld(t)
	access, id := w.access(nil).Reveal(), w.id(nil).Reveal()
	var answers strings.Builder
	for _, with := range []url.Values{
		nil, {"subject_id_token": {id}}, {"subject_token_type": {string(exchange.IDToken)}}, {"subject_token": {id}}, {"audience": {"nowhere"}}, {"scope": {"x"}}, {"subject_token": {access + "x"}},
	} {
		form := w.ask(url.Values{"subject_token": {access}})
		maps.Copy(form, with)
		r := w.token("gateway", form)
		answers.WriteString(r.raw)
		if minted, ok := r.body["access_token"].(string); ok {
			_, c, err := token.Inspect(minted)
			answers.WriteString(fmt.Sprint(c, err))
		}
	}
	told := answers.String() + w.log.String() + fmt.Sprintf("%+v", w.events)
	for _, raw := range []string{access, id} {
		for part := range strings.SplitSeq(raw, ".") {
			if len(part) > 40 && strings.Contains(told, part) {
				t.Errorf("C-095: a part of a token is told on: %.20s…", part)
			}
		}
	}
	if strings.Contains(told, secretA) {
		t.Error("C-095: a client's secret is told on")
	}
}
