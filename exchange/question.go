package exchange

import (
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/token"
)

// Question is everything a decision depends on, verified and as values: the same question always has the same answer.
type Question struct {
	Client        string // an authenticated client's id; RouteClient on a route
	Route         bool   // asked by the browser's side in this process, not over the token endpoint
	Grant         Grant
	SubjectType   TokenType // as presented
	RequestedType TokenType // "" leaves it to us

	Subject Subject
	Actor   *Actor // of an actor token; nil without one

	Audience, Resource []string
	Scope              token.Scope // empty: nothing in particular; on a route an upper bound
	Details            map[string]any
	Method, Path       string // of the browser's request, where policy decides about that

	TokenID string // `jti` of the token to be minted
	Now     time.Time
}

// Kind says where a subject comes from, which decides what may be done with it.
type Kind int

const (
	OfSession  Kind = iota // a live session of ours: its provider's two tokens
	OfProvider             // a provider's access token, or its ID token
	OfIssuer               // a further issuer's JWT
	OfMinted               // a token of our own
	OfService              // nobody: the client itself
)

// Subject is whom the token is for, and what vouches for it.
type Subject struct {
	Kind Kind
	IDP  string // issuer of the person; with Sub the key of a person
	Sub  string

	Presented token.Claims // the subject token's claims; `scope` is a list
	Access    token.Claims
	ID        token.Claims
	Known     Known

	Session     *rule.Session
	SessionEnds time.Time // zero: no session, or one that does not end
	Expires     time.Time // of the subject token; zero: does not bound
	IDExpires   time.Time // of an ID token that was sent along; zero: none was
}

// sessionID is the handle of the session behind the subject, "" where there is none.
func (s Subject) sessionID() string {
	if s.Session == nil {
		return ""
	}
	return s.Session.ID
}

// Actor is who acts for the subject, as an actor token names it.
type Actor struct {
	IDP, Sub string
	Claims   token.Claims // normalised as an access token's
	Expires  time.Time
}

// ServiceSubject is a client, or Cloakroom itself, as its own subject: nobody is signed in.
func ServiceSubject(issuer, client string) Subject {
	return Subject{
		Kind: OfService, IDP: issuer, Sub: client,
		Presented: token.Claims{"iss": issuer, "sub": client, "scope": []string{}},
	}
}

// ProviderSubject is the person an access token speaks of; id is the ID token that was sent along and is bound to it
// (Bind), nil without one.
func ProviderSubject(access Verified, id *Verified) Subject {
	claims := withScope(access.Claims, access.Scope)
	s := Subject{
		Kind: OfProvider, IDP: access.IDP, Sub: access.Claims.Text("sub"),
		Presented: claims, Access: claims, Expires: access.Expires,
	}
	if access.Further {
		s.Kind = OfIssuer
	}
	if id != nil {
		s.ID, s.IDExpires = withoutBinding(id.Claims), id.Expires
	}
	s.Known = knownOf(s.ID, s.Access)
	return s
}

// IdentitySubject is the person an ID token speaks of, where a client may present one as the subject: it authorizes
// nothing, so there is no scope.
func IdentitySubject(id Verified) Subject {
	claims := withoutBinding(id.Claims)
	return Subject{
		Kind: OfProvider, IDP: id.IDP, Sub: claims.Text("sub"),
		Presented: withScope(claims, token.Scope{}), ID: claims, Expires: id.Expires,
		Known: knownOf(claims, nil),
	}
}

// MintedSubject is the subject of a token of our own; e is what is known of the session behind its `sid`, nil where it
// has none.
func MintedSubject(claims token.Claims, e *Evidence) Subject {
	presented := withScope(claims, nil)
	s := Subject{
		Kind: OfMinted, IDP: claims.Text("idp"), Sub: claims.Text("sub"),
		Presented: presented, Access: presented, ID: claims,
		Known: knownOfMinted(claims),
	}
	s.Expires, _ = claims.Time("exp")
	if e != nil {
		s.Sub = e.Subject // an audience may have been told another one by its `subject` rule
		s.Access, s.ID = withScope(e.Access, e.Scope), e.ID
		s.Known = knownOf(e.ID, e.Access)
		s.join(*e)
	}
	return s
}

// withoutBinding drops what binds an ID token to its own flow and says nothing about the person.
func withoutBinding(id token.Claims) token.Claims {
	out := clone(id)
	for _, name := range []string{"nonce", "at_hash", "c_hash", "s_hash"} {
		delete(out, name)
	}
	return out
}
