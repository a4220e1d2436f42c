package provider

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// idToken is an ID token whose signature, issuer, times, kind, audience and subject are verified: what holds whatever it
// came by (OIDC Core 3.1.3.7).
type idToken struct {
	header token.Header
	claims token.Claims
}

const (
	maxSubject = 255 // OIDC Core section 2
	maxIDAge   = 10 * time.Minute
)

func (p *Provider) verifyID(ctx context.Context, raw secret.Text) (*idToken, error) {
	read, err := token.Read(raw.Reveal())
	if err != nil {
		return nil, p.judged("ID token", err)
	}
	return p.verifyIDOf(ctx, read, []string{p.cfg.ClientID})
}

// verifyIDOf verifies the ID token of one of several clients.
func (p *Provider) verifyIDOf(ctx context.Context, t *token.Unverified, clients []string) (*idToken, error) {
	rules := token.Rules{Issuer: p.cfg.Issuer, Algorithms: p.cfg.Algorithms, Skew: p.cfg.ClockSkew, Audiences: clients}
	claims, err := t.Verify(ctx, rules, p.keys, p.cfg.Now())
	if err != nil {
		return nil, p.judged("ID token", err)
	}
	if err := p.checkID(claims, clients); err != nil {
		return nil, err
	}
	return &idToken{t.Header(), claims}, nil
}

// checkID judges an ID token's claims: its kind, for whom it is, and the names in it.
func (p *Provider) checkID(claims token.Claims, clients []string) error {
	if reason := p.profile.notID(claims); reason != "" {
		return p.reject("ID token: " + reason)
	}
	if err := p.checkParties(claims, clients); err != nil {
		return p.reject("ID token: " + err.Error())
	}
	if err := checkNames(claims); err != nil {
		return p.reject("ID token: " + err.Error())
	}
	return nil
}

// checkParties judges `aud` beyond having the client in it, and `azp`: no audience that is not trusted, and an azp that is
// the client, present where there are several audiences.
func (p *Provider) checkParties(c token.Claims, clients []string) error {
	audience := c.Audience()
	for _, one := range audience {
		if !slices.Contains(clients, one) && !slices.Contains(p.cfg.AcceptedAudiences, one) {
			return errors.New("aud has an audience beside us that is not trusted")
		}
	}
	azp, there := c["azp"]
	if !there {
		if len(audience) > 1 {
			return errors.New("several audiences and no azp")
		}
		return nil
	}
	if text, ok := azp.(string); !ok || !slices.Contains(clients, text) {
		return errors.New("azp is another client")
	}
	return nil
}

// checkNames bounds what will be a key: `sub`, and `sid` where there is one.
func checkNames(c token.Claims) error {
	if !isName(c.Text("sub")) {
		return errors.New("sub is missing, empty, too long, or has control characters")
	}
	if sid, there := c["sid"]; there {
		if text, ok := sid.(string); !ok || !isName(text) {
			return errors.New("sid is not a short string")
		}
	}
	return nil
}

func isName(s string) bool {
	if s == "" || len(s) > maxSubject {
		return false
	}
	for _, c := range s {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == '\uFFFD' {
			return false
		}
	}
	return true
}

// fromLogin checks what ties the ID token to this very sign-in.
func (t *idToken) fromLogin(now time.Time, skew time.Duration, access secret.Text, r Redemption) error {
	if subtle.ConstantTimeCompare([]byte(t.claims.Text("nonce")), []byte(r.Nonce)) != 1 {
		return errors.New("nonce is missing or not ours")
	}
	iat, there := t.claims.Time("iat")
	if !there {
		return errors.New("no iat")
	}
	if now.Sub(iat) > maxIDAge+skew {
		return errors.New("iat is older than ten minutes")
	}
	if err := t.checkHash("at_hash", access.Reveal()); err != nil {
		return err
	}
	if err := t.checkHash("c_hash", r.Code); err != nil {
		return err
	}
	authTime, known, err := t.authTime()
	switch {
	case err != nil:
		return err
	case known && authTime.After(now.Add(skew)):
		return errors.New("auth_time lies in the future")
	case r.MaxAge == nil:
		return nil
	case !known:
		return errors.New("max_age was asked for, and there is no auth_time")
	case now.Sub(authTime) > *r.MaxAge+skew:
		return errors.New("auth_time is longer ago than max_age")
	}
	return nil
}

// errAnother: the token speaks of another person, sign-in or client than before.
var errAnother = errors.New("differs from the one before")

// fromRefresh checks that it continues what was (OIDC Core 12.2).
func (t *idToken) fromRefresh(access secret.Text, was Was) error {
	if t.claims.Text("sub") != was.Subject {
		return fmt.Errorf("sub %w", errAnother)
	}
	authTime, known, err := t.authTime()
	if err != nil {
		return err
	}
	if known && !was.AuthTime.IsZero() && authTime.Unix() != was.AuthTime.Unix() {
		return fmt.Errorf("auth_time %w", errAnother)
	}
	if _, before, err := token.Inspect(was.IDToken.Reveal()); err == nil { // verified when it came
		for _, name := range []string{"nonce", "azp"} {
			if t.claims[name] != nil && before[name] != nil && t.claims.Text(name) != before.Text(name) {
				return fmt.Errorf("%s %w", name, errAnother)
			}
		}
	}
	return t.checkHash("at_hash", access.Reveal())
}

// authTime reads auth_time; a value that is no date is an error, an absent one is not.
func (t *idToken) authTime() (at time.Time, known bool, err error) {
	if _, there := t.claims["auth_time"]; !there {
		return time.Time{}, false, nil
	}
	if at, known = t.claims.Time("auth_time"); !known {
		return time.Time{}, false, errors.New("auth_time is not a date")
	}
	return at, true, nil
}

// checkHash compares a half hash (OIDC Core 3.1.3.6, 3.3.2.11), where the token has one.
func (t *idToken) checkHash(name, value string) error {
	if _, there := t.claims[name]; !there {
		return nil
	}
	want := token.HalfHash(t.header.Algorithm, value)
	if want == "" || subtle.ConstantTimeCompare([]byte(t.claims.Text(name)), []byte(want)) != 1 {
		return errors.New(name + " does not match")
	}
	return nil
}

// ofAnother tells whether an ID token that did not verify claims another issuer or audience. Nothing in it is believed: it
// only decides that a session ends rather than goes on.
func (p *Provider) ofAnother(raw secret.Text) bool {
	_, claims, err := token.Inspect(raw.Reveal())
	return err == nil && (claims.Text("iss") != p.cfg.Issuer || !slices.Contains(claims.Audience(), p.cfg.ClientID) ||
		p.checkParties(claims, []string{p.cfg.ClientID}) != nil)
}
