package config

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"cloakroom/internal/egress"
	"cloakroom/internal/urlpath"
)

func (v *validator) routes() {
	for i := range v.Routes {
		r := &v.Routes[i]
		path := fmt.Sprintf("routes[%d]", i)
		v.routePath(i, path)
		v.target(r, path)
		v.routeToken(r, path)
		v.routeSession(r, path)
		v.routeMethods(r, path)
		switch {
		case r.SPA != "":
			v.pageOnly(r, path, "folder")
		case r.SPADev != "":
			v.pageOnly(r, path, "dev server")
			v.development(child(path, "spa_dev"))
		}
		if r.MaxBody == 0 && !v.broken(child(path, "max_body")) {
			v.at(child(path, "max_body"), "is 0", "leave POST, PUT and PATCH out of methods to take no body")
		}
		v.routeTLS(r, path)
	}
}

func (v *validator) routePath(i int, path string) {
	at, p := child(path, "path"), v.Routes[i].Path
	if v.missing(at, p, "write the path's prefix, such as /api/orders") {
		return
	}
	if v.prefix(at, p) {
		return
	}
	if urlpath.Under(p, "/bff") {
		v.at(at, "is Cloakroom's own", "take a path that is not /bff or below it")
	}
	for j := range i {
		if v.Routes[j].Path == p {
			v.at(at, fmt.Sprintf("is that of routes[%d] too", j), "keep one of them")
		}
	}
}

// prefix reports a text that is no path in its one canonical spelling, and tells whether it did.
func (v *validator) prefix(at, p string) bool {
	fault, bad := errors.AsType[urlpath.Fault](urlpath.CheckPrefix(p))
	if bad {
		v.at(at, string(fault), "write it as the browser's address has it, such as /api/orders: it holds for everything below, without a / at its end and without a pattern")
	}
	return bad
}

func (v *validator) target(r *Route, path string) {
	var set []string
	for _, target := range []struct{ key, value string }{{"upstream", r.Upstream}, {"spa", r.SPA}, {"spa_dev", r.SPADev}} {
		if target.value != "" || v.broken(child(path, target.key)) {
			set = append(set, target.key)
		}
	}
	switch {
	case len(set) > 1:
		v.at(child(path, set[1]), "is a second target beside "+set[0], "keep one: a route has an upstream, a spa or a spa_dev")
	case len(set) == 0 && !v.broken(path):
		v.at(path, "has no target", "set upstream: http://host:port, or spa: FOLDER")
	}
	for key, target := range map[string]string{"upstream": r.Upstream, "spa_dev": r.SPADev} {
		v.egress(child(path, key), target)
		v.targetPath(child(path, key), target)
	}
	if r.StripPrefix != "" {
		at := child(path, "strip_prefix")
		if !v.prefix(at, r.StripPrefix) && r.Path != "" && !urlpath.Under(r.Path, r.StripPrefix) {
			v.at(at, "is not a prefix of the route's path", "write /api for /api/orders")
		}
	}
}

// targetPath reports a target whose path has more than one reading.
func (v *validator) targetPath(at, target string) {
	u, err := url.Parse(target)
	if err != nil || u.Path == "" {
		return
	}
	encoded, err := urlpath.Check(u.EscapedPath())
	if err == nil && encoded {
		err = urlpath.ErrEncoded
	}
	if fault, bad := errors.AsType[urlpath.Fault](err); bad {
		v.at(at, "has a path that "+string(fault), "write the path as the service itself has it, or only http://host:port")
	}
}

func (v *validator) routeToken(r *Route, path string) {
	at, short := child(path, "token"), child(path, "audience")
	switch {
	case v.broken(at) || v.broken(short):
		return
	case r.Audience != "" && r.Token.Kind != "":
		v.at(short, "contradicts token beside it", "keep one: `audience: NAME` is short for `token: {audience: NAME}`")
		return
	case r.Upstream != "" && r.Token.Kind == "":
		v.at(at, "is missing: an upstream gets nothing by accident", "write `audience: NAME` for a minted token, or `token: access` or `token: none`")
		return
	case r.Upstream == "" && (r.SPA != "" || r.SPADev != "") && r.Token.Kind != "" && r.Token.Kind != TokenNone:
		where := at
		if v.given(short) {
			where = short
		}
		v.at(where, "says nothing for a SPA", "take it out")
		return
	}
	if r.Token.Kind != TokenMinted {
		return
	}
	if !v.given(at) {
		at = path
	}
	v.mints(child(at, "audience"))
	if r.Token.Audience != "" {
		v.audienceName(child(at, "audience"), r.Token.Audience)
	}
	v.grantable(child(at, "scope"), r.Token.Scope, []string{r.Token.Audience})
}

func (v *validator) routeSession(r *Route, path string) {
	at := child(path, "session")
	if v.broken(at) {
		return
	}
	switch {
	case r.SPA != "" || r.SPADev != "":
	case r.Session == "none" && r.Token.Kind == TokenAccess:
		v.at(at, "is none, so there is no access token to send", "set session: required or optional, or token: none")
	case r.Session == "none" && r.Token.Kind == TokenMinted && r.Token.As != "service":
		v.at(at, "is none, so there is nobody to mint a token for", "set session: required or optional, or token: {audience: …, as: service}")
	}
	if r.Session == "none" && r.CSRF == "fetch-metadata" {
		v.at(child(path, "csrf"), "says nothing where session is none: nothing is asked there that a forged request could abuse", "take it out, or set session: required")
	}
	if r.Session == "none" && v.given(child(path, "no_session")) && r.NoSession != v.defaultNoSession(r) {
		v.at(child(path, "no_session"), "says nothing where session is none", "take it out, or set session: required")
	}
}

func (v *validator) defaultNoSession(r *Route) NoSession {
	if r.SPA != "" || r.SPADev != "" {
		return NoSessionLogin
	}
	return NoSession401
}

var routeMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func (v *validator) routeMethods(r *Route, path string) {
	at := child(path, "methods")
	if len(r.Methods) == 0 && !v.broken(at) {
		v.at(at, "is an empty list, so that nothing could be called", "list the methods, or take the key out")
	}
	for i, m := range r.Methods {
		if m == "" || slices.Contains(routeMethods, m) {
			continue
		}
		remedy := suggestion(m, routeMethods)
		if slices.Contains(routeMethods, strings.ToUpper(m)) {
			remedy = "write " + strings.ToUpper(m)
		}
		v.at(fmt.Sprintf("%s[%d]", at, i), "is not a method that passes", remedy)
	}
}

// development reports what is not for people's use.
func (v *validator) development(at string) {
	if u, err := url.Parse(v.Public.URL); err == nil && u.Host != "" && !egress.Loopback(u.Hostname()) {
		v.at(at, "is for development: its pages come with a weaker policy, and it shows the source", "build the SPA and write spa: FOLDER, or set public.url to http://localhost:PORT")
	}
}

// pageOnly reports what only a service behind a route could use.
func (v *validator) pageOnly(r *Route, path, what string) {
	fresh := Route{}
	fresh.setDefaults()
	for key, differs := range map[string]bool{
		"strip_prefix": r.StripPrefix != "",
		"timeout":      r.Timeout != fresh.Timeout,
		"max_body":     r.MaxBody != fresh.MaxBody,
		"websocket":    r.WebSocket,
		"encoded_path": r.EncodedPath != fresh.EncodedPath,
		"tls":          r.TLS != RouteTLS{},
		"methods":      !slices.Equal(r.Methods, fresh.Methods),
	} {
		if differs {
			v.at(child(path, key), "says nothing for a SPA's "+what, "take it out")
		}
	}
}

func (v *validator) routeTLS(r *Route, path string) {
	at := child(path, "tls")
	if u, err := url.Parse(r.Upstream); err == nil && u.Scheme == "http" && r.TLS != (RouteTLS{}) {
		v.at(at, "says nothing for an upstream over http", "use https://, or take it out")
	}
	v.pair(at, "cert_file", r.TLS.CertFile, "key_file", r.TLS.KeyFile)
	v.certificate(child(at, "cert_file"), r.TLS.CertFile, r.TLS.KeyFile)
	v.authorities(child(at, "ca_file"), r.TLS.CAFile)
}
