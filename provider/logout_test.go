package provider

import (
	"net/url"
	"strings"
	"testing"
)

func TestC3_TheBrowserSignsOutAsTheProviderUnderstandsIt(t *testing.T) {
	const back = "https://app.example.com/bff/logged-out"
	idToken := text("eyJ.id.token")
	for _, tc := range []struct {
		name    string
		profile string
		hint    string
		end     any // end_session_endpoint
		want    map[string]string
		path    string
	}{
		{"RP-initiated", "generic", "", "SELF/end", map[string]string{"client_id": clientID, "post_logout_redirect_uri": back, "state": "sealed"}, "/end"},
		{"RP-initiated with the endpoint's own parameter", "generic", "never", "SELF/end?tenant=1", map[string]string{"tenant": "1", "client_id": clientID, "post_logout_redirect_uri": back, "state": "sealed"}, "/end"},
		{"RP-initiated with a hint", "generic", "always", "SELF/end", map[string]string{"client_id": clientID, "post_logout_redirect_uri": back, "state": "sealed", "id_token_hint": "eyJ.id.token"}, "/end"},
		{"Cognito's", "cognito", "always", "SELF/logout", map[string]string{"client_id": clientID, "logout_uri": back}, "/logout"},
		{"Cognito's before its metadata had an endpoint", "cognito", "", nil, map[string]string{"client_id": clientID, "logout_uri": back}, "/logout"},
		{"a provider without logout", "generic", "", nil, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.meta = merged(f.meta, map[string]any{"end_session_endpoint": nil})
			if end, ok := tc.end.(string); ok {
				f.meta["end_session_endpoint"] = strings.Replace(end, "SELF", f.issuer, 1)
			}
			p := f.client(func(c *Config) { c.Profile, c.IDTokenHint = tc.profile, tc.hint })
			logout := Logout{ReturnURL: back, State: "sealed", IDToken: idToken}
			if _, ok := p.LogoutURL(logout); ok {
				t.Error("knows the endpoint before it was discovered")
			}
			if _, err := p.discovered(background); err != nil {
				t.Fatal(err)
			}
			raw, ok := p.LogoutURL(logout)
			if ok != (tc.want != nil) {
				t.Fatalf("has a logout: %v", ok)
			}
			if !ok {
				return
			}
			u, err := url.Parse(raw)
			if err != nil || u.Path != tc.path || len(u.Query()) != len(tc.want) {
				t.Fatalf("%s (%v)", raw, err)
			}
			for name, want := range tc.want {
				if got := u.Query().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}

func TestC8_RevocationIsDoneOrWorthTryingAgain(t *testing.T) {
	for _, tc := range []struct {
		name string
		code int
		body string
		want error
	}{
		{"200", 200, "", nil},
		{"503", 503, "", ErrUnavailable},
		{"429", 429, "", ErrUnavailable},
		{"invalid_client", 401, `{"error":"invalid_client"}`, ErrUnavailable},
		{"unsupported_token_type", 400, `{"error":"unsupported_token_type"}`, ErrNonsense},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/revoke", status(tc.code, tc.body))
			mustBe(t, f.client().Revoke(background, canaryRefresh), tc.want)
		})
	}
	t.Run("a provider without revocation has nothing to do", func(t *testing.T) {
		f := newIDP(t)
		delete(f.meta, "revocation_endpoint")
		mustBe(t, f.client().Revoke(background, canaryRefresh), nil)
	})
}
