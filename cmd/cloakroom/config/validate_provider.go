package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"

	"cloakroom/internal/egress"
	"cloakroom/token"
)

// Names that stand in URLs (/bff/callback/{provider}), metrics and logs.
var name = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$`)

// Parameters of the authorization request that only Cloakroom sets.
var reservedParams = []string{"client_id", "client_secret", "code_challenge", "code_challenge_method", "dpop_jkt", "nonce", "redirect_uri",
	"request", "request_uri", "response_mode", "response_type", "scope", "state"}

func (v *validator) providers() {
	if len(v.Providers) == 0 && !v.broken("providers") && v.Public.Listen != Off {
		v.at("providers", "are missing: nobody could sign in", "add one: providers: {main: {issuer: …, client_id: …}}")
	}
	for i := range v.Providers {
		p := &v.Providers[i]
		path := child("providers", p.Name)
		if !name.MatchString(p.Name) {
			v.at(path, "is not a name that can stand in a URL", "use lower-case letters, digits, - and _")
		}
		v.missing(child(path, "issuer"), p.Issuer, "write the issuer exactly as the provider's metadata has it")
		v.missing(child(path, "client_id"), p.ClientID, "register Cloakroom at the provider (`cloakroom init` says with what) and write its client id")
		v.clientAuthentication(p, path)
		v.providerScopes(p, path)
		v.authorizationRequest(p, path)
		v.egress(child(path, "issuer"), p.Issuer)
		for key, endpoint := range p.Endpoints {
			v.egress(child(child(path, "endpoints"), key), endpoint)
		}
		if len(p.Algorithms) == 0 && !v.broken(child(path, "algorithms")) {
			v.at(child(path, "algorithms"), "is an empty list, so that no token could be accepted", "list the algorithms, or take the key out")
		}
		v.authorities(child(path, "ca_file"), p.CAFile)
		v.proxy(child(path, "proxy"), p.Proxy.Reveal())
		if !p.RequirePKCE && !v.broken(child(path, "require_pkce")) {
			v.warn(child(path, "require_pkce"), "is false: a stolen code could be redeemed where the provider does not check PKCE", "leave it at true unless the provider's metadata is wrong")
		}
		v.providerTwice(i, child(path, "issuer"))
	}
}

// providerTwice: whose a token is, and who may sign in with it, must follow from its issuer alone.
func (v *validator) providerTwice(i int, at string) {
	p := v.Providers[i]
	if p.Issuer == "" {
		return
	}
	if p.Issuer == v.ownIssuer() {
		v.at(at, "is the exchange's own issuer", "give exchange.issuer (or internal.url) another URL")
	}
	for _, other := range v.Providers[:i] {
		if other.Issuer == p.Issuer {
			v.at(at, "is that of the provider "+other.Name+" already: its tokens say only their issuer, not which of the two they belong to",
				"keep one; login_params let /bff/login ask it for another way to sign in, and accepted_clients let the exchange take tokens of its other clients")
			return
		}
	}
}

// ownIssuer is `iss` of what is minted; where there is no issuer nothing is minted, and the public URL stands for it.
func (v *validator) ownIssuer() string { return cmp.Or(v.Exchange.Issuer, v.Public.URL) }

func (v *validator) clientAuthentication(p *Provider, path string) {
	method, secret := child(path, "token_endpoint_auth_method"), child(path, "client_secret")
	if v.broken(method) {
		return
	}
	switch p.AuthMethod {
	case "client_secret_basic", "client_secret_post":
		v.missing(secret, p.ClientSecret.Reveal(), "write \"${CLIENT_SECRET}\" and set that variable, or set token_endpoint_auth_method: none for a public client")
	case "none":
		if p.AccessTokenValidation == "introspection" {
			v.at(child(path, "access_token_validation"), "is introspection, which a client without a secret may not ask for", "give it a client_secret, or take the key out") // RFC 7662 section 2.1
		}
		v.warn(method, "is none: anyone with a code and its verifier can redeem it", "make the client confidential at the provider, if it can be")
	default:
		v.missing(child(path, "client_key_file"), p.ClientKeyFile, "name the private key's file (PEM)")
	}
	if p.AuthMethod != "client_secret_basic" && p.AuthMethod != "client_secret_post" && p.ClientSecret != "" {
		v.at(secret, "contradicts token_endpoint_auth_method, which uses none", "take one of the two out")
	}
	if strings.HasSuffix(p.AuthMethod, "tls_client_auth") {
		v.missing(child(path, "client_cert_file"), p.ClientCertFile, "name the certificate's file (PEM)")
		v.certificate(child(path, "client_cert_file"), p.ClientCertFile, p.ClientKeyFile)
	}
	if p.RequestObject == "always" {
		v.missing(child(path, "client_key_file"), p.ClientKeyFile, "name the private key that signs requests (PEM)")
	}
}

func (v *validator) providerScopes(p *Provider, path string) {
	at := child(path, "scopes")
	for i, s := range p.Scopes {
		if s != "" && !scopeToken.MatchString(s) {
			v.at(fmt.Sprintf("%s[%d]", at, i), "is not a scope", scopeRemedy+"; list each as an item of its own")
		}
	}
	if v.given(at) && !slices.Contains(p.Scopes, "openid") && !v.broken(at) {
		v.at(at, "lack openid, without which there is no ID token", "add openid") // OpenID Connect Core section 3.1.2.1
	}
}

func (v *validator) authorizationRequest(p *Provider, path string) {
	for param := range p.AuthorizationParams {
		at := child(child(path, "authorization_params"), param)
		switch {
		case slices.Contains(reservedParams, param):
			v.at(at, "is set by Cloakroom itself", "take it out")
		case param == "audience" || param == "resource":
			v.at(at, "has a key of its own", "write "+child(path, param))
		}
	}
	for i, param := range p.LoginParams {
		at := fmt.Sprintf("%s[%d]", child(path, "login_params"), i)
		switch _, fixed := p.AuthorizationParams[param]; {
		case slices.Contains(reservedParams, param) || param == "returnTo" || param == "provider":
			v.at(at, "is not for a browser to choose", "take it out")
		case fixed:
			v.at(at, "is fixed by authorization_params", "keep it in one place")
		}
	}
}

func (v *validator) proxy(path, text string) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) || u.Hostname() == "" || badPort(u) {
		v.at(path, "is not the URL of a proxy", "write it as http://proxy:3128 or socks5://proxy:1080")
	}
}

// egress reports a URL whose host is an address that will be refused. A name is only known when it is called.
func (v *validator) egress(path, text string) {
	u, err := url.Parse(text)
	if err != nil {
		return
	}
	addr, err := netip.ParseAddr(u.Hostname())
	if err == nil && egress.ReachOf(addr) == egress.Never && !egress.Listed(addr, v.Limits.EgressAllow) {
		v.at(path, "is a link-local, metadata or multicast address", "list it in limits.egress_allow if it is meant")
	}
}

func (v *validator) issuers() {
	for i := range v.Issuers {
		issuer := &v.Issuers[i]
		path := child("issuers", issuer.Name)
		if !name.MatchString(issuer.Name) {
			v.at(path, "is not a name that can stand in logs and metrics", "use lower-case letters, digits, - and _")
		}
		if slices.Contains(v.providerNames(), issuer.Name) {
			v.at(path, "is the name of a provider already", "call it something else: both can be a subject_issuer")
		}
		v.missing(child(path, "issuer"), issuer.Issuer, "write the issuer exactly as its tokens have it")
		if len(issuer.Audiences) == 0 && !v.broken(child(path, "audiences")) && !v.broken(path) {
			v.at(child(path, "audiences"), "are missing", "list those that its tokens may have, such as [cloakroom]")
		}
		if len(issuer.Algorithms) == 0 {
			v.at(child(path, "algorithms"), "is an empty list, so that no token could be accepted", "list the algorithms, or take the key out")
		}
		if issuer.JWKSURI != "" && issuer.JWKSFile != "" {
			v.at(child(path, "jwks_file"), "contradicts jwks_uri", "keep one of them")
		}
		v.keySet(child(path, "jwks_file"), issuer.JWKSFile)
		v.egress(child(path, "issuer"), issuer.Issuer)
		v.egress(child(path, "jwks_uri"), issuer.JWKSURI)
		if s := issuer.SubjectIssuer; s != "" && s != issuer.Name && !slices.ContainsFunc(v.Providers, func(p Provider) bool { return p.Name == s }) {
			v.at(child(path, "subject_issuer"), "is no provider of this file", v.oneOf(s, v.providerNames()))
		}
		v.issuerTwice(issuer, path)
	}
}

// keySet reports a file that is no key set (RFC 7517 section 5), or has no key a signature could be verified with.
func (v *validator) keySet(path, file string) {
	if file == "" || v.broken(path) {
		return
	}
	raw, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err == nil {
		_, err = token.ParseJWKS(raw)
	}
	if err != nil {
		v.at(path, "holds no usable public key", "name a file with a JSON Web Key Set")
	}
}

// issuerTwice: what a token is trusted for must follow from its issuer alone.
func (v *validator) issuerTwice(issuer *Issuer, path string) {
	at := child(path, "issuer")
	if issuer.Issuer == "" {
		return
	}
	if issuer.Issuer == v.ownIssuer() {
		v.at(at, "is the exchange's own issuer", "take it out: its own tokens are known")
	}
	for _, p := range v.Providers {
		if p.Issuer == issuer.Issuer {
			v.at(at, "is the provider "+p.Name+" already", "take it out: a provider's tokens are trusted at the exchange")
		}
	}
	for _, other := range v.Issuers {
		if other.Name == issuer.Name {
			break
		}
		if other.Issuer == issuer.Issuer {
			v.at(at, "is that of "+other.Name+" already", "keep one of them")
		}
	}
}

func (v *validator) providerNames() []string {
	var names []string
	for _, p := range v.Providers {
		names = append(names, p.Name)
	}
	return names
}

// oneOf is the remedy for a name that is not among those there are.
func (v *validator) oneOf(name string, there []string) string {
	if len(there) == 0 {
		return "there is none yet: add it"
	}
	return suggestion(name, there)
}
