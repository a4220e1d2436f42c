package config

import (
	"net/netip"
	"net/url"

	"cloakroom/internal/egress"
	"cloakroom/secret"
)

// Off as a listener's address says that it is not opened.
const Off = "off"

// Public is the browser's side.
type Public struct {
	// URL is the one origin the browser sees, without a path; cookies and redirect URIs follow from it. Mandatory.
	URL string `yaml:"url" is:"origin"`
	// Listen is the address to listen at, or off. Default: ":8080".
	Listen string `yaml:"listen" is:"listen-or-off"`
	// TLS is the listener's certificate. Default: none, plain HTTP behind a TLS terminator.
	TLS TLS `yaml:"tls"`
	// TrustedProxies are those whose Forwarded and X-Forwarded-* are believed. Default: none.
	TrustedProxies []netip.Prefix `yaml:"trusted_proxies"`
	// AllowedOrigins are same-site https origins that may call with credentials (a SPA on a host of its own). Default: none.
	AllowedOrigins []string `yaml:"allowed_origins" is:"origin"`
	// PublishKeys serves the key set and the metadata here too. Default: false.
	PublishKeys bool `yaml:"publish_keys"`
	// HSTS is the max-age of Strict-Transport-Security in seconds, 0 for none. Default: one year where the URL is https;
	// where it is not, 0 and nothing else.
	HSTS int `yaml:"hsts"`
	// ContentSecurityPolicy changes the policy of the SPA's pages.
	ContentSecurityPolicy ContentSecurityPolicy `yaml:"content_security_policy"`
	// Pages is the look of Cloakroom's own pages. Default: plain.
	Pages Pages `yaml:"pages"`
}

// Loopback tells whether the browser's side is a development one at a loopback host over plain HTTP: there cookies lose
// Secure and their prefix.
func (p Public) Loopback() bool {
	u, err := url.Parse(p.URL)
	return err == nil && u.Scheme == "http" && egress.Loopback(u.Hostname())
}

// ContentSecurityPolicy changes the policy of the SPA's pages.
type ContentSecurityPolicy struct {
	// Add widens directives of the built-in policy by sources. Default: none.
	Add map[string][]string `yaml:"add"`
	// ReportOnly sends the policy as Content-Security-Policy-Report-Only. Default: false.
	ReportOnly bool `yaml:"report_only"`
}

// Pages is the look of the pages for login errors, after logout, and of a person's sessions.
type Pages struct {
	// Name stands in the title. Default: none.
	Name string `yaml:"name"`
	// Color is a CSS hex colour for what is accented. Default: none.
	Color string `yaml:"color"`
	// LogoFile is an image to show (SVG, PNG, JPEG or WebP). Default: none.
	LogoFile string `yaml:"logo_file" is:"file"`
	// StringsFile is a file of texts in place of the built-in ones, YAML or JSON: a map from their names. Default: none.
	StringsFile string `yaml:"strings_file" is:"file"`
}

// TLS is a certificate and its key, both PEM; they are read again when they change.
type TLS struct {
	// CertFile is the certificate with its chain.
	CertFile string `yaml:"cert_file" is:"file"`
	// KeyFile is its private key.
	KeyFile string `yaml:"key_file" is:"file"`
}

// Internal is the services' side.
type Internal struct {
	// URL is where services reach it; it is exchange.issuer unless that is set. Mandatory, in place of exchange.issuer or
	// public.publish_keys, once anything is minted. Default: none.
	URL string `yaml:"url" is:"issuer"`
	// Listen is the address to listen at, or off. Default: ":8081".
	Listen string `yaml:"listen" is:"listen-or-off"`
	// TLS is the listener's certificate and whose client certificates it takes. Default: none.
	TLS InternalTLS `yaml:"tls"`
}

// InternalTLS is the certificate of the services' side, and whose client certificates it takes.
type InternalTLS struct {
	// CertFile is the certificate with its chain.
	CertFile string `yaml:"cert_file" is:"file"`
	// KeyFile is its private key.
	KeyFile string `yaml:"key_file" is:"file"`
	// ClientCAFile holds the authorities of client certificates. Default: none, no client certificates by TLS.
	ClientCAFile string `yaml:"client_ca_file" is:"file"`
	// ClientCertHeader names the header in which a TLS terminator hands on the client's certificate (RFC 9440). Default: none.
	ClientCertHeader string `yaml:"client_cert_header"`
	// ClientCertFrom are the only addresses from which that header is believed. Default: none.
	ClientCertFrom []netip.Prefix `yaml:"client_cert_from"`
}

// Admin is the operators' side.
type Admin struct {
	// Listen is the address to listen at. Default: "127.0.0.1:9090".
	Listen string `yaml:"listen" is:"listen"`
	// Token is the bearer token of /admin/*. Mandatory where listen is not a loopback address. Default: none.
	Token secret.Text `yaml:"token"`
}
