package exchangehttp

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
)

// Bounds of what is read before anything is known of the caller.
const (
	maxBody       = 256 << 10
	maxParameters = 128 // of any name
	maxTargets    = 16  // audiences, and as many resources
	maxScopes     = 128
	maxName       = 1024 // bytes of an audience, a resource, a scope
	readTime      = 10 * time.Second
)

// single are the parameters that may stand in a request once (RFC 6749 section 3.2). Others are repeatable, or unknown
// and so nobody's business.
var single = []string{
	"grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type", "scope",
	"subject_id_token", "subject_issuer", "request_details", "client_id", "client_secret", "client_assertion",
	"client_assertion_type", "token", "token_type_hint",
}

// form is the parameters of a request: of its body alone, never of its URL.
type form struct{ values url.Values }

var errTooLarge = &exchange.Error{Code: exchange.InvalidRequest, Description: "the body is too large", Err: errors.New("body over the limit")}

// readForm reads a body strictly.
func readForm(c echo.Context) (form, *exchange.Error) {
	r := c.Request()
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return form{}, bad("the body must be application/x-www-form-urlencoded")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return form{}, bad("the body must be UTF-8")
	}
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(readTime)) // anyone may begin to send
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return form{}, errTooLarge
	case err != nil:
		return form{}, bad("the body could not be read")
	case bytes.Count(body, []byte("&")) >= maxParameters:
		return form{}, bad("too many parameters")
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return form{}, bad("the body is not form-encoded")
	}
	for name, all := range values {
		for _, value := range append(all, name) {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return form{}, bad("a parameter is not text")
			}
		}
	}
	for _, name := range single {
		if len(values[name]) > 1 {
			return form{}, bad(name + " is there more than once")
		}
	}
	return form{values}, nil
}

// text returns a parameter that may be there once; one without a value is as if it were not there (RFC 6749 section 3.2).
func (f form) text(name string) string { return f.values.Get(name) }

// list returns the values of a repeatable parameter, those without a value left out.
func (f form) list(name string) []string {
	var out []string
	for _, value := range f.values[name] {
		if value != "" {
			out = append(out, value)
		}
	}
	return out
}

func bad(description string) *exchange.Error {
	return &exchange.Error{Code: exchange.InvalidRequest, Description: description, Err: errors.New(description)}
}
