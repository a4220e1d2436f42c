package session

import (
	"errors"
	"fmt"
	"io"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Session is one signed-in browser, as it was when it was read. It is immutable once returned.
type Session struct {
	ID         string // public handle: Ticket.ID, which is also the store's key
	Generation uint64 // counts the renewals of its tokens, from 1

	Provider    string // configured name
	Issuer      string
	Subject     string
	ProviderSID string // the provider's `sid`, "" where it has none

	Created     time.Time
	Seen        time.Time // last activity that was written down
	Expires     time.Time // absolute end
	IdleExpires time.Time // end, should there be no activity until then
	AuthTime    time.Time // when the provider authenticated the person; zero: not known

	Scope        token.Scope // of the token response
	AccessExpiry time.Time   // zero: not known
	Refreshable  bool        // there is a refresh token

	Access   token.Claims // of an access token that is a JWT and verified; nil when opaque
	Identity token.Claims // ID token's, joined with userinfo's, less what binds it to one response

	FromUserInfo []string // names of what userinfo added to Identity

	UserAgent string // bounded; as the browser calls itself
	Address   string

	// Tokens has the access token alone, and nothing when the session was found by its handle. All of them has the session
	// that a RefreshFunc is called with; Manager.SignOut returns them.
	Tokens Tokens

	renewed time.Time // when the provider issued the tokens
	intent  intent    // of a renewal that was begun and is not settled
	weight  int       // bytes in memory, beside itself
}

// Tokens is what the provider issued.
type Tokens struct {
	Access  secret.Text
	Refresh secret.Text // "" where the provider gave none
	ID      secret.Text
	Expiry  time.Time // of Access; zero: not known
	Scope   token.Scope
}

// Login is a sign-in that succeeded: what a session starts from.
type Login struct {
	Provider, Issuer, Subject, ProviderSID string

	AuthTime         time.Time
	Tokens           Tokens
	Access, Identity token.Claims
	FromUserInfo     []string // names of what userinfo added to Identity
	UserAgent        string
	Address          string

	// Begun is when the sign-in began, which is when the browser was sent to the provider. It does not become a session
	// if whoever it is was signed out everywhere since. The zero time is before every other.
	Begun time.Time
}

// Renewal is what a provider answered to a refresh token. What it leaves empty stays as it was: refresh token, ID token,
// scope (RFC 6749 section 6) and Identity. Access always goes with the new access token.
type Renewal struct {
	Tokens           Tokens
	Access, Identity token.Claims
}

var (
	// ErrNotFound: there is no such session. The store said so, it has ended, or what the store keeps does not open
	// even when read once more.
	ErrNotFound = errors.New("session: not found")
	// ErrUnavailable: there is no telling now. It never costs anyone a cookie.
	ErrUnavailable = errors.New("session: cannot tell")
	// ErrNextRelease: the record is of a release that this one does not know. It may be the next one, in a rolling upgrade. It is
	// ErrUnavailable as well.
	ErrNextRelease = fmt.Errorf("%w: record of an unknown release", ErrUnavailable)
	// ErrNotAllTold: it has ended, and another replica may go on with what it read in the last few seconds: it could not be
	// told, which is tried on in the background. It is ErrUnavailable as well, for whoever does not care which.
	ErrNotAllTold = fmt.Errorf("%w: ended, but not every replica was told", ErrUnavailable)
	// ErrEnded: the sign-in began before whoever it is was signed out everywhere, or the provider's session is over. It is to
	// begin anew.
	ErrEnded = errors.New("session: signed out while signing in")
	// ErrUncertain: the provider may have renewed the tokens, but its answer did not arrive whole. A RefreshFunc wraps
	// it; the same refresh token is tried once more then. A context that ended is that as well.
	ErrUncertain = errors.New("session: refresh may have happened")
	// ErrAway: the provider answers nobody now, or not us: that says nothing about the session. A RefreshFunc wraps it.
	ErrAway = errors.New("session: provider does not answer")
	// ErrRefused: the provider refused the refresh token for good (invalid_grant). A RefreshFunc wraps it; it ends the
	// session.
	ErrRefused = errors.New("session: refresh token refused")
)

// Format prints the handle, whatever the verb: a session holds personal data and tokens.
func (s Session) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "session "+s.ID) }

// over tells whether the session has ended by itself.
func (s *Session) over(now time.Time) bool {
	return !now.Before(s.IdleExpires) || !now.Before(s.Expires)
}

// slid returns the session as it is after activity at seen, which the store was told of.
func (s *Session) slid(seen, idle time.Time) *Session {
	next := *s
	next.Seen, next.IdleExpires = seen, earlier(idle, s.Expires)
	return &next
}

// with returns the next generation of the session.
func (s *Session) with(r Renewal, now time.Time) *Session {
	next := *s
	next.Generation++
	next.renewed = now
	next.intent = intent{}
	next.Tokens = r.Tokens
	if next.Tokens.Refresh == "" {
		next.Tokens.Refresh = s.Tokens.Refresh
	}
	if next.Tokens.ID == "" {
		next.Tokens.ID = s.Tokens.ID
	}
	if next.Tokens.Scope == nil {
		next.Tokens.Scope = s.Scope
	}
	next.Tokens.Expiry = next.Tokens.Expiry.Truncate(time.Millisecond) // as the store keeps it
	next.Scope, next.AccessExpiry, next.Refreshable = next.Tokens.Scope, next.Tokens.Expiry, next.Tokens.Refresh != ""
	next.Access = unbound(r.Access)
	if r.Identity != nil {
		next.Identity = s.identity(unbound(r.Identity))
	}
	next.Expires = next.ceiling()
	next.IdleExpires = earlier(next.IdleExpires, next.Expires)
	return &next
}

// identity is what a new ID token says, with what only userinfo had said: userinfo is asked at the sign-in alone. Nothing
// else of the old ID token stays: a group that was taken away is gone.
func (s *Session) identity(now token.Claims) token.Claims {
	for _, name := range s.FromUserInfo {
		if _, said := now[name]; said {
			continue
		}
		if value, was := s.Identity[name]; was {
			now[name] = value
		}
	}
	return now
}

// ceiling is when the session ends at the latest: where the provider says when its own session does (`session_expiry`, OpenID
// Connect Enterprise Extensions), this one is not to outlive it.
func (s *Session) ceiling() time.Time {
	if at, said := s.Identity.Time("session_expiry"); said {
		return earlier(s.Expires, at)
	}
	return s.Expires
}

// view is the session as requests need it. The other tokens would be most of what a session takes in memory.
func (s *Session) view() *Session {
	next := *s
	next.Tokens.Refresh, next.Tokens.ID = "", ""
	return &next
}

// withoutTokens is the session as whoever has no ticket may see it.
func (s *Session) withoutTokens() *Session {
	next := *s
	next.Tokens = Tokens{}
	return &next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
