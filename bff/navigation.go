package bff

import (
	"maps"
	"net/http"
	"net/url"
	"strings"
)

// isNavigation tells whether a person is to see the answer as a page: a GET that the browser calls a navigation of a
// document, or, of a browser without Fetch Metadata, one that accepts HTML. A fetch is never one, so it is never redirected.
func isNavigation(r *http.Request) bool {
	if r.Method != http.MethodGet {
		return false
	}
	if !hasFetchMetadata(r.Header) {
		return strings.Contains(strings.ToLower(r.Header.Get("Accept")), "text/html")
	}
	return only(r.Header, "Sec-Fetch-Mode", "navigate") && only(r.Header, "Sec-Fetch-Dest", "document")
}

// isPrefetch tells whether the browser asks ahead of a navigation that may never happen.
func isPrefetch(r *http.Request) bool {
	for _, name := range []string{"Sec-Purpose", "Purpose", "X-Moz"} {
		purpose, _, _ := strings.Cut(r.Header.Get(name), ";") // "prefetch;prerender"
		if strings.EqualFold(strings.TrimSpace(purpose), "prefetch") {
			return true
		}
	}
	return false
}

// isFormPost tells whether a form of a page was sent, as opposed to a fetch: its answer is a redirect.
func isFormPost(r *http.Request) bool {
	if r.Method != http.MethodPost {
		return false
	}
	if hasFetchMetadata(r.Header) {
		return only(r.Header, "Sec-Fetch-Mode", "navigate")
	}
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "application/x-www-form-urlencoded", "multipart/form-data", "text/plain":
		return len(r.Header.Values(csrfHeader)) == 0
	}
	return false
}

// hidesStrictCookies tells whether another site led the browser here, in which case it left out SameSite=Strict cookies.
// For "same-site" it does so only after a redirect over another site, but the two look alike.
func hidesStrictCookies(r *http.Request) bool {
	return only(r.Header, "Sec-Fetch-Site", "cross-site") || only(r.Header, "Sec-Fetch-Site", "same-site")
}

func hasFetchMetadata(h http.Header) bool {
	for _, name := range []string{"Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User"} {
		if len(h[name]) != 0 {
			return true
		}
	}
	return false
}

// only tells whether a header was sent once and has this very value.
func only(h http.Header, name, value string) bool {
	values := h[name]
	return len(values) == 1 && values[0] == value
}

// loginURL is where a person signs in; its parameters ask for a particular sign-in. returnTo is left out where there is
// none that would be accepted.
func loginURL(returnTo string, params url.Values) string {
	query := url.Values{}
	maps.Copy(query, params)
	if clean, ok := cleanReturnTo(returnTo); ok {
		query.Set("returnTo", clean)
	}
	if len(query) == 0 {
		return loginPath
	}
	return loginPath + "?" + query.Encode()
}
