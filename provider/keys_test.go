package provider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

func knows(p *Provider, kid string) error {
	_, err := p.keys.Candidates(background, kid, "RS256")
	return err
}

func TestB3_2_AChangeOfKeysGoesUnnoticed(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if _, err := p.Redeem(background, redemption()); err != nil {
		t.Fatal(err)
	}
	f.setKeys(jwk("k1", &rsaKey().PublicKey, "RS256"), jwk("k2", &otherRSA().PublicKey, "RS256"))
	f.respond(map[string]any{"id_token": sign(t, "k2", jose.RS256, otherRSA(), nil, f.idClaims())})
	var callers sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs { // all at once, as after a real rotation
		callers.Go(func() { _, errs[i] = p.Redeem(background, redemption()) })
	}
	callers.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if n := f.count("/jwks"); n != 2 {
		t.Errorf("%d fetches, not one at first and one for the new key", n)
	}
	if err := knows(p, "k1"); err != nil {
		t.Errorf("the old key no longer serves: %v", err)
	}
}

func TestB3_3_ATokenWithoutAKeyIDIsTriedWithEveryKeyThatFits(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before int // other keys, ahead of the right one
		want   error
	}{{"one key", 0, nil}, {"several", 5, nil}, {"more than ten, the right one behind", 12, ErrRejected}} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			var keys []any
			for i := range tc.before {
				keys = append(keys, jwk(fmt.Sprint("other", i), &otherRSA().PublicKey, "RS256"))
			}
			f.setKeys(append(keys, jwk("k1", &rsaKey().PublicKey, "RS256"))...)
			f.respond(map[string]any{"id_token": sign(t, "", jose.RS256, rsaKey(), nil, f.idClaims())})
			_, err := f.client().Redeem(background, redemption())
			mustBe(t, err, tc.want)
		})
	}
}

func TestB3_4_AFloodOfUnknownKeyIDsMakesOneFetchInTenSeconds(t *testing.T) {
	for _, warm := range []bool{true, false} {
		t.Run(fmt.Sprintf("keys in memory: %v", warm), func(t *testing.T) {
			f := newIDP(t)
			p := f.client()
			if warm {
				if err := p.keys.warm(background); err != nil {
					t.Fatal(err)
				}
			}
			before := f.count("/jwks")
			flood := func() {
				for i := range 1000 {
					if err := knows(p, fmt.Sprint("unknown-", i)); !errors.Is(err, token.ErrUnknownKey) {
						t.Fatal(err)
					}
				}
			}
			for round := 1; round <= 3; round++ {
				flood()
				if n := f.count("/jwks") - before; n != round {
					t.Errorf("%d fetches after %d floods", n, round)
				}
				if err := knows(p, "k1"); err != nil {
					t.Errorf("a good key suffers: %v", err)
				}
				f.advance(keysInterval)
			}
		})
	}
}

func TestB3_5_KeysServeOnWhileTheKeySetIsDown(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if err := knows(p, "k1"); err != nil {
		t.Fatal(err)
	}
	f.route("/jwks", status(503, ""))
	for _, age := range []time.Duration{0, 2 * time.Hour, 21 * time.Hour} {
		f.advance(age)
		if err := knows(p, "k1"); err != nil {
			t.Errorf("after another %v: %v", age, err)
		}
	}
	if err := knows(p, "new"); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("a key that may be new: %v, which is not \"cannot tell\"", err)
	}
	before := f.count("/jwks")
	for range 100 {
		_ = knows(p, "k1")
		_ = knows(p, "new")
	}
	if n := f.count("/jwks") - before; n > 1 {
		t.Errorf("a key set that is down was asked %d times at once", n)
	}
	f.advance(2 * time.Hour)
	if err := knows(p, "k1"); !errors.Is(err, token.ErrUnavailable) {
		t.Errorf("keys of yesterday still serve, or are called unknown: %v", err)
	}
	f.route("/jwks", nil)
	f.advance(keysInterval)
	if err := knows(p, "k1"); err != nil {
		t.Errorf("no recovery: %v", err)
	}
}

func TestB3_5_AColdStartWithoutKeysSpendsNothing(t *testing.T) {
	f := newIDP(t)
	f.route("/jwks", status(500, ""))
	p := f.client()
	_, err := p.Redeem(background, redemption())
	mustBe(t, err, ErrUnavailable)
	_, err = p.Refresh(background, canaryRefresh, was())
	mustBe(t, err, ErrUnavailable)
	if n := f.count("/token"); n != 0 {
		t.Errorf("a code or refresh token was spent on an answer nobody could verify, %d times", n)
	}
	f.route("/jwks", nil)
	f.advance(retryFloor)
	_, err = p.Redeem(background, redemption())
	mustBe(t, err, nil)
}

func TestKeysThatTheProviderTookAwayStopServing(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if err := knows(p, "k1"); err != nil {
		t.Fatal(err)
	}
	f.setKeys(jwk("k2", &otherRSA().PublicKey, "RS256"))
	f.advance(keysFresh)
	if err := knows(p, "k1"); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("got %v", err)
	}
}

func TestB3_6_AKeySetIsReadAsFarAsItIsGood(t *testing.T) {
	good, _ := json.Marshal(jwk("k1", &rsaKey().PublicKey, "RS256"))
	for _, tc := range []struct {
		name string
		set  string
		want error
	}{
		{"a curve nobody knows beside a good key", `{"keys":[{"kty":"EC","crv":"secp256k1","kid":"x","x":"AA","y":"AA"},` + string(good) + `]}`, nil},
		{"garbage beside a good key", `{"keys":[7,{"kty":"what"},{"kty":"OKP","crv":"Ed448","x":"AA"},` + string(good) + `]}`, nil},
		{"only garbage", `{"keys":[{"kty":"what"}]}`, ErrNonsense},
		{"no keys", `{"keys":[]}`, ErrNonsense},
		{"no key set", `[]`, ErrNonsense},
		{"HTML", `<html>`, ErrNonsense},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.route("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(tc.set)) })
			_, err := f.client().Redeem(background, redemption())
			mustBe(t, err, tc.want)
		})
	}
}

func TestCallersAtTheSameTimeShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fetches := 0
		s := &keySet{now: time.Now, fetch: func(context.Context) (token.Keys, error) {
			fetches++
			time.Sleep(time.Second)
			return token.StaticKeys{jwk(fmt.Sprint("k", fetches), &rsaKey().PublicKey, "RS256")}, nil
		}}
		for round, kid := range []string{"k1", "k2"} { // at a cold start, and for a new key
			ctx, leave := context.WithCancel(t.Context())
			go func() { _, _ = s.Candidates(ctx, kid, "RS256") }() // who leaves does not take the others along
			synctest.Wait()
			var callers sync.WaitGroup
			for range 50 {
				callers.Go(func() {
					if _, err := s.Candidates(t.Context(), kid, "RS256"); err != nil {
						t.Error(err)
					}
				})
			}
			synctest.Wait()
			leave()
			callers.Wait()
			if fetches != round+1 {
				t.Errorf("%d fetches", fetches)
			}
		}
	})
}

func TestWhoLookedAtTheOldKeysJustBeforeTheyChangedGetsTheNewOnes(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	old, _, err := p.keys.current(background)
	if err != nil {
		t.Fatal(err)
	}
	f.setKeys(jwk("k2", &otherRSA().PublicKey, "RS256"))
	if err := knows(p, "k2"); err != nil { // uses up the allowance
		t.Fatal(err)
	}
	now, err := p.keys.newer(background, old, false)
	if err != nil || now == old {
		t.Errorf("left with the old keys: %v", err)
	}
}
