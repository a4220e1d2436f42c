package exchange

import (
	"context"
	"maps"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/secret"
	"cloakroom/token"
)

// Evidence is what is known of a signed-in person: the two tokens' claims, joined.
type Evidence struct {
	Issuer  string // of the provider; becomes `idp`
	Subject string

	Access token.Claims // of a JWT access token that verified, normalised; nil where it is opaque
	Scope  token.Scope  // of the token response; nil: Access has its own
	ID     token.Claims // of the ID token with userinfo's, normalised

	SessionID   string // the public handle
	Generation  uint64 // of the session's record; a refresh counts it up
	Created     time.Time
	AuthTime    time.Time // zero: not known
	SessionEnds time.Time // the absolute end

	AccessExpires time.Time // zero: not known, so it does not bound
}

// Sessions finds what is known of the person behind a session's handle. It answers ErrSessionGone when the store said
// that there is none; any other error means that it cannot tell.
type Sessions interface {
	Evidence(ctx context.Context, sid string) (Evidence, error)
}

// Cookies opens the value of a session cookie. It answers ErrUnacceptable for what is no cookie of ours, ErrSessionGone
// when the store said that the session is gone; any other error means that it cannot tell.
type Cookies interface {
	CookieEvidence(ctx context.Context, value secret.Text) (Evidence, error)
}

// SessionSubject is the person of a session as the subject of a question: on a route, or by the session's cookie.
func SessionSubject(e Evidence) Subject {
	access := withScope(e.Access, e.Scope)
	presented := clone(access)
	presented["sub"] = e.Subject
	s := Subject{
		Kind: OfSession, IDP: e.Issuer, Sub: e.Subject,
		Presented: presented, Access: access, ID: e.ID,
		Expires: e.AccessExpires,
		Known:   knownOf(e.ID, e.Access),
	}
	s.join(e)
	return s
}

// join adds the session behind a subject.
func (s *Subject) join(e Evidence) {
	s.Session = &rule.Session{ID: e.SessionID, Created: e.Created, AuthTime: e.AuthTime}
	s.SessionEnds = e.SessionEnds
	if !e.AuthTime.IsZero() {
		s.Known.AuthTime = e.AuthTime.Unix()
	}
}

// Known is what a minted token tells of the sign-in, where it is known and as the provider said it; nothing of it is
// ever made up (RFC 9068 section 2.2.1). Zero values are unknown.
type Known struct {
	AuthTime int64
	ACR      string
	AMR      []string
	IDIssued int64 // becomes `id_iat`: the age of the ID token that spoke
}

// knownOf reads it from the ID token, and what that lacks from the access token.
func knownOf(id, access token.Claims) Known {
	k := Known{ACR: id.Text("acr"), AMR: id.Strings("amr")}
	if k.ACR == "" {
		k.ACR = access.Text("acr")
	}
	if k.AMR == nil {
		k.AMR = access.Strings("amr")
	}
	at, ok := id.Time("auth_time")
	if !ok {
		at, ok = access.Time("auth_time")
	}
	if ok {
		k.AuthTime = at.Unix()
	}
	if issued, ok := id.Time("iat"); ok {
		k.IDIssued = issued.Unix()
	}
	return k
}

// knownOfMinted reads it from a token of our own.
func knownOfMinted(c token.Claims) Known {
	k := Known{ACR: c.Text("acr"), AMR: c.Strings("amr")}
	if at, ok := c.Time("auth_time"); ok {
		k.AuthTime = at.Unix()
	}
	if at, ok := c.Time("id_iat"); ok {
		k.IDIssued = at.Unix()
	}
	return k
}

// withScope returns the claims with `scope` as a list: the given one, or, where that is nil, the claims' own.
func withScope(c token.Claims, scope token.Scope) token.Claims {
	if scope == nil {
		if _, ok := c["scope"].([]string); ok {
			return c
		}
		scope = scopeOf(c)
	}
	c = clone(c)
	c["scope"] = []string(scope)
	return c
}

// scopeOf reads `scope` in either spelling: one text (RFC 8693 section 4.2), or a list as the profiles make it.
func scopeOf(c token.Claims) token.Scope {
	if s, ok := c["scope"].(string); ok {
		return token.ParseScope(s)
	}
	return append(token.Scope{}, c.Strings("scope")...)
}

func clone(c token.Claims) token.Claims {
	out := make(token.Claims, len(c)+2)
	maps.Copy(out, c)
	return out
}
