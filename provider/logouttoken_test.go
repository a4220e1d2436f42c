package provider

import (
	"context"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

func (f *idp) logoutClaims() map[string]any {
	now := f.now.Unix()
	return map[string]any{
		"iss": f.issuer, "aud": clientID, "iat": now, "exp": now + 120, "jti": "logout-1", "sub": subject, "sid": "provider-sid",
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
}

func TestC11_C15_ALogoutTokenIsOneToTheLetter(t *testing.T) {
	for _, tc := range []struct {
		name   string
		claims map[string]any
		typ    string
		want   error
	}{
		{"C11 as the specification has it", nil, "logout+jwt", nil},
		{"C15 as application/logout+jwt", nil, "application/logout+jwt", nil},
		{"C15 with the typ JWT", nil, "JWT", nil},
		{"C15 without a typ", nil, "", nil},
		{"C15 with the typ of an access token", nil, "at+jwt", ErrRejected},
		{"C15 with the typ of a security event", nil, "secevent+jwt", ErrRejected},
		{"C11 another issuer", map[string]any{"iss": "https://elsewhere.example"}, "", ErrRejected},
		{"C11 no issuer", map[string]any{"iss": nil}, "", ErrRejected},
		{"C11 for another client", map[string]any{"aud": "somebody-else"}, "", ErrRejected},
		{"C11 without an audience", map[string]any{"aud": nil}, "", ErrRejected},
		{"C11 for us and a stranger", map[string]any{"aud": []string{clientID, "somebody-else"}}, "", ErrRejected},
		{"C11 for us in a list", map[string]any{"aud": []string{clientID}}, "", nil},
		{"C11 expired", map[string]any{"exp": int64(1_790_000_000 - 61)}, "", ErrRejected},
		{"C11 without exp", map[string]any{"exp": nil}, "", ErrRejected},
		{"C11 exp is a string", map[string]any{"exp": "1790000120"}, "", ErrRejected},
		{"C11 issued three minutes ago", map[string]any{"iat": int64(1_790_000_000 - 181)}, "", ErrRejected},
		{"C11 issued two minutes ago", map[string]any{"iat": int64(1_790_000_000 - 120)}, "", nil},
		{"C11 issued in the future", map[string]any{"iat": int64(1_790_000_000 + 61)}, "", ErrRejected},
		{"C11 without iat", map[string]any{"iat": nil}, "", ErrRejected},
		{"C12 without events", map[string]any{"events": nil}, "", ErrRejected},
		{"C12 another event", map[string]any{"events": map[string]any{"https://example.com/other": map[string]any{}}}, "", ErrRejected},
		{"C12 the event's value is no object", map[string]any{"events": map[string]any{logoutEvent: true}}, "", ErrRejected},
		{"C12 events is a list", map[string]any{"events": []string{logoutEvent}}, "", ErrRejected},
		{"C12 the event among others", map[string]any{"events": map[string]any{logoutEvent: map[string]any{"x": 1}, "https://example.com/other": 1}}, "", nil},
		{"C13 with a nonce", map[string]any{"nonce": nonce}, "", ErrRejected},
		{"C13 with a nonce that is null", map[string]any{"nonce": json.RawMessage("null")}, "", ErrRejected},
		{"C14 with sub alone", map[string]any{"sid": nil}, "", nil},
		{"C14 with sid alone", map[string]any{"sub": nil}, "", nil},
		{"C14 with neither", map[string]any{"sub": nil, "sid": nil}, "", ErrRejected},
		{"C14 sid is a number", map[string]any{"sid": 7}, "", ErrRejected},
		{"C14 sub is empty", map[string]any{"sub": ""}, "", ErrRejected},
		{"C16 without jti", map[string]any{"jti": nil}, "", ErrRejected},
		{"C16 jti is a number", map[string]any{"jti": 7}, "", ErrRejected},
		{"C16 jti is empty", map[string]any{"jti": ""}, "", ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			header := map[jose.HeaderKey]any{}
			if tc.typ != "" {
				header["typ"] = tc.typ
			}
			got, err := f.client().VerifyLogout(background, sign(t, "k1", jose.RS256, rsaKey(), header, merged(f.logoutClaims(), tc.claims)))
			mustBe(t, err, tc.want)
			if err == nil && (got.ID != "logout-1" || got.Subject == "" && got.SID == "" || got.Expires.Unix() > 1_790_000_180 || got.Expires.Before(f.now)) {
				t.Errorf("read as %+v", got)
			}
		})
	}
}

func TestC11_ALogoutTokenIsSignedByTheProvider(t *testing.T) {
	unsigned := func(f *idp, alg string) string {
		encode := func(v any) string { raw, _ := json.Marshal(v); return base64.RawURLEncoding.EncodeToString(raw) }
		return encode(map[string]any{"alg": alg, "kid": "k1"}) + "." + encode(f.logoutClaims()) + "."
	}
	for name, raw := range map[string]func(*idp) string{
		"unsigned":          func(f *idp) string { return unsigned(f, "none") },
		"with no signature": func(f *idp) string { return unsigned(f, "RS256") },
		"by a stranger":     func(f *idp) string { return sign(t, "k1", jose.RS256, otherRSA(), nil, f.logoutClaims()) },
		"with the client secret": func(f *idp) string {
			return sign(t, "k1", jose.HS256, []byte(strings.Repeat("s", 32)), nil, f.logoutClaims())
		},
		"by an algorithm of the key that is not listed": func(f *idp) string { return sign(t, "k1", jose.PS256, rsaKey(), nil, f.logoutClaims()) },
		"an ID token": func(f *idp) string { return f.sign(f.idClaims()) },
		"no token":    func(*idp) string { return "x" },
	} {
		f := newIDP(t)
		if _, err := f.client().VerifyLogout(background, raw(f)); err == nil {
			t.Errorf("%s: taken", name)
		} else {
			mustBe(t, err, ErrRejected)
		}
	}
}

func TestC21_AFloodOfLogoutTokensCostsTheProviderNothing(t *testing.T) {
	f := newIDP(t)
	p := f.client()
	if _, err := p.VerifyLogout(background, f.sign(f.logoutClaims())); err != nil {
		t.Fatal(err)
	}
	before := f.count("/jwks")
	foreign := merged(f.logoutClaims(), map[string]any{"iss": "https://elsewhere.example"})
	for _, raw := range []string{
		sign(t, "unknown", jose.RS256, otherRSA(), nil, f.logoutClaims()), sign(t, "unknown", jose.RS256, otherRSA(), nil, foreign), f.sign(f.idClaims()), "a.b.c",
	} {
		for range 50 {
			if _, err := p.VerifyLogout(background, raw); err == nil {
				t.Fatal("taken")
			}
		}
	}
	if asked := f.count("/jwks") - before; asked > 1 {
		t.Errorf("the key set was fetched %d times", asked)
	}
}

func TestC16_ALogoutTokenThatCannotBeVerifiedNowIsNotRefused(t *testing.T) {
	f := newIDP(t)
	f.route("/jwks", status(503, "{}"))
	_, err := f.client().VerifyLogout(background, f.sign(f.logoutClaims()))
	mustBe(t, err, ErrUnavailable)
	f.route("/jwks", nil)
	f.advance(time.Minute)
	if _, err := f.client().VerifyLogout(background, f.sign(f.logoutClaims())); err != nil {
		t.Errorf("with the keys back: %v", err)
	}
}

// Whatever header and claims the provider signs, a logout token that is taken says what one must say (OpenID Connect Back-Channel
// Logout 1.0 section 2.4), by another reading than ours.
func FuzzVerifyLogout(f *testing.F) {
	now := time.Unix(1_790_000_000, 0)
	key := ecKey()
	p, err := New(Config{Name: "main", Issuer: "https://idp.example", ClientID: clientID, ClientSecret: canarySecret, Algorithms: []string{"ES256"}, Now: func() time.Time { return now }})
	if err != nil {
		f.Fatal(err)
	}
	set, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{jwk("ec", &key.PublicKey, "ES256")}})
	if err != nil {
		f.Fatal(err)
	}
	p.keys.fetch = func(context.Context) (token.Keys, error) { return token.ParseJWKS(set) }
	const head, good = `{"alg":"ES256","kid":"ec","typ":"logout+jwt"}`,
		`{"iss":"https://idp.example","aud":"cloakroom-client","iat":1790000000,"exp":1790000120,"jti":"1","sub":"alice","events":{"http://schemas.openid.net/event/backchannel-logout":{}}}`
	for _, seed := range [][2]string{
		{head, good}, {`{"alg":"ES256","kid":"ec"}`, good}, {`{"alg":"none"}`, good}, {`{"alg":"ES256","kid":"ec","typ":"at+jwt"}`, good},
		{head, strings.Replace(good, `"sub"`, `"sid"`, 1)}, {head, strings.Replace(good, `{"iss"`, `{"nonce":null,"iss"`, 1)}, {head, strings.Replace(good, `"aud":"cloakroom-client"`, `"aud":["cloakroom-client","evil"]`, 1)},
		{head, strings.Replace(good, `"sub":"alice"`, `"sub":"alice","sub":"admin"`, 1)}, {head, strings.Replace(good, `{}`, `[]`, 1)}, {head, strings.Replace(good, `"iat":1790000000`, `"iat":1.79e9`, 1)},
		{head, strings.Replace(good, `"jti":"1"`, `"jti":""`, 1)}, {head, strings.Replace(good, "1790000120", "1e400", 1)},
	} {
		f.Add(seed[0], seed[1], true)
	}
	f.Add(head, good, false)
	f.Fuzz(func(t *testing.T, header, claims string, genuine bool) {
		input := base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
		digest := sha256.Sum256([]byte(input))
		if !genuine {
			digest[0] ^= 1
		}
		r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
		if err != nil {
			t.Fatal(err)
		}
		signature := append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
		got, err := p.VerifyLogout(background, input+"."+base64.RawURLEncoding.EncodeToString(signature))
		if err != nil {
			if !isKind(err, ErrRejected) {
				t.Fatalf("not judged: %v", err)
			}
			return
		}
		var head, said map[string]any
		if err := errors.Join(json.Unmarshal([]byte(header), &head), json.Unmarshal([]byte(claims), &said)); err != nil {
			t.Fatalf("taken, although %v", err)
		}
		list, _ := said["aud"].([]any)
		events, _ := said["events"].(map[string]any)
		_, event := events[logoutEvent].(map[string]any)
		_, nonce := said["nonce"]
		text := func(name string) string { value, _ := said[name].(string); return value }
		iat, _ := said["iat"].(float64)
		exp, _ := said["exp"].(float64)
		switch {
		case !genuine, head["alg"] != "ES256", text("iss") != "https://idp.example", text("aud") != clientID && (len(list) == 0 || slices.ContainsFunc(list, func(one any) bool { return one != clientID })):
			t.Fatalf("of whom, and for whom? %s %s", header, claims)
		case nonce, !event, text("sub") == "" && text("sid") == "", text("jti") == "":
			t.Fatalf("no logout token: %s", claims)
		case iat < 1_790_000_000-180 || iat > 1_790_000_060 || exp < 1_790_000_000-60:
			t.Fatalf("of another time: %s", claims)
		case got.Subject != text("sub") || got.SID != text("sid") || got.ID != text("jti") || got.Expires.After(now.Add(5*time.Minute)):
			t.Fatalf("%s was read as %+v", claims, got)
		}
	})
}
