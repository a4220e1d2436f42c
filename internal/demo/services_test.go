package demo

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/exchange/exchangehttp"
)

// counter stands in for Cloakroom's internal listener: a key set, and an exchange that does what the test says.
type counter struct {
	*testing.T
	*httptest.Server
	key      jose.JSONWebKey
	now      time.Time
	exchange func(form url.Values) (int, map[string]any)
	asked    []url.Values
}

func newCounter(t *testing.T) *counter {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &counter{T: t, now: time.Now(), key: jose.JSONWebKey{Key: private, KeyID: "k1", Algorithm: "ES256", Use: "sig"}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/jwks.json", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{c.key.Public()}})
	})
	mux.HandleFunc("POST /oauth2/token", func(w http.ResponseWriter, r *http.Request) {
		if id, secret, ok := r.BasicAuth(); !ok || id != orders || secret != "s3cret" {
			answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
			return
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		c.asked = append(c.asked, r.PostForm)
		status, body := c.exchange(r.PostForm)
		answer(w, status, body)
	})
	c.Server = httptest.NewServer(mux)
	t.Cleanup(c.Close)
	return c
}

// mint signs a token as Cloakroom does, with what the case changes; a nil value leaves a claim out.
func (c *counter) mint(typ string, change map[string]any) string {
	c.Helper()
	claims := map[string]any{
		"iss": c.URL, "aud": orders, "sub": "alice-sub", "idp": "https://idp.example.com", "client_id": "bff", "jti": "j1",
		"iat": c.now.Unix(), "exp": c.now.Add(5 * time.Minute).Unix(), "scope": "orders:read", "email": "alice@example.com",
	}
	for name, value := range change {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	options := &jose.SignerOptions{}
	if typ != "" {
		options = options.WithType(jose.ContentType(typ))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: c.key}, options)
	if err != nil {
		c.Fatal(err)
	}
	raw, err := json.Marshal(claims)
	if err != nil {
		c.Fatal(err)
	}
	jws, err := signer.Sign(raw)
	if err != nil {
		c.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		c.Fatal(err)
	}
	return compact
}

func (c *counter) exchanger() *exchangehttp.Client {
	c.Helper()
	client, err := exchangehttp.NewClient(exchangehttp.ClientConfig{Endpoint: c.URL + "/oauth2/token", ID: orders, Secret: "s3cret", HTTP: c.Client()})
	if err != nil {
		c.Fatal(err)
	}
	return client
}

func (c *counter) guard(audience string) guard {
	return newGuard(c.Context(), c.URL, c.URL+"/.well-known/jwks.json", policyOf(audience), func() time.Time { return c.now })
}

// ask sends a request with a token to a service and decodes what it says.
func (c *counter) ask(service http.Handler, method, path, token string, into any) *httptest.ResponseRecorder {
	c.Helper()
	r := httptest.NewRequestWithContext(c.Context(), method, path, nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	service.ServeHTTP(w, r)
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		c.Fatalf("%s: %v", w.Body, err)
	}
	return w
}

func TestServiceRefuses(t *testing.T) {
	c := newCounter(t)
	payments := newPayments(c.guard(payments), nil)
	other := newCounter(t)
	for name, try := range map[string]struct {
		token string
		says  []string
	}{
		"no token":           {"", []string{"no token was sent"}},
		"no JWT":             {"abc", []string{"it is not a signed token"}},
		"a token for orders": {c.mint("at+jwt", nil), []string{"aud is orders, not payments"}},
		"an expired token": {
			c.mint("at+jwt", map[string]any{"aud": "payments", "exp": c.now.Add(-time.Second).Unix()}),
			[]string{"it expired at " + c.now.Add(-time.Second).UTC().Format(time.RFC3339)},
		},
		"a token of another kind": {c.mint("JWT", map[string]any{"aud": "payments"}), []string{"typ is JWT, not at+jwt"}},
		"a token without typ":     {c.mint("", map[string]any{"aud": "payments"}), []string{"typ is missing, not at+jwt"}},
		"a token of another issuer": {
			other.mint("at+jwt", map[string]any{"aud": "payments"}), []string{"iss is " + other.URL + ", not Cloakroom"},
		},
		"a forged token": {
			other.mint("at+jwt", map[string]any{"aud": "payments", "iss": c.URL}),
			[]string{"failed to verify signature: failed to verify id token signature"},
		},
		"a token without expiry": {
			c.mint("at+jwt", map[string]any{"aud": "payments", "exp": nil}), []string{"exp is missing"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var said Refusal
			w := c.ask(payments, http.MethodGet, "/payments", try.token, &said)
			if w.Code != http.StatusUnauthorized || !slices.Equal(said.Refused, try.says) {
				t.Errorf("answered %d, %q", w.Code, said.Refused)
			}
			if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), `Bearer error="invalid_token"`) {
				t.Errorf("WWW-Authenticate: %s", w.Header().Get("WWW-Authenticate"))
			}
			if try.token != "" && strings.Contains(w.Body.String(), try.token) {
				t.Error("the refusal repeats the token")
			}
		})
	}
}

func TestServiceWantsItsScope(t *testing.T) {
	c := newCounter(t)
	var said Refusal
	w := c.ask(newPayments(c.guard(payments), nil), http.MethodGet, "/payments",
		c.mint("at+jwt", map[string]any{"aud": "payments", "scope": "orders:read"}), &said)
	if w.Code != http.StatusForbidden || said.Refused[0] != "scope does not hold payments:read" {
		t.Errorf("answered %d, %v", w.Code, said)
	}
}

func TestPaymentsShowsAPersonTheirOwn(t *testing.T) {
	c := newCounter(t)
	service := newPayments(c.guard(payments), []string{"alice-sub", "sam-sub"})
	for scope, want := range map[string]int{"payments:read": 2, "payments:read payments:read.any": 6} {
		var said PaymentsAnswer
		c.ask(service, http.MethodGet, "/payments", c.mint("at+jwt", map[string]any{"aud": "payments", "scope": scope}), &said)
		if len(said.Payments) != want {
			t.Errorf("%s: %d payments, want %d", scope, len(said.Payments), want)
		}
	}
}

func TestOrdersExchangesItsToken(t *testing.T) {
	c := newCounter(t)
	paymentsServer := httptest.NewServer(newPayments(c.guard(payments), []string{"alice-sub"}))
	defer paymentsServer.Close()
	c.exchange = func(url.Values) (int, map[string]any) {
		return http.StatusOK, map[string]any{
			"issued_token_type": "urn:ietf:params:oauth:token-type:access_token", "token_type": "Bearer",
			"access_token": c.mint("at+jwt", map[string]any{
				"aud": "payments", "scope": "payments:read", "client_id": orders, "act": map[string]any{"iss": c.URL, "sub": orders},
			}),
		}
	}
	service := newOrders(c.guard(orders), c.exchanger(), paymentsServer.URL, c.Client())
	sent := c.mint("at+jwt", nil)

	var said OrdersAnswer
	if w := c.ask(service, http.MethodGet, "/orders", sent, &said); w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	if form := c.asked[0]; form.Get("subject_token") != sent || form.Get("audience") != "payments" ||
		form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange" || form.Has("scope") {
		t.Errorf("exchange asked for %v", slices.Sorted(maps.Keys(form)))
	}
	want := Verified{"email", "alice@example.com", Source{"ID token", "id.email"}}
	if !slices.Contains(said.Verified, want) {
		t.Errorf("orders verified %v", said.Verified)
	}
	want = Verified{"scope", "orders:read", Source{"access token", `orders:read: granted("orders-api/read")`}}
	if !slices.Contains(said.Verified, want) {
		t.Errorf("orders verified %v", said.Verified)
	}
	var inner PaymentsAnswer
	if err := json.Unmarshal(said.Payments, &inner); err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(inner.Verified, func(v Verified) bool { return v.Claim == "act" })
	if act, _ := inner.Verified[at].Value.(map[string]any); act["sub"] != "orders" {
		t.Errorf("payments verified %v", inner.Verified)
	}
}

func TestOrdersTellsWhatTheExchangeRefuses(t *testing.T) {
	c := newCounter(t)
	c.exchange = func(form url.Values) (int, map[string]any) {
		return http.StatusBadRequest, map[string]any{"error": "invalid_scope", "error_description": form.Get("scope")}
	}
	service := newOrders(c.guard(orders), c.exchanger(), "", c.Client())
	var said Attempt
	c.ask(service, http.MethodPost, "/orders/try/scope", c.mint("at+jwt", nil), &said)
	if said.Status != 400 || string(said.Answer) != `{"error":"invalid_scope","error_description":"payments:read.any"}` {
		t.Errorf("%d, %s", said.Status, said.Answer)
	}
}

func TestOrdersTellsThatPaymentsTakesNoForeignToken(t *testing.T) {
	c := newCounter(t)
	paymentsServer := httptest.NewServer(newPayments(c.guard(payments), nil))
	defer paymentsServer.Close()
	service := newOrders(c.guard(orders), nil, paymentsServer.URL, c.Client())
	var said Attempt
	c.ask(service, http.MethodPost, "/orders/try/forward", c.mint("at+jwt", nil), &said)
	if said.Status != 401 || !strings.Contains(string(said.Answer), "aud is orders, not payments") {
		t.Errorf("%d, %s", said.Status, said.Answer)
	}
}
