package provider

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestB3_1_MetadataIsAcceptedAsAWholeOrRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change map[string]any
		want   error
		reason string
	}{
		{"as it must be", nil, nil, ""},
		{"another issuer", map[string]any{"issuer": "https://evil.example"}, ErrNonsense, "issuer"},
		{"a slash more", map[string]any{"issuer": "SLASH"}, ErrNonsense, "issuer"},
		{"no issuer", map[string]any{"issuer": nil}, ErrNonsense, "issuer"},
		{"a token endpoint in plain http elsewhere", map[string]any{"token_endpoint": "http://idp.example/token"}, ErrNonsense, "token endpoint is not https"},
		{"a userinfo endpoint in plain http elsewhere", map[string]any{"userinfo_endpoint": "http://idp.example/u"}, ErrNonsense, "userinfo"},
		{"an authorization endpoint that is a script", map[string]any{"authorization_endpoint": "javascript://x/%0aalert(1)"}, ErrNonsense, "authorization"},
		{"a key set in a file", map[string]any{"jwks_uri": "file:///etc/passwd"}, ErrNonsense, "jwks"},
		{"an endpoint with a user", map[string]any{"token_endpoint": "https://user@idp.example/t"}, ErrNonsense, "token"},
		{"a key set at a metadata service", map[string]any{"jwks_uri": "https://169.254.169.254/latest"}, ErrNonsense, "jwks"},
		{"no token endpoint", map[string]any{"token_endpoint": nil}, ErrNonsense, "token"},
		{"no key set", map[string]any{"jwks_uri": nil}, ErrNonsense, "jwks"},
		{"no userinfo", map[string]any{"userinfo_endpoint": nil}, nil, ""},
		{"a member of the wrong type", map[string]any{"scopes_supported": "openid"}, ErrNonsense, "type"},
		{"B1.12 PKCE methods without S256", map[string]any{"code_challenge_methods_supported": []string{"plain"}}, ErrNonsense, "S256"},
		{"B1.12 PKCE methods not told, as by Cognito", map[string]any{"code_challenge_methods_supported": nil}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.meta = merged(f.meta, tc.change)
			if f.meta["issuer"] == "SLASH" {
				f.meta["issuer"] = f.issuer + "/"
			}
			var warned []string
			p := f.client(func(c *Config) { c.Warn = func(s string) { warned = append(warned, s) } })
			mustBe(t, p.Ready(), ErrUnavailable)
			_, err := p.AuthURL(background, AuthRequest{})
			mustBe(t, err, tc.want)
			if err != nil && !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("does not say %q: %v", tc.reason, err)
			}
			mustBe(t, p.Ready(), tc.want)
			if untold := tc.change["code_challenge_methods_supported"] == nil && len(tc.change) == 1 && strings.Contains(tc.name, "not told"); untold != (len(warned) > 0) {
				t.Errorf("warnings: %q", warned)
			}
		})
	}
}

func TestB3_8_DiscoveryThatIsNoJSONIsNonsense(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"HTML": body("text/html", "<html>"), "nested deep": body("application/json", strings.Repeat(`{"a":`, 200_000)), "404": status(404, "{}"),
		"an array": body("application/json", "[]"),
	} {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/.well-known/openid-configuration", answer)
			_, err := f.client().AuthURL(background, AuthRequest{})
			mustBe(t, err, ErrNonsense)
		})
	}
}

func TestDiscoveryIsSharedAndAProviderThatIsDownIsAskedOnceASecond(t *testing.T) {
	f := newIDP(t)
	const path = "/.well-known/openid-configuration"
	f.route(path, status(503, ""))
	p := f.client()
	ask := func() {
		var callers sync.WaitGroup
		for range 50 {
			callers.Go(func() { _, _ = p.AuthURL(background, AuthRequest{}) })
		}
		callers.Wait()
	}
	ask()
	ask()
	if n := f.count(path); n != 1 {
		t.Errorf("asked %d times", n)
	}
	f.route(path, nil)
	f.advance(retryFloor)
	ask()
	ask()
	if n := f.count(path); n != 2 || p.Ready() != nil {
		t.Errorf("asked %d times, ready: %v", n, p.Ready())
	}
}

func TestEndpointsOfTheConfigurationReplaceTheProviders(t *testing.T) {
	f := newIDP(t)
	f.meta["token_endpoint"] = "https://elsewhere.example/token"
	p := f.client(func(c *Config) { c.Endpoints = map[string]string{EndpointToken: f.issuer + "/token"} })
	_, err := p.Redeem(background, redemption())
	mustBe(t, err, nil)
}

func TestAConfigurationThatCannotWorkIsRefusedAtStart(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*Config)
		says   string
	}{
		{"no issuer", func(c *Config) { c.Issuer = "" }, "issuer"},
		{"an issuer that is no URL", func(c *Config) { c.Issuer = "idp" }, "issuer"},
		{"an issuer with a query", func(c *Config) { c.Issuer = "https://idp.example/?a=1" }, "query"},
		{"an unknown profile", func(c *Config) { c.Profile = "acme" }, "acme"},
		{"no client id", func(c *Config) { c.ClientID = "" }, "client id"},
		{"no secret", func(c *Config) { c.ClientSecret = "" }, "secret"},
		{"an unknown authentication", func(c *Config) { c.AuthMethod = "magic" }, "magic"},
		{"scopes without openid", func(c *Config) { c.Scopes = []string{"email"} }, "openid"},
		{"a fixed state", func(c *Config) { c.AuthorizationParams = map[string]string{"state": "x"} }, "state"},
		{"an unknown endpoint", func(c *Config) { c.Endpoints = map[string]string{"jwk": "https://x.example"} }, "jwk"},
		{"an endpoint in plain http", func(c *Config) { c.Endpoints = map[string]string{"jwks": "http://x.example"} }, "https"},
		{"an unknown userinfo", func(c *Config) { c.UserInfo = "sometimes" }, "userinfo"},
		{"an unknown access_token_validation", func(c *Config) { c.AccessTokenValidation = "guess" }, "access_token_validation"},
		{"introspection by nobody", func(c *Config) { c.AccessTokenValidation, c.AuthMethod = "introspection", "none" }, "introspection"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := Config{Name: "main", Issuer: "https://idp.example", ClientID: clientID, ClientSecret: canarySecret}
			tc.change(&cfg)
			_, err := New(cfg)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Fatalf("got %v", err)
			}
			mustTellNothing(t, err.Error())
		})
	}
}

func TestAnIssuerInPlainHTTPMayHaveItsNamedHostsInPlainHTTP(t *testing.T) {
	p, err := New(Config{Issuer: "http://provider:8090", ClientID: clientID, ClientSecret: "x", Endpoints: map[string]string{"jwks": "http://keys:1/jwks"}})
	if err != nil {
		t.Fatal(err)
	}
	for endpoint, ok := range map[string]bool{
		"http://provider:8090/token": true, "http://keys:2/x": true, "https://other/x": true, "http://localhost:1/x": true, "http://other/x": false,
	} {
		if got := p.checkEndpoint(EndpointToken, endpoint) == nil; got != ok {
			t.Errorf("%s: %v", endpoint, got)
		}
	}
}

func TestEveryCallIsObserved(t *testing.T) {
	f := newIDP(t)
	var mu sync.Mutex
	seen := map[string]int{}
	p := f.client(func(c *Config) {
		c.Observe = func(endpoint, outcome string) { mu.Lock(); defer mu.Unlock(); seen[endpoint+" "+outcome]++ }
	})
	_, _ = p.Redeem(background, redemption())
	_, _ = p.UserInfo(background, canaryAccess, "somebody else")
	f.route("/token", status(400, `{"error":"invalid_grant"}`))
	_, _ = p.Refresh(background, canaryRefresh, was())
	f.route("/revoke", status(500, ""))
	_ = p.Revoke(background, canaryRefresh)
	for _, want := range []string{"discovery ok", "jwks ok", "token ok", "token refused", "userinfo rejected", "revocation unavailable"} {
		if seen[want] != 1 {
			t.Errorf("%q seen %d times", want, seen[want])
		}
	}
	if len(seen) != 6 {
		t.Errorf("seen: %v", seen)
	}
	var e *Error
	if err := p.Revoke(background, canaryRefresh); !errors.As(err, &e) || e.Party != "provider main" || e.Endpoint != EndpointRevocation {
		t.Errorf("not told where: %v", err)
	}
}

func TestClockIsTheDateOfTheAnswer(t *testing.T) {
	for _, c := range []struct {
		name, date string
		want       error
	}{
		{"the time there", "Tue, 01 Jan 2030 12:00:00 GMT", nil},
		{"no time", "noon", ErrNonsense},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", c.date) })
			got, err := f.client().Clock(background)
			mustBe(t, err, c.want)
			if err == nil && !got.Equal(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)) {
				t.Errorf("it is %v", got)
			}
		})
	}
}
