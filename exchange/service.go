package exchange

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Config is what a Service is made of.
type Config struct {
	Policy  *Policy
	Keys    *token.KeyRing
	Issuers []TrustedIssuer // whose tokens may be presented; those of providers among them
	// Sessions finds the session behind a minted token. Nil: this process has none, so such a token cannot be judged.
	Sessions Sessions
	Cookies  Cookies     // nil: no session cookie can be a subject
	Revoked  Revocations // nil: no token can be revoked before it ends
	Now      func() time.Time
	// Observe is told of every token minted and of every refusal; nil: nobody is. A token from the cache is not minted.
	Observe func(context.Context, Event)
}

// Service mints. It is safe for concurrent use; a new configuration makes a new one.
type Service struct {
	cfg     Config
	issuers map[string]TrustedIssuer
	cache   *routeCache
}

// Minted is a token of Cloakroom's own.
type Minted struct {
	Token     secret.Text
	Type      TokenType // becomes `issued_token_type`
	TokenType string    // Bearer
	Issued    time.Time
	Expires   time.Time
	Scope     token.Scope
	Claims    token.Claims // not to be changed
}

// NewService refuses what cannot work.
func NewService(cfg Config) (*Service, error) {
	if cfg.Policy == nil || cfg.Keys == nil {
		return nil, errors.New("exchange: no policy, or no keys")
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &Service{cfg: cfg, issuers: map[string]TrustedIssuer{}, cache: newRouteCache()}
	for _, i := range cfg.Issuers {
		if _, twice := s.issuers[i.Issuer]; twice || i.Issuer == cfg.Policy.issuer {
			return nil, fmt.Errorf("exchange: issuer %q is trusted twice, or is ourselves", i.Issuer)
		}
		s.issuers[i.Issuer] = i
	}
	return s, nil
}

// Policy is the policy the service decides by.
func (s *Service) Policy() *Policy { return s.cfg.Policy }

// Request is what a client asks at the token endpoint, parsed once and changed by nobody. The client is authenticated.
type Request struct {
	Client string
	Grant  Grant

	SubjectToken   secret.Text
	SubjectType    TokenType
	SubjectIDToken secret.Text // "" none
	SubjectIssuer  string      // "" not said
	ActorToken     secret.Text // "" none
	ActorType      TokenType

	RequestedType      TokenType
	Audience, Resource []string
	Scope              token.Scope
	Details            map[string]any
}

// Exchange answers a client. The error is an *Error.
func (s *Service) Exchange(ctx context.Context, r Request) (Minted, error) {
	began := s.cfg.Now()
	q, d := s.judge(ctx, &r, began)
	return s.finish(ctx, &q, d, began)
}

// Explain is what Exchange would do and why: nothing is minted and nobody is told.
func (s *Service) Explain(ctx context.Context, r Request) Decision {
	_, d := s.judge(ctx, &r, s.cfg.Now())
	return d
}

// judge examines what was presented and decides.
func (s *Service) judge(ctx context.Context, r *Request, now time.Time) (Question, Decision) {
	q := Question{
		Client: r.Client, Grant: r.Grant, SubjectType: r.SubjectType, RequestedType: r.RequestedType,
		Audience: r.Audience, Resource: r.Resource, Scope: r.Scope, Details: r.Details,
		TokenID: newID(), Now: now,
	}
	// What the client may not do at all is refused before a signature is looked at.
	early := deciding{p: s.cfg.Policy, q: &q}
	if early.out.Err = early.client(); early.out.Err == nil {
		if early.out.Err = s.examine(ctx, r, &q, early.rights); early.out.Err != nil {
			early.step("presented", "refused", early.out.Err.Err.Error())
		}
	}
	if early.out.Err != nil {
		return q, early.out
	}
	return q, s.cfg.Policy.Decide(q)
}

// finish signs what was granted, and tells of it either way.
func (s *Service) finish(ctx context.Context, q *Question, d Decision, began time.Time) (Minted, error) {
	var m Minted
	if d.Granted() {
		m, d.Err = s.sign(&d)
	}
	s.observe(ctx, q, &d, began)
	if d.Err != nil {
		return Minted{}, d.Err
	}
	return m, nil
}

func (s *Service) sign(d *Decision) (Minted, *Error) {
	raw, err := s.cfg.Keys.Sign(d.Algorithm, typeMinted, d.Claims)
	if err != nil {
		return Minted{}, &Error{Code: ServerError, Description: "try again", Err: fmt.Errorf("sign: %w", err)}
	}
	return Minted{
		Token: secret.Text(raw), Type: d.Type, TokenType: "Bearer", Issued: d.Issued, Expires: d.Expires,
		Scope: d.Scope, Claims: d.Claims,
	}, nil
}

// newID is a fresh `jti`: 128 random bits.
func newID() string {
	var raw [16]byte
	_, _ = rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(raw[:])
}
