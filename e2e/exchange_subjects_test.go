package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/internal/idptest"
)

// claimsOf are alice's access token's, as a text to be signed otherwise.
func (s *exchangeStack) claimsOf(with map[string]any) string {
	return text(changed(part(s.alice.access, 1), with))
}

// signedBy signs as jose does, with whatever algorithm.
func signedBy(t *testing.T, algorithm jose.SignatureAlgorithm, key any, kid, payload string) *jose.JSONWebSignature {
	t.Helper()
	return forged(t, algorithm, kid, key, nil, payload)
}

func compact(t *testing.T, jws *jose.JSONWebSignature) string {
	t.Helper()
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// poolKey is the public key that a token of the pool was signed with.
func (s *exchangeStack) poolKey(t *testing.T, raw string) any {
	t.Helper()
	answer, err := http.Get(s.pool.URL(idptest.JWKS)) //nolint:gosec,noctx // the test's own provider
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var set jose.JSONWebKeySet
	if err := json.NewDecoder(answer.Body).Decode(&set); err != nil {
		t.Fatal(err)
	}
	kid, _ := part(raw, 0)["kid"].(string)
	for _, key := range set.Key(kid) {
		return key.Key
	}
	t.Fatalf("the pool does not publish %q", kid)
	return nil
}

// badSubjects are tokens that must not be accepted, whoever they are for. Each is close to one that is.
func (s *exchangeStack) badSubjects(t *testing.T, elsewhere string) []struct{ name, token string } {
	now := time.Now().Unix()
	header, claims := part(s.alice.access, 0), part(s.alice.access, 1)
	own := `{"alg":"RS256","kid":"forge-rsa"}`
	public := s.poolKey(t, s.alice.access)
	foreign := changed(claims, map[string]any{"iss": s.second.Issuer(), "aud": clientID})
	jws := signedBy(t, jose.RS256, s.rsa, "forge-rsa", s.claimsOf(nil))
	return []struct{ name, token string }{
		{"C-030 a bad signature", idptest.BrokenSignature("", header, claims, s.alice.access, nil)},
		{"C-030 another payload under the signature", strings.Split(s.alice.access, ".")[0] + "." + strings.Split(s.accessOf(map[string]any{"sub": "sam"}), ".")[1] + "." + strings.Split(s.alice.access, ".")[2]},
		{"C-030 signed by a key that is not the pool's, under its kid", idptest.ForeignKey()("", header, claims, "", nil)},
		{"C-031 alg none", idptest.NoneSigner("", changed(header, nil), claims, "", nil)},
		{"C-031 alg None with the signature left", s.forge(`{"alg":"None","kid":"forge-rsa"}`, s.claimsOf(nil))},
		{"C-032 HS256 with the public key as secret", idptest.PublicKeyAsSecret("", changed(header, nil), claims, "", public)},
		{"C-033 an unknown kid", s.pool.Sign(idptest.AccessToken, map[string]any{"kid": "nobody's"}, claims)},
		{"C-034 PS256 by a published key", compact(t, signedBy(t, jose.PS256, s.rsa, "forge-rsa", s.claimsOf(nil)))},
		{"C-034 RS512 by a published key", compact(t, signedBy(t, jose.RS512, s.rsa, "forge-rsa", s.claimsOf(nil)))},
		{"C-034 ES256 by a published key", compact(t, signedBy(t, jose.ES256, s.ec, "forge-ec", s.claimsOf(nil)))},
		{"C-035 crit with an unknown entry", s.forge(`{"alg":"RS256","kid":"forge-rsa","crit":["urn:example:x"],"urn:example:x":true}`, s.claimsOf(nil))},
		{"C-035 crit that is empty", s.forge(`{"alg":"RS256","kid":"forge-rsa","crit":[]}`, s.claimsOf(nil))},
		{"C-036 jku", s.forge(`{"alg":"RS256","kid":"x","jku":"`+elsewhere+`/jwks"}`, s.claimsOf(nil))},
		{"C-036 x5u", s.forge(`{"alg":"RS256","kid":"x","x5u":"`+elsewhere+`/cert"}`, s.claimsOf(nil))},
		{"C-036 jwk", s.forge(`{"alg":"RS256","jwk":`+text(jose.JSONWebKey{Key: s.rsa.Public()})+`}`, s.claimsOf(nil))},
		{"C-037 expired", s.accessOf(map[string]any{"exp": now - 120})},
		{"C-037 about to expire", s.accessOf(map[string]any{"exp": now + 3})},
		{"C-038 no exp", s.accessOf(map[string]any{"exp": nil})},
		{"C-038 an exp that is a text", s.accessOf(map[string]any{"exp": "9999999999"})},
		{"C-039 nbf ahead", s.accessOf(map[string]any{"nbf": now + 600})},
		{"C-040 iat ahead", s.accessOf(map[string]any{"iat": now + 600})},
		{"C-042 an issuer that is not trusted", s.accessOf(map[string]any{"iss": "https://evil.example.com"})},
		{"C-042 the issuer with a slash", s.accessOf(map[string]any{"iss": s.pool.Issuer() + "/"})},
		{"C-042 no issuer", s.accessOf(map[string]any{"iss": nil})},
		{"C-042 our own issuer, signed by the pool", s.accessOf(map[string]any{"iss": s.issuer(), "aud": "gateway"})},
		{"C-043 the right kid, and the key of another trusted issuer", s.second.Sign(idptest.AccessToken, map[string]any{"kid": header["kid"]}, claims)},
		{"C-043 signed by another trusted issuer", s.second.Sign(idptest.AccessToken, nil, claims)},
		{"C-043 another trusted issuer's claims, signed by the pool", s.pool.Sign(idptest.AccessToken, map[string]any{"typ": "at+jwt"}, foreign)},
		{"C-044 of another app client of the same pool", s.accessOf(map[string]any{"client_id": otherApp})},
		{"C-044 for another audience", s.second.Sign(idptest.AccessToken, map[string]any{"typ": "at+jwt"}, changed(foreign, map[string]any{"aud": "https://elsewhere.example.com"}))},
		{"C-045 issued to another client for our audience", s.second.Sign(idptest.AccessToken, map[string]any{"typ": "at+jwt"}, changed(foreign, map[string]any{"client_id": otherApp}))},
		{"C-045 one of ours, for an audience that is not the client's", s.alice.minted},
		{"C-046 five parts", strings.Repeat("e30.", 4) + "e30"},
		{"C-046 two parts", strings.Join(strings.Split(s.alice.access, ".")[:2], ".")},
		{"C-046 a token in a token", s.forge(`{"alg":"RS256","kid":"forge-rsa","cty":"JWT"}`, s.alice.access)},
		{"C-047 the flattened JSON serialisation", jws.FullSerialize()},
		{"C-047 the general JSON serialisation", `{"payload":"` + strings.Split(s.alice.access, ".")[1] + `","signatures":[{"protected":"` + strings.Split(s.alice.access, ".")[0] + `","signature":"` + strings.Split(s.alice.access, ".")[2] + `"}]}`},
		{"C-048 sub twice", s.forge(own, strings.Replace(s.claimsOf(nil), "{", `{"sub":"somebody","\u0073ub":"else",`, 1))},
		{"C-048 alg twice", s.forge(`{"alg":"none","alg":"RS256","kid":"forge-rsa"}`, s.claimsOf(nil))},
		{"C-021 an ID token", s.alice.id},
		{"C-021 an ID token of a provider without token_use", s.second.Sign(idptest.IDToken, map[string]any{"typ": "JWT"}, changed(foreign, map[string]any{"nonce": "n", "at_hash": "h", "scope": "openid"}))},
		{"C-021 a logout token", s.pool.Sign(idptest.IDToken, map[string]any{"typ": "logout+jwt"}, changed(claims, map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}))},
		{"C-021 a logout token without its typ", s.accessOf(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})},
		{"C-021 a client assertion", s.accessOf(map[string]any{"sub": s.pool.Issuer()})},
		{"C-021 a DPoP proof", s.pool.Sign(idptest.AccessToken, map[string]any{"typ": "dpop+jwt"}, changed(claims, map[string]any{"htm": "POST", "htu": s.issuer() + "/oauth2/token"}))},
		{"C-021 a DPoP proof without its typ", s.accessOf(map[string]any{"htm": "POST", "htu": s.issuer() + "/oauth2/token"})},
		{"C-142 an identity assertion grant", s.pool.Sign(idptest.AccessToken, map[string]any{"typ": "oauth-id-jag+jwt"}, changed(claims, map[string]any{"aud": s.issuer()}))},
		{"C-021 a transaction token", s.pool.Sign(idptest.AccessToken, map[string]any{"typ": "txntoken+jwt"}, claims)},
		{"C-063 an act that is a text", s.accessOf(map[string]any{"act": "sam"})},
		{"C-063 an act that is a list", s.accessOf(map[string]any{"act": []any{map[string]any{"sub": "sam"}}})},
		{"C-063 an act that is null", s.forge(own, strings.Replace(s.claimsOf(nil), "{", `{"act":null,`, 1))},
		{"C-063 an act in an act that is a text", s.accessOf(map[string]any{"act": map[string]any{"sub": "sam", "act": "eve"}})},
		{"C-063 an act without a subject", s.accessOf(map[string]any{"act": map[string]any{"iss": s.pool.Issuer()}})},
		{"C-121 bound to a DPoP key", s.accessOf(map[string]any{"cnf": map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}})},
		{"C-122 bound to a certificate", s.accessOf(map[string]any{"cnf": map[string]any{"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}})},
		{"C-121 bound to what nobody knows", s.accessOf(map[string]any{"cnf": "x"})},
		{"without a subject", s.accessOf(map[string]any{"sub": nil})},
		{"with a number for a subject", s.accessOf(map[string]any{"sub": 7})},
		{"opaque", "2YotnFZFEjr1zCsicMWpAA"},
	}
}

func (s *exchangeStack) takesOnlyGoodSubjects(t *testing.T) {
	var fetched atomic.Int32
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fetched.Add(1)
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: s.rsa.Public(), KeyID: "x", Algorithm: "RS256", Use: "sig"}}})
	}))
	t.Cleanup(elsewhere.Close)
	t.Run("the test's own key signs for the pool, so that what follows is refused for its own reason", func(t *testing.T) {
		s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.forge(`{"alg":"RS256","kid":"forge-rsa"}`, s.claimsOf(nil))}})))
		second := changed(part(s.alice.access, 1), map[string]any{"iss": s.second.Issuer(), "aud": clientID})
		s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.second.Sign(idptest.AccessToken, map[string]any{"typ": "at+jwt"}, second)}})))
	})
	var said string // the one answer to all of them: no oracle
	for _, tc := range s.badSubjects(t, elsewhere.URL) {
		t.Run(tc.name, func(t *testing.T) {
			began := time.Now()
			a := s.exchange(t, "gateway", s.form(url.Values{"subject_token": {tc.token}}))
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("took %s", took)
			}
			s.refused(t, a, 400, "invalid_request")
			if tc.name == "C-037 about to expire" {
				return // a good token: that it ends is no secret to who holds it
			}
			if said == "" {
				said = a.raw
			}
			if a.raw != said {
				t.Errorf("says %s, where another bad token got %s", a.raw, said)
			}
		})
	}
	if n := fetched.Load(); n > 0 {
		t.Errorf("C-036: what a token's header points to was fetched %d times", n)
	}
	t.Run("C-021 an access token is no ID token", func(t *testing.T) {
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token_type": {typeID}, "audience": {"invoices"}})), 400, "invalid_request")
	})
	t.Run("C-021 one of our tokens is no ID token", func(t *testing.T) {
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.alice.minted}, "subject_token_type": {typeID}, "audience": {"invoices"}})), 400, "invalid_request")
	})
	t.Run("C-021 a refresh token is no subject", func(t *testing.T) {
		for _, one := range s.pool.Issued() {
			if strings.Count(one, ".") == 4 { // as Cognito's refresh tokens are
				for _, kind := range []string{typeRefresh, typeAccess} {
					s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {one}, "subject_token_type": {kind}})), 400, "invalid_request")
				}
			}
		}
	})
	t.Run("C-021 a session's public handle is not its cookie", func(t *testing.T) {
		sid, _ := part(s.alice.minted, 1)["sid"].(string)
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {sid}, "subject_token_type": {typeSession}})), 400, "invalid_request")
	})
	t.Run("C-015 a type the client may not bring", func(t *testing.T) {
		s.refused(t, s.exchange(t, "orders", s.form(url.Values{"subject_token": {s.alice.session}, "subject_token_type": {typeSession}, "audience": nil})), 400, "invalid_request")
		s.refused(t, s.exchange(t, "relay", s.form(url.Values{"subject_token": {s.alice.id}, "subject_token_type": {typeID}, "audience": nil})), 400, "invalid_request")
	})
	t.Run("C-049 the same token twice is two tokens", func(t *testing.T) {
		first, second := s.granted(t, s.exchange(t, "gateway", s.form(nil))), s.granted(t, s.exchange(t, "gateway", s.form(nil)))
		if first["jti"] == second["jti"] || first["sub"] != second["sub"] {
			t.Errorf("%v\n%v", first, second)
		}
	})
	t.Run("C-050 a minted token whose session has ended", func(t *testing.T) {
		sam := s.signIn(t, "sam")
		onward := s.form(url.Values{"subject_token": {sam.minted}, "audience": nil})
		s.granted(t, s.exchange(t, "orders", onward))
		s.signOut(t, sam)
		s.refused(t, s.exchange(t, "orders", onward), 400, "invalid_request")
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {sam.session}, "subject_token_type": {typeSession}})), 400, "invalid_request")
	})
	t.Run("a session cookie's value stands for the person, with both tokens behind it", func(t *testing.T) {
		c := s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.alice.session}, "subject_token_type": {typeSession}})))
		minted := part(s.alice.minted, 1)
		for _, name := range []string{"sub", "idp", "sid", "email", "scope", "auth_time", "id_iat"} {
			if c[name] == nil || c[name] != minted[name] {
				t.Errorf("%s = %v, on a route %v", name, c[name], minted[name])
			}
		}
	})
	t.Run("a spoiled session cookie is no subject", func(t *testing.T) {
		for _, value := range []string{s.alice.session[:len(s.alice.session)-2], s.alice.session + "A", "v1.x.y", s.alice.cookie} {
			s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {value}, "subject_token_type": {typeSession}})), 400, "invalid_request")
		}
	})
	t.Run("subject_issuer that is not the token's", func(t *testing.T) {
		s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_issuer": {"main"}})))
		s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_issuer": {"second"}})), 400, "invalid_request")
	})
}

// signOut ends a session as the SPA does.
func (s *exchangeStack) signOut(t *testing.T, p person) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.origin()+"/bff/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-CSRF", "1")
	request.Header.Set("Cookie", p.cookie)
	answer, err := s.http.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, _ := io.ReadAll(answer.Body); answer.StatusCode != http.StatusOK {
		t.Fatalf("logout: %d %s", answer.StatusCode, body)
	}
}

// joinsOnlyWhatBelongsTogether: reference/exchange.md F.3.
func (s *exchangeStack) joinsOnlyWhatBelongsTogether(t *testing.T) {
	with := func(access, id string) url.Values {
		return s.form(url.Values{"subject_token": {access}, "subject_id_token": {id}})
	}
	t.Run("F.3 two tokens of one sign-in are joined", func(t *testing.T) {
		c, id := s.granted(t, s.exchange(t, "gateway", with(s.alice.access, s.alice.id))), part(s.alice.id, 1)
		if c["email"] != "alice@example.com" || c["id_iat"] != id["iat"] || c["auth_time"] != id["auth_time"] || c["sid"] != nil || c["scope"] != "orders:read" {
			t.Errorf("%v", c)
		}
		for _, name := range []string{"nonce", "at_hash", "origin_jti", "event_id"} {
			if c[name] != nil {
				t.Errorf("C-094: %s = %v", name, c[name])
			}
		}
		if alone := s.granted(t, s.exchange(t, "gateway", s.form(nil))); alone["email"] != nil || alone["id_iat"] != nil {
			t.Errorf("an e-mail from nowhere: %v", alone)
		}
	})
	now := time.Now().Unix()
	for _, tc := range []struct{ name, access, id string }{
		{"F.3 another person's ID token", s.alice.access, s.idOf(map[string]any{"sub": "c2d9b8a4-7e61-4f7b-8d35-0b9e5d7a4f22"})},
		{"F.3 of another issuer", s.alice.access, s.second.Sign(idptest.IDToken, map[string]any{"typ": "JWT"}, changed(part(s.alice.id, 1), map[string]any{"iss": s.second.Issuer()}))},
		{"F.3 of another app client", s.alice.access, s.idOf(map[string]any{"aud": otherApp})},
		{"F.3 for two clients, and no azp", s.alice.access, s.idOf(map[string]any{"aud": []string{clientID, otherApp}})},
		{"F.3 with another azp", s.alice.access, s.idOf(map[string]any{"azp": otherApp})},
		{"F.3 with the hash of another access token", s.alice.access, s.idOf(map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})},
		{"F.3 beside another access token of the same person", s.accessOf(map[string]any{"jti": "other"}), s.alice.id},
		{"F.3 of another family of tokens", s.accessOf(map[string]any{"origin_jti": "other"}), s.idOf(map[string]any{"at_hash": nil})},
		{"F.3 of another sign-in", s.accessOf(map[string]any{"auth_time": now - 7200}), s.idOf(map[string]any{"at_hash": nil})},
		{"F.3 expired", s.alice.access, s.idOf(map[string]any{"exp": now - 120})},
		{"F.3 an access token in its place", s.alice.access, s.alice.access},
		{"F.3 a bad signature", s.alice.access, idptest.BrokenSignature("", nil, nil, s.alice.id, nil)},
		{"F.3 no token at all", s.alice.access, "x"},
		{"F.3 with one of our tokens", s.alice.minted, s.alice.id},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s.refused(t, s.exchange(t, "gateway", with(tc.access, tc.id)), 400, "invalid_request")
		})
	}
	t.Run("F.3 with an ID token or a session as subject", func(t *testing.T) {
		for kind, subject := range map[string]string{typeID: s.alice.id, typeSession: s.alice.session} {
			s.refused(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {subject}, "subject_token_type": {kind}, "subject_id_token": {s.alice.id}, "audience": {"invoices"}})), 400, "invalid_request")
		}
	})
}

// A front end that renders pages has nothing but the cookie: its use is activity, and renews the tokens behind it.
func TestASessionsCookieStaysGoodAtTheExchange(t *testing.T) {
	t.Parallel()
	s := newExchangeStack(t, startRedis(t).url(), nil, strings.Replace(exchangePolicy, "idle: 10m", "idle: 20s", 1), patient)
	s.pool.Set(idptest.Misbehave{KeySet: s.publishForged, TokenResponse: func(body map[string]any) { body["expires_in"] = 8 }})
	alice := s.signIn(t, "alice")
	s.pool.Set(idptest.Misbehave{KeySet: s.publishForged})
	refreshes, idle := s.pool.Count(idptest.Token), idleLeft(t, s.cloakroom, alice.cookie)
	time.Sleep(4 * time.Second) // less than what a minted token has to live for is left
	s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {alice.session}, "subject_token_type": {typeSession}})))
	if n := s.pool.Count(idptest.Token) - refreshes; n != 1 {
		t.Errorf("%d refreshes", n)
	}
	if moved := idleLeft(t, s.cloakroom, alice.cookie).Sub(idle); moved < 3*time.Second {
		t.Errorf("the idle end moved by %s", moved)
	}
}
