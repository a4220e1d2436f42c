package e2e

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// onward exchanges a token of ours, or the pool's, as a client that has one audience.
func (s *exchangeStack) onward(t *testing.T, client, subject string, with url.Values) answer {
	t.Helper()
	form := s.form(url.Values{"subject_token": {subject}, "audience": nil})
	maps.Copy(form, with)
	return s.exchange(t, client, form)
}

func byActor(raw string) url.Values {
	return url.Values{"actor_token": {raw}, "actor_token_type": {typeAccess}}
}

// actors reads `act` from the outside in, as "iss sub".
func actors(claims map[string]any) []string {
	var out []string
	for act, _ := claims["act"].(map[string]any); act != nil; act, _ = act["act"].(map[string]any) {
		out = append(out, fmt.Sprint(act["iss"], " ", act["sub"]))
	}
	return out
}

func chainOf(n int) map[string]any {
	var act map[string]any
	for i := range n {
		outer := map[string]any{"iss": "https://before.example.com", "sub": fmt.Sprint("hop", i)}
		if act != nil {
			outer["act"] = act
		}
		act = outer
	}
	return act
}

func (s *exchangeStack) keepsTheChainOfActors(t *testing.T) {
	sub, pool, ours := part(s.alice.access, 1)["sub"], s.pool.Issuer(), s.issuer()
	sam := s.accessOf(map[string]any{"sub": "sam", "username": "sam", "cognito:groups": []string{"support"}, "jti": "sam's"})
	for _, tc := range s.badSubjects(t, "https://elsewhere.example.com") {
		t.Run("C-060 an actor token: "+tc.name, func(t *testing.T) {
			s.refused(t, s.onward(t, "desk", s.alice.access, byActor(tc.token)), 400, "invalid_request")
		})
	}
	t.Run("C-061 the actor stands in act, the subject stays", func(t *testing.T) {
		c := s.granted(t, s.onward(t, "support", s.alice.access, byActor(sam)))
		if c["sub"] != sub || c["idp"] != pool || !slices.Equal(actors(c), []string{pool + " sam"}) || c["aud"] != "payments" {
			t.Errorf("%v", c)
		}
	})
	t.Run("C-062 act nests, the newest outermost", func(t *testing.T) {
		raw := s.alice.access
		for hop := 1; hop <= 5; hop++ {
			a := s.onward(t, "relay", raw, nil)
			if c := s.granted(t, a); len(actors(c)) != hop || c["sub"] != sub {
				t.Errorf("after %d exchanges: %v", hop, c["act"])
			}
			raw = a.text("access_token")
		}
		s.refused(t, s.onward(t, "relay", raw, nil), 400, "invalid_request")
		a := s.onward(t, "relay", s.onward(t, "orders", s.alice.minted, nil).text("access_token"), nil)
		s.refused(t, a, 400, "invalid_request") // for payments, which is not the relay's
	})
	t.Run("C-062 a chain from elsewhere counts", func(t *testing.T) {
		c := s.granted(t, s.onward(t, "relay", s.accessOf(map[string]any{"act": chainOf(4)}), nil))
		if all := actors(c); len(all) != 5 || all[0] != ours+" relay" || all[4] != "https://before.example.com hop0" {
			t.Errorf("%v", all)
		}
		s.refused(t, s.onward(t, "relay", s.accessOf(map[string]any{"act": chainOf(5)}), nil), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": chainOf(6)})}})), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": chainOf(500)})}})), 400, "invalid_request")
	})
	t.Run("C-064 only identity is copied into act", func(t *testing.T) {
		act := map[string]any{"iss": pool, "sub": "sam", "exp": 9999999999, "nbf": 1, "iat": 1, "aud": "x", "jti": "y", "scope": "admin", "groups": []string{"root"}, "email": "sam@example.com", "cnf": map[string]any{"jkt": "z"}}
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": act})}})))
		got, _ := c["act"].(map[string]any)
		for name := range got {
			if !slices.Contains([]string{"iss", "sub", "client_id", "sub_profile", "act"}, name) {
				t.Errorf("act has %s", name)
			}
		}
		c = s.granted(t, s.onward(t, "support", s.alice.access, byActor(sam)))
		if got, _ := c["act"].(map[string]any); len(got) != 2 {
			t.Errorf("act %v", got)
		}
	})
	named := func(may any) string { return s.accessOf(map[string]any{"may_act": may}) }
	t.Run("C-065 may_act names the actor", func(t *testing.T) {
		for _, may := range []map[string]any{{"iss": pool, "sub": "sam"}, {"sub": "sam"}, {"iss": pool, "sub": "sam", "client_id": clientID}} {
			if c := s.granted(t, s.onward(t, "support", named(may), byActor(sam))); !slices.Equal(actors(c), []string{pool + " sam"}) {
				t.Errorf("%v", c["act"])
			}
		}
	})
	for name, may := range map[string]map[string]any{
		"another subject": {"iss": pool, "sub": "eve"}, "another issuer": {"iss": "https://evil.example.com", "sub": "sam"},
		"a client that is another": {"iss": pool, "sub": "sam", "client_id": otherApp}, "a claim the actor has not": {"iss": pool, "sub": "sam", "email": "sam@example.com"},
	} {
		t.Run("C-066 may_act names "+name, func(t *testing.T) {
			s.refused(t, s.onward(t, "support", named(may), byActor(sam)), 400, "invalid_request")
			s.refused(t, s.onward(t, "desk", named(may), byActor(sam)), 400, "invalid_request")
		})
	}
	for name, may := range map[string]any{"a text": "sam", "a list": []any{map[string]any{"sub": "sam"}}, "empty": map[string]any{}, "without a sub": map[string]any{"iss": pool}} {
		t.Run("C-067 may_act is "+name, func(t *testing.T) {
			s.refused(t, s.onward(t, "support", named(may), byActor(sam)), 400, "invalid_request")
			s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {named(may)}})), 400, "invalid_request")
		})
	}
	t.Run("C-067 may_act is null", func(t *testing.T) {
		raw := s.forge(`{"alg":"RS256","kid":"forge-rsa"}`, strings.Replace(s.claimsOf(nil), "{", `{"may_act":null,`, 1))
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {raw}})), 400, "invalid_request")
	})
	t.Run("C-068 may_act and no actor_token: the client must be who it names", func(t *testing.T) {
		for _, client := range []string{"gateway", "desk", "orders", "support"} {
			form := s.form(url.Values{"subject_token": {named(map[string]any{"iss": pool, "sub": "sam"})}})
			if client != "gateway" {
				delete(form, "audience")
			}
			s.refused(t, s.exchange(t, client, form), 400, "invalid_request")
			form.Set("actor_token", "") // nor by an empty one
			form.Set("actor_token_type", "")
			s.refused(t, s.exchange(t, client, form), 400, "invalid_request")
		}
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {named(map[string]any{"iss": ours, "sub": "gateway"})}})))
		if !slices.Equal(actors(c), []string{ours + " gateway"}) {
			t.Errorf("%v", c["act"])
		}
	})
	t.Run("C-069 a delegated token is never washed", func(t *testing.T) {
		delegated := s.onward(t, "relay", s.alice.access, nil).text("access_token")
		c := s.granted(t, s.onward(t, "payments", delegated, nil)) // for whom nobody acts
		if !slices.Equal(actors(c), []string{ours + " relay"}) || c["aud"] != "ledger" {
			t.Errorf("%v", c)
		}
		c = s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.accessOf(map[string]any{"act": chainOf(2)})}})))
		if !slices.Equal(actors(c), []string{"https://before.example.com hop1", "https://before.example.com hop0"}) {
			t.Errorf("%v", c["act"])
		}
		c = s.granted(t, s.onward(t, "desk", s.alice.access, byActor(s.accessOf(map[string]any{"sub": "sam", "act": chainOf(1)}))))
		if !slices.Equal(actors(c), []string{pool + " sam", "https://before.example.com hop0"}) {
			t.Errorf("an actor's own actor is forgotten: %v", c["act"])
		}
	})
	t.Run("C-070 without an actor_token, as each client is configured", func(t *testing.T) {
		if c := s.granted(t, s.exchange(t, "gateway", s.form(nil))); c["act"] != nil {
			t.Errorf("actor none: %v", c["act"])
		}
		if c := s.granted(t, s.onward(t, "desk", s.alice.access, nil)); c["act"] != nil {
			t.Errorf("actor optional: %v", c["act"])
		}
		c := s.granted(t, s.onward(t, "orders", s.alice.minted, nil))
		if !slices.Equal(actors(c), []string{ours + " orders"}) || c["client_id"] != "orders" || c["sub"] != sub {
			t.Errorf("actor implicit: %v", c)
		}
		s.refused(t, s.onward(t, "support", s.alice.access, nil), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(byActor(sam))), 400, "invalid_request")
		s.refused(t, s.onward(t, "orders", s.alice.minted, byActor(sam)), 400, "invalid_request")
	})
	t.Run("C-016 an ID token is no actor_token", func(t *testing.T) {
		s.refused(t, s.onward(t, "support", s.alice.access, url.Values{"actor_token": {s.alice.id}, "actor_token_type": {typeID}}), 400, "invalid_request")
	})
}
