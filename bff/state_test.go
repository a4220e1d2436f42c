package bff

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"cloakroom/secret"
)

func TestTransactionIsBoundToTheSeed(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	seed, other := secret.NewKey(), secret.NewKey()
	one, two := newTransaction(seed, now), newTransaction(seed, now)
	if !one.boundTo(seed) || one.boundTo(other) {
		t.Error("bound to another browser's seed, or not to its own")
	}
	two.Binding = one.Binding
	if two.boundTo(seed) {
		t.Error("a binding passes for another transaction's")
	}
	seen := map[string]bool{}
	for _, s := range []string{one.nonce(seed), one.verifier(seed), two.nonce(seed), two.verifier(seed), one.nonce(other)} {
		if len(s) != 43 || seen[s] {
			t.Errorf("%q is repeated, or not 256 bits", s)
		}
		seen[s] = true
	}
	if first, again := one.nonce(seed), one.nonce(seed); first != again {
		t.Error("a nonce cannot be derived twice")
	}
	if one.expired(now.Add(loginLifetime)) || !one.expired(now.Add(loginLifetime+time.Second)) || one.expired(now.Add(-time.Minute)) {
		t.Error("not good for ten minutes")
	}
}

func TestThousandTransactionsDoNotRepeat(t *testing.T) { // B1.1
	seen := map[string]bool{}
	seed := secret.NewKey()
	for range 1000 {
		tx := newTransaction(seed, time.Unix(0, 0))
		for _, s := range []string{string(tx.ID), tx.nonce(seed), tx.verifier(seed)} {
			if seen[s] {
				t.Fatal("repeated")
			}
			seen[s] = true
		}
	}
}

func TestStateOpensOnlyAsWhatItWasSealed(t *testing.T) {
	r := ring(t)
	now := time.Unix(1_800_000_000, 0)
	tx := newTransaction(secret.NewKey(), now)
	tx.ReturnTo, tx.Provider = "/app?"+strings.Repeat("a&", 500), "main"
	state, err := seal(r, loginState, tx)
	if err != nil {
		t.Fatal(err)
	}
	if len(state) > maxState/2 {
		t.Errorf("state is %d bytes long", len(state))
	}
	var back transaction
	if err := unseal(r, loginState, state, &back); err != nil || back.ReturnTo != tx.ReturnTo || !back.Started.Equal(now) {
		t.Fatalf("came back as %+v, %v", back, err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(state)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	for name, broken := range map[string]string{
		"nothing":                "",
		"too much":               strings.Repeat("A", maxState+1),
		"not base64url":          "a b",
		"one bit wrong":          base64.RawURLEncoding.EncodeToString(raw),
		"cut":                    state[:len(state)-4],
		"another base64 padding": state + "=",
	} {
		if err := unseal(r, loginState, broken, &back); err == nil {
			t.Errorf("%s opens", name)
		}
	}
	if err := unseal(r, logoutState, state, &back); err == nil {
		t.Error("a sign-in's state opens as a sign-out's")
	}
	if err := unseal(ring(t), loginState, state, &back); err == nil {
		t.Error("opens under another secret")
	}
}
