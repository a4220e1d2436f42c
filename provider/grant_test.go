package provider

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/token"
)

func TestARedemptionYieldsWhatTheProviderGranted(t *testing.T) {
	f := newIDP(t)
	f.respond(map[string]any{"id_token": f.sign(merged(f.idClaims(), map[string]any{"at_hash": token.HalfHash("RS256", canaryAccess)}))})
	g, err := f.client().Redeem(background, redemption())
	if err != nil {
		t.Fatal(err)
	}
	if g.Access != canaryAccess || g.Refresh != canaryRefresh || g.IDToken == "" || g.Subject != subject || g.SID != "provider-sid" {
		t.Errorf("tokens, subject or sid are wrong")
	}
	if !g.Expiry.Equal(f.now.Add(time.Hour)) || !g.AuthTime.Equal(f.now.Add(-30*time.Second)) || g.Scope.String() != "openid email" {
		t.Errorf("expiry %v, auth time %v, scope %q", g.Expiry, g.AuthTime, g.Scope)
	}
	if g.AccessClaims != nil || g.Identity.Text("email") != "u@example.com" {
		t.Errorf("access claims %v, identity %v", g.AccessClaims, g.Identity)
	}
	for _, name := range bindings {
		if _, there := g.Identity[name]; there {
			t.Errorf("identity holds %s", name)
		}
	}
	mustTellNothing(t, fmt.Sprintf("%v %+v %s", g, g, g.Access))
}

func TestB3_13_ScopeAndLifetimeAreWhatTheResponseSaysWithinReason(t *testing.T) {
	for _, tc := range []struct {
		name     string
		change   map[string]any
		lifetime time.Duration
		scope    string
		want     error
	}{
		{"expires_in missing", map[string]any{"expires_in": nil}, 5 * time.Minute, "openid email", nil},
		{"expires_in 0", map[string]any{"expires_in": 0}, 5 * time.Minute, "openid email", nil},
		{"expires_in negative", map[string]any{"expires_in": -5}, 5 * time.Minute, "openid email", nil},
		{"expires_in 1e12", map[string]any{"expires_in": int64(1e12)}, 24 * time.Hour, "openid email", nil},
		{"expires_in a string", map[string]any{"expires_in": "3600"}, time.Hour, "openid email", nil},
		{"expires_in a word", map[string]any{"expires_in": "soon"}, 0, "", ErrNonsense},
		{"scope narrowed", map[string]any{"scope": "openid"}, time.Hour, "openid", nil},
		{"scope absent", map[string]any{"scope": nil}, time.Hour, "openid email", nil},
		{"scope without openid", map[string]any{"scope": "email"}, 0, "", ErrRejected},
		{"scope of a resource alone (RFC 8707)", map[string]any{"scope": "orders/read"}, time.Hour, "orders/read", nil},
		{"scope a list", map[string]any{"scope": []string{"openid"}}, 0, "", ErrNonsense},
		{"token_type in lower case", map[string]any{"token_type": "bearer"}, time.Hour, "openid email", nil},
		{"token_type MAC", map[string]any{"token_type": "MAC"}, 0, "", ErrNonsense},
		{"no refresh token", map[string]any{"refresh_token": nil}, time.Hour, "openid email", nil},
		{"B3.12 an access token of 64 KiB", map[string]any{"access_token": strings.Repeat("a", 64<<10)}, time.Hour, "openid email", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.respond(tc.change)
			g, err := f.client().Redeem(background, redemption())
			mustBe(t, err, tc.want)
			if tc.want == nil && (!g.Expiry.Equal(f.now.Add(tc.lifetime)) || g.Scope.String() != tc.scope) {
				t.Errorf("lives %v with scope %q", g.Expiry.Sub(f.now), g.Scope)
			}
		})
	}
}

func TestAnAccessTokenIsReadWhereItIsOursToRead(t *testing.T) {
	for _, tc := range []struct {
		name    string
		profile string
		claims  map[string]any
		id      map[string]any
		read    bool
		want    error
	}{
		{"a JWT of this issuer", "generic", nil, nil, true, nil},
		{"a JWT of another issuer is opaque", "generic", map[string]any{"iss": "https://graph.example"}, nil, false, nil},
		{"an expired one is opaque", "generic", map[string]any{"exp": 1_780_000_000}, nil, false, nil},
		{"one that looks like an ID token is opaque", "generic", map[string]any{"nonce": "n"}, nil, false, nil},
		{"one about another subject is opaque", "generic", map[string]any{"sub": "another"}, nil, false, nil},
		{"of Cognito", "cognito", map[string]any{"aud": nil, "token_use": "access", "cognito:groups": []string{"support"}}, map[string]any{"token_use": "id"}, true, nil},
		{"of Cognito about another subject is a swap", "cognito", map[string]any{"sub": "another", "token_use": "access"}, map[string]any{"token_use": "id"}, false, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.respond(map[string]any{
				"access_token": f.sign(merged(f.accessClaims(), tc.claims)), "id_token": f.sign(merged(f.idClaims(), tc.id)), "expires_in": 7200,
			})
			g, err := f.client(func(c *Config) { c.Profile = tc.profile }).Redeem(background, redemption())
			mustBe(t, err, tc.want)
			if read := g.AccessClaims != nil; read != tc.read {
				t.Errorf("read: %v", read)
			}
			if tc.read && !g.Expiry.Equal(f.now.Add(time.Hour)) {
				t.Errorf("the token's own exp does not count: %v", g.Expiry.Sub(f.now))
			}
		})
	}
}

func TestB3_16_ARenewedIDTokenMustContinueWhatWas(t *testing.T) {
	for _, tc := range []struct {
		name   string
		claims map[string]any
		want   error
		ends   bool
	}{
		{"the same person", nil, nil, false},
		{"without nonce, as is usual", map[string]any{"nonce": nil}, nil, false},
		{"with azp although it had none", map[string]any{"azp": clientID}, nil, false},
		{"another sub", map[string]any{"sub": "another"}, ErrRejected, true},
		{"another iss", map[string]any{"iss": "https://evil.example"}, ErrRejected, true},
		{"another aud", map[string]any{"aud": "other"}, ErrRejected, true},
		{"another azp", map[string]any{"azp": "other"}, ErrRejected, true},
		{"another nonce", map[string]any{"nonce": "another"}, ErrRejected, true},
		{"another auth_time", map[string]any{"auth_time": 1_789_000_000}, ErrRejected, true},
		{"an at_hash that does not match", map[string]any{"at_hash": "AAAA"}, ErrRejected, false},
		{"expired, which is a clock and no attack", map[string]any{"exp": 1_789_000_000}, ErrRejected, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			first := f.sign(f.idClaims())
			f.respond(map[string]any{"id_token": f.sign(merged(f.idClaims(), tc.claims))})
			before := Was{Subject: subject, AuthTime: f.now.Add(-30 * time.Second), IDToken: text(first)}
			g, err := f.client().Refresh(background, canaryRefresh, before)
			mustBe(t, err, tc.want)
			if ends := errors.Is(err, ErrRefused); ends != tc.ends {
				t.Errorf("ends the session: %v", ends)
			}
			if err != nil && (g.Access != "" || g.Refresh != "") {
				t.Error("something of the dropped response is handed on")
			}
		})
	}
}

func TestB3_16_WithoutAnIDTokenTheAccessTokenMustStillBeTheirs(t *testing.T) {
	f := newIDP(t)
	f.respond(map[string]any{"id_token": nil, "access_token": f.sign(merged(f.accessClaims(), map[string]any{"sub": "another", "token_use": "access"}))})
	_, err := f.client(func(c *Config) { c.Profile = "cognito" }).Refresh(background, canaryRefresh, was())
	if mustBe(t, err, ErrRejected); !errors.Is(err, ErrRefused) {
		t.Error("the session goes on")
	}
}

func TestB3_17_ARefreshKeepsWhatTheProviderDoesNotRenew(t *testing.T) {
	f := newIDP(t)
	f.respond(map[string]any{"refresh_token": nil, "id_token": nil, "scope": nil})
	before := Was{Subject: subject, AuthTime: f.now, IDToken: "the.old.one", Scope: token.Scope{"openid", "orders"}}
	g, err := f.client().Refresh(background, canaryRefresh, before)
	if err != nil {
		t.Fatal(err)
	}
	if g.Refresh != canaryRefresh || g.IDToken != "the.old.one" || g.Scope.String() != "openid orders" || g.Subject != subject || !g.AuthTime.Equal(f.now) {
		t.Errorf("lost something: scope %q subject %q", g.Scope, g.Subject)
	}
	if g.Identity != nil {
		t.Error("an identity out of nowhere")
	}
	f.respond(map[string]any{"refresh_token": "rotated"})
	if g, err = f.client().Refresh(background, canaryRefresh, before); err != nil || g.Refresh != "rotated" {
		t.Errorf("rotated: %v", err)
	}
}

func TestB3_11_ARefreshIsTriedAgainOnlyWhereNothingWasSent(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if err := p.keys.warm(background); err != nil {
		t.Fatal(err)
	}
	p.client.transport.CloseIdleConnections()
	dial := p.client.transport.DialContext
	var dials atomic.Int32
	p.client.transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) == 1 {
			return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
		}
		return dial(ctx, network, address)
	}
	if _, err := p.Refresh(background, canaryRefresh, was()); err != nil || f.count("/token") != 1 {
		t.Errorf("error %v, sent %d times", err, f.count("/token"))
	}
	f.route("/token", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := p.Refresh(background, canaryRefresh, was())
	if mustBe(t, err, ErrUnavailable); f.count("/token") != 2 {
		t.Errorf("a refresh token that was sent was sent again: %d times in all", f.count("/token"))
	}
}

func TestB3_19_TheClientProvesItselfAsConfiguredAndNeverInAURL(t *testing.T) {
	for _, tc := range []struct {
		method        string
		basic         bool
		secretInForm  bool
		clientIDInURL bool
	}{
		{AuthBasic, true, false, false}, {AuthPost, false, true, true}, {AuthNone, false, false, true},
	} {
		t.Run(tc.method, func(t *testing.T) {
			f := newIDP(t)
			var asked []string
			inner := f.server.Config.Handler
			f.server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.String())
				inner.ServeHTTP(w, r)
			})
			p := f.client(func(c *Config) { c.AuthMethod, c.Resource = tc.method, "https://api.example" })
			if _, err := p.Redeem(background, redemption()); err != nil {
				t.Fatal(err)
			}
			if _, err := p.Refresh(background, canaryRefresh, was()); err != nil {
				t.Fatal(err)
			}
			if err := p.Revoke(background, canaryRefresh); err != nil {
				t.Fatal(err)
			}
			for i, form := range f.forms {
				r := http.Request{Header: f.headers[i]}
				user, password, basic := r.BasicAuth()
				if basic != tc.basic || basic && (user != url.QueryEscape(clientID) || password != url.QueryEscape(canarySecret)) {
					t.Errorf("request %d: basic %v", i, basic)
				}
				if inForm := form.Get("client_secret") == canarySecret; inForm != tc.secretInForm || form.Has("client_secret") != tc.secretInForm {
					t.Errorf("request %d: secret in the form: %v", i, inForm)
				}
				if form.Has("client_id") != tc.clientIDInURL {
					t.Errorf("request %d: client_id in the form: %v", i, form.Has("client_id"))
				}
			}
			mustTellNothing(t, strings.Join(asked, " "))
			if f.forms[0].Get("code_verifier") != verifier || f.forms[0].Get("resource") != "https://api.example" || f.forms[0].Get("redirect_uri") != redemption().RedirectURI {
				t.Errorf("redemption lacks verifier, resource or redirect URI")
			}
			if f.forms[2].Get("token") != canaryRefresh || f.forms[2].Get("token_type_hint") != "refresh_token" {
				t.Errorf("revocation: %d parameters", len(f.forms[2]))
			}
		})
	}
}
