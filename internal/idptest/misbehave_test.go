package idptest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"cloakroom/internal/idptest"
)

func TestEverySecretIsRecorded(t *testing.T) {
	p := meet(t, idptest.Config{})
	verifier := oauth2.GenerateVerifier()
	code := p.signIn(verifier, "alice").Get("code")
	tokens, err := p.oauth.Exchange(t.Context(), code, oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	id, _ := tokens.Extra("id_token").(string)
	for _, secret := range []string{code, tokens.AccessToken, tokens.RefreshToken, id} {
		if !slices.Contains(p.idp.Issued(), secret) {
			t.Errorf("%.20s is not recorded", secret)
		}
	}
	if last, _ := p.idp.Last(idptest.Token); last.Form.Get("code") != code || p.idp.Count(idptest.Token) != 1 {
		t.Errorf("the token request is not recorded: %+v", last)
	}
}

func TestBehindTellsTheClaimsOfBothTokens(t *testing.T) {
	p := meet(t, idptest.Config{}, "email")
	tokens := p.tokens("alice")
	access, id, raw, ok := p.idp.Behind(tokens.AccessToken)
	if !ok || access["token_use"] != "access" || id["email"] != "alice@example.com" || raw != tokens.Extra("id_token") {
		t.Errorf("%v, %v, %v", access, id, ok)
	}
	if _, _, _, ok := p.idp.Behind("unknown"); ok {
		t.Error("an unknown token has nothing behind it")
	}
}

func TestMisbehaviour(t *testing.T) {
	spoil := func(claim string, value any) idptest.Misbehave {
		return idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
			if kind == idptest.IDToken {
				claims[claim] = value
			}
		}}
	}
	for name, try := range map[string]struct {
		does idptest.Misbehave
		says string
	}{
		"another audience":       {spoil("aud", "other"), "expected audience"},
		"another issuer":         {spoil("iss", "https://evil.example.com"), "different provider"},
		"an expired token":       {spoil("exp", 1), "expired"},
		"no signature":           {idptest.Misbehave{Sign: idptest.NoneSigner}, "unexpected signature algorithm"},
		"algorithm confusion":    {idptest.Misbehave{Sign: idptest.PublicKeyAsSecret}, "unexpected signature algorithm"},
		"a broken signature":     {idptest.Misbehave{Sign: idptest.BrokenSignature}, "failed to verify"},
		"a key of somebody else": {idptest.Misbehave{Sign: idptest.ForeignKey()}, "failed to verify"},
		"a server error":         {idptest.Misbehave{Answer: idptest.At(idptest.Status(500, "no"), idptest.Token)}, "500"},
		"a lost answer": {idptest.Misbehave{LoseAnswer: func(at idptest.Endpoint, _ *http.Request) bool {
			return at == idptest.Token
		}}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, idptest.Config{Misbehave: try.does})
			verifier := oauth2.GenerateVerifier()
			back := p.signIn(verifier, "alice")
			tokens, err := p.oauth.Exchange(t.Context(), back.Get("code"), oauth2.VerifierOption(verifier))
			if err == nil {
				raw, _ := tokens.Extra("id_token").(string)
				_, err = p.provider.Verifier(&oidc.Config{ClientID: p.oauth.ClientID}).Verify(t.Context(), raw)
			}
			if err == nil || !strings.Contains(err.Error(), try.says) {
				t.Errorf("want %q, have %v", try.says, err)
			}
			p.idp.Set(idptest.Misbehave{})
			p.identity(p.tokens("alice"))
		})
	}
}

func TestKeyRotation(t *testing.T) {
	p := meet(t, idptest.Config{})
	old := p.tokens("alice")
	p.identity(old)
	p.idp.RotateKeys(true)
	p.identity(p.tokens("alice"))
	p.identity(old)
	p.idp.RotateKeys(false)
	raw, _ := old.Extra("id_token").(string)
	provider, err := oidc.NewProvider(context.Background(), p.idp.Issuer()) // one that has no keys yet
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.Verifier(&oidc.Config{ClientID: p.oauth.ClientID}).Verify(t.Context(), raw); err == nil {
		t.Error("the old key is to be gone")
	}
}

func TestAnswersThatNobodyShouldReadWhole(t *testing.T) {
	const size = 8 << 20
	for name, answer := range map[string]http.HandlerFunc{"huge": idptest.Huge(size), "gzip bomb": idptest.GzipBomb(size)} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, idptest.Config{})
			p.idp.Set(idptest.Misbehave{Answer: idptest.At(answer, idptest.UserInfo)})
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.idp.URL(idptest.UserInfo), nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := http.DefaultClient.Do(req) // unpacks by itself
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			raw, err := io.ReadAll(resp.Body)
			if err != nil || len(raw) != size || !json.Valid(raw) {
				t.Errorf("%d bytes, %v", len(raw), err)
			}
		})
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, try := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"the connection breaks": {idptest.HangUp, "EOF"},
		"silence":               {idptest.Silence, "deadline exceeded"},
		"a redirect elsewhere":  {idptest.RedirectTo("http://127.0.0.1:1/"), "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			p := meet(t, idptest.Config{})
			tokens := p.tokens("alice")
			p.idp.Set(idptest.Misbehave{Answer: idptest.At(try.answer, idptest.UserInfo)})
			ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer stop()
			if _, err := p.provider.UserInfo(ctx, oauth2.StaticTokenSource(tokens)); err == nil || !strings.Contains(err.Error(), try.says) {
				t.Errorf("want %q, have %v", try.says, err)
			}
		})
	}
}
