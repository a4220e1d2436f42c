package exchange

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// bench is a service with a clock that the test moves.
type bench struct {
	*Service
	now    time.Time
	keys   *token.KeyRing
	events []Event
}

func newBench(t testing.TB, change ...func(*PolicyConfig)) *bench {
	t.Helper()
	b := &bench{now: at}
	clock := func() time.Time { return b.now }
	cfg := examplePolicy()
	cfg.Audiences = append(cfg.Audiences, AudienceConfig{
		Name: "door", Lifetime: time.Minute, Scopes: ScopesConfig{Rules: []ScopeConfig{{"open", `request.method == "GET" && request.path == "/door/1"`}}},
	})
	for _, c := range change {
		c(&cfg)
	}
	var err error
	if b.keys, err = token.NewKeyRing(token.KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: "ES256", Also: []string{"EdDSA"}, Rotate: time.Hour, Now: clock}); err != nil {
		t.Fatal(err)
	}
	b.Service, err = NewService(Config{Policy: mustPolicy(t, cfg), Keys: b.keys, Now: clock, Observe: func(_ context.Context, e Event) { b.events = append(b.events, e) }})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) mint(t testing.TB, r RouteRequest) Minted {
	t.Helper()
	m, err := b.MintForRoute(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestMintForRoute(t *testing.T) {
	b := newBench(t)
	m := b.mint(t, RouteRequest{Audience: "orders", Evidence: aliceSession()})
	_, c, err := token.Verify(t.Context(), m.Token.Reveal(), token.Rules{Issuer: us, Algorithms: []string{"ES256"}, Types: []string{"at+jwt"}, Audiences: []string{"orders"}}, b.keys, b.now)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]any{
		"iss": us, "aud": "orders", "sub": "alice", "idp": idp, "client_id": "bff", "scope": "orders:read", "email": "alice@example.com", "sid": "handle",
		"iat": at.Unix(), "exp": at.Unix() + 300, "id_iat": at.Unix() - 50, "auth_time": at.Unix() - 60,
	} {
		if c[name] != want {
			t.Errorf("%s = %v, want %v", name, c[name], want)
		}
	}
	if m.TokenType != "Bearer" || m.Type != AccessToken || !m.Issued.Equal(time.Unix(at.Unix(), 0)) || !m.Expires.Equal(time.Unix(at.Unix()+300, 0)) || m.Scope.String() != "orders:read" {
		t.Errorf("%+v", m)
	}
	if len(b.events) != 1 {
		t.Fatalf("%d events", len(b.events))
	}
	if e := b.events[0]; !e.Minted || e.Client != "bff" || e.Subject != "alice" || e.Issuer != idp || e.Audience != "orders" || e.Scope != "orders:read" || e.SID != "handle" || e.Policy != b.Policy().Version() {
		t.Errorf("%+v", e)
	}
}

func TestRouteTokenIsSharedOnlyByRequestsThatAreTheSame(t *testing.T) {
	base := RouteRequest{Audience: "archive", Evidence: aliceSession()}
	for _, tc := range []struct {
		name   string
		change func(*RouteRequest, *bench)
		shared bool
	}{
		{"the same again", func(*RouteRequest, *bench) {}, true},
		{"the same, method and path apart", func(r *RouteRequest, _ *bench) { r.Method, r.Path = "GET", "/x" }, true},
		{"just before half of its life", func(_ *RouteRequest, b *bench) { b.now = b.now.Add(149 * time.Second) }, true},
		{"past half of its life", func(_ *RouteRequest, b *bench) { b.now = b.now.Add(151 * time.Second) }, false},
		{"another session", func(r *RouteRequest, _ *bench) { r.Evidence.SessionID = "other" }, false},
		{"another person under the same handle", func(r *RouteRequest, _ *bench) { r.Evidence.Subject = "bob" }, false},
		{"another provider's person of the same name", func(r *RouteRequest, _ *bench) { r.Evidence.Issuer = "https://other.example.com" }, false},
		{"another generation", func(r *RouteRequest, _ *bench) { r.Evidence.Generation++ }, false},
		{"a renewed access token", func(r *RouteRequest, _ *bench) { r.Evidence.AccessExpires = r.Evidence.AccessExpires.Add(time.Hour) }, false},
		{"another end of the session", func(r *RouteRequest, _ *bench) { r.Evidence.SessionEnds = r.Evidence.SessionEnds.Add(-time.Hour) }, false},
		{"another audience", func(r *RouteRequest, _ *bench) { r.Audience = "invoices" }, false},
		{"for the service itself", func(r *RouteRequest, _ *bench) { r.AsService = true }, false},
		{"per request", func(r *RouteRequest, _ *bench) { r.PerRequest = true }, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			first := b.mint(t, base)
			r := base
			tc.change(&r, b)
			second := b.mint(t, r)
			if shared := first.Token == second.Token; shared != tc.shared {
				t.Errorf("shared %v, want %v", shared, tc.shared)
			}
			if minted := len(b.events); (minted == 1) != tc.shared {
				t.Errorf("%d events: one from the cache is not minted", minted)
			}
		})
	}
}

func TestRouteTokenOfAnotherScopeIsAnother(t *testing.T) {
	b := newBench(t)
	r := RouteRequest{Audience: "invoices", Evidence: aliceSession()}
	wide := b.mint(t, r)
	r.Scope = token.Scope{"mail:send"}
	if narrow := b.mint(t, r); narrow.Token == wide.Token || narrow.Scope.String() != "mail:send" {
		t.Errorf("scope %v", narrow.Scope)
	}
	if again := b.mint(t, RouteRequest{Audience: "invoices", Evidence: aliceSession()}); again.Token != wide.Token {
		t.Error("the first is not there any more")
	}
}

func TestTheNextSigningKeySignsAnew(t *testing.T) {
	b := newBench(t)
	b.now = time.Unix(at.Unix()-1, 0) // an epoch of an hour ends a second later
	r := RouteRequest{Audience: "archive", Evidence: aliceSession()}
	first := b.mint(t, r)
	b.now = b.now.Add(time.Second)
	if b.mint(t, r).Token == first.Token {
		t.Error("shared")
	}
}

func TestNothingIsCachedPerRequestOrWithoutASession(t *testing.T) {
	b := newBench(t)
	for _, r := range []RouteRequest{
		{Audience: "archive", PerRequest: true, Evidence: aliceSession()},
		{Audience: "archive", Evidence: Evidence{Issuer: idp, Subject: "alice"}},
		{Audience: "archive", PerRequest: true, AsService: true},
	} {
		first, second := b.mint(t, r), b.mint(t, r)
		if first.Token == second.Token {
			t.Errorf("cached: %+v", r)
		}
	}
}

func TestATokenThatItsAudienceRefusedIsMintedAnewAndThenServes(t *testing.T) {
	b := newBench(t)
	r := RouteRequest{Audience: "archive", Evidence: aliceSession()}
	refused := b.mint(t, r)
	r.Anew = true
	fresh := b.mint(t, r)
	if r.Anew = false; fresh.Token == refused.Token || b.mint(t, r).Token != fresh.Token {
		t.Error("the refused token is used again")
	}
}

func TestTheServiceItselfHasItsTokenCached(t *testing.T) {
	b := newBench(t)
	r := RouteRequest{Audience: "archive", AsService: true, Evidence: aliceSession()}
	m := b.mint(t, r)
	r.Evidence = Evidence{}
	if b.mint(t, r).Token != m.Token || m.Claims["sub"] != "bff" || m.Claims["idp"] != us || m.Claims["sid"] != nil || m.Claims["email"] != nil {
		t.Errorf("%v", m.Claims)
	}
}

func TestAShortLivedTokenIsNeverReturnedWithLessThanFiveSeconds(t *testing.T) {
	b := newBench(t)
	e := aliceSession()
	e.AccessExpires = time.Unix(at.Unix()+8, 0)
	r := RouteRequest{Audience: "archive", Evidence: e}
	first := b.mint(t, r)
	b.now = time.Unix(at.Unix()+3, 500_000_000) // 4.5 s left, not yet half of its life
	var expired *Error
	if m, err := b.MintForRoute(t.Context(), r); !errors.As(err, &expired) || expired.Code != Expired {
		t.Errorf("%v, %v; the first was until %v", m.Expires, err, first.Expires)
	}
}

func TestPerRequestPolicySeesMethodAndPath(t *testing.T) {
	b := newBench(t)
	r := RouteRequest{Audience: "door", PerRequest: true, Method: "GET", Path: "/door/1", Evidence: aliceSession()}
	if m := b.mint(t, r); m.Scope.String() != "open" {
		t.Errorf("scope %v", m.Scope)
	}
	for _, change := range []func(*RouteRequest){
		func(r *RouteRequest) { r.Method = "POST" }, func(r *RouteRequest) { r.Path = "/door/2" }, func(r *RouteRequest) { r.PerRequest = false },
	} {
		r := r
		change(&r)
		var refused *Error
		if _, err := b.MintForRoute(t.Context(), r); !errors.As(err, &refused) || refused.Code != Forbidden {
			t.Errorf("%v", err)
		}
	}
}

func TestRouteRefusals(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		name string
		r    RouteRequest
		code Code
	}{
		{"an audience that is not configured", RouteRequest{Audience: "nowhere", Evidence: aliceSession()}, ServerError},
		{"nobody", RouteRequest{Audience: "archive"}, ServerError},
		{"a rule that sees no signed-in person", RouteRequest{Audience: "orders", AsService: true}, Forbidden},
	} {
		var refused *Error
		if _, err := b.MintForRoute(t.Context(), tc.r); !errors.As(err, &refused) || refused.Code != tc.code {
			t.Errorf("%s: %v", tc.name, err)
		}
		if e := b.events[len(b.events)-1]; e.Minted || e.Code != tc.code || e.Reason == "" {
			t.Errorf("%s: %+v", tc.name, e)
		}
	}
}

func TestKeysOfAnUnusedAlgorithm(t *testing.T) {
	b := newBench(t, func(c *PolicyConfig) { c.Audiences[0].Algorithm = "RS256" })
	var failed *Error
	_, err := b.MintForRoute(t.Context(), RouteRequest{Audience: "orders", Evidence: aliceSession()})
	if !errors.As(err, &failed) || failed.Code != ServerError || len(b.events) != 1 || b.events[0].Minted {
		t.Errorf("%v, %+v", err, b.events)
	}
}

func TestNewServiceRefuses(t *testing.T) {
	b := newBench(t)
	for name, cfg := range map[string]Config{
		"no policy":        {Keys: b.keys},
		"no keys":          {Policy: b.Policy()},
		"ourselves":        {Policy: b.Policy(), Keys: b.keys, Issuers: []TrustedIssuer{{Issuer: us}}},
		"one issuer twice": {Policy: b.Policy(), Keys: b.keys, Issuers: []TrustedIssuer{{Issuer: idp}, {Issuer: idp}}},
	} {
		if _, err := NewService(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if s, err := NewService(Config{Policy: b.Policy(), Keys: b.keys}); err != nil || s.CanRevoke() {
		t.Errorf("%v", err)
	}
}

// careless is a Verifier that breaks its contract.
type careless struct{ v Verified }

func (c careless) Verify(context.Context, Presented) (Verified, error) { return c.v, nil }

func TestAVerifierThatAnswersForAnotherTokenIsNotBelieved(t *testing.T) {
	b := newBench(t)
	other, err := NewService(Config{Policy: b.Policy(), Keys: b.keys, Now: b.cfg.Now, Issuers: []TrustedIssuer{
		{Name: "main", Issuer: idp, Verifier: careless{verifiedAccess(token.Claims{"iss": "https://other.example.com", "sub": "alice"})}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := b.keys.Sign("", "at+jwt", token.Claims{"iss": idp, "sub": "bob", "exp": at.Unix() + 60})
	if err != nil {
		t.Fatal(err)
	}
	var refused *Error
	_, err = other.Exchange(t.Context(), Request{Client: "gateway", Grant: TokenExchange, SubjectToken: secret.Text(raw), SubjectType: AccessToken, Audience: []string{"archive"}})
	if !errors.As(err, &refused) || refused.Code != InvalidRequest {
		t.Errorf("%v", err)
	}
}

func TestATokenOfOurOwnIssuerThatIsNoAccessTokenIsRefused(t *testing.T) {
	b := newBench(t)
	claims := token.Claims{"iss": us, "aud": "orders", "sub": "alice", "idp": idp, "exp": at.Unix() + 60}
	for _, typ := range []string{"jwt", "logout+jwt", "txntoken+jwt"} {
		raw, err := b.keys.Sign("", typ, claims)
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.Exchange(t.Context(), Request{Client: "orders", Grant: TokenExchange, SubjectToken: secret.Text(raw), SubjectType: AccessToken})
		if err == nil || !strings.Contains(err.Error(), "typ") {
			t.Errorf("C-021: %s: %v", typ, err)
		}
	}
}

// What the operator reads is the reason; what the caller reads is what to mend.
func TestTheOperatorIsToldWhy(t *testing.T) {
	b := newBench(t)
	_, err := b.Exchange(t.Context(), Request{Client: "nobody", Grant: TokenExchange})
	var refused *Error
	if !errors.As(err, &refused) || len(b.events) != 1 {
		t.Fatalf("%v, %d events", err, len(b.events))
	}
	if told := b.events[0].Reason; told != "client: not configured" || refused.Description == told {
		t.Errorf("the operator reads %q, the caller %q", told, refused.Description)
	}
}

func TestASessionThatCannotBeLookedUpHereIsNotATokenWithoutOne(t *testing.T) {
	b := newBench(t)
	m := b.mint(t, RouteRequest{Audience: "orders", Evidence: aliceSession()})
	var failed *Error
	_, err := b.Exchange(t.Context(), Request{Client: "orders", Grant: TokenExchange, SubjectToken: m.Token, SubjectType: AccessToken})
	if !errors.As(err, &failed) || failed.Code != TemporarilyUnavailable {
		t.Errorf("%v", err)
	}
}

func ExampleService_MintForRoute() {
	policy, err := NewPolicy(PolicyConfig{
		Issuer: "https://cloakroom:8081",
		Audiences: []AudienceConfig{{
			Name: "orders", Lifetime: 5 * time.Minute,
			Scopes: ScopesConfig{Rules: []ScopeConfig{{Scope: "orders:read", When: `granted("orders-api/read")`}}},
			Claims: []ClaimConfig{{Claim: "email", Value: "id.email"}},
		}},
	})
	if err != nil {
		panic(err)
	}
	keys, err := token.NewKeyRing(token.KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: "ES256", Rotate: time.Hour, Now: time.Now})
	if err != nil {
		panic(err)
	}
	service, err := NewService(Config{Policy: policy, Keys: keys})
	if err != nil {
		panic(err)
	}
	m, err := service.MintForRoute(context.Background(), RouteRequest{Audience: "orders", Evidence: Evidence{
		Issuer: "https://idp.example.com", Subject: "alice",
		Scope: token.Scope{"openid", "orders-api/read"},   // from the access token's authority
		ID:    token.Claims{"email": "alice@example.com"}, // from the ID token
	}})
	fmt.Println(m.Claims["aud"], m.Claims["sub"], m.Claims["scope"], m.Claims["email"], err)
	// Output: orders alice orders:read alice@example.com <nil>
}

func BenchmarkMintForRoute(b *testing.B) {
	for name, r := range map[string]RouteRequest{
		"cached": {Audience: "orders", Evidence: aliceSession()},
		"minted": {Audience: "orders", PerRequest: true, Evidence: aliceSession()},
	} {
		b.Run(name, func(b *testing.B) {
			s := newBench(b)
			s.cfg.Observe = nil
			b.ReportAllocs()
			for b.Loop() {
				s.mint(b, r)
			}
		})
	}
}

func BenchmarkDecide(b *testing.B) {
	p, q := mustPolicy(b, examplePolicy()), aliceAsks()
	b.ReportAllocs()
	for b.Loop() {
		if d := p.Decide(q); d.Err != nil {
			b.Fatal(d.Err)
		}
	}
}
