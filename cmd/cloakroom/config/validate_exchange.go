package config

import (
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"cloakroom/exchange"
	"cloakroom/internal/urlpath"
	"cloakroom/token"
)

func (v *validator) exchange() {
	e := &v.Exchange
	v.lifetime("exchange.defaults.lifetime", e.Defaults.Lifetime)
	v.claimNames("exchange.defaults.claims", e.Defaults.Claims)
	for i := range e.Audiences {
		v.audience(i)
	}
	for i := range e.Clients {
		v.client(i)
	}
	v.signing()
	v.published()
}

// mints reports that there is no issuer where something is minted.
func (v *validator) mints(path string) {
	if v.unissued || v.Exchange.Issuer != "" || v.broken("exchange.issuer") || v.broken("internal.url") || v.broken("exchange") || v.broken("internal") {
		return
	}
	v.unissued = true
	v.at(path, "needs a token minted, and there is no issuer to mint it", "set internal.url, where services reach Cloakroom, or exchange.issuer")
}

func (v *validator) lifetime(path string, d time.Duration) {
	if d > 0 && d < exchange.MinimumLeft {
		v.at(path, fmt.Sprintf("is under %s, the least a token is minted for", exchange.MinimumLeft), "write 30s or more")
	}
}

func (v *validator) claimNames(path string, rules ClaimRules) {
	for _, c := range rules {
		if exchange.Protected(c.Name) && v.given(child(path, c.Name)) { // an audience's hold the defaults' too
			v.at(child(path, c.Name), "is set by Cloakroom itself and cannot be mapped", "take another name, or take it out")
		}
		if c.Name == "" {
			v.at(child(path, c.Name), "is a claim without a name", "name it")
		}
	}
}

// published reports an issuer at whose path no metadata can be published on the public listener.
func (v *validator) published() {
	u, err := url.Parse(v.Exchange.Issuer)
	if err != nil || !v.Public.PublishKeys {
		return
	}
	path := strings.TrimSuffix(u.Path, "/")
	if path == "" {
		return
	}
	if encoded, err := urlpath.Check(path); err != nil || encoded || urlpath.Under(path, "/bff") {
		at := "exchange.issuer"
		if !v.given(at) {
			at = "internal.url"
		}
		v.at(at, "has a path below which public.publish_keys cannot publish its metadata", "write another path, without /bff, escapes and what must be escaped, or no path")
	}
}

func (v *validator) signing() {
	s := v.Exchange.Signing
	const rotate = "exchange.signing.rotate"
	longest := v.Exchange.Defaults.Lifetime
	for _, a := range v.Exchange.Audiences {
		longest = max(longest, a.Lifetime)
	}
	switch {
	case v.broken(rotate):
	case s.Rotate < 30*time.Second:
		v.at(rotate, "is under 30s", "the default is 720h")
	case s.Rotate < 2*longest:
		v.at(rotate, fmt.Sprintf("is under twice the longest lifetime, which is %s", longest), fmt.Sprintf("write %s or more, so that a key outlives its tokens", 2*longest))
	}
	rsa := s.Algorithm == "RS256"
	for _, a := range v.Exchange.Audiences {
		rsa = rsa || a.Algorithm == "RS256"
	}
	if rsa && len(s.RSAKeyFiles) == 0 && !v.broken("exchange.signing.rsa_key_files") {
		v.at("exchange.signing.rsa_key_files", "are missing: RS256 keys come from files", "make one with `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out FILE`, and list it")
	}
	v.rsaKeys("exchange.signing.rsa_key_files", s.RSAKeyFiles)
}

// rsaKeys reports files that hold no RSA key to sign with.
func (v *validator) rsaKeys(path string, files []string) {
	var seen []*rsa.PrivateKey
	for i, file := range files {
		if file == "" {
			continue
		}
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it could be read a moment ago; serve will say
		}
		at := fmt.Sprintf("%s[%d]", path, i)
		keys, err := token.LoadRSAKeys(raw)
		if err != nil {
			v.at(at, "holds no RSA key to sign with: "+err.Error(), "name the private key's file (PEM, PKCS#8 or PKCS#1, 2048 bits or more)")
		}
		for _, key := range keys {
			if slices.ContainsFunc(seen, func(k *rsa.PrivateKey) bool { return k.PublicKey.Equal(&key.PublicKey) }) {
				v.at(at, "holds an RSA key that was named already", "name each key once")
			}
			seen = append(seen, key)
		}
	}
}

// Names in `aud`, URLs of metrics and logs.
var audienceName = regexp.MustCompile(`^[!-~]{1,200}$`)

func (v *validator) audienceName(path, name string) {
	if !audienceName.MatchString(name) || strings.ContainsAny(name, `"\`) {
		v.at(path, "is not the name of an audience", "use letters, digits and punctuation, without spaces and quotes")
	}
}

func (v *validator) audience(i int) {
	a := &v.Exchange.Audiences[i]
	path := child("exchange.audiences", a.Name)
	v.audienceName(path, a.Name)
	v.lifetime(child(path, "lifetime"), a.Lifetime)
	v.claimNames(child(path, "claims"), a.Claims)
	for j := range v.Exchange.Audiences {
		other := &v.Exchange.Audiences[j]
		if a.Resource != "" && (j < i && other.Resource == a.Resource || j != i && other.Name == a.Resource) {
			v.at(child(path, "resource"), "is that of the audience "+other.Name+" too", "give each a resource of its own")
		}
	}
	if a.Subject.Kind == SubjectPairwise && v.Exchange.PairwiseKey == nil && !v.broken("exchange.pairwise_key") && !v.broken(child(path, "subject")) {
		v.at("exchange.pairwise_key", "is missing: the subject of "+a.Name+" is pairwise", "make one with `cloakroom secret`; it never changes")
	}
	if a.Encrypt.JWKSFile != "" && a.Encrypt.JWKSURI != "" {
		v.at(child(child(path, "encrypt"), "jwks_uri"), "contradicts jwks_file", "keep one of them")
	}
	v.egress(child(child(path, "encrypt"), "jwks_uri"), a.Encrypt.JWKSURI)
	v.egress(child(child(path, "decide"), "url"), a.Decide.URL)
	v.unused(a, path)
}

// unused reports how tokens are encrypted, or how long a decision may take, where there is no key set and no decision point.
func (v *validator) unused(a *Audience, path string) {
	fresh := Audience{}
	fresh.setDefaults()
	encrypt, decide := child(path, "encrypt"), child(path, "decide")
	if a.Encrypt.JWKSFile == "" && a.Encrypt.JWKSURI == "" && !v.broken(child(encrypt, "jwks_file")) && !v.broken(child(encrypt, "jwks_uri")) {
		for key, differs := range map[string]bool{"algorithm": a.Encrypt.Algorithm != fresh.Encrypt.Algorithm, "encryption": a.Encrypt.Encryption != fresh.Encrypt.Encryption} {
			if differs {
				v.at(child(encrypt, key), "says nothing without jwks_file or jwks_uri", "name the audience's public keys, or take it out")
			}
		}
	}
	if a.Decide.URL == "" && a.Decide.Timeout != fresh.Decide.Timeout && !v.broken(child(decide, "url")) {
		v.at(child(decide, "timeout"), "says nothing without url", "name the decision point, or take it out")
	}
}

// audienceNames are those that have a policy, and those that only a route names.
func (v *validator) audienceNames() []string {
	var names []string
	for _, a := range v.Exchange.Audiences {
		names = append(names, a.Name)
	}
	for _, r := range v.Routes {
		if r.Token.Audience != "" && !slices.Contains(names, r.Token.Audience) {
			names = append(names, r.Token.Audience)
		}
	}
	return names
}

// grantable reports a scope that none of the audiences could ever grant.
func (v *validator) grantable(path string, scopes, audiences []string) {
	var there []string
	for _, name := range audiences {
		a := v.Exchange.Audience(name)
		if a.Scopes.FromSubject || v.broken(child(child("exchange.audiences", name), "scopes")) || v.broken(child("exchange.audiences", name)) {
			return
		}
		for _, rule := range a.Scopes.Rules {
			there = append(there, rule.Scope)
		}
	}
	for i, s := range scopes {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !v.given(at) {
			at = path
		}
		if s != "" && !slices.Contains(there, s) {
			v.at(at, fmt.Sprintf("has the scope %s, which its audience cannot grant", v.quoted(at, s)), v.oneOf(s, there))
		}
	}
}

func (v *validator) client(i int) {
	c := &v.Exchange.Clients[i]
	path := child("exchange.clients", c.Name)
	v.mints(path)
	v.audienceName(path, c.Name)
	if c.Name == exchange.RouteClient {
		v.at(path, "is the name of the browser's side itself", "take another name")
	}
	v.clientAuth(&c.Auth, child(path, "auth"))
	if len(c.Grants) == 0 && !v.broken(child(path, "grants")) {
		v.at(child(path, "grants"), "is an empty list", "list token-exchange or client_credentials, or take the key out")
	}
	if len(c.SubjectTypes) == 0 && !v.broken(child(path, "subject_types")) {
		v.at(child(path, "subject_types"), "is an empty list", "list access_token, or take the key out")
	}
	if len(c.Audiences) == 0 && !v.broken(child(path, "audiences")) && !v.broken(path) {
		v.at(child(path, "audiences"), "are missing", "list the audiences it may ask for")
	}
	there := v.audienceNames()
	for key, names := range map[string][]string{"audiences": c.Audiences, "subject_audiences": c.SubjectAudiences} {
		for j, one := range names {
			at := fmt.Sprintf("%s[%d]", child(path, key), j)
			if v.given(at) && one != "" && !slices.Contains(there, one) {
				v.at(at, fmt.Sprintf("names the audience %s, which there is not", v.quoted(at, one)), v.oneOf(one, there))
			}
		}
	}
	if len(c.Audiences) > 0 {
		v.grantable(child(path, "scopes"), c.Scopes, c.Audiences)
	}
	for j, s := range c.Scopes {
		if s != "" && !scopeToken.MatchString(s) {
			v.at(fmt.Sprintf("%s[%d]", child(path, "scopes"), j), "is not a scope", scopeRemedy)
		}
	}
	v.lifetime(child(path, "lifetime"), c.Lifetime)
}

// clientAuth: a client proves who it is in exactly one way.
func (v *validator) clientAuth(a *ClientAuth, path string) {
	if v.broken(path) || v.broken(parent(path)) {
		return
	}
	var ways []string
	for _, way := range []struct {
		key string
		set bool
	}{{"secret", v.given(child(path, "secret"))}, {"jwks_file", a.JWKSFile != ""}, {"jwks_uri", a.JWKSURI != ""}, {"tls_san", a.TLSSAN != ""},
		{"tls_thumbprint", a.TLSThumbprint != ""}, {"kubernetes", a.Kubernetes != nil}, {"spiffe", a.SPIFFE != nil}} {
		if way.set || v.broken(child(path, way.key)) {
			ways = append(ways, way.key)
		}
	}
	switch {
	case len(ways) == 0:
		v.at(path, "is missing", `say how the client proves who it is: {secret: "${NAME}"}`)
	case len(ways) > 1:
		v.at(child(path, ways[1]), "is a second way beside "+ways[0], "keep one")
	}
	v.clientSecrets(a, child(path, "secret"))
	if a.TLSThumbprint != "" && !sha256Text(a.TLSThumbprint) {
		v.at(child(path, "tls_thumbprint"), "is not the SHA-256 of a certificate", "write it in base64url (43 characters) or hex (64)")
	}
	if (a.TLSSAN != "" || a.TLSThumbprint != "") && v.Internal.TLS.ClientCAFile == "" && v.Internal.TLS.ClientCertHeader == "" &&
		!v.broken("internal.tls.client_ca_file") && !v.broken("internal.tls.client_cert_header") {
		v.at(path, "is by client certificate, and the internal listener takes none", "set internal.tls.client_ca_file or client_cert_header")
	}
	v.keySet(child(path, "jwks_file"), a.JWKSFile)
	v.egress(child(path, "jwks_uri"), a.JWKSURI)
	if k := a.Kubernetes; k != nil {
		at := child(path, "kubernetes")
		v.missing(child(at, "issuer"), k.Issuer, "write the cluster's issuer, such as https://kubernetes.default.svc")
		v.missing(child(at, "audience"), k.Audience, "write the audience of the projected token, such as cloakroom")
		if !v.missing(child(at, "subject"), k.Subject, "write system:serviceaccount:NAMESPACE:NAME") && !serviceAccount.MatchString(k.Subject) {
			v.at(child(at, "subject"), "is not a service account", "write system:serviceaccount:NAMESPACE:NAME")
		}
	}
	if s := a.SPIFFE; s != nil {
		at := child(path, "spiffe")
		if !v.missing(child(at, "id"), s.ID, "write spiffe://TRUST-DOMAIN/PATH") && !spiffeID.MatchString(s.ID) {
			v.at(child(at, "id"), "is not a SPIFFE ID", "write spiffe://TRUST-DOMAIN/PATH")
		}
		v.missing(child(at, "bundle_file"), s.BundleFile, "name the file of the trust domain's keys")
	}
}

var (
	serviceAccount = regexp.MustCompile(`^system:serviceaccount:[a-z0-9-]+:[a-z0-9.-]+$`)
	spiffeID       = regexp.MustCompile(`^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$`)
)

func (v *validator) clientSecrets(a *ClientAuth, path string) {
	if len(a.Secrets) > 3 {
		v.at(path, fmt.Sprintf("are %d, and may be at most 3", len(a.Secrets)), "drop those no longer used")
	}
	if v.given(path) && len(a.Secrets) == 0 {
		v.at(path, "is empty", "write \"${NAME}\" and set that variable")
	}
	for i, s := range a.Secrets {
		at := fmt.Sprintf("%s[%d]", path, i)
		if !v.given(at) {
			at = path
		}
		if s == "" {
			v.at(at, "is empty", "write \"${NAME}\" and set that variable")
		} else if slices.Contains(a.Secrets[:i], s) {
			v.at(at, "is listed twice", "keep one of them")
		}
	}
}

func sha256Text(s string) bool {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) != 32 {
		raw, err = hex.DecodeString(strings.ReplaceAll(s, ":", ""))
	}
	return err == nil && len(raw) == 32
}
