package exchangehttp_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
	"cloakroom/token"
)

// What is just within a bound is read; the table of TestParsing has what is beyond it.
func TestRequestsJustWithinTheirBounds(t *testing.T) {
	w := newWorld(t)
	names := func(n int) []string {
		all := make([]string, n)
		for i := range all {
			all[i] = "invoices"
		}
		return all
	}
	resources := func(n int) []string {
		all := names(n)
		for i := range all {
			all[i] = "https://orders.internal.example.com"
		}
		return all
	}
	parameters := func(n int) string {
		form := w.ask(nil)
		return form.Encode() + strings.Repeat("&x=1", n-len(form))
	}
	long := strings.Repeat("x", 1024)
	for _, tc := range []struct {
		name, body string
		status     int
		says       string // in error_description
	}{
		{"128 parameters", parameters(128), 200, ""},
		{"129 parameters", parameters(129), 400, "too many parameters"},
		{"16 audiences", w.ask(url.Values{"audience": names(16)}).Encode(), 200, ""},
		{"17 audiences", w.ask(url.Values{"audience": names(17)}).Encode(), 400, "too many targets"},
		{"16 resources", w.ask(url.Values{"audience": nil, "resource": resources(16)}).Encode(), 200, ""},
		{"17 resources", w.ask(url.Values{"audience": nil, "resource": resources(17)}).Encode(), 400, "too many targets"},
		{"an audience of 1 KiB", w.ask(url.Values{"audience": {long}}).Encode(), 400, "audience"},
		{"an audience of more", w.ask(url.Values{"audience": {long + "x"}}).Encode(), 400, "too long"},
		{"a scope of 1 KiB", w.ask(url.Values{"scope": {long}}).Encode(), 400, "more than is granted"},
		{"a scope of more", w.ask(url.Values{"scope": {long + "x"}}).Encode(), 400, "malformed"},
		{"128 scopes", w.ask(url.Values{"scope": {strings.TrimSuffix(strings.Repeat("a ", 128), " ")}}).Encode(), 400, "more than is granted"},
		{"129 scopes", w.ask(url.Values{"scope": {strings.TrimSuffix(strings.Repeat("a ", 129), " ")}}).Encode(), 400, "malformed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			r := w.post("POST", "/oauth2/token", formKind, tc.body)
			description, _ := r.body["error_description"].(string)
			if r.status != tc.status || !strings.Contains(description, tc.says) || (tc.says == "audience" && strings.Contains(description, "too long")) {
				t.Errorf("%d %s", r.status, r.raw)
			}
		})
	}
}

func TestAContentTypeThatIsMalformedIsNone(t *testing.T) {
	w := newWorld(t)
	w.refused(w.post("POST", "/oauth2/token", formKind+"; charset", w.ask(nil).Encode()), 400, "invalid_request")
}

func TestNewRefusesCallersThatCannotBeToldApart(t *testing.T) {
	w := newWorld(t)
	for name, callers := range map[string][]exchangehttp.Caller{
		"without a name": {{ID: ""}}, "twice": {{ID: "a"}, {ID: "a"}}, "named like the browser's side": {{ID: exchange.RouteClient}}, "with an empty secret": {{ID: "a", Secrets: []secret.Text{"s", ""}}},
	} {
		if _, err := exchangehttp.New(exchangehttp.Config{Service: w.service, Keys: w.keys, URL: us, Log: discard(), Clients: callers}); err == nil {
			t.Errorf("a client %s is taken", name)
		}
	}
	for name, cfg := range map[string]exchangehttp.Config{
		"no service": {Keys: w.keys, URL: us, Log: discard()}, "no keys": {Service: w.service, URL: us, Log: discard()}, "no log": {Service: w.service, Keys: w.keys, URL: us},
		"no URL": {Service: w.service, Keys: w.keys, Log: discard()}, "a URL without a host": {Service: w.service, Keys: w.keys, URL: "https:", Log: discard()},
		"a URL without a scheme": {Service: w.service, Keys: w.keys, URL: "//host", Log: discard()}, "a URL that is none": {Service: w.service, Keys: w.keys, URL: "https://h/%zz", Log: discard()},
	} {
		if _, err := exchangehttp.New(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// A session has its own ID token: one that is sent beside it would be believed for nothing.
func TestASessionTakesNoIDTokenBesideIt(t *testing.T) {
	w := newWorld(t)
	w.signIn("alice", "orders")
	ask := url.Values{"subject_token": {"v1.sid-alice"}, "subject_token_type": {string(exchange.SessionToken)}}
	w.claims(w.token("gateway", w.ask(ask)))
	ask["subject_id_token"] = []string{w.id(token.Claims{"sub": "bob"}).Reveal()}
	w.refused(w.token("gateway", w.ask(ask)), 400, "invalid_request")
}

func TestMetadataMayBeKeptForFiveMinutes(t *testing.T) {
	w := newWorld(t)
	if kept := w.get("/.well-known/oauth-authorization-server", "").Header().Get("Cache-Control"); kept != "public, max-age=300" {
		t.Errorf("Cache-Control %q", kept)
	}
}

func TestOnlyBasicCredentialsAreRead(t *testing.T) {
	w := newWorld(t)
	right := encode(url.QueryEscape("gateway") + ":" + url.QueryEscape(secretA))
	ask := func(authorization string) reply {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(w.ask(nil).Encode()))
		r.Header.Set("Content-Type", formKind)
		r.Header.Set("Authorization", authorization)
		return w.serve(r)
	}
	w.claims(ask("Basic " + right))
	for _, authorization := range []string{
		"Bearer " + right, "Basic", right, "Basic " + encode(":"+url.QueryEscape(secretA)), "Basic " + encode("gateway:"), "Basic " + encode("%zz:x"), "Basic " + encode("gateway:%zz"), "Basic " + encode("gateway"), "Basic !",
	} {
		w.refused(ask(authorization), 401, "invalid_client")
		if e := w.lastEvent(); !strings.Contains(e.Reason, "not Basic credentials") {
			t.Errorf("%s: %s", authorization, e.Reason)
		}
	}
}
