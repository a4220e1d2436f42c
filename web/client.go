package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"net/http"
	"path"
	"time"
)

//go:embed client/client.js client/client.d.ts
var client embed.FS

// Client answers a GET or HEAD for a path that ends in client.js or client.d.ts: the ES module that an SPA speaks to Cloakroom
// with, and its types.
func Client(w http.ResponseWriter, r *http.Request) {
	name := path.Base(r.URL.Path)
	body, err := client.ReadFile("client/" + name)
	if err != nil {
		http.NotFound(w, r)
		return
	}
	sum := sha256.Sum256(body)
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	if name == "client.d.ts" {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("Cache-Control", "no-cache") // kept, and asked for again: it must fit the release that answers
	h.Set("Etag", `"`+base64.RawURLEncoding.EncodeToString(sum[:15])+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}
