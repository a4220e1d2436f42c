package config

import (
	"time"

	"cloakroom/secret"
)

// Exchange is who gets which minted token.
type Exchange struct {
	// Issuer is `iss` of every minted token, as an exact string. Default: internal.url, or public.url with publish_keys.
	Issuer string `yaml:"issuer" is:"issuer"`
	// Signing is how minted tokens are signed.
	Signing Signing `yaml:"signing"`
	// PairwiseKey is base64 of 32 random bytes, and never changes. Mandatory where a subject is pairwise. Nil where it is
	// not set.
	PairwiseKey *secret.Key `yaml:"pairwise_key"`
	// Defaults hold for every audience, and are all there is for an audience that only a route names.
	Defaults Defaults `yaml:"defaults"`
	// Audiences are the services that get tokens, by name, in the order of the file.
	Audiences []Audience `yaml:"audiences,keyed"`
	// Clients are who may call the exchange, by name, in the order of the file.
	Clients []Client `yaml:"clients,keyed"`
}

// Audience returns the audience of that name. One that only a route names has the defaults.
func (e Exchange) Audience(name string) Audience {
	for _, a := range e.Audiences {
		if a.Name == name {
			return a
		}
	}
	a := Audience{Name: name}
	a.setDefaults()
	a.settle(e)
	return a
}

// Signing is how minted tokens are signed.
type Signing struct {
	// Algorithm is ES256 or EdDSA, with keys derived from secrets, or RS256, with keys from files. Default: ES256.
	Algorithm string `yaml:"algorithm" enum:"ES256 EdDSA RS256"`
	// Rotate is how often derived keys change: at least 30s, and twice the longest lifetime. Default: 720h.
	Rotate time.Duration `yaml:"rotate"`
	// RSAKeyFiles are private keys (PEM, PKCS#8 or PKCS#1): the first signs, all are published. Default: none.
	RSAKeyFiles []string `yaml:"rsa_key_files" is:"file"`
	// Secrets are what keys are derived from, 1 to 3, as the file's secrets are. Default: those.
	Secrets []secret.Key `yaml:"secrets"`
}

// Defaults hold for every audience.
type Defaults struct {
	// Lifetime is how long a minted token lives at most. Default: 5m.
	Lifetime time.Duration `yaml:"lifetime" is:"positive"`
	// Claims are added to every minted token; an audience's own win by name. Default: none.
	Claims ClaimRules `yaml:"claims"`
}

// Audience is a service that gets minted tokens, and what stands in them.
type Audience struct {
	// Name is `aud`.
	Name string `yaml:"-"`
	// Resource is another name by which it may be asked for (RFC 8707). Default: none.
	Resource string `yaml:"resource" is:"uri"`
	// Lifetime is how long a token lives at most. Default: exchange.defaults.lifetime.
	Lifetime time.Duration `yaml:"lifetime" is:"positive"`
	// Algorithm signs its tokens. Default: exchange.signing.algorithm.
	Algorithm string `yaml:"algorithm" enum:"ES256 EdDSA RS256"`
	// Scopes are what may be granted. Default: subject.
	Scopes Scopes `yaml:"scopes"`
	// Claims are what stands in a token beside the standard ones, the defaults among them. Default: none.
	Claims ClaimRules `yaml:"claims"`
	// Allow says for whom a token is minted at all. Default: true.
	Allow Condition `yaml:"allow"`
	// Subject is `sub`: public, pairwise, or a rule. Default: public.
	Subject Subject `yaml:"subject"`
	// Format is the token's type. Default: at+jwt.
	Format string `yaml:"format" enum:"at+jwt txntoken+jwt"`
	// Encrypt encrypts its tokens to it. Default: signed only.
	Encrypt Encrypt `yaml:"encrypt"`
	// SenderConstraint refuses to mint a token that is not bound to a key. Default: none.
	SenderConstraint string `yaml:"sender_constraint" enum:"none dpop mtls any"`
	// Details becomes `authorization_details`. Default: none.
	Details Value `yaml:"details"`
	// Decide is a decision point that is asked after allow. Default: none.
	Decide Decide `yaml:"decide"`
}

func (a *Audience) setDefaults() {
	a.Scopes = Scopes{FromSubject: true}
	a.Allow = Condition{Source: "true"}
	a.Subject = Subject{Kind: SubjectPublic}
	a.Format, a.SenderConstraint = "at+jwt", "none"
	a.Encrypt.Algorithm, a.Encrypt.Encryption = "ECDH-ES", "A256GCM"
	a.Decide.Timeout = 200 * time.Millisecond
}

// settle fills in the defaults that follow from other keys.
func (a *Audience) settle(e Exchange) {
	if a.Lifetime == 0 {
		a.Lifetime = e.Defaults.Lifetime
	}
	if a.Algorithm == "" {
		a.Algorithm = e.Signing.Algorithm
	}
	a.Claims = mergeClaims(e.Defaults.Claims, a.Claims)
}

// Encrypt is how tokens are encrypted to an audience. Neither JWKS: not at all.
type Encrypt struct {
	// JWKSFile holds its public keys. Default: none.
	JWKSFile string `yaml:"jwks_file" is:"file"`
	// JWKSURI is where its public keys are. Default: none.
	JWKSURI string `yaml:"jwks_uri" is:"url"`
	// Algorithm encrypts the key. Default: ECDH-ES.
	Algorithm string `yaml:"algorithm" enum:"ECDH-ES ECDH-ES+A128KW ECDH-ES+A256KW RSA-OAEP-256"`
	// Encryption encrypts the token. Default: A256GCM.
	Encryption string `yaml:"encryption" enum:"A128GCM A256GCM A128CBC-HS256 A256CBC-HS512"`
}

// Decide is an AuthZEN 1.0 decision point. It fails closed.
type Decide struct {
	// URL is its evaluation endpoint. Default: none.
	URL string `yaml:"url" is:"url"`
	// Timeout is how long it may take. Default: 200ms.
	Timeout time.Duration `yaml:"timeout" is:"positive"`
}

// Client is a service that may call the exchange.
type Client struct {
	// Name is its client_id.
	Name string `yaml:"-"`
	// Auth is how it proves who it is. Mandatory.
	Auth ClientAuth `yaml:"auth"`
	// Grants are what it may use. Default: token-exchange.
	Grants []string `yaml:"grants" each:"token-exchange client_credentials"`
	// Audiences are those it may ask for. Mandatory.
	Audiences []string `yaml:"audiences"`
	// Scopes are what it may get at most. Default: nil, everything its audiences have.
	Scopes []string `yaml:"scopes"`
	// ScopeMode says what becomes of asking for too much: strict, invalid_scope; narrow, the rest. Default: strict.
	ScopeMode string `yaml:"scope_mode" enum:"strict narrow"`
	// Lifetime is how long its tokens live at most. Default: 0, the audience's.
	Lifetime time.Duration `yaml:"lifetime" is:"positive"`
	// SubjectTypes are the subject tokens it may present. Default: access_token.
	SubjectTypes []string `yaml:"subject_types" each:"access_token id_token jwt session txn_token"`
	// SubjectAudiences are the audiences whose minted tokens it may present or introspect; an empty list: none.
	// Default: its own name.
	SubjectAudiences []string `yaml:"subject_audiences"`
	// Actor says whether it acts for the subject: none, optional or required (an actor_token), or implicit (the client itself
	// is the actor). Default: none.
	Actor string `yaml:"actor" enum:"none optional required implicit"`
	// Unmask lets it exchange a pairwise subject for a public one. Default: false.
	Unmask bool `yaml:"unmask"`
}

func (c *Client) setDefaults() {
	c.Grants = []string{"token-exchange"}
	c.SubjectTypes = []string{"access_token"}
	c.ScopeMode, c.Actor = "strict", "none"
}

// settle fills in the defaults that follow from other keys.
func (c *Client) settle() {
	if c.SubjectAudiences == nil {
		c.SubjectAudiences = []string{c.Name}
	}
}

// ClientAuth is how a client of the exchange proves who it is: exactly one way.
type ClientAuth struct {
	// Secrets are what it may send by client_secret_basic or client_secret_post; several while one is being changed.
	Secrets Texts `yaml:"secret"`
	// JWKSFile holds its public keys, for private_key_jwt.
	JWKSFile string `yaml:"jwks_file" is:"file"`
	// JWKSURI is where its public keys are, for private_key_jwt.
	JWKSURI string `yaml:"jwks_uri" is:"url"`
	// TLSSAN is a name in its certificate.
	TLSSAN string `yaml:"tls_san"`
	// TLSThumbprint is the SHA-256 of its self-signed certificate.
	TLSThumbprint string `yaml:"tls_thumbprint"`
	// Kubernetes is a service account's token.
	Kubernetes *Kubernetes `yaml:"kubernetes"`
	// SPIFFE is a JWT-SVID.
	SPIFFE *SPIFFE `yaml:"spiffe"`
}

// Kubernetes is a service account whose projected token is a client's proof.
type Kubernetes struct {
	// Issuer is the cluster's issuer identifier. Mandatory.
	Issuer string `yaml:"issuer" is:"issuer"`
	// JWKSFile holds the cluster's keys. Default: from its metadata.
	JWKSFile string `yaml:"jwks_file" is:"file"`
	// Audience is that of the projected token. Mandatory.
	Audience string `yaml:"audience"`
	// Subject is system:serviceaccount:NAMESPACE:NAME. Mandatory.
	Subject string `yaml:"subject"`
}

// SPIFFE is a workload whose JWT-SVID is a client's proof.
type SPIFFE struct {
	// ID is its SPIFFE ID. Mandatory.
	ID string `yaml:"id"`
	// BundleFile holds the trust domain's keys. Mandatory.
	BundleFile string `yaml:"bundle_file" is:"file"`
}
