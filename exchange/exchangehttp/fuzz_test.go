package exchangehttp_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
