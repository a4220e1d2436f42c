package exchange

// TokenType names a kind of token (RFC 8693 section 3).
type TokenType string

// The token types a request may name. Others are refused as unknown.
const (
	AccessToken  TokenType = "urn:ietf:params:oauth:token-type:access_token"
	IDToken      TokenType = "urn:ietf:params:oauth:token-type:id_token"
	JWT          TokenType = "urn:ietf:params:oauth:token-type:jwt"
	SessionToken TokenType = "urn:cloakroom:token-type:session" // the value of the browser's session cookie
)

// Grant names how a client asks at the token endpoint.
type Grant string

const (
	TokenExchange     Grant = "urn:ietf:params:oauth:grant-type:token-exchange"
	ClientCredentials Grant = "client_credentials"
)

// RouteClient is `client_id` of a token minted for a route of the browser's side; no client may bear that name.
const RouteClient = "bff"

// typeMinted is `typ` of the tokens Cloakroom mints (RFC 9068 section 2.1).
const typeMinted = "at+jwt"
