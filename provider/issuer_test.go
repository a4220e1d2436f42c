package provider

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

// issuer makes the further issuer under test, whose tokens f signs.
func (f *idp) further(change ...func(*IssuerConfig)) *Issuer {
	f.t.Helper()
	cfg := IssuerConfig{Name: "support-desk", Issuer: f.issuer, Audiences: []string{"cloakroom", "desk"}, Algorithms: []string{"RS256"}, Timeout: 2 * time.Second, Now: f.clock}
	for _, one := range change {
		one(&cfg)
	}
	i, err := NewIssuer(cfg)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(i.client.transport.CloseIdleConnections)
	return i
}

func (f *idp) ticket(change map[string]any) map[string]any {
	return merged(map[string]any{
		"iss": f.issuer, "sub": "carol", "aud": "cloakroom", "exp": f.now.Unix() + 600, "iat": f.now.Unix(),
		"may_act": map[string]any{"iss": "https://idp.example", "sub": "sam"},
	}, change)
}

func TestATicketOfAFurtherIssuerIsVerified(t *testing.T) {
	type header = map[jose.HeaderKey]any
	for _, tc := range []struct {
		name   string
		header header
		claims map[string]any
		want   error
	}{
		{"a ticket", nil, nil, nil},
		{"with typ JWT", header{"typ": "JWT"}, nil, nil},
		{"with typ at+jwt", header{"typ": "at+jwt"}, nil, nil},
		{"for one of several audiences", nil, map[string]any{"aud": []string{"x", "desk"}}, nil},
		{"C-037 expired", nil, map[string]any{"exp": 1_789_000_000}, ErrRejected},
		{"C-038 no exp", nil, map[string]any{"exp": nil}, ErrRejected},
		{"C-039 nbf lies ahead", nil, map[string]any{"nbf": 1_790_000_061}, ErrRejected},
		{"C-040 iat lies ahead", nil, map[string]any{"iat": 1_790_000_061}, ErrRejected},
		{"C-042 another issuer", nil, map[string]any{"iss": "https://evil.example"}, ErrRejected},
		{"C-044 another audience", nil, map[string]any{"aud": "payments"}, ErrRejected},
		{"C-044 no audience", nil, map[string]any{"aud": nil}, ErrRejected},
		{"about nobody", nil, map[string]any{"sub": nil}, ErrRejected},
		{"a sub that is no name", nil, map[string]any{"sub": strings.Repeat("x", 256)}, ErrRejected},
		{"C-021 a logout token", header{"typ": "logout+jwt"}, nil, ErrRejected},
		{"C-021 a logout token without typ", nil, map[string]any{"events": map[string]any{}}, ErrRejected},
		{"C-021 a transaction token", header{"typ": "txntoken+jwt"}, nil, ErrRejected},
		{"C-021 a DPoP proof", nil, map[string]any{"htm": "POST"}, ErrRejected},
		{"C-021 a client assertion", nil, map[string]any{"sub": "ISS"}, ErrRejected},
		{"C-021 an ID token, by nonce", nil, map[string]any{"nonce": "n"}, ErrRejected},
		{"C-021 an ID token, by at_hash", nil, map[string]any{"at_hash": "h"}, ErrRejected},
		{"C-021 Keycloak's refresh token", nil, map[string]any{"typ": "Refresh"}, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			claims := f.ticket(tc.claims)
			if claims["sub"] == "ISS" {
				claims["sub"] = f.issuer
			}
			s, err := f.further().Verify(background, presented(t, sign(t, "k1", jose.RS256, rsaKey(), tc.header, claims)).Read)
			mustBe(t, err, tc.want)
			if err != nil {
				if !strings.HasPrefix(err.Error(), "issuer support-desk: ") {
					t.Errorf("the operator cannot see whose it is: %v", err)
				}
				return
			}
			if may, _ := s.Claims["may_act"].(map[string]any); s.Claims["sub"] != "carol" || may["sub"] != "sam" || s.Expiry.Unix() != f.now.Unix()+600 {
				t.Errorf("%+v", s)
			}
		})
	}
}

func TestC043_AFurtherIssuersKeysAreItsOwn(t *testing.T) {
	f := newIDP(t)
	for name, raw := range map[string]string{
		"C-030 another's key under its kid": sign(t, "k1", jose.RS256, otherRSA(), nil, f.ticket(nil)),
		"C-033 an unknown kid":              sign(t, "k9", jose.RS256, rsaKey(), nil, f.ticket(nil)),
		"C-034 an algorithm not its own":    sign(t, "k1", jose.PS256, rsaKey(), nil, f.ticket(nil)),
	} {
		_, err := f.further().Verify(background, presented(t, raw).Read)
		mustBe(t, err, ErrRejected)
		if err == nil {
			t.Error(name)
		}
	}
}

func TestAFurtherIssuersKeysAreFoundWhereTheConfigurationSays(t *testing.T) {
	for _, tc := range []struct {
		name                  string
		prepare               func(f *idp)
		change                func(f *idp, c *IssuerConfig)
		want                  error
		discoveries, keyFetch int
	}{
		{"by its metadata", nil, nil, nil, 1, 1},
		{"by metadata with nothing for sign-in", func(f *idp) {
			f.meta = map[string]any{"issuer": f.issuer, "jwks_uri": f.issuer + "/jwks"}
		}, nil, nil, 1, 1},
		{"by jwks_uri, without metadata", func(f *idp) { f.route("/.well-known/openid-configuration", http.NotFound) },
			func(f *idp, c *IssuerConfig) { c.JWKSURI = f.issuer + "/jwks" }, nil, 0, 1},
		{"by jwks_file, without a network", func(f *idp) { f.server.Close() },
			func(_ *idp, c *IssuerConfig) {
				c.Keys, _ = token.ParseJWKS(jwksOf(jwk("k1", &rsaKey().PublicKey, "RS256")))
			}, nil, 0, 0},
		{"metadata of another issuer", func(f *idp) { f.meta["issuer"] = "https://evil.example" }, nil, ErrUnavailable, 1, 0},
		{"metadata without jwks_uri", func(f *idp) { delete(f.meta, "jwks_uri") }, nil, ErrUnavailable, 1, 0},
		{"D9 metadata that points at the metadata service", func(f *idp) { f.meta["jwks_uri"] = "https://169.254.169.254/jwks" }, nil, ErrUnavailable, 1, 0},
		{"metadata that points at plain http", func(f *idp) { f.meta["jwks_uri"] = "http://x.example/jwks" }, nil, ErrUnavailable, 1, 0},
		{"C-151 the key set is down", func(f *idp) { f.route("/jwks", status(500, "")) }, nil, ErrUnavailable, 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			raw := presented(t, f.sign(f.ticket(nil))).Read
			issuer := f.further(func(c *IssuerConfig) {
				if tc.change != nil {
					tc.change(f, c)
				}
			})
			if tc.prepare != nil {
				tc.prepare(f)
			}
			_, err := issuer.Verify(background, raw)
			mustBe(t, err, tc.want)
			if err == nil {
				_, err = issuer.Verify(background, raw) // from the set that is there
				mustBe(t, err, nil)
			}
			if d, k := f.count("/.well-known/openid-configuration"), f.count("/jwks"); d != tc.discoveries || k != tc.keyFetch {
				t.Errorf("%d discoveries, %d key sets fetched", d, k)
			}
		})
	}
}

func TestD9_AFurtherIssuersMetadataCannotSendUsAnywhere(t *testing.T) {
	for uri, says := range map[string]string{"": "absolute", "http://x.example/jwks": "not https", "https://169.254.169.254/jwks": "link-local", "https://u:p@x.example/jwks": "user"} {
		f := newIDP(t)
		f.meta["jwks_uri"] = uri
		_, err := f.further().fetchKeys(background)
		mustBe(t, err, ErrNonsense)
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}

func TestC152_AFloodOfUnknownKeysAtAFurtherIssuerIsOneFetch(t *testing.T) {
	f := newIDP(t)
	issuer := f.further()
	if _, err := issuer.Verify(background, presented(t, f.sign(f.ticket(nil))).Read); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		_, err := issuer.Verify(background, presented(t, sign(t, "nobody-knows", jose.RS256, rsaKey(), nil, f.ticket(nil))).Read)
		mustBe(t, err, ErrRejected)
	}
	if got := f.count("/jwks"); got != 2 {
		t.Errorf("%d fetches", got)
	}
}

func TestAFurtherIssuerThatCannotWorkIsRefusedAtStart(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*IssuerConfig)
		says   string
	}{
		"no issuer":                    {func(c *IssuerConfig) { c.Issuer = "" }, "issuer"},
		"no audiences":                 {func(c *IssuerConfig) { c.Audiences = nil }, "audiences"},
		"an empty audience":            {func(c *IssuerConfig) { c.Audiences = []string{""} }, "audiences"},
		"keys over plain http":         {func(c *IssuerConfig) { c.JWKSURI = "http://x.example/jwks" }, "https"},
		"keys at the metadata service": {func(c *IssuerConfig) { c.JWKSURI = "https://169.254.169.254/jwks" }, "link-local"},
		"an issuer with a query":       {func(c *IssuerConfig) { c.Issuer = "https://desk.example?x" }, "query"},
	} {
		cfg := IssuerConfig{Name: "support-desk", Issuer: "https://desk.example", Audiences: []string{"cloakroom"}}
		tc.change(&cfg)
		if _, err := NewIssuer(cfg); err == nil || !strings.Contains(err.Error(), tc.says) || !strings.Contains(err.Error(), "support-desk") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
