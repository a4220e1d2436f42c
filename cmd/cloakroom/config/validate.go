package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"cloakroom/internal/egress"
	"cloakroom/internal/roots"
	"cloakroom/secret"
	"cloakroom/web"
)

// validator checks what no key can tell for itself: what is missing, what contradicts what. Every rule is one report.
type validator struct {
	*report
	*File
	unissued bool // that there is no issuer is reported already
}

func (v *validator) all() {
	v.public()
	v.internal()
	v.admin()
	v.listeners()
	v.store()
	v.secrets()
	v.session()
	v.providers()
	v.issuers()
	v.routes()
	v.exchange()
}

// missing reports a mandatory key without a value.
func (v *validator) missing(path, value, remedy string) bool {
	if value == "" && !v.broken(path) && !v.broken(parent(path)) {
		v.at(path, "is missing", remedy)
		return true
	}
	return value == ""
}

// publicIsHTTPS tells whether the browser's side is https.
func (f *File) publicIsHTTPS() bool { return strings.HasPrefix(f.Public.URL, "https:") }

func (v *validator) public() {
	p := v.Public
	u, _ := url.Parse(p.URL)
	switch {
	case v.missing("public.url", p.URL, "write the one origin the browser sees, such as https://app.example.com"):
	case u.Scheme == "http" && !egress.Loopback(u.Hostname()):
		v.at("public.url", "is http for a host that is not a loopback one: its cookies could be read and set by anyone on the way",
			"use https:// (Cloakroom may stand behind a TLS terminator), or http://localhost for development")
	case u.Scheme == "http" && p.TLS.CertFile != "":
		v.at("public.tls.cert_file", "contradicts public.url, which is http", "write https:// there, or take the certificate out")
	case u.Scheme == "http":
		v.warn("public.url", "is plain http: cookies lose Secure and their prefix", "fine for development on this machine only")
	}
	if u != nil && u.Scheme == "http" && p.HSTS > 0 {
		v.at("public.hsts", "says nothing for an http URL: a browser ignores it there", "take it out, or use https://") // RFC 6797 section 8.1
	}
	v.pair("public.tls", "cert_file", p.TLS.CertFile, "key_file", p.TLS.KeyFile)
	v.certificate("public.tls.cert_file", p.TLS.CertFile, p.TLS.KeyFile)
	for i, proxy := range p.TrustedProxies {
		if proxy.IsValid() && proxy.Bits() == 0 {
			v.warn(fmt.Sprintf("public.trusted_proxies[%d]", i), "trusts the headers of everyone", "name the proxies' own addresses")
		}
	}
	for i, origin := range p.AllowedOrigins {
		at := fmt.Sprintf("public.allowed_origins[%d]", i)
		if here := hostOf(origin); strings.HasPrefix(origin, "http:") && !(p.Loopback() && egress.Loopback(here)) {
			v.at(at, "is not https", "use https://; http is for a loopback host beside public.url at one, in development")
		} else if origin == p.URL && origin != "" {
			v.at(at, "is public.url itself", "take it out: it is always allowed")
		}
	}
	for directive, sources := range p.ContentSecurityPolicy.Add {
		at := child("public.content_security_policy.add", directive)
		if err := web.CheckDirective(directive); err != nil {
			v.at(at, err.Error(), "take it out, or name one of those")
		}
		for i, source := range sources {
			if err := web.CheckSource(source); err != nil {
				v.at(fmt.Sprintf("%s[%d]", at, i), err.Error(), "write each source as an item of its own, in ASCII and without ; or ,")
			}
		}
	}
	if p.Pages.Color != "" && !hexColor.MatchString(p.Pages.Color) {
		v.at("public.pages.color", "is not a hex colour", `write it as "#0b5" or "#00bb55"`)
	}
	v.logo("public.pages.logo_file", p.Pages.LogoFile)
	if p.Pages.StringsFile != "" && !v.broken("public.pages.strings_file") {
		if _, err := ReadWords(p.Pages.StringsFile); err != nil {
			v.at("public.pages.strings_file", "is not a map of texts: "+err.Error(), "mend that file")
		}
	}
}

var hexColor = regexp.MustCompile(`^#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})$`)

// hostOf is the host of a URL that was read already.
func hostOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// logo reports a file that is no logo.
func (v *validator) logo(path, file string) {
	if file == "" || v.broken(path) {
		return
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		v.at(path, "cannot be read", "let Cloakroom's user read it")
	} else if _, err := web.LogoType(raw); err != nil {
		v.at(path, err.Error(), "name a small image: SVG, PNG, JPEG, GIF or WebP")
	}
}

func (v *validator) internal() {
	t := v.Internal.TLS
	for path, text := range map[string]string{"internal.url": v.Internal.URL, "exchange.issuer": v.Exchange.Issuer} {
		if u, err := url.Parse(text); err == nil && u.Scheme == "http" && !egress.Loopback(u.Hostname()) && v.given(path) {
			v.warn(path, "is plain http: services send secrets and tokens to it in the clear", "give the internal listener a certificate, unless the network encrypts")
		}
	}
	v.pair("internal.tls", "cert_file", t.CertFile, "key_file", t.KeyFile)
	v.certificate("internal.tls.cert_file", t.CertFile, t.KeyFile)
	if t.ClientCAFile != "" && t.CertFile == "" && !v.broken("internal.tls.cert_file") {
		v.at("internal.tls.client_ca_file", "needs the listener's own certificate", "set cert_file and key_file beside it")
	}
	v.authorities("internal.tls.client_ca_file", t.ClientCAFile)
	if t.ClientCertHeader != "" && len(t.ClientCertFrom) == 0 && !v.broken("internal.tls.client_cert_from") {
		v.at("internal.tls.client_cert_header", "is believed from nobody", "list the TLS terminator's addresses in client_cert_from")
	}
	if t.ClientCertHeader == "" && len(t.ClientCertFrom) > 0 {
		v.at("internal.tls.client_cert_from", "says nothing without client_cert_header", "name the header, such as Client-Cert")
	}
	if t.ClientCertHeader != "" && !httpToken.MatchString(t.ClientCertHeader) {
		v.at("internal.tls.client_cert_header", "is not the name of a header", "write it as Client-Cert")
	}
}

// A header's name (RFC 9110 section 5.6.2).
var httpToken = regexp.MustCompile("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")

func (v *validator) admin() {
	host, _, err := net.SplitHostPort(v.Admin.Listen)
	switch {
	case v.Admin.Listen == "" && !v.broken("admin.listen"):
		v.at("admin.listen", "is empty", `write it as "127.0.0.1:9090"`)
	case err == nil && !egress.Loopback(host) && v.Admin.Token == "" && !v.broken("admin.token"):
		v.at("admin.listen", "is not a loopback address, and there is no admin.token: anyone who reaches it could end sessions", "set admin.token, or listen at 127.0.0.1")
	}
}

// listeners reports two that want the same address.
func (v *validator) listeners() {
	type listener struct{ path, address string }
	all := []listener{{"public.listen", v.Public.Listen}, {"internal.listen", v.Internal.Listen}, {"admin.listen", v.Admin.Listen}}
	for i, a := range all {
		if a.address == "" {
			v.at(a.path, "is empty", `write it as ":8080"`)
		}
		for _, b := range all[:i] {
			if sameAddress(a.address, b.address) {
				if !v.given(a.path) {
					a, b = b, a // the default is not what is wrong
				}
				v.at(a.path, "is the address of "+b.path+" too", "give each listener a port of its own")
			}
		}
	}
	if v.Public.Listen == Off && v.Internal.Listen == Off {
		v.at("public.listen", "is off, and so is internal.listen: nothing is left to do", "open one of them")
	}
}

func sameAddress(a, b string) bool {
	hostA, portA, errA := net.SplitHostPort(a)
	hostB, portB, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || portA != portB || portA == "0" {
		return false
	}
	any := func(host string) bool {
		addr, err := netip.ParseAddr(host)
		return host == "" || err == nil && addr.IsUnspecified()
	}
	return hostA == hostB || any(hostA) || any(hostB)
}

func (v *validator) secrets() {
	memoryAtHome := v.Public.Loopback() && v.Store.InMemory()
	if len(v.File.Secrets) == 0 && !v.broken("secrets") && !v.given("secrets[0]") && !memoryAtHome && v.Public.URL != "" {
		v.at("secrets", "are missing", "make one with `cloakroom secret`, and name its file: [\"${file:secrets/cloakroom-1}\"]")
	}
	v.keys("secrets", len(v.File.Secrets), func(i int) string { return v.File.Secrets[i].ID() })
	v.keys("exchange.signing.secrets", len(v.Exchange.Signing.Secrets), func(i int) string { return v.Exchange.Signing.Secrets[i].ID() })
}

// keys checks a list of secrets, which may hold at most 3 and none twice.
func (v *validator) keys(path string, count int, id func(int) string) {
	if count > secret.MaxKeys {
		v.at(path, fmt.Sprintf("are %d, and may be at most %d", count, secret.MaxKeys), "drop the oldest, the last")
	}
	for i := range count {
		for j := range i {
			if id(i) == id(j) && id(i) != "" { // "": it did not parse, which is reported already
				v.at(fmt.Sprintf("%s[%d]", path, i), "is the same secret as another of the list", "keep one of them")
			}
		}
	}
}

var cookieName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (v *validator) session() {
	s := v.Session
	if v.given("session.idle") && s.Idle > s.Absolute && s.Absolute > 0 {
		v.at("session.idle", "is longer than session.absolute, so it would never end anything", "make it shorter")
	}
	if s.RefreshEvery > 0 && s.RefreshEvery < s.RefreshBefore {
		v.at("session.refresh_every", "is shorter than session.refresh_before", "make it longer")
	}
	switch name := s.Cookie.Name; {
	case v.broken("session.cookie.name"):
	case !cookieName.MatchString(name):
		v.at("session.cookie.name", "is not a cookie's name", "use letters, digits, - and _")
	case strings.HasPrefix(name, "__"):
		v.at("session.cookie.name", "begins with __", "leave the prefix out: __Host-Http- is added")
	case name == "login":
		v.at("session.cookie.name", "is the name of the login cookie", "take another, such as session")
	}
	for i, c := range s.UserClaims {
		at := child("session.user_claims", c.Name)
		if c.Value.Source == "" {
			at = fmt.Sprintf("session.user_claims[%d]", i)
		}
		switch {
		case c.Name == "session":
			v.at(at, "is reserved: /bff/user tells the session itself under that name", "take another name")
		case c.Name == "sub" && c.Value.Source != "":
			v.at(at, "is reserved: /bff/user tells the provider's own sub under that name", "take another name, or take it out")
		}
	}
}

// pair reports one of two keys that only mean something together.
func (v *validator) pair(path, first, one, second, other string) {
	first, second = child(path, first), child(path, second)
	switch {
	case v.broken(first) || v.broken(second):
	case one != "" && other == "":
		v.at(first, "has no "+second+" beside it", "set both or neither")
	case one == "" && other != "":
		v.at(second, "has no "+first+" beside it", "set both or neither")
	}
}

// certificate reports a certificate and key that do not belong together, at the certificate's path.
func (v *validator) certificate(path, certFile, keyFile string) {
	if certFile == "" || keyFile == "" {
		return
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		v.at(path, "and its key file are not a certificate and its key, both PEM", "check which files they are")
		return
	}
	if leaf, err := x509.ParseCertificate(cert.Certificate[0]); err == nil && time.Now().After(leaf.NotAfter) {
		v.warn(path, "has expired", "renew the certificate")
	}
}

// authorities reports a file that holds no certificate.
func (v *validator) authorities(path, file string) {
	if _, err := roots.Read(file); err != nil {
		v.at(path, "holds no certificate (PEM)", "name the file of the authorities' certificates")
	}
}
