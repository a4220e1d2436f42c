package bff

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cloakroom/internal/urlpath"
)

// forwarded is what an upstream is told about a request, by Cloakroom alone.
type forwarded struct {
	For         string // the client's address
	Proto       string // of the public URL
	Host        string
	RequestID   string
	Traceparent string
	Session     bool   // a session stands behind the request: nobody may store the response
	Provider    string // where whoever is behind it signs in anew; "": at the default one

	// Follow tells of the end of the session. nil: there is none.
	Follow followFunc
	// Remint makes another token, when the upstream says that the one it got is invalid. nil: there is no other.
	Remint remintFunc
}

// Request headers that are dropped: what belongs to one connection (RFC 9110 section 7.6.1), what Cloakroom sets itself, what
// upstreams are wont to take for somebody's identity, and what would change the meaning of the request behind Cloakroom's
// back. Names are lower-case with "-" for "_": to many upstreams X_User and X-User are one variable (CGI, RFC 3875 section
// 4.1.18).
var (
	droppedNames = map[string]bool{
		"connection": true, "keep-alive": true, "te": true, "trailer": true, "transfer-encoding": true, "upgrade": true, "http2-settings": true,
		"authorization": true, "x-request-id": true, "traceparent": true, "tracestate": true,
		"forwarded": true, "x-real-ip": true, "x-method-override": true,
		"x-email": true, "x-groups": true, "x-roles": true, "txn-token": true, "dpop": true,
		"cookie":  true, // what is not ours of it comes back
		"cookie2": true,
		"expect":  true, // answered by Cloakroom's own server
	}
	droppedPrefixes = []string{
		"x-forwarded", "x-original-", "x-rewrite-", "x-http-method", "x-remote-", "x-user", "x-auth-", "x-client-",
		"remote-", "client-cert", "proxy",
	}
	droppedInitials = initialsOf(droppedNames, droppedPrefixes)
)

func initialsOf(names map[string]bool, prefixes []string) (initials [256]bool) {
	for name := range names {
		initials[name[0]] = true
	}
	for _, prefix := range prefixes {
		initials[prefix[0]] = true
	}
	return initials
}

const longestDropped = 32 // bytes of a name that decide

// droppedHeader tells whether a request header does not pass, in any spelling.
func droppedHeader(name string) bool {
	if name == "" || !droppedInitials[name[0]|0x20] {
		return false
	}
	var folded [longestDropped]byte
	n := copy(folded[:], name)
	for i, c := range folded[:n] {
		switch {
		case 'A' <= c && c <= 'Z':
			folded[i] = c | 0x20
		case c == '_':
			folded[i] = '-'
		}
	}
	if len(name) <= longestDropped && droppedNames[string(folded[:n])] {
		return true
	}
	for _, prefix := range droppedPrefixes {
		if n >= len(prefix) && string(folded[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

// requestHeaders makes what the upstream gets of what the browser sent. The values are shared with it, not copied: nobody changes
// them.
func (u *upstream) requestHeaders(in http.Header, authorization string, fwd *forwarded) http.Header {
	out := make(http.Header, len(in)+len(ourRequestHeaders))
	for name, values := range in {
		if !droppedHeader(name) {
			out[name] = values
		}
	}
	for _, line := range in["Connection"] {
		for nominated := range strings.SplitSeq(line, ",") { // RFC 9110 section 7.6.1; ours come after it
			delete(out, http.CanonicalHeaderKey(strings.TrimSpace(nominated)))
		}
	}
	if cookies := in["Cookie"]; cookies != nil {
		if kept := u.cookies.without(cookies); kept != "" {
			out["Cookie"] = []string{kept}
		}
	}
	if asksForTrailers(in["Te"]) {
		out["Te"] = []string{"trailers"}
	}
	values := [...]string{fwd.For, fwd.Proto, fwd.Host, fwd.RequestID, fwd.Traceparent, authorization}
	for i, name := range ourRequestHeaders {
		if values[i] != "" {
			out[name] = values[i : i+1 : i+1]
		}
	}
	return out
}

var ourRequestHeaders = [...]string{"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Request-Id", "Traceparent", "Authorization"}

func asksForTrailers(te []string) bool {
	for _, line := range te {
		for coding := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(coding), "trailers") {
				return true
			}
		}
	}
	return false
}

// cookieNames are those of Cloakroom's own cookies. Browsers tell names apart by case, but their prefixes they do not, and
// an upstream may not either: ours are ours in every case.
type cookieNames []string

func (names cookieNames) has(name string) bool {
	for _, one := range names {
		if strings.EqualFold(one, name) {
			return true
		}
	}
	return false
}

// without returns the pairs of Cookie headers, in their order, that are not ours.
func (names cookieNames) without(headers []string) string {
	if len(headers) == 1 && !strings.Contains(headers[0], ";") { // nothing but our own, mostly
		name, _, _ := strings.Cut(headers[0], "=")
		if names.has(strings.TrimSpace(name)) {
			return ""
		}
		return headers[0]
	}
	var kept strings.Builder
	for _, header := range headers {
		for pair := range strings.SplitSeq(header, ";") {
			pair = strings.TrimSpace(pair)
			name, _, _ := strings.Cut(pair, "=")
			if pair == "" || names.has(strings.TrimSpace(name)) {
				continue
			}
			if kept.Len() > 0 {
				kept.WriteString("; ")
			}
			kept.WriteString(pair)
		}
	}
	return kept.String()
}

// notSet returns the Set-Cookie headers that are not about ours.
func (names cookieNames) notSet(headers []string) []string {
	return slices.DeleteFunc(headers, names.set)
}

// set tells whether a Set-Cookie header would set one of ours. A cookie without a name is sent back as its bare value,
// so a value that reads like one of ours counts too (RFC 6265bis section 5.6).
func (names cookieNames) set(header string) bool {
	pair, _, _ := strings.Cut(header, ";")
	name, value, _ := strings.Cut(pair, "=")
	if name = strings.TrimSpace(name); name == "" {
		name, _, _ = strings.Cut(strings.TrimSpace(value), "=")
		name = strings.TrimSpace(name)
	}
	return names.has(name)
}

// Response headers that an upstream may not set, because they are about the whole origin, not about its response.
var droppedResponse = map[string]bool{
	"Clear-Site-Data": true, "Strict-Transport-Security": true, "Service-Worker-Allowed": true,
	"Alt-Svc": true, "Nel": true, "Report-To": true, "X-Request-Id": true,
}

// mayTrail tells whether an upstream may say it behind its response. Of a trailer nobody asks whether it is about the whole origin, sets
// one of our cookies, or contradicts what stood in front; proxies on the way may take trailers for headers (RFC 9110 section 6.5.1).
func mayTrail(name string) bool {
	switch {
	case droppedResponse[name], strings.HasPrefix(name, "Access-Control-"), strings.HasPrefix(name, "Content-Security-Policy"), strings.HasPrefix(name, "Cross-Origin-"):
		return false
	}
	return name != "Set-Cookie" && name != "Location" && name != "Vary" && name != "X-Content-Type-Options" && name != "Referrer-Policy" && name != "Permissions-Policy"
}

// upstreamMaySay are the headers of securityHeaders that an upstream knows better for its own pages.
var upstreamMaySay = map[string]bool{
	"Referrer-Policy": true, "Permissions-Policy": true,
	"Cross-Origin-Opener-Policy": true, "Cross-Origin-Resource-Policy": true,
}

// takeResponseHeaders moves an upstream's headers, less hop-by-hop ones, to those that the response already has from us; what does
// not pass stays behind in neither.
func (u *upstream) takeResponseHeaders(ours, theirs http.Header, private bool) {
	if private {
		makePrivate(theirs)
		delete(ours, "Cache-Control")
	}
	if theirs[cspHeader] != nil || theirs[cspReportHeader] != nil {
		delete(ours, cspHeader)
		delete(ours, cspReportHeader)
	}
	for name, values := range theirs {
		switch {
		case droppedResponse[name] || strings.HasPrefix(name, "Access-Control-"):
			continue
		case name == "Set-Cookie":
			if values = u.cookies.notSet(values); len(values) == 0 {
				continue
			}
			values = append(slices.Clip(ours[name]), values...)
		case name == "Vary":
			values = append(slices.Clip(ours[name]), values...)
		case name == "Location":
			values[0] = u.publicLocation(values[0])
		case ours[name] != nil && !upstreamMaySay[name]:
			continue // where both speak, one does
		}
		ours[name] = values
	}
	clear(theirs)
}

// makePrivate keeps every cache away from a response that belongs to somebody, also those that listen to other headers
// than Cache-Control (RFC 9213).
func makePrivate(h http.Header) {
	for name := range h {
		if strings.HasSuffix(name, "-Cache-Control") || name == "Surrogate-Control" || name == "X-Accel-Expires" || name == "Expires" || name == "Pragma" {
			delete(h, name)
		}
	}
	for _, value := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "no-store") {
				return // as strict as can be
			}
		}
	}
	h["Cache-Control"] = noStore
}

// noStore is shared: http.Header.Add makes a copy of it, as it has no room to grow.
var noStore = []string{"no-store"}

// publicLocation makes a Location that points at the upstream point at the route. Any other passes as it is.
func (u *upstream) publicLocation(location string) string {
	target, err := url.Parse(location)
	if err != nil || target.Opaque != "" || target.User != nil {
		return location
	}
	absolute := target.Scheme != "" || target.Host != ""
	if absolute && !sameServer(target, u.target) {
		return location
	}
	path := target.EscapedPath()
	if absolute && path == "" {
		path = "/"
	}
	if !strings.HasPrefix(path, "/") || !urlpath.Under(path, u.base) {
		return location // relative to the request, or outside of what the route shows
	}
	if path = u.strip + path[len(u.base):]; path == "" {
		path = "/"
	}
	if strings.HasPrefix(path, "//") || strings.HasPrefix(path, `/\`) {
		return location // would be another host
	}
	public := url.URL{RawQuery: target.RawQuery, ForceQuery: target.ForceQuery, Fragment: target.Fragment, RawFragment: target.RawFragment}
	return path + public.String()
}

// sameServer tells whether a, in which the scheme may be left out, is on the server of b.
func sameServer(a, b *url.URL) bool {
	if a.Scheme != "" && a.Scheme != b.Scheme {
		return false
	}
	return strings.EqualFold(a.Hostname(), b.Hostname()) && portOf(a.Port(), b.Scheme) == portOf(b.Port(), b.Scheme)
}

func portOf(port, scheme string) string {
	switch {
	case port != "":
		return port
	case scheme == "https":
		return "443"
	}
	return "80"
}
