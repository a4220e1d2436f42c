package idptest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"maps"
	"slices"
	"strings"
	"time"
)

// grant is what a person allowed a client; every token of one sign-in hangs on it.
type grant struct {
	client    Client
	user      string // the name; the account is read when a token is minted
	scope     []string
	nonce     string
	authTime  time.Time
	originJTI string
	eventID   string
	sid       string
	revoked   bool
}

// accessToken is an access token that was given out, with the ID token that came with it.
type accessToken struct {
	grant   *grant
	expires time.Time
	claims  map[string]any
	idToken string
	id      map[string]any
}

// pair mints an access token and, where asked, an ID token. The caller does not hold p.mu.
func (p *Provider) pair(g *grant, user User, withID, withNonce bool) (access, id string) {
	now := p.now()
	claims := p.accessClaims(g, user, now)
	if p.cfg.Persona == Generic && p.cfg.OpaqueAccess {
		access = random(32)
		p.issued(access)
	} else {
		access = p.signed(AccessToken, p.accessHeader(), claims)
	}
	made := &accessToken{grant: g, expires: now.Add(p.cfg.AccessLifetime), claims: claims}
	if withID {
		idClaims := p.idClaims(g, user, now, access, withNonce)
		id = p.signed(IDToken, p.idHeader(), idClaims)
		made.id, made.idToken = idClaims, id
	}
	p.mu.Lock()
	p.accesses[access] = made
	p.mu.Unlock()
	return access, id
}

// accessClaims are the claims of an access token. Cognito's: neither e-mail nor audience, whatever the scope.
func (p *Provider) accessClaims(g *grant, user User, now time.Time) map[string]any {
	claims := map[string]any{
		"sub":       user.Subject,
		"iss":       p.cfg.Issuer,
		"client_id": g.client.ID,
		"scope":     strings.Join(g.scope, " "),
		"auth_time": g.authTime.Unix(),
		"exp":       now.Add(p.cfg.AccessLifetime).Unix(),
		"iat":       now.Unix(),
		"jti":       uuid(),
	}
	if p.cfg.Persona == Cognito {
		claims["origin_jti"] = g.originJTI
		claims["event_id"] = g.eventID
		claims["token_use"] = "access"
		claims["username"] = user.Subject
		claims["version"] = 2
		if len(user.Groups) > 0 {
			claims["cognito:groups"] = slices.Clone(user.Groups)
		}
		return claims
	}
	claims["aud"] = p.cfg.AccessAudience
	if p.cfg.AccessAudience == "" {
		claims["aud"] = g.client.ID
	}
	return claims
}

func (p *Provider) idClaims(g *grant, user User, now time.Time, access string, withNonce bool) map[string]any {
	claims := map[string]any{
		"sub":       user.Subject,
		"iss":       p.cfg.Issuer,
		"aud":       g.client.ID,
		"at_hash":   halfHash(access),
		"auth_time": g.authTime.Unix(),
		"exp":       now.Add(p.cfg.IDLifetime).Unix(),
		"iat":       now.Unix(),
	}
	if withNonce && g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	if p.cfg.Persona == Cognito {
		claims["jti"] = uuid()
		claims["origin_jti"] = g.originJTI
		claims["event_id"] = g.eventID
		claims["token_use"] = "id"
		claims["cognito:username"] = user.Subject
		if len(user.Groups) > 0 {
			claims["cognito:groups"] = slices.Clone(user.Groups)
		}
	} else {
		claims["sid"] = g.sid
	}
	if p.cfg.Persona == Generic && p.cfg.EmailInUserInfo {
		return claims
	}
	maps.Copy(claims, profileClaims(g.scope, user))
	return claims
}

// profileClaims are what the scopes profile and email allow (OpenID Connect Core section 5.4).
func profileClaims(scope []string, user User) map[string]any {
	claims := map[string]any{}
	if slices.Contains(scope, "email") && user.Email != "" {
		claims["email"] = user.Email
		claims["email_verified"] = user.EmailVerified
	}
	if slices.Contains(scope, "profile") {
		if user.GivenName+user.FamilyName != "" {
			claims["name"] = strings.TrimSpace(user.GivenName + " " + user.FamilyName)
			claims["given_name"] = user.GivenName
			claims["family_name"] = user.FamilyName
		}
		maps.Copy(claims, user.Claims)
	}
	return claims
}

// accessHeader and idHeader: Cognito's tokens have no typ; Generic's are told apart by it (RFC 9068 section 2.1).
func (p *Provider) accessHeader() map[string]any {
	if p.cfg.Persona == Cognito {
		return nil
	}
	return map[string]any{"typ": "at+jwt"}
}

func (p *Provider) idHeader() map[string]any {
	if p.cfg.Persona == Cognito {
		return nil
	}
	return map[string]any{"typ": "JWT"}
}

// signed signs a token of a flow, where misbehaviour may have its say.
func (p *Provider) signed(kind Kind, extra, claims map[string]any) string {
	m := p.manners()
	header := maps.Clone(extra)
	if header == nil {
		header = map[string]any{}
	}
	if m.Token != nil {
		m.Token(kind, header, claims)
	}
	raw := p.Sign(kind, header, claims)
	if m.Sign == nil {
		return raw
	}
	p.mu.Lock()
	key := p.keys.id
	if kind == AccessToken {
		key = p.keys.access
	}
	p.mu.Unlock()
	full := map[string]any{"alg": key.Algorithm, "kid": key.KeyID}
	maps.Copy(full, header)
	raw = m.Sign(kind, full, claims, raw, key.Public().Key)
	p.issued(raw)
	return raw
}

// Behind tells what was given out together with an access token: the claims of both tokens, and the ID token itself.
// ok is false where the provider does not know the access token, or it has expired or was revoked.
func (p *Provider) Behind(access string) (accessClaims, idClaims map[string]any, idToken string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	made, known := p.accesses[access]
	if !known || made.grant.revoked || !p.now().Before(made.expires) {
		return nil, nil, "", false
	}
	return maps.Clone(made.claims), maps.Clone(made.id), made.idToken, true
}

// halfHash is at_hash for RS256 (OpenID Connect Core section 3.1.3.6).
func halfHash(value string) string {
	sum := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// refreshSecret looks like its persona's: a Cognito's is an encrypted JWT of about 1.7 KB, and nobody can read it.
func (p *Provider) refreshSecret() string {
	if p.cfg.Persona == Generic {
		return random(48)
	}
	header := encode(map[string]any{"cty": "JWT", "enc": "A256GCM", "alg": "RSA-OAEP"})
	return strings.Join([]string{header, random(256), random(12), random(960), random(16)}, ".")
}

func random(n int) string {
	raw := make([]byte, n)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(raw)
}

func uuid() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	raw[6], raw[8] = raw[6]&0x0f|0x40, raw[8]&0x3f|0x80
	text := hex.EncodeToString(raw)
	return strings.Join([]string{text[:8], text[8:12], text[12:16], text[16:20], text[20:]}, "-")
}
