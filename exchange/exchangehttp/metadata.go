package exchangehttp

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
)

const (
	jwksPath = "/.well-known/jwks.json"
	// metadataMaxAge is short: a change of configuration should reach services before someone wonders.
	metadataMaxAge = 5 * time.Minute
)

// metadata is what is told about this server (RFC 8414 section 2): exactly what works.
type metadata struct {
	Issuer             string           `json:"issuer"`
	Token              string           `json:"token_endpoint"`
	JWKS               string           `json:"jwks_uri"`
	Introspection      string           `json:"introspection_endpoint"`
	Revocation         string           `json:"revocation_endpoint,omitempty"`
	ResponseTypes      []string         `json:"response_types_supported"` // mandatory, and there is no authorization endpoint
	Grants             []exchange.Grant `json:"grant_types_supported"`
	TokenAuth          []string         `json:"token_endpoint_auth_methods_supported"`
	TokenAlgs          []string         `json:"token_endpoint_auth_signing_alg_values_supported,omitempty"`
	IntrospectionAuth  []string         `json:"introspection_endpoint_auth_methods_supported"`
	IntrospectionAlgs  []string         `json:"introspection_endpoint_auth_signing_alg_values_supported,omitempty"`
	RevocationAuth     []string         `json:"revocation_endpoint_auth_methods_supported,omitempty"`
	RevocationAlgs     []string         `json:"revocation_endpoint_auth_signing_alg_values_supported,omitempty"`
	AccessTokenSigning []string         `json:"access_token_signing_alg_values_supported"`
}

// document is a body that may be kept, with what a caller compares it by.
type document struct {
	body   []byte
	etag   string
	kind   string
	maxAge time.Duration
}

// tokenEndpoint is where the token endpoint of a server at url is.
func tokenEndpoint(url string) string { return strings.TrimSuffix(url, "/") + "/oauth2/token" }

func (s *Server) describe() (document, error) {
	base := strings.TrimSuffix(s.cfg.URL, "/")
	methods, algs := []string{"client_secret_basic", "client_secret_post"}, []string(nil)
	if s.cfg.Markers != nil {
		methods, algs = append(methods, "private_key_jwt"), assertionAlgorithms
	}
	m := metadata{
		Issuer: s.cfg.Service.Policy().Issuer(), Token: tokenEndpoint(s.cfg.URL), JWKS: base + jwksPath, Introspection: base + "/oauth2/introspect",
		ResponseTypes: []string{}, Grants: s.cfg.Service.Policy().Grants(), TokenAuth: methods, TokenAlgs: algs,
		IntrospectionAuth: methods, IntrospectionAlgs: algs, AccessTokenSigning: s.cfg.Keys.Algorithms(),
	}
	if s.cfg.Service.CanRevoke() {
		m.Revocation, m.RevocationAuth, m.RevocationAlgs = base+"/oauth2/revoke", methods, algs
	}
	body, err := json.Marshal(m)
	if err != nil {
		return document{}, err
	}
	sum := sha256.Sum256(body)
	return document{body, `"` + base64.RawURLEncoding.EncodeToString(sum[:12]) + `"`, "application/json", metadataMaxAge}, nil
}

// metadataPaths: RFC 8414 section 3.1 inserts the well-known part before the issuer's path, OpenID Connect Discovery
// section 4.1 appends it. One document answers all.
func metadataPaths(issuer string) []string {
	const oauth, openid = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"
	paths := []string{oauth, openid}
	if u, err := url.Parse(issuer); err == nil {
		if path := strings.TrimSuffix(u.Path, "/"); path != "" {
			paths = append(paths, oauth+path, openid+path, path+openid)
		}
	}
	return slices.Compact(paths)
}

func (s *Server) describeItself(c echo.Context) error { return show(c, s.metadata) }

// jwks answers GET /.well-known/jwks.json (RFC 7517 section 5).
func (s *Server) jwks(c echo.Context) error {
	keys := s.cfg.Keys.JWKS()
	return show(c, document{keys.JSON, keys.ETag, "application/jwk-set+json", keys.MaxAge})
}

// show writes a document, or 304 to who has it (RFC 9110 section 13.1.2).
func show(c echo.Context, d document) error {
	h := c.Response().Header()
	h.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int64(d.maxAge/time.Second)))
	h.Set("ETag", d.etag)
	h.Set("X-Content-Type-Options", "nosniff")
	for known := range strings.SplitSeq(c.Request().Header.Get("If-None-Match"), ",") {
		if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == d.etag {
			return c.NoContent(http.StatusNotModified)
		}
	}
	return c.Blob(http.StatusOK, d.kind, d.body)
}
