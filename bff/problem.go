package bff

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"cloakroom/internal/telemetry"
	"cloakroom/web"
)

// The problem types of contract/names.md.
const (
	problemNoSession           = "no-session"
	problemStepUp              = "step-up"
	problemCSRF                = "csrf"
	problemForbidden           = "forbidden"
	problemBadReturnTo         = "bad-return-to"
	problemBadRequest          = "bad-request"
	problemBadPath             = "bad-path"
	problemNotFound            = "not-found"
	problemMethodNotAllowed    = "method-not-allowed"
	problemBodyTooLarge        = "body-too-large"
	problemRateLimited         = "rate-limited"
	problemLoginRefused        = "login-refused"
	problemLoginFailed         = "login-failed"
	problemStoreUnavailable    = "store-unavailable"
	problemProviderUnavailable = "provider-unavailable"
	problemUpstreamUnavailable = "upstream-unavailable"
	problemUpstreamRefused     = "upstream-refused-token"
	problemUpstreamTimeout     = "upstream-timeout"
	problemDraining            = "draining"
	problemOverloaded          = "overloaded" // ours: more connections than the process may have
	problemInternal            = "internal"   // a mistake in the program; everything that can be foreseen has a type above
)

// problem is one answer that is not what was asked for.
type problem struct {
	name   string
	status int        // 0: the usual one of the type
	text   string     // "": the usual one of the type. Never made of what a caller or a provider sent
	words  string     // of a page, what its text is called among web.English; "": the usual one of the type
	login  url.Values // of login_url, where the type has one
	link   link       // on a page
	retry  int        // seconds; 0: the usual one of the type
	err    error      // for the log alone
}

// link is the way out that a page offers; text is what it is called among web.English.
type link struct{ href, text string }

type problemType struct {
	status int
	title  string // of a page: in web.English
	text   string // likewise
	retry  int    // Retry-After, in seconds
	login  bool   // has a login_url
	page   bool   // a navigation gets a page
}

var problemTypes = map[string]problemType{
	problemNoSession:           {status: 401, title: "Not signed in", login: true},
	problemStepUp:              {status: 401, title: "A stronger or fresher sign-in is needed", login: true},
	problemCSRF:                {status: 403, title: "Not a request of this application", text: "Requests must come from the application's own origin and carry the header X-CSRF: 1."},
	problemForbidden:           {status: 403, title: "Not allowed"},
	problemBadReturnTo:         {status: 400, title: "Not a place to return to", text: "returnTo must be a path of this origin, at most 1 KiB long."},
	problemBadRequest:          {status: 400, title: "Not a request that can be understood"},
	problemBadPath:             {status: 400, title: "Not a canonical path"},
	problemNotFound:            {status: 404, title: "Nothing is here"},
	problemMethodNotAllowed:    {status: 405, title: "Not a method of this resource"},
	problemBodyTooLarge:        {status: 413, title: "The body is too large"},
	problemRateLimited:         {status: 429, title: "Too many requests", retry: 10},
	problemLoginRefused:        {status: 403, page: true},
	problemLoginFailed:         {status: 400, page: true},
	problemStoreUnavailable:    {status: 503, retry: 2, page: true},
	problemProviderUnavailable: {status: 503, retry: 5, page: true},
	problemUpstreamUnavailable: {status: 502, title: "The service behind this path cannot be reached"},
	problemUpstreamRefused:     {status: 502, title: "The service behind this path refused the token it was given"},
	problemUpstreamTimeout:     {status: 504, title: "The service behind this path did not answer in time"},
	problemDraining:            {status: 503, retry: 1, page: true},
	problemOverloaded:          {status: 503, retry: 2, page: true},
	problemInternal:            {status: 500, title: "Something went wrong"},
}

// fail answers with a problem that needs no more words than its type; it is what routes fail by.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, name string, err error) {
	p := problem{name: name, err: err}
	if up, ok := errors.AsType[*stepUp](err); ok {
		p.login = up.params()
	}
	s.refuse(w, r, p)
}

// refuse answers with a problem: a page for a navigation where the type has one, application/problem+json (RFC 9457)
// otherwise. It is the one place where what went wrong is logged.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, p problem) {
	kind := problemTypes[p.name]
	if p.status == 0 {
		p.status = kind.status
	}
	title, words := p.name+".title", cmp.Or(p.words, p.name+".text")
	if kind.page {
		kind.title, kind.text = web.English[title], web.English[words]
	}
	if p.text == "" {
		p.text = kind.text
	}
	if p.retry == 0 {
		p.retry = kind.retry
	}
	s.logProblem(r, p)
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	if p.retry != 0 {
		h.Set("Retry-After", strconv.Itoa(p.retry))
	}
	if kind.page && isNavigation(r) {
		s.page(w, r, p.status, web.Message{
			Title: title, Text: words, Link: p.link.href, LinkText: p.link.text,
			CorrelationID: telemetry.RequestID(r.Context()),
		})
		return
	}
	body := struct {
		Type          string `json:"type"`
		Title         string `json:"title"`
		Status        int    `json:"status"`
		Detail        string `json:"detail,omitempty"`
		LoginURL      string `json:"login_url,omitempty"`
		CorrelationID string `json:"correlation_id,omitempty"`
	}{"urn:cloakroom:problem:" + p.name, kind.title, p.status, p.text, "", telemetry.RequestID(r.Context())}
	if kind.login {
		body.LoginURL = loginURL("", p.login)
	}
	writeJSON(w, p.status, "application/problem+json", body)
}

func (s *Server) logProblem(r *http.Request, p problem) {
	level := slog.LevelDebug
	switch {
	case p.status >= 500:
		level = slog.LevelWarn
	case p.err != nil:
		level = slog.LevelInfo
	}
	attrs := []slog.Attr{slog.String("problem", p.name), slog.Int("status", p.status), slog.String("method", bounded(r.Method, 16))}
	if p.name != problemBadPath { // the path of every other problem is canonical; a query is never logged: it can hold a code
		attrs = append(attrs, slog.String("path", bounded(r.URL.Path, 256)))
	}
	if p.err != nil {
		attrs = append(attrs, slog.String("error", p.err.Error()))
	}
	s.log.LogAttrs(r.Context(), level, "request refused", attrs...)
}

func writeJSON(w http.ResponseWriter, status int, kind string, body any) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a broken connection is the browser's affair
}

// bounded cuts what a caller sent to a length that may be kept or logged.
func bounded(s string, n int) string {
	if len(s) > n {
		return strings.ToValidUTF8(s[:n], "")
	}
	return s
}
