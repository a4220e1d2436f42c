package bff

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"cloakroom/web"
)

const (
	cspHeader       = "Content-Security-Policy"
	cspReportHeader = "Content-Security-Policy-Report-Only"
)

// SecurityHeaders is what a configuration may say about the headers of every response.
type SecurityHeaders struct {
	HSTS       int                 // max-age in seconds; 0: none (plain http)
	CSPAdd     map[string][]string // sources that widen directives of the built-in policy
	ReportOnly bool                // the policy is reported on, not enforced

	devServer bool // the policy is one for pages of a dev server
}

// securityHeaders are set on everything the public listener answers. It is immutable.
type securityHeaders struct {
	names  []string
	values []string
}

// builtInCSP is the policy of an SPA that brings all its parts with it.
var builtInCSP = []directive{
	{"default-src", []string{"'none'"}},
	{"script-src", []string{"'self'"}},
	{"style-src", []string{"'self'"}},
	{"img-src", []string{"'self'", "data:"}},
	{"font-src", []string{"'self'"}},
	{"connect-src", []string{"'self'"}},
	{"manifest-src", []string{"'self'"}},
	{"form-action", []string{"'self'"}},
	{"frame-ancestors", []string{"'none'"}},
	{"base-uri", []string{"'none'"}},
	{"object-src", []string{"'none'"}},
	{"require-trusted-types-for", []string{"'script'"}},
}

// devCSP is the policy of an SPA that comes from a dev server: that puts a script and styles of its own into pages, and draws
// mistakes over them as markup.
var devCSP = func() []directive {
	policy := slices.DeleteFunc(slices.Clone(builtInCSP), func(d directive) bool { return d.name == "require-trusted-types-for" })
	for name, source := range map[string]string{"script-src": "'unsafe-inline'", "style-src": "'unsafe-inline'", "worker-src": "blob:"} {
		policy = widen(policy, name, []string{source})
	}
	return policy
}()

type directive struct {
	name    string
	sources []string
}

// permissions gives the powerful features to the SPA itself and to no frame in it.
const permissions = "browsing-topics=(), camera=(self), display-capture=(self), geolocation=(self), hid=(self), microphone=(self), " +
	"midi=(self), payment=(self), serial=(self), usb=(self)"

func newSecurityHeaders(cfg SecurityHeaders) (*securityHeaders, error) {
	base := builtInCSP
	if cfg.devServer {
		base = devCSP
	}
	policy, err := contentSecurityPolicy(base, cfg.CSPAdd)
	if err != nil {
		return nil, err
	}
	header := cspHeader
	if cfg.ReportOnly {
		header = cspReportHeader
	}
	s := &securityHeaders{}
	s.add(header, policy)
	s.add("X-Content-Type-Options", "nosniff")
	s.add("Referrer-Policy", "same-origin") // not no-referrer: form posts would come with "Origin: null"
	s.add("Cross-Origin-Opener-Policy", "same-origin")
	s.add("Cross-Origin-Resource-Policy", "same-origin")
	s.add("Permissions-Policy", permissions)
	if cfg.HSTS > 0 {
		s.add("Strict-Transport-Security", "max-age="+strconv.Itoa(cfg.HSTS)+"; includeSubDomains")
	}
	return s, nil
}

func (s *securityHeaders) add(name, value string) {
	s.names = append(s.names, name)
	s.values = append(s.values, value)
}

// apply sets the headers, before anything else is written. A page with a policy of its own sets it over ours afterwards.
// The values are shared between responses: they have no room to grow, so Header.Add copies.
func (s *securityHeaders) apply(h http.Header) {
	for i, name := range s.names {
		h[name] = s.values[i : i+1 : i+1]
	}
}

func contentSecurityPolicy(base []directive, add map[string][]string) (string, error) {
	policy := slices.Clone(base)
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(add)) {
		sources := add[name]
		if err := web.CheckDirective(name); err != nil {
			faults = append(faults, fmt.Errorf("content security policy: %q %w", name, err))
			continue
		}
		for _, source := range sources {
			if err := web.CheckSource(source); err != nil {
				faults = append(faults, fmt.Errorf("content security policy: %s: %q %w", name, source, err))
			}
		}
		policy = widen(policy, name, sources)
	}
	if err := errors.Join(faults...); err != nil {
		return "", err
	}
	var out strings.Builder
	for i, d := range policy {
		if i > 0 {
			out.WriteString("; ")
		}
		out.WriteString(d.name + " " + strings.Join(d.sources, " "))
	}
	return out.String(), nil
}

// widen adds sources to a directive; 'none' beside a source would be an error, so it goes. A directive that the built-in policy
// leaves to default-src, or does not restrict, begins with 'self'.
func widen(policy []directive, name string, sources []string) []directive {
	i := slices.IndexFunc(policy, func(d directive) bool { return d.name == name })
	if i < 0 {
		first := []string{"'self'"}
		if name == "trusted-types" {
			first = nil
		}
		return append(policy, directive{name, union(first, sources)})
	}
	policy[i].sources = union(slices.DeleteFunc(slices.Clone(policy[i].sources), func(s string) bool { return s == "'none'" && len(sources) > 0 }), sources)
	return policy
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}
