package demo

import (
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/oauth2"

	"cloakroom/internal/idptest"
)

// signedIn returns a provider and an access token that it gave alice.
func signedIn(t *testing.T) (*idptest.Provider, string) {
	t.Helper()
	idp := idptest.New(idptest.Config{})
	idp.Start(t)
	client := idptest.DefaultClient()
	oauth := oauth2.Config{
		ClientID: client.ID, ClientSecret: client.Secret, RedirectURL: "http://app.example.com/cb", Scopes: []string{"openid", "email"},
		Endpoint: oauth2.Endpoint{AuthURL: idp.URL(idptest.Authorize), TokenURL: idp.URL(idptest.Token)},
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := idp.SignIn(t.Context(), &http.Client{Jar: jar}, oauth.AuthCodeURL("s", oauth2.S256ChallengeOption("v")), "alice", "alice")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := oauth.Exchange(t.Context(), u.Query().Get("code"), oauth2.VerifierOption("v"))
	if err != nil {
		t.Fatal(err)
	}
	return idp, tokens.AccessToken
}

func TestProviderReportsClaimsAndNoToken(t *testing.T) {
	c := newCounter(t)
	idp, access := signedIn(t)
	var said ProviderAnswer
	w := c.ask(newReporter(idp, "", c.Client()), http.MethodGet, "/demo/issued", access, &said)
	if said.ID["email"] != "alice@example.com" || said.ID["aud"] != idptest.DefaultClient().ID || said.Access["scope"] != "openid email" {
		t.Errorf("%+v", said)
	}
	if _, has := said.Access["email"]; has {
		t.Error("an access token has no e-mail")
	}
	for _, secret := range idp.Issued() {
		if strings.Contains(w.Body.String(), secret) {
			t.Errorf("%.12s… is in the report", secret)
		}
	}
	var no Refusal
	if w := c.ask(newReporter(idp, "", c.Client()), http.MethodGet, "/demo/issued", "other", &no); w.Code != http.StatusUnauthorized {
		t.Errorf("answered %d to a token nobody issued", w.Code)
	}
}

func TestOrdersRefusesTheIDToken(t *testing.T) {
	c := newCounter(t)
	idp, access := signedIn(t)
	ordersServer := httptest.NewServer(newOrders(c.guard(orders), nil, "", c.Client()))
	defer ordersServer.Close()
	var told struct {
		Status int
		Answer Refusal
	}
	c.ask(newReporter(idp, ordersServer.URL, c.Client()), http.MethodPost, "/demo/try/id-token", access, &told)
	want := []string{
		"aud is " + idptest.DefaultClient().ID + ", not orders", "iss is " + idp.Issuer() + ", not Cloakroom",
		"typ is missing, not at+jwt", "alg is RS256, not ES256",
	}
	if told.Status != http.StatusUnauthorized || !slices.Equal(told.Answer.Refused, want) {
		t.Errorf("%d, %q", told.Status, told.Answer.Refused)
	}
}
