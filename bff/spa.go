package bff

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"
)

// spa serves a folder with an index.html and the parts it refers to.
type spa struct {
	files    fs.FS
	prefix   string // of the route, with no slash at its end
	private  bool   // the route is for the signed-in: nobody may store it
	fail     failFunc
	versions sync.Map // of files, by name: version
}

func newSPA(route Route, fail failFunc) *spa {
	return &spa{files: route.SPA, prefix: strings.TrimSuffix(route.Path, "/"), private: route.Session != None, fail: fail}
}

const index = "index.html"

// serveSPA answers a GET or HEAD for a canonical path that matched this route. navigation tells whether the browser asks for a page:
// only then is a path without a file the SPA's own to make sense of, and gets index.html.
func (c *compiledRoute) serveSPA(w http.ResponseWriter, r *http.Request, urlPath string, navigation bool) {
	s := c.spa
	name, ok := s.fileName(urlPath)
	found := false
	if ok {
		var err error
		if found, err = s.serveFile(w, r, name); err != nil {
			s.fail(w, r, problemNotFound, err)
			return
		}
	}
	if !found && navigation {
		var err error
		if found, err = s.serveFile(w, r, index); err != nil {
			s.fail(w, r, problemNotFound, err)
			return
		}
	}
	if !found {
		s.fail(w, r, problemNotFound, nil)
	}
}

// fileName returns the name in the folder that a path stands for. Names with a dot in front are nobody's business, but for those
// of RFC 8615.
func (s *spa) fileName(urlPath string) (name string, ok bool) {
	name, err := url.PathUnescape(strings.TrimPrefix(urlPath[len(s.prefix):], "/"))
	if err != nil {
		return "", false
	}
	if name == "" {
		return index, true
	}
	if !fs.ValidPath(name) {
		return "", false
	}
	for segment := range strings.SplitSeq(strings.TrimPrefix(name, ".well-known/"), "/") {
		if segment[0] == '.' {
			return "", false
		}
	}
	return name, true
}

// serveFile answers with a file, compressed where the browser takes that and the folder has it. found is false, and nothing
// written, when there is no such file.
func (s *spa) serveFile(w http.ResponseWriter, r *http.Request, name string) (found bool, err error) {
	file, info, err := s.open(name)
	if err != nil || file == nil {
		return false, err
	}
	defer func() { file.Close() }()
	served, encoding := name, ""
	for _, packed := range [...]struct{ suffix, encoding string }{{".br", "br"}, {".gz", "gzip"}} {
		if !acceptsEncoding(r.Header["Accept-Encoding"], packed.encoding) {
			continue
		}
		packedFile, packedInfo, err := s.open(name + packed.suffix)
		if err != nil {
			return false, err
		}
		if packedFile != nil {
			file.Close()
			file, info, served, encoding = packedFile, packedInfo, name+packed.suffix, packed.encoding
			break
		}
	}
	content, err := seekable(file)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", served, err)
	}
	etag, err := s.etag(served, info, content)
	if err != nil {
		return false, fmt.Errorf("read %s: %w", served, err)
	}
	h := w.Header()
	h.Set("Etag", etag)
	h.Add("Vary", "Accept-Encoding")
	h.Set("Content-Type", contentType(name))
	h.Set("Cache-Control", s.cacheControl(name))
	if encoding != "" {
		h.Set("Content-Encoding", encoding)
		if r.Header.Get("Range") == "" {
			h.Set("Content-Length", strconv.FormatInt(info.Size(), 10))
		}
	}
	http.ServeContent(w, r, "", time.Time{}, content) // no Last-Modified, see etag
	return true, nil
}

// open returns nil for what is not there or is not a file: a folder is never listed.
func (s *spa) open(name string) (fs.File, fs.FileInfo, error) {
	file, err := s.files.Open(name)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("open file of the SPA: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		file.Close()
		return nil, nil, fmt.Errorf("open file of the SPA: %w", err)
	}
	if !info.Mode().IsRegular() {
		file.Close()
		return nil, nil, nil
	}
	return file, info, nil
}

func seekable(file fs.File) (io.ReadSeeker, error) {
	if seeker, ok := file.(io.ReadSeeker); ok {
		return seeker, nil
	}
	raw, err := io.ReadAll(file)
	return bytes.NewReader(raw), err
}

// version is a file's ETag, and what it had when that was made.
type version struct {
	etag     string
	size     int64
	modified time.Time
}

// etag is made of the content, read once. Times would not do: embedded files have none, and images built to be reproducible
// give all files of all releases the same, so that an old index.html would pass for the new one.
func (s *spa) etag(name string, info fs.FileInfo, content io.ReadSeeker) (string, error) {
	if known, ok := s.versions.Load(name); ok {
		if v := known.(version); v.size == info.Size() && v.modified.Equal(info.ModTime()) {
			return v.etag, nil
		}
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		return "", err
	}
	if _, err := content.Seek(0, io.SeekStart); err != nil {
		return "", err
	}
	etag := `"` + base64.RawURLEncoding.EncodeToString(hash.Sum(nil)[:15]) + `"`
	s.versions.Store(name, version{etag, info.Size(), info.ModTime()})
	return etag, nil
}

func (s *spa) cacheControl(name string) string {
	switch {
	case s.private:
		return "no-store"
	case hasHash(path.Base(name)):
		return "public, max-age=31536000, immutable"
	}
	return "no-cache" // may be kept, but is asked for again: index.html must name the assets there are now
}

// contentType goes by the name alone. What a machine's mime.types says about the files of an SPA is not to be relied on.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".json", ".map":
		return "application/json"
	case ".webmanifest":
		return "application/manifest+json"
	case ".svg":
		return "image/svg+xml"
	case ".ico":
		return "image/x-icon"
	case ".txt":
		return "text/plain; charset=utf-8"
	case ".wasm":
		return "application/wasm"
	case ".woff2":
		return "font/woff2"
	case ".woff":
		return "font/woff"
	}
	if known := mime.TypeByExtension(path.Ext(name)); known != "" {
		return known
	}
	return "application/octet-stream"
}

// acceptsEncoding tells whether an Accept-Encoding header names the coding, and not with q=0 (RFC 9110 section 12.5.3).
func acceptsEncoding(headers []string, coding string) bool {
	for _, header := range headers {
		for item := range strings.SplitSeq(header, ",") {
			name, params, _ := strings.Cut(item, ";")
			if !strings.EqualFold(strings.TrimSpace(name), coding) {
				continue
			}
			q, isQ := strings.CutPrefix(strings.ToLower(strings.TrimSpace(params)), "q=")
			weight, err := strconv.ParseFloat(strings.TrimSpace(q), 64)
			return !isQ || err == nil && weight > 0
		}
	}
	return false
}
