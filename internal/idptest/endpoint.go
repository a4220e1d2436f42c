package idptest

import (
	"encoding/json"
	"net/http"
)

// Endpoint is one of a provider's addresses.
type Endpoint string

const (
	Discovery Endpoint = "discovery"
	JWKS      Endpoint = "jwks"
	Authorize Endpoint = "authorize"
	Login     Endpoint = "login" // the sign-in page
	Token     Endpoint = "token"
	UserInfo  Endpoint = "userinfo"
	Revoke    Endpoint = "revoke"
	Logout    Endpoint = "logout" // Cognito's /logout, or the end_session_endpoint

	Introspect Endpoint = "introspect" // Generic only: a Cognito has none

	style Endpoint = "style"
)

func paths(persona Persona) map[Endpoint]string {
	if persona == Cognito {
		return map[Endpoint]string{
			Authorize: "/oauth2/authorize", Token: "/oauth2/token", UserInfo: "/oauth2/userInfo",
			Revoke: "/oauth2/revoke", Logout: "/logout",
		}
	}
	return map[Endpoint]string{
		Authorize: "/authorize", Token: "/token", UserInfo: "/userinfo", Revoke: "/revoke", Logout: "/end-session",
		Introspect: "/introspect",
	}
}

// serveDiscovery answers OpenID Connect Discovery 1.0 section 4. A Cognito's document does not mention PKCE, which it
// nevertheless takes.
func (p *Provider) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{
		"issuer":                                p.cfg.Issuer,
		"authorization_endpoint":                p.URL(Authorize),
		"token_endpoint":                        p.URL(Token),
		"userinfo_endpoint":                     p.URL(UserInfo),
		"jwks_uri":                              p.URL(JWKS),
		"revocation_endpoint":                   p.URL(Revoke),
		"end_session_endpoint":                  p.URL(Logout),
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"subject_types_supported":               []string{"public"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                      []string{"openid", "email", "phone", "profile"},
	}
	if p.cfg.Persona == Cognito {
		doc["response_types_supported"] = []string{"code", "token"}
	} else {
		doc["response_types_supported"] = []string{"code"}
		doc["introspection_endpoint"] = p.URL(Introspect)
		doc["grant_types_supported"] = []string{"authorization_code", "refresh_token"}
		doc["code_challenge_methods_supported"] = []string{"S256"}
		doc["authorization_response_iss_parameter_supported"] = !p.cfg.NoIssInResponse
		doc["scopes_supported"] = append(openIDScopes(), p.cfg.Scopes...)
	}
	if alter := p.manners().Metadata; alter != nil {
		alter(doc)
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, doc)
}

func (p *Provider) serveJWKS(w http.ResponseWriter, _ *http.Request) {
	p.mu.Lock()
	doc := map[string]any{"keys": p.keys.published()}
	p.mu.Unlock()
	if alter := p.manners().KeySet; alter != nil {
		alter(doc)
	}
	w.Header().Set("Cache-Control", "public, max-age=300")
	writeJSON(w, http.StatusOK, doc)
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json;charset=UTF-8")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the reader has gone: nobody is left to tell
}

// refuse answers an OAuth error (RFC 6749 section 5.2).
func refuse(w http.ResponseWriter, status int, code, description string) {
	body := map[string]any{"error": code}
	if description != "" {
		body["error_description"] = description
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, status, body)
}
