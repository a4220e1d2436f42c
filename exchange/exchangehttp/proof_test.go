package exchangehttp_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/exchange/exchangehttp"
	"cloakroom/token"
)

func TestClientSignsThatItIsWho(t *testing.T) {
	w := newWorld(t)
	w.now = time.Now()
	client := clientAt(t, through(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a header came beside the assertion")
		}
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, r)
		return rec.Result(), nil
	}), func(c *exchangehttp.ClientConfig) {
		c.ID, c.Secret, c.Key = "keyed", "", &jose.JSONWebKey{Key: keyed()["ec"], KeyID: "ec", Algorithm: "ES256"}
	})
	for range 2 { // no assertion is used twice
		for _, person := range []string{"alice", "bob"} {
			got, err := client.Exchange(t.Context(), exchangehttp.Request{Subject: w.access(token.Claims{"sub": person, "jti": time.Now().String()}), Audience: []string{"ledger"}})
			if err != nil {
				t.Fatal(err)
			}
			if _, claims, err := token.Inspect(got.Value.Reveal()); err != nil || claims["sub"] != person || claims["client_id"] != "keyed" {
				t.Errorf("%v, %v", claims, err)
			}
		}
	}
}

func TestClientTakesNoKeyThatCannotSign(t *testing.T) {
	for name, change := range map[string]func(*exchangehttp.ClientConfig){
		"a secret as well": func(c *exchangehttp.ClientConfig) { c.Secret = "s" },
		"a public key": func(c *exchangehttp.ClientConfig) {
			c.Key = &jose.JSONWebKey{Key: keyed()["ec"].Public(), KeyID: "ec", Algorithm: "ES256"}
		},
		"no key": func(c *exchangehttp.ClientConfig) { c.Key = &jose.JSONWebKey{Algorithm: "ES256"} },
		"a secret that is a key": func(c *exchangehttp.ClientConfig) {
			c.Key = &jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), Algorithm: "HS256"}
		},
		"another algorithm than the key's": func(c *exchangehttp.ClientConfig) { c.Key = &jose.JSONWebKey{Key: keyed()["ec"], Algorithm: "RS256"} },
	} {
		cfg := exchangehttp.ClientConfig{Endpoint: us + "/oauth2/token", ID: "keyed", Key: &jose.JSONWebKey{Key: keyed()["ec"], KeyID: "ec", Algorithm: "ES256"}}
		if _, err := exchangehttp.NewClient(cfg); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if _, err := exchangehttp.NewClient(cfg); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
