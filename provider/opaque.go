package provider

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// How an access token that somebody presents is understood (Config.AccessTokenValidation).
const (
	ByJWT           = "jwt"           // it speaks for itself
	ByIntrospection = "introspection" // the provider is asked (RFC 7662)
	ByUserInfo      = "userinfo"      // userinfo answers it, and the ID token beside it is of its sign-in
)

// maxUnknownLife is how long a token counts from when the provider vouched for it without saying until when it is good.
const maxUnknownLife = time.Minute

// TakesOpaque tells whether an access token that is no JWT can be understood.
func (p *Provider) TakesOpaque() bool { return p.cfg.AccessTokenValidation != ByJWT }

// introspected is an access token as the provider's introspection describes it. What it says is judged as a JWT's claims
// are, since a provider may answer for tokens of any kind, client and resource.
func (p *Provider) introspected(ctx context.Context, raw secret.Text) (Subject, error) {
	answer, err := p.said(ctx, raw, EndpointIntrospection, p.askIntrospection)
	if err != nil {
		return Subject{}, err
	}
	return p.introspectedSubject(answer)
}

func (p *Provider) introspectedSubject(answer said) (Subject, error) {
	c := answer.claims
	if reason := p.notVouchedFor(c); reason != "" {
		return Subject{}, p.reject("introspection: " + reason)
	}
	s := Subject{Claims: p.profile.access(c), Client: p.profile.clientOf(c), Scope: p.profile.scopeOf(c)}
	s.Claims["iss"] = p.cfg.Issuer
	delete(s.Claims, "active")
	if s.Scope == nil {
		s.Scope = token.Scope{}
	}
	if err := p.accept(c, s.Client, "introspection"); err != nil {
		return Subject{}, err
	}
	var known bool
	if s.Expiry, known = c.Time("exp"); !known {
		s.Expiry = answer.at.Add(maxUnknownLife)
	}
	return s, nil
}

// notVouchedFor says why an introspection's answer does not make its token a good access token; "" where it does.
func (p *Provider) notVouchedFor(c token.Claims) string {
	if c["active"] != true {
		return "the token is not active"
	}
	if iss, there := c["iss"]; there && iss != p.cfg.Issuer {
		return "iss is not the issuer expected"
	}
	if err := checkNames(c); err != nil {
		return err.Error()
	}
	// A provider answers for refresh tokens too, and may say so by nothing but the token_type that is missing.
	kinds := []string{c.Text("token_type"), c.Text("token_use"), c.Text("typ")}
	if !slices.ContainsFunc(kinds, isAccessKind) || slices.ContainsFunc(kinds, isNotAccessKind) {
		return "token_type does not say that it is an access token"
	}
	if strings.EqualFold(c.Text("token_type"), "DPoP") && c["cnf"] == nil {
		return "bound to a key, and it does not say to which"
	}
	now, skew := p.cfg.Now(), p.cfg.ClockSkew
	for _, name := range []string{"exp", "nbf", "iat"} {
		at, dated := c.Time(name)
		switch {
		case c[name] == nil:
		case !dated:
			return name + " is not a date"
		case name == "exp" && !now.Before(at.Add(skew)):
			return "expired"
		case name != "exp" && now.Add(skew).Before(at):
			return name + " lies in the future"
		}
	}
	return ""
}

func isAccessKind(kind string) bool {
	return slices.Contains([]string{"bearer", "dpop", "access_token", "access"}, strings.ToLower(kind))
}

func isNotAccessKind(kind string) bool {
	kind = strings.ToLower(kind)
	return strings.Contains(kind, "refresh") || slices.Contains([]string{"id", "id_token", "offline", "logout"}, kind)
}

// vouchedFor is an access token that userinfo answers. Userinfo does not say to whom a token was issued, so any client's
// would do; the ID token beside it does, by its aud and at_hash. It is verified first: what is sent to the provider is then
// a token the provider issued, to us.
func (p *Provider) vouchedFor(ctx context.Context, t Presented) (Subject, error) {
	if t.ID == "" {
		return Subject{}, p.rejectUnjoined()
	}
	id, err := p.verifyID(ctx, t.ID)
	if err != nil {
		return Subject{}, err
	}
	if _, there := id.claims["at_hash"]; !there {
		return Subject{}, p.reject("ID token: without at_hash nothing ties it to the access token")
	}
	if err := id.checkHash("at_hash", t.Raw.Reveal()); err != nil {
		return Subject{}, p.reject("ID token: " + err.Error())
	}
	answer, err := p.said(ctx, t.Raw, EndpointUserInfo, p.askUserInfo)
	switch {
	case errors.Is(err, ErrRefused):
		return Subject{}, p.reject("access token: userinfo does not answer it")
	case err != nil:
		return Subject{}, err
	case answer.claims.Text("sub") != id.claims.Text("sub"):
		return Subject{}, p.reject("userinfo: its sub is not the ID token's")
	}
	return p.vouchedSubject(id.claims["sub"], answer), nil
}

func (p *Provider) rejectUnjoined() error {
	return p.reject("access token: nothing tells its client without the ID token that came with it")
}

func (p *Provider) vouchedSubject(sub any, answer said) Subject {
	return Subject{
		Claims: token.Claims{"iss": p.cfg.Issuer, "sub": sub, "client_id": p.cfg.ClientID, "scope": []any{}},
		Client: p.cfg.ClientID, Scope: token.Scope{}, Expiry: answer.at.Add(maxUnknownLife),
		UserInfo: p.profile.identity(answer.claims),
	}
}

// said asks the provider about an access token, or remembers.
func (p *Provider) said(ctx context.Context, raw secret.Text, endpoint string, ask func(context.Context, string, secret.Text) (token.Claims, error)) (said, error) {
	key, now := memoryKeyOf(raw), p.cfg.Now()
	if s, known := p.asked.recall(key, now); known {
		return s, nil
	}
	m, err := p.discovered(ctx)
	if err != nil {
		return said{}, err
	}
	claims, err := ask(ctx, m.endpoints[endpoint], raw)
	p.ended(ctx, endpoint, err)
	if err != nil {
		return said{}, err
	}
	s := said{claims: claims, at: now, until: now.Add(memoryFor)}
	if exp, ok := claims.Time("exp"); ok && exp.Before(s.until) {
		s.until = exp
	}
	if claims["active"] != false {
		p.asked.keep(key, s)
	}
	return s, nil
}

// askIntrospection asks what a token is (RFC 7662 section 2.1).
func (p *Provider) askIntrospection(ctx context.Context, endpoint string, raw secret.Text) (token.Claims, error) {
	if endpoint == "" {
		return nil, p.fail(ErrNonsense, EndpointIntrospection, "the provider has none")
	}
	a, err := p.post(ctx, EndpointIntrospection, endpoint, url.Values{"token": {raw.Reveal()}, "token_type_hint": {"access_token"}})
	if err != nil {
		return nil, err
	}
	claims, err := token.DecodeClaims(a.body)
	if err != nil {
		return nil, p.fail(ErrNonsense, EndpointIntrospection, "not one JSON object")
	}
	if _, ok := claims["active"].(bool); !ok || a.status != http.StatusOK {
		return nil, p.fail(ErrNonsense, EndpointIntrospection, "not an answer that says whether the token is active")
	}
	return claims, nil
}
