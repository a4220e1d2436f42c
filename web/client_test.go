package web_test

import (
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"cloakroom/web"
)

func TestClientIsServedWithItsTypes(t *testing.T) {
	tests := []struct{ path, kind, holds string }{
		{"/bff/client.js", "text/javascript; charset=utf-8", "export async function user"},
		{"/bff/client.d.ts", "text/plain; charset=utf-8", "export declare function user"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			get := ask("GET", tt.path, "")
			if get.Code != 200 || get.Header().Get("Content-Type") != tt.kind || get.Header().Get("Cache-Control") != "no-cache" || !strings.Contains(get.Body.String(), tt.holds) {
				t.Errorf("got %d %v", get.Code, get.Header())
			}
			if head := ask("HEAD", tt.path, ""); head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Content-Length") != get.Header().Get("Content-Length") {
				t.Errorf("HEAD: got %d %v", head.Code, head.Header())
			}
			if again := ask("GET", tt.path, get.Header().Get("Etag")); again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("asked again: got %d", again.Code)
			}
		})
	}
	for _, path := range []string{"/bff/client.mjs", "/bff/client.test.mjs", "/bff/", "/"} {
		if w := ask("GET", path, ""); w.Code != 404 {
			t.Errorf("%s: got %d", path, w.Code)
		}
	}
}

func ask(method, path, etag string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, nil)
	if etag != "" {
		r.Header.Set("If-None-Match", etag)
	}
	w := httptest.NewRecorder()
	web.Client(w, r)
	return w
}

// TestClientModule runs the module's own tests, client/client.test.mjs.
func TestClientModule(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "node", "--test", "--test-reporter=tap", "client/client.test.mjs").CombinedOutput()
	if err != nil {
		t.Fatalf("node: %v (make test installs Node.js where it is missing)\n%s", err, out)
	}
	if !strings.Contains(string(out), "# fail 0") || strings.Contains(string(out), "# pass 0") {
		t.Fatalf("nothing was tested:\n%s", out)
	}
}
