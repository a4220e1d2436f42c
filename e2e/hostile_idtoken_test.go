package e2e

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/internal/idptest"
)

// Every way to get an ID token wrong (security.md B2), played by a provider that is otherwise in order, and the authorization
// response's own (B1.6 to B1.9): none of them signs anybody in.
func TestNoIDTokenButAGoodOneSignsAnyoneIn(t *testing.T) {
	t.Parallel()
	s := newHostileStack(t, binary, "")
	now := time.Now().Unix()
	keys := s.keys
	signed := func(alg jose.SignatureAlgorithm, kid string, key any, header map[string]any) idptest.Misbehave {
		return forgedID(func(claims map[string]any, _ string, _ any) string { return forgedBy(t, alg, kid, key, header, claims) })
	}
	withPublic := func(encode func(public any) []byte) idptest.Misbehave {
		return forgedID(func(claims map[string]any, signed string, public any) string {
			return forgedBy(t, jose.HS256, kidOf(t, signed), encode(public), nil, claims)
		})
	}
	redirect := func(change func(target *url.URL, q url.Values)) idptest.Misbehave {
		return idptest.Misbehave{Redirect: change}
	}
	refuse := func(name string, m idptest.Misbehave) hostileRow {
		return hostileRow{name: name, manners: m, status: 400, redeemed: 1}
	}
	unsent := func(name string, m idptest.Misbehave) hostileRow {
		return hostileRow{name: name, manners: m, status: 400}
	}
	allow := func(name string, m idptest.Misbehave) hostileRow {
		return hostileRow{name: name, manners: m, status: http.StatusSeeOther, redeemed: 1}
	}
	rows := []hostileRow{
		refuse("B2.1 no ID token", idptest.Misbehave{TokenResponse: func(body map[string]any) { delete(body, "id_token") }}),
		refuse("B2.1 an empty ID token", idptest.Misbehave{TokenResponse: func(body map[string]any) { body["id_token"] = "" }}),
		refuse("B2.2 alg none", forgedID(func(c map[string]any, _ string, _ any) string {
			return idptest.NoneSigner("", map[string]any{}, c, "", nil)
		})),
		refuse("B2.2 alg nOnE", forgedID(func(c map[string]any, signed string, _ any) string { return unsigned("nOnE", kidOf(t, signed), c) })),
		refuse("B2.2 an empty signature", forgedID(func(_ map[string]any, signed string, _ any) string {
			return signed[:strings.LastIndexByte(signed, '.')+1]
		})),
		refuse("B2.2 a bit of the signature is another", forgedID(func(_ map[string]any, signed string, _ any) string {
			return idptest.BrokenSignature("", nil, nil, signed, nil)
		})),
		refuse("B2.3 HS256 with the public key as PEM", withPublic(func(public any) []byte {
			return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der(t, public)})
		})),
		refuse("B2.3 HS256 with the public key as DER", withPublic(func(public any) []byte { return der(t, public) })),
		refuse("B2.3 HS256 with the public key as JWK", withPublic(func(public any) []byte {
			return []byte(text(jose.JSONWebKey{Key: public}))
		})),
		refuse("B2.3 HS256 with the client secret", withPublic(func(any) []byte { return []byte(clientSecret + "                ") })),
		allow("B2.4 RS256 with another key of the set", signed(jose.RS256, "any", keys.any, nil)),
		refuse("B2.4 PS256 with that key", signed(jose.PS256, "any", keys.any, nil)),
		refuse("B2.4 RS512 with that key", signed(jose.RS512, "any", keys.any, nil)),
		refuse("B2.4 ES256 with a key of the set", signed(jose.ES256, "ec", keys.ec, nil)),
		refuse("B2.4 EdDSA with a key of the set", signed(jose.EdDSA, "ed", keys.ed, nil)),
		refuse("B2.5 ES256 under the kid of an RSA key", signed(jose.ES256, "any", keys.ec, nil)),
		refuse("B2.5 RS256 under the kid of an EC key", signed(jose.RS256, "ec", keys.any, nil)),
		refuse("B2.5 a key for encryption", signed(jose.RS256, "enc", keys.enc, nil)),
		refuse("B2.5 a key for another algorithm", signed(jose.RS256, "ps", keys.ps, nil)),
		refuse("B2.6 the JSON serialisation, with two signatures", forgedID(func(_ map[string]any, signed string, _ any) string {
			parts := strings.Split(signed, ".")
			one := `{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`
			return `{"payload":"` + parts[1] + `","signatures":[` + one + `,` + one + `]}`
		})),
		refuse("B2.6 five parts", forgedID(func(_ map[string]any, signed string, _ any) string { return signed + ".e30.e30" })),
		refuse("B2.6 encrypted, which was not agreed on", forgedID(func(_ map[string]any, signed string, _ any) string { return encrypted(t, signed) })),
		refuse("E-20 a token of dots", forgedID(func(map[string]any, string, any) string { return strings.Repeat(".", 200<<10) })),
		refuse("E-22 a password hashed a billion times", forgedID(func(map[string]any, string, any) string {
			return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"PBES2-HS256+A128KW","enc":"A128GCM","p2c":1000000000,"p2s":"AAAA"}`)) + ".AAAA.AAAA.AAAA.AAAA"
		})),
		refuse("B2.7 crit", signed(jose.RS256, "any", keys.any, map[string]any{"crit": []string{"exp"}, "exp": now + 60})),
		refuse("B2.7 crit with b64", signed(jose.RS256, "any", keys.any, map[string]any{"crit": []string{"b64"}, "b64": true})),
		refuse("B2.8 jku elsewhere", signed(jose.RS256, "evil", keys.any, map[string]any{"jku": s.elsewhere.URL})),
		refuse("B2.8 x5u elsewhere", signed(jose.RS256, "any", keys.ps, map[string]any{"x5u": s.elsewhere.URL})),
		refuse("B2.8 a key of its own", signed(jose.RS256, "", newRSAKey(t), map[string]any{"jwk": jose.JSONWebKey{Key: keys.ps.Public()}})),
		refuse("B2.8 another key under a kid of the set", signed(jose.RS256, "any", keys.ps, nil)),
		refuse("B2.9 another iss", ofID(map[string]any{"iss": "https://evil.example"})),
		refuse("B2.9 iss with a slash more", ofID(map[string]any{"iss": s.provider.Issuer() + "/"})),
		refuse("B2.9 iss over https", ofID(map[string]any{"iss": strings.Replace(s.provider.Issuer(), "http:", "https:", 1)})),
		refuse("B2.9 iss in a list", ofID(map[string]any{"iss": []string{s.provider.Issuer()}})),
		refuse("B2.9 no iss", ofID(map[string]any{"iss": nil})),
		refuse("B2.10 no aud", ofID(map[string]any{"aud": nil})),
		refuse("B2.10 B2.22 aud of another client", ofID(map[string]any{"aud": "other"})),
		refuse("B2.10 a list without us", ofID(map[string]any{"aud": []string{"other", "third"}})),
		refuse("B2.10 an empty list", ofID(map[string]any{"aud": []string{}})),
		refuse("B2.10 a list with an empty name", ofID(map[string]any{"aud": []string{""}})),
		refuse("B2.10 a number", ofID(map[string]any{"aud": 7})),
		refuse("B2.10 us and somebody else, with our azp", ofID(map[string]any{"aud": []string{clientID, "evil"}, "azp": clientID})),
		refuse("B2.11 several audiences without azp", ofID(map[string]any{"aud": []string{clientID, "evil"}})),
		refuse("B2.11 azp of another client", ofID(map[string]any{"azp": "other"})),
		allow("B2.11 our own azp", ofID(map[string]any{"azp": clientID})),
		refuse("B2.12 expired", ofID(map[string]any{"exp": now - 120})),
		refuse("B2.12 no exp", ofID(map[string]any{"exp": nil})),
		refuse("B2.12 exp is a string", ofID(map[string]any{"exp": "4000000000"})),
		refuse("B2.12 exp has a fraction", ofID(map[string]any{"exp": float64(now) + 3600.5})),
		refuse("B2.12 exp is 1e308", ofID(map[string]any{"exp": 1e308})),
		refuse("B2.12 exp is negative", ofID(map[string]any{"exp": -1})),
		refuse("B2.13 iat in the future", ofID(map[string]any{"iat": now + 600})),
		refuse("B2.13 iat older than ten minutes", ofID(map[string]any{"iat": now - 15*60})),
		refuse("B2.13 no iat", ofID(map[string]any{"iat": nil})),
		refuse("B2.13 nbf in the future", ofID(map[string]any{"nbf": now + 600})),
		refuse("B2.14 no nonce", ofID(map[string]any{"nonce": nil})),
		refuse("B2.14 an empty nonce", ofID(map[string]any{"nonce": ""})),
		refuse("B2.14 B1.11 another nonce", ofID(map[string]any{"nonce": "of another sign-in"})),
		refuse("B2.14 the nonce in another case", idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
			if nonce, ok := claims["nonce"].(string); ok && kind == idptest.IDToken {
				claims["nonce"] = strings.ToLower(nonce)
			}
		}}),
		refuse("B2.15 at_hash of another token", ofID(map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"})),
		refuse("B2.15 at_hash is a number", ofID(map[string]any{"at_hash": 1})),
		refuse("B2.15 c_hash of another code", ofID(map[string]any{"c_hash": "AAAAAAAAAAAAAAAAAAAAAA"})),
		{name: "B2.16 max_age exceeded", manners: ofID(map[string]any{"auth_time": now - 7200}), login: "/bff/login?max_age=3600", status: 400, redeemed: 1},
		{name: "B2.16 max_age and no auth_time", manners: ofID(map[string]any{"auth_time": nil}), login: "/bff/login?max_age=3600", status: 400, redeemed: 1},
		{name: "B2.16 max_age kept", login: "/bff/login?max_age=3600", status: http.StatusSeeOther, redeemed: 1},
		refuse("B2.16 auth_time is a text", ofID(map[string]any{"auth_time": "yesterday"})),
		refuse("B2.18 no sub", ofID(map[string]any{"sub": nil})),
		refuse("B2.18 an empty sub", ofID(map[string]any{"sub": ""})),
		refuse("B2.18 a sub of 256 characters", ofID(map[string]any{"sub": strings.Repeat("a", 256)})),
		refuse("B2.18 a sub with a line end", ofID(map[string]any{"sub": "alice\nadmin"})),
		refuse("B2.18 a sub that is a number", ofID(map[string]any{"sub": 7})),
		refuse("B2.19 typ logout+jwt", headerOfID(map[string]any{"typ": "logout+jwt"})),
		refuse("B2.19 typ at+jwt", headerOfID(map[string]any{"typ": "at+jwt"})),
		refuse("B2.19 a logout token", ofID(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})),
		refuse("B2.19 the access token", idptest.Misbehave{TokenResponse: func(body map[string]any) { body["id_token"] = body["access_token"] }}),
		refuse("B2.20 sub twice", forgedID(func(claims map[string]any, _ string, _ any) string {
			return compact(t, forged(t, jose.RS256, "any", keys.any, nil, strings.Replace(text(claims), "{", `{"sub":"admin",`, 1)))
		})),
		refuse("E-18 claims nested without end", forgedID(func(map[string]any, string, any) string {
			return compact(t, forged(t, jose.RS256, "any", keys.any, nil, `{"x":`+strings.Repeat("[", 50_000)+strings.Repeat("]", 50_000)+`}`))
		})),
		refuse("E-21 compressed", signed(jose.RS256, "any", keys.any, map[string]any{"zip": "DEF"})),
		refuse("E-25 expired and badly signed", forgedID(func(claims map[string]any, _ string, _ any) string {
			claims["exp"] = now - 7200
			return forgedBy(t, jose.RS256, "any", keys.ps, nil, claims)
		})),

		unsent("B1.6 two codes", redirect(func(_ *url.URL, q url.Values) { q.Add("code", "another") })),
		unsent("B1.6 two states", redirect(func(_ *url.URL, q url.Values) { q.Add("state", q.Get("state")) })),
		unsent("B1.6 two issuers", redirect(func(_ *url.URL, q url.Values) { q.Add("iss", q.Get("iss")) })),
		unsent("B1.7 neither code nor error", redirect(func(_ *url.URL, q url.Values) { q.Del("code") })),
		unsent("B1.7 a code and an error", redirect(func(_ *url.URL, q url.Values) { q.Set("error", "access_denied") })),
		unsent("B1.8 an error with markup", redirect(func(_ *url.URL, q url.Values) {
			q.Del("code")
			q.Set("error", hostileWord)
			q.Set("error_description", hostileWord)
			q.Set("error_uri", s.elsewhere.URL)
		})),
		unsent("B1.9 no iss although it says it sends one", redirect(func(_ *url.URL, q url.Values) { q.Del("iss") })),
		unsent("B1.9 another iss", redirect(func(_ *url.URL, q url.Values) { q.Set("iss", "https://evil.example") })),
		unsent("B1.9 iss with a slash more", redirect(func(_ *url.URL, q url.Values) { q.Set("iss", q.Get("iss")+"/") })),
		unsent("B1.9 an error of another iss", redirect(func(_ *url.URL, q url.Values) {
			q.Del("code")
			q.Set("error", "access_denied")
			q.Set("iss", "https://evil.example")
		})),
		unsent("B1.3 a state that is made up", redirect(func(_ *url.URL, q url.Values) { q.Set("state", "made-up") })),
	}
	s.play(t, rows)
	s.unharmed(t)
}

// hostileRow is one way to misbehave at a sign-in.
type hostileRow struct {
	name     string
	manners  idptest.Misbehave
	login    string // default: /bff/login
	status   int    // that the callback answers with; 303 is a sign-in
	redeemed int    // how often the code is sent to the provider
}

func (s *hostileStack) play(t *testing.T, rows []hostileRow) {
	t.Helper()
	s.mustSignIn(t)
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s.behave(row.manners)
			login, redeemed := row.login, s.provider.Count(idptest.Token)
			if login == "" {
				login = "/bff/login"
			}
			v := s.visitor(t)
			res, body := v.signIn(t, login, s.provider)
			if row.status == http.StatusSeeOther {
				if res.StatusCode != row.status || v.session() == "" {
					t.Errorf("not signed in: %d %s", res.StatusCode, body)
				}
			} else {
				s.refuses(t, v, res, body, row.status)
			}
			if n := s.provider.Count(idptest.Token) - redeemed; n != row.redeemed {
				t.Errorf("the code was sent %d times, want %d", n, row.redeemed)
			}
		})
	}
}

func kidOf(t *testing.T, signed string) string {
	t.Helper()
	kid, _ := part(signed, 0)["kid"].(string)
	if kid == "" {
		t.Fatal("no kid")
	}
	return kid
}

func der(t *testing.T, public any) []byte {
	t.Helper()
	raw, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func unsigned(alg, kid string, claims map[string]any) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"`+alg+`","kid":"`+kid+`"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(text(claims))) + "."
}

// encrypted seals a token under a key that it made for itself.
func encrypted(t *testing.T, signed string) string {
	t.Helper()
	to := jose.Recipient{Algorithm: jose.RSA_OAEP_256, Key: newRSAKey(t).Public()}
	encrypter, err := jose.NewEncrypter(jose.A256GCM, to, (&jose.EncrypterOptions{}).WithContentType("JWT"))
	if err != nil {
		t.Fatal(err)
	}
	jwe, err := encrypter.Encrypt([]byte(signed))
	if err != nil {
		t.Fatal(err)
	}
	out, err := jwe.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}
