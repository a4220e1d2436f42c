package provider

import (
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"testing"
)

func TestA2_TheAuthorizationRequestIsCodeFlowWithS256(t *testing.T) {
	f := newIDP(t)
	f.meta["authorization_endpoint"] = f.issuer + "/authorize?tenant=1"
	p := f.client(func(c *Config) {
		c.Audience, c.Resource = "https://api.example/", "https://rs.example/"
		c.AuthorizationParams = map[string]string{"identity_provider": "Corp", "prompt": "consent"}
	})
	raw, err := p.AuthURL(background, AuthRequest{
		State: "the-state", Nonce: nonce, Verifier: verifier, RedirectURI: "https://app.example.com/bff/callback/main",
		Params: url.Values{"login_hint": {"u@example.com"}, "prompt": {"none"}, "state": {"evil"}, "client_id": {"evil"}, "response_type": {"token"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256([]byte(verifier))
	for name, want := range map[string]string{
		"response_type": "code", "client_id": clientID, "state": "the-state", "nonce": nonce, "code_challenge_method": "S256",
		"code_challenge": base64.RawURLEncoding.EncodeToString(sum[:]), "scope": "openid email", "login_hint": "u@example.com",
		"redirect_uri": "https://app.example.com/bff/callback/main", "audience": "https://api.example/", "resource": "https://rs.example/",
		"identity_provider": "Corp", "prompt": "consent", "tenant": "1",
	} {
		if got := u.Query()[name]; len(got) != 1 || got[0] != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"client_secret", "code_verifier", "response_mode"} {
		if u.Query().Has(name) {
			t.Errorf("has %s", name)
		}
	}
}

func TestScopesComeFromTheConfigurationOrTheProfile(t *testing.T) {
	for _, tc := range []struct {
		name      string
		profile   string
		scopes    []string
		supported []string
		want      string
	}{
		{"configured", "generic", []string{"openid", "orders"}, []string{"offline_access"}, "openid orders"},
		{"generic, with offline access where it is offered", "generic", nil, []string{"openid", "offline_access"}, "openid profile email offline_access"},
		{"generic, without where it is not", "generic", nil, []string{"openid"}, "openid profile email"},
		{"cognito issues a refresh token unasked", "cognito", nil, []string{"openid", "offline_access"}, "openid profile email"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.meta["scopes_supported"] = tc.supported
			p := f.client(func(c *Config) { c.Profile, c.Scopes = tc.profile, tc.scopes })
			raw, err := p.AuthURL(background, AuthRequest{})
			if err != nil {
				t.Fatal(err)
			}
			if u, _ := url.Parse(raw); u.Query().Get("scope") != tc.want {
				t.Errorf("scope %q", u.Query().Get("scope"))
			}
		})
	}
}

func TestB1_9_TheIssuerOfAResponseIsComparedExactly(t *testing.T) {
	for _, tc := range []struct {
		name       string
		advertised bool
		iss        func(issuer string) string
		has        bool
		want       error
	}{
		{"ours, advertised", true, func(s string) string { return s }, true, nil},
		{"ours, not advertised", false, func(s string) string { return s }, true, nil},
		{"none, not advertised", false, nil, false, nil},
		{"none although advertised", true, nil, false, ErrRejected},
		{"another, not advertised", false, func(string) string { return "https://evil.example" }, true, ErrRejected},
		{"a slash more", true, func(s string) string { return s + "/" }, true, ErrRejected},
		{"another case", true, func(s string) string { return "HTTP" + s[4:] }, true, ErrRejected},
		{"percent-encoded", true, func(s string) string { return url.QueryEscape(s) }, true, ErrRejected},
		{"empty", true, func(string) string { return "" }, true, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.meta["authorization_response_iss_parameter_supported"] = tc.advertised
			iss := ""
			if tc.iss != nil {
				iss = tc.iss(f.issuer)
			}
			p := f.client()
			mustBe(t, p.CheckResponse(iss, tc.has), tc.want)
			if iss != "" {
				r := redemption()
				r.Iss = iss
				_, err := p.Redeem(background, r)
				mustBe(t, err, tc.want)
			}
			if tc.want != nil && f.count("/token") != 0 {
				t.Error("a code was redeemed")
			}
		})
	}
}

func TestANonceOrVerifierThatIsMissingIsRefusedBeforeAnythingIsSent(t *testing.T) {
	for name, spoil := range map[string]func(*Redemption){
		"nonce": func(r *Redemption) { r.Nonce = "" }, "verifier": func(r *Redemption) { r.Verifier = "" }, "code": func(r *Redemption) { r.Code = "" },
	} {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			r := redemption()
			spoil(&r)
			_, err := f.client().Redeem(background, r)
			if mustBe(t, err, ErrRejected); f.count("/token") != 0 {
				t.Error("sent")
			}
		})
	}
}
