package config

import (
	"time"

	"cloakroom/secret"
)

// Provider is an OpenID provider that signs people in.
type Provider struct {
	// Name is its name in this file, in URLs and in metrics.
	Name string `yaml:"-"`
	// Issuer is its issuer identifier, exactly as its metadata and tokens say it. Mandatory.
	Issuer string `yaml:"issuer" is:"issuer-https"`
	// Profile says how it differs from the standard. Default: auto, from the issuer; generic where that says nothing.
	Profile string `yaml:"profile" enum:"auto generic cognito entra okta auth0 keycloak google"`
	// ClientID is Cloakroom's name there. Mandatory.
	ClientID string `yaml:"client_id"`
	// ClientSecret is Cloakroom's secret there. Mandatory for client_secret_basic and client_secret_post.
	ClientSecret secret.Text `yaml:"client_secret"`
	// AuthMethod is how Cloakroom proves who it is there. Default: client_secret_basic.
	AuthMethod string `yaml:"token_endpoint_auth_method" enum:"client_secret_basic client_secret_post private_key_jwt tls_client_auth self_signed_tls_client_auth none"`
	// ClientKeyFile is a private key (PEM), for private_key_jwt, the TLS methods and signed requests. Default: none.
	ClientKeyFile string `yaml:"client_key_file" is:"file"`
	// ClientCertFile is a certificate (PEM), for the TLS methods. Default: none.
	ClientCertFile string `yaml:"client_cert_file" is:"file"`
	// DecryptionKeyFile is a private key (PEM), for encrypted ID tokens. Default: none.
	DecryptionKeyFile string `yaml:"decryption_key_file" is:"file"`
	// Scopes are asked for at login. Default: by profile, with what makes the provider issue a refresh token. Nil where the
	// file names none: whether offline_access is what does it, only the provider's metadata says.
	Scopes []string `yaml:"scopes"`
	// Audience is the `audience` of the authorization request, as Auth0 wants it. Default: none.
	Audience string `yaml:"audience"`
	// Resource is the `resource` of the authorization request (RFC 8707). Default: none.
	Resource string `yaml:"resource" is:"uri"`
	// AuthorizationParams are fixed extra parameters of the authorization request. Default: none.
	AuthorizationParams map[string]string `yaml:"authorization_params"`
	// LoginParams are the parameters that /bff/login passes on. Default: prompt, login_hint, acr_values, max_age, ui_locales.
	LoginParams []string `yaml:"login_params"`
	// Allow says over `id` and `access` who may sign in. Default: true.
	Allow Condition `yaml:"allow"`
	// Algorithms are those of ID tokens and access tokens. Default: RS256.
	Algorithms []string `yaml:"algorithms" each:"RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"`
	// RequirePKCE refuses a provider whose metadata lists PKCE methods without S256. Default: true.
	RequirePKCE bool `yaml:"require_pkce"`
	// PushedAuthorization sends the authorization request ahead (RFC 9126). Default: auto, where the provider demands it.
	PushedAuthorization string `yaml:"pushed_authorization" enum:"auto always never"`
	// RequestObject signs the authorization request (RFC 9101). Default: never.
	RequestObject string `yaml:"request_object" enum:"never always"`
	// DPoP binds the provider's tokens to a key of ours (RFC 9449). Default: never.
	DPoP string `yaml:"dpop" enum:"never always"`
	// UserInfo asks userinfo once at login, when a claim that is needed is not in the ID token. Default: auto.
	UserInfo string `yaml:"userinfo" enum:"auto never"`
	// IDTokenHint sends the ID token to the provider's logout. Default: auto, by profile.
	IDTokenHint string `yaml:"id_token_hint" enum:"auto never always"`
	// AccessTokenValidation is how a subject token of this provider is understood at the exchange; an introspection must say by
	// token_type that it is an access token, or a refresh token would do. Default: by profile.
	AccessTokenValidation string `yaml:"access_token_validation" enum:"jwt introspection userinfo"`
	// AcceptedAudiences are those of subject tokens. Default: the client id.
	AcceptedAudiences []string `yaml:"accepted_audiences"`
	// AcceptedClients are the client ids whose tokens may be exchanged. Default: the client id.
	AcceptedClients []string `yaml:"accepted_clients"`
	// Endpoints override those of discovery, by name. Default: none.
	Endpoints map[string]string `yaml:"endpoints" is:"https" keys:"authorization token userinfo jwks revocation introspection end_session pushed_authorization"`
	// ClockSkew is how far its clock and ours may differ. Default: 60s.
	ClockSkew time.Duration `yaml:"clock_skew" is:"positive"`
	// Timeout is how long one call to it may take. Default: 5s.
	Timeout time.Duration `yaml:"timeout" is:"positive"`
	// CAFile holds the authorities of its certificates. Default: the system's.
	CAFile string `yaml:"ca_file" is:"file"`
	// Proxy is the URL of a proxy to reach it through; it may hold a password. Default: from the environment.
	Proxy secret.Text `yaml:"proxy"`
}

func (p *Provider) setDefaults() {
	p.Profile = "auto"
	p.AuthMethod = "client_secret_basic"
	p.LoginParams = []string{"prompt", "login_hint", "acr_values", "max_age", "ui_locales"}
	p.Allow = Condition{Source: "true"}
	p.Algorithms = []string{"RS256"}
	p.RequirePKCE = true
	p.PushedAuthorization, p.RequestObject, p.DPoP = "auto", "never", "never"
	p.UserInfo, p.IDTokenHint = "auto", "auto"
	p.AccessTokenValidation = "jwt" // of both profiles there are
	p.ClockSkew, p.Timeout = time.Minute, 5*time.Second
}

// settle fills in the defaults that follow from other keys.
func (p *Provider) settle() {
	if len(p.AcceptedAudiences) == 0 && p.ClientID != "" {
		p.AcceptedAudiences = []string{p.ClientID}
	}
	if len(p.AcceptedClients) == 0 && p.ClientID != "" {
		p.AcceptedClients = []string{p.ClientID}
	}
}

// Issuer is trusted for subject or actor tokens at the exchange, never for login.
type Issuer struct {
	// Name is its name in this file.
	Name string `yaml:"-"`
	// Issuer is its issuer identifier, exactly as its tokens say it. Mandatory.
	Issuer string `yaml:"issuer" is:"issuer-https"`
	// JWKSURI is where its keys are. Default: from its metadata.
	JWKSURI string `yaml:"jwks_uri" is:"https"`
	// JWKSFile holds its keys. Default: none.
	JWKSFile string `yaml:"jwks_file" is:"file"`
	// Audiences are those its tokens may have. Mandatory.
	Audiences []string `yaml:"audiences"`
	// Algorithms are those of its tokens. Default: RS256, ES256.
	Algorithms []string `yaml:"algorithms" each:"RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA"`
	// SubjectIssuer names the provider whose people its tokens speak of; that provider's issuer becomes `idp`. Default: itself.
	SubjectIssuer string `yaml:"subject_issuer"`
}

func (i *Issuer) setDefaults() {
	i.Algorithms = []string{"RS256", "ES256"}
}
