package bff

import (
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

func bundle() fstest.MapFS {
	return fstest.MapFS{
		"index.html":                     {Data: []byte("<!doctype html>home")},
		"favicon.ico":                    {Data: []byte("icon")},
		"assets/index-BxY1z2aB.js":       {Data: []byte("console.log('plain')")},
		"assets/index-BxY1z2aB.js.br":    {Data: []byte("brotli")},
		"assets/index-BxY1z2aB.js.gz":    {Data: []byte("gzip")},
		"assets/only.css":                {Data: []byte("body{}")},
		"assets/only.css.gz":             {Data: []byte("gzip css")},
		"a b/ü.txt":                      {Data: []byte("wide")},
		".env":                           {Data: []byte("SECRET=1")},
		".git/config":                    {Data: []byte("[core]")},
		"assets/.hidden":                 {Data: []byte("hidden")},
		".well-known/assetlinks.json":    {Data: []byte("[]")},
		".well-known/.secret":            {Data: []byte("hidden")},
		"sub/.well-known/x.json":         {Data: []byte("hidden")},
		"nested/.well-known/../../a.txt": {Data: []byte("odd")},
	}
}

// serveFrom asks an SPA at a path as the dispatcher does.
func serveFrom(t *testing.T, route Route, method, target string, navigation bool, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	rs, err := newRoutes([]Route{route}, routeConfig{Fail: failPlainly})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, target, nil)
	maps.Copy(r.Header, header)
	path, err := canonicalPath(r)
	if err != nil {
		t.Fatal(err)
	}
	c, ok := rs.match(path)
	if !ok {
		t.Fatal("no route")
	}
	w := httptest.NewRecorder()
	c.serveSPA(w, r, path, navigation)
	return w
}

func TestSPA(t *testing.T) {
	const year = "public, max-age=31536000, immutable"
	tests := []struct {
		name, target string
		navigation   bool
		code         int
		body, cache  string
		kind         string
	}{
		{"the root", "/", true, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"the root, fetched", "/", false, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"index.html by name", "/index.html", false, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"a hashed asset", "/assets/index-BxY1z2aB.js", false, 200, "console.log('plain')", year, "text/javascript; charset=utf-8"},
		{"another file", "/favicon.ico", false, 200, "icon", "no-cache", "image/x-icon"},
		{"an encoded name", "/a%20b/%C3%BC.txt", false, 200, "wide", "no-cache", "text/plain; charset=utf-8"},
		{"a page of the SPA's own", "/orders/42?tab=items", true, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"the same, fetched", "/orders/42", false, 404, "not-found", "", ""},
		{"a missing asset, fetched", "/assets/index-OLDOLD12.js", false, 404, "not-found", "", ""},
		{"a folder", "/assets", false, 404, "not-found", "", ""},
		{"a folder with a slash", "/assets/", false, 404, "not-found", "", ""},
		{"a folder, navigated to", "/assets", true, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"a folder with a slash, navigated to", "/assets/", true, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"a file with a slash", "/favicon.ico/", false, 404, "not-found", "", ""},
		{"a dotfile", "/.env", false, 404, "not-found", "", ""},
		{"a dotfile, navigated to", "/.env", true, 200, "<!doctype html>home", "no-cache", "text/html; charset=utf-8"},
		{"in a dot folder", "/.git/config", false, 404, "not-found", "", ""},
		{"a dotfile in a folder", "/assets/.hidden", false, 404, "not-found", "", ""},
		{"well-known", "/.well-known/assetlinks.json", false, 200, "[]", "no-cache", "application/json"},
		{"the well-known folder", "/.well-known/", false, 404, "not-found", "", ""},
		{"a dotfile that is well hidden", "/.well-known/.secret", false, 404, "not-found", "", ""},
		{"well-known elsewhere", "/sub/.well-known/x.json", false, 404, "not-found", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := serveFrom(t, Route{Path: "/", SPA: bundle(), Session: None}, "GET", tt.target, tt.navigation, nil)
			if w.Code != tt.code || w.Body.String() != tt.body || w.Header().Get("Cache-Control") != tt.cache || tt.kind != "" && w.Header().Get("Content-Type") != tt.kind {
				t.Errorf("got %d %q %v", w.Code, w.Body, w.Header())
			}
		})
	}
}

func TestSPABelowAPrefix(t *testing.T) {
	for target, want := range map[string]string{"/app": "<!doctype html>home", "/app/": "<!doctype html>home", "/app/favicon.ico": "icon", "/app/orders": "<!doctype html>home"} {
		if w := serveFrom(t, Route{Path: "/app", SPA: bundle(), Session: None}, "GET", target, true, nil); w.Body.String() != want {
			t.Errorf("%s: %d %q", target, w.Code, w.Body)
		}
	}
}

func TestSPAForTheSignedInIsNeverStored(t *testing.T) {
	for _, need := range []Need{Required, Optional} {
		w := serveFrom(t, Route{Path: "/", SPA: bundle(), Session: need}, "GET", "/assets/index-BxY1z2aB.js", false, nil)
		if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("got %d %v", w.Code, w.Header())
		}
	}
}

func TestSPAServesPrecompressedFiles(t *testing.T) {
	tests := []struct{ name, target, accept, encoding, body string }{
		{"brotli before gzip", "/assets/index-BxY1z2aB.js", "gzip, deflate, br, zstd", "br", "brotli"},
		{"gzip only", "/assets/index-BxY1z2aB.js", "gzip", "gzip", "gzip"},
		{"brotli refused", "/assets/index-BxY1z2aB.js", "br;q=0, gzip;q=0.5", "gzip", "gzip"},
		{"nothing accepted", "/assets/index-BxY1z2aB.js", "", "", "console.log('plain')"},
		{"identity", "/assets/index-BxY1z2aB.js", "identity", "", "console.log('plain')"},
		{"brotli accepted, gzip there", "/assets/only.css", "br, gzip", "gzip", "gzip css"},
		{"broken weight", "/assets/index-BxY1z2aB.js", "br;q=x", "", "console.log('plain')"},
		{"nothing there", "/favicon.ico", "br, gzip", "", "icon"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			route := Route{Path: "/", SPA: bundle(), Session: None}
			w := serveFrom(t, route, "GET", tt.target, false, http.Header{"Accept-Encoding": {tt.accept}})
			h := w.Header()
			if w.Code != 200 || w.Body.String() != tt.body || h.Get("Content-Encoding") != tt.encoding || h.Get("Vary") != "Accept-Encoding" || strings.Contains(h.Get("Content-Type"), "octet") {
				t.Errorf("got %d %q %v", w.Code, w.Body, h)
			}
			plain := serveFrom(t, route, "GET", tt.target, false, nil)
			if (plain.Header().Get("Etag") == h.Get("Etag")) != (tt.encoding == "") {
				t.Errorf("ETags %s and %s", plain.Header().Get("Etag"), h.Get("Etag"))
			}
		})
	}
}

func TestSPAConditionalRangeAndHEAD(t *testing.T) {
	route := Route{Path: "/", SPA: bundle(), Session: None}
	get := serveFrom(t, route, "GET", "/favicon.ico", false, nil)
	etag := get.Header().Get("Etag")
	if etag == "" || get.Header().Get("Last-Modified") != "" {
		t.Fatalf("got %v", get.Header())
	}
	if w := serveFrom(t, route, "GET", "/favicon.ico", false, http.Header{"If-None-Match": {etag}}); w.Code != 304 || w.Body.Len() != 0 {
		t.Errorf("If-None-Match: %d", w.Code)
	}
	if w := serveFrom(t, route, "GET", "/favicon.ico", false, http.Header{"Range": {"bytes=1-2"}}); w.Code != 206 || w.Body.String() != "co" {
		t.Errorf("Range: %d %q", w.Code, w.Body)
	}
	if w := serveFrom(t, route, "HEAD", "/favicon.ico", false, nil); w.Code != 200 || w.Body.Len() != 0 || w.Header().Get("Content-Length") != "4" {
		t.Errorf("HEAD: %d %q %v", w.Code, w.Body, w.Header())
	}
	if w := serveFrom(t, route, "HEAD", "/assets/only.css", false, http.Header{"Accept-Encoding": {"gzip"}}); w.Header().Get("Content-Length") != "8" {
		t.Errorf("HEAD of a compressed file: %v", w.Header())
	}
}

// Images that are built to be reproducible give every file of every release the same time.
func TestSPATellsReleasesApartThatShareSizeAndTime(t *testing.T) {
	then := time.Unix(1, 0)
	old := fstest.MapFS{"index.html": {Data: []byte("index-AAAAAAA1.js"), ModTime: then}}
	now := fstest.MapFS{"index.html": {Data: []byte("index-BBBBBBB2.js"), ModTime: then}}
	before := serveFrom(t, Route{Path: "/", SPA: old, Session: None}, "GET", "/", true, nil).Header().Get("Etag")
	w := serveFrom(t, Route{Path: "/", SPA: now, Session: None}, "GET", "/", true, http.Header{"If-None-Match": {before}, "If-Modified-Since": {then.UTC().Format(http.TimeFormat)}})
	if w.Code != 200 || w.Body.String() != "index-BBBBBBB2.js" {
		t.Errorf("got %d %q", w.Code, w.Body)
	}
}

func TestSPAInAFolder(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "secret.txt")
	for name, content := range map[string]string{filepath.Join(dir, "index.html"): "home", filepath.Join(dir, "a.txt"): "first", outside: "secret"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	rs, err := newRoutes([]Route{{Path: "/", SPA: root.FS(), Session: None}}, routeConfig{Fail: failPlainly})
	if err != nil {
		t.Fatal(err)
	}
	ask := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		c, _ := rs.match(path)
		c.serveSPA(w, httptest.NewRequest("GET", path, nil), path, false)
		return w
	}
	first := ask("/a.txt")
	if first.Body.String() != "first" {
		t.Fatalf("got %d %q", first.Code, first.Body)
	}
	if w := ask("/link.txt"); w.Code != 404 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a link out of the folder: %d %q", w.Code, w.Body)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.txt"), []byte("changed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w := ask("/a.txt"); w.Body.String() != "changed" || w.Header().Get("Etag") == first.Header().Get("Etag") {
		t.Errorf("after a change: %q %v", w.Body, w.Header())
	}
}

// A file system that fails is not a file that is missing; the browser is told the same, the log is not.
func TestSPAReportsAFailingFileSystem(t *testing.T) {
	var cause error
	rs, err := newRoutes([]Route{{Path: "/", SPA: brokenFS{}, Session: None}}, routeConfig{Fail: func(w http.ResponseWriter, _ *http.Request, _ string, err error) {
		cause = err
		w.WriteHeader(404)
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := rs.match("/")
	c.serveSPA(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), "/", true)
	if cause == nil || !strings.Contains(cause.Error(), "permission") {
		t.Errorf("got %v", cause)
	}
}

type brokenFS struct{}

func (brokenFS) Open(name string) (fs.File, error) {
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
}
