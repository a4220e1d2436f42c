package provider

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

func isKind(err, kind error) bool { return errors.Is(err, kind) }

func TestAnIDTokenIsRefusedAtLoginUnlessAllOfItHolds(t *testing.T) {
	minutes := func(n int) *time.Duration { d := time.Duration(n) * time.Minute; return &d }
	day := int64(24 * 3600)
	now := int64(1_790_000_000)
	for _, tc := range []struct {
		name   string
		claims map[string]any
		maxAge *time.Duration
		want   error
	}{
		{"B2 a good one is accepted", nil, nil, nil},
		{"B2.9 another iss", map[string]any{"iss": "https://evil.example"}, nil, ErrRejected},
		{"B2.9 no iss", map[string]any{"iss": nil}, nil, ErrRejected},
		{"B2.10 no aud", map[string]any{"aud": nil}, nil, ErrRejected},
		{"B2.10 aud of another client", map[string]any{"aud": "other"}, nil, ErrRejected},
		{"B2.10 a list without us", map[string]any{"aud": []string{"other", "third"}}, nil, ErrRejected},
		{"B2.10 an empty list", map[string]any{"aud": []string{}}, nil, ErrRejected},
		{"B2.10 a number", map[string]any{"aud": 7}, nil, ErrRejected},
		{"B2.10 us and an untrusted audience, with our azp", map[string]any{"aud": []string{clientID, "evil"}, "azp": clientID}, nil, ErrRejected},
		{"B2.10 us and a trusted audience, with our azp", map[string]any{"aud": []string{clientID, "trusted-api"}, "azp": clientID}, nil, nil},
		{"B2.11 several audiences without azp", map[string]any{"aud": []string{clientID, "trusted-api"}}, nil, ErrRejected},
		{"B2.11 a single audience and another azp", map[string]any{"azp": "other"}, nil, ErrRejected},
		{"B2.11 azp is a list", map[string]any{"azp": []string{clientID}}, nil, ErrRejected},
		{"B2.11 a single audience and our azp", map[string]any{"azp": clientID}, nil, nil},
		{"B2.12 expired", map[string]any{"exp": now - 61}, nil, ErrRejected},
		{"B2.12 expired within the skew", map[string]any{"exp": now - 30}, nil, nil},
		{"B2.12 no exp", map[string]any{"exp": nil}, nil, ErrRejected},
		{"B2.12 exp is a string", map[string]any{"exp": "1790003600"}, nil, ErrRejected},
		{"B2.12 exp is 1e308", map[string]any{"exp": 1e308}, nil, ErrRejected},
		{"B2.12 exp is negative", map[string]any{"exp": -1}, nil, ErrRejected},
		{"B2.13 iat in the future", map[string]any{"iat": now + 120}, nil, ErrRejected},
		{"B2.13 iat older than ten minutes", map[string]any{"iat": now - 12*60}, nil, ErrRejected},
		{"B2.13 iat eight minutes old", map[string]any{"iat": now - 8*60}, nil, nil},
		{"B2.13 no iat", map[string]any{"iat": nil}, nil, ErrRejected},
		{"B2.13 nbf in the future", map[string]any{"nbf": now + 120}, nil, ErrRejected},
		{"B2.14 no nonce", map[string]any{"nonce": nil}, nil, ErrRejected},
		{"B2.14 an empty nonce", map[string]any{"nonce": ""}, nil, ErrRejected},
		{"B2.14 another nonce", map[string]any{"nonce": "another"}, nil, ErrRejected},
		{"B2.14 our nonce in another case", map[string]any{"nonce": strings.ToUpper(nonce)}, nil, ErrRejected},
		{"B2.14 the nonce is a list", map[string]any{"nonce": []string{nonce}}, nil, ErrRejected},
		{"B2.15 at_hash matches", map[string]any{"at_hash": token.HalfHash("RS256", canaryAccess)}, nil, nil},
		{"B2.15 at_hash of another access token", map[string]any{"at_hash": token.HalfHash("RS256", "another")}, nil, ErrRejected},
		{"B2.15 at_hash is a number", map[string]any{"at_hash": 1}, nil, ErrRejected},
		{"B2.15 c_hash matches", map[string]any{"c_hash": token.HalfHash("RS256", canaryCode)}, nil, nil},
		{"B2.15 c_hash of another code", map[string]any{"c_hash": token.HalfHash("RS256", "another")}, nil, ErrRejected},
		{"B2.16 max_age kept", nil, minutes(1), nil},
		{"B2.16 max_age exceeded", map[string]any{"auth_time": now - day}, minutes(60), ErrRejected},
		{"B2.16 max_age asked for, no auth_time", map[string]any{"auth_time": nil}, minutes(60), ErrRejected},
		{"B2.16 auth_time is a string", map[string]any{"auth_time": "yesterday"}, nil, ErrRejected},
		{"B2.16 auth_time in the future", map[string]any{"auth_time": now + day}, minutes(60), ErrRejected},
		{"B2.16 no max_age, an old auth_time", map[string]any{"auth_time": now - day}, nil, nil},
		{"B2.18 no sub", map[string]any{"sub": nil}, nil, ErrRejected},
		{"B2.18 an empty sub", map[string]any{"sub": ""}, nil, ErrRejected},
		{"B2.18 a sub of 256 characters", map[string]any{"sub": strings.Repeat("a", 256)}, nil, ErrRejected},
		{"B2.18 a sub of 255 characters", map[string]any{"sub": strings.Repeat("a", 255)}, nil, nil},
		{"B2.18 a sub with a line end", map[string]any{"sub": "user\n1"}, nil, ErrRejected},
		{"B2.18 a sub with a NUL", map[string]any{"sub": "user\x001"}, nil, ErrRejected},
		{"B2.18 a sub that is a number", map[string]any{"sub": 7}, nil, ErrRejected},
		{"B2.18 a sid that is a list", map[string]any{"sid": []string{"a"}}, nil, ErrRejected},
		{"B2.19 a logout token without a typ", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}}, nil, ErrRejected},
		{"B2.19 Keycloak's access token", map[string]any{"typ": "Bearer"}, nil, ErrRejected},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.respond(map[string]any{"id_token": f.sign(merged(f.idClaims(), tc.claims))})
			p := f.client(func(c *Config) { c.AcceptedAudiences = []string{clientID, "trusted-api"} })
			r := redemption()
			r.MaxAge = tc.maxAge
			_, err := p.Redeem(background, r)
			mustBe(t, err, tc.want)
		})
	}
}

func TestASignatureThatIsNotTheProvidersIsRefused(t *testing.T) {
	attacker := httptest.NewServer(http.NotFoundHandler())
	var attacked atomic.Int32
	attacker.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { attacked.Add(1) })
	defer attacker.Close()
	der, err := x509.MarshalPKIXPublicKey(&rsaKey().PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	publicJWK, _ := json.Marshal(jwk("k1", &rsaKey().PublicKey, ""))
	unsigned := func(alg string) func(f *idp) string {
		return func(f *idp) string {
			header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","kid":"k1"}`))
			claims, _ := json.Marshal(f.idClaims())
			return header + "." + base64.RawURLEncoding.EncodeToString(claims) + "."
		}
	}
	keyed := func(kid string, alg jose.SignatureAlgorithm, key any, header map[jose.HeaderKey]any) func(f *idp) string {
		return func(f *idp) string { return sign(f.t, kid, alg, key, header, f.idClaims()) }
	}
	for _, tc := range []struct {
		name string
		id   func(f *idp) string
	}{
		{"B2.1 no ID token", func(*idp) string { return "" }},
		{"B2.2 alg none", unsigned("none")},
		{"B2.2 alg nOnE", unsigned("nOnE")},
		{"B2.2 an empty signature", unsigned("RS256")},
		{"B2.3 HS256 with the public key as PEM", keyed("k1", jose.HS256, publicPEM, nil)},
		{"B2.3 HS256 with the public key as DER", keyed("k1", jose.HS256, der, nil)},
		{"B2.3 HS256 with the public key as JWK", keyed("k1", jose.HS256, publicJWK, nil)},
		{"B2.3 HS256 with the client secret", keyed("k1", jose.HS256, []byte(canarySecret+"-of-32-bytes-at-least"), nil)},
		{"B2.4 PS256 with the provider's key, not in the list", keyed("k1", jose.PS256, rsaKey(), nil)},
		{"B2.4 ES256 with the provider's key, not in the list", keyed("ec", jose.ES256, ecKey(), nil)},
		{"B2.5 a key for encryption", keyed("enc", jose.RS256, otherRSA(), nil)},
		{"B2.5 a key for another algorithm", keyed("ps", jose.RS256, otherRSA(), nil)},
		{"B2.6 the JSON serialisation", func(f *idp) string {
			parts := strings.Split(f.sign(f.idClaims()), ".")
			return `{"payload":"` + parts[1] + `","signatures":[{"protected":"` + parts[0] + `","signature":"` + parts[2] + `"}]}`
		}},
		{"B2.6 five parts", func(f *idp) string { return f.sign(f.idClaims()) + ".e30.e30" }},
		{"B2.6 a MiB of dots", func(*idp) string { return strings.Repeat(".", 200<<10) }},
		{"B2.7 an unknown crit", keyed("k1", jose.RS256, rsaKey(), map[jose.HeaderKey]any{"crit": []string{"exp"}, "exp": 1})},
		{"B2.8 jku of an attacker", keyed("evil", jose.RS256, otherRSA(), map[jose.HeaderKey]any{"jku": attacker.URL})},
		{"B2.8 x5u of an attacker", keyed("evil", jose.RS256, otherRSA(), map[jose.HeaderKey]any{"x5u": attacker.URL})},
		{"B2.8 a key of its own", keyed("", jose.RS256, otherRSA(), map[jose.HeaderKey]any{"jwk": jwk("", &otherRSA().PublicKey, "RS256")})},
		{"B2.8 another key under our kid", keyed("k1", jose.RS256, otherRSA(), nil)},
		{"B2.19 typ at+jwt", keyed("k1", jose.RS256, rsaKey(), map[jose.HeaderKey]any{"typ": "at+jwt"})},
		{"B2.19 typ logout+jwt", keyed("k1", jose.RS256, rsaKey(), map[jose.HeaderKey]any{"typ": "logout+jwt"})},
		{"B2.20 two members sub", func(f *idp) string {
			raw, _ := json.Marshal(f.idClaims())
			return signRaw(f.t, "k1", jose.RS256, rsaKey(), nil, []byte(strings.Replace(string(raw), "{", `{"sub":"admin",`, 1)))
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			encryption := jwk("enc", &otherRSA().PublicKey, "")
			encryption.Use = "enc"
			f.setKeys(jwk("k1", &rsaKey().PublicKey, "RS256"), jwk("ec", &ecKey().PublicKey, "ES256"), encryption, jwk("ps", &otherRSA().PublicKey, "PS256"))
			f.respond(map[string]any{"id_token": tc.id(f)})
			_, err := f.client().Redeem(background, redemption())
			if !errors.Is(err, ErrRejected) && !errors.Is(err, ErrNonsense) {
				t.Fatalf("accepted, or not judged: %v", err)
			}
			mustTellNothing(t, err.Error())
			if attacked.Load() != 0 {
				t.Error("the attacker's server was asked")
			}
		})
	}
}

func TestB2_22_CognitoSaysByTokenUseWhatATokenIs(t *testing.T) {
	for _, tc := range []struct {
		name, use string
		want      error
	}{{"an ID token", "id", nil}, {"an access token", "access", ErrRejected}, {"no token_use", "", ErrRejected}} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.respond(map[string]any{"id_token": f.sign(merged(f.idClaims(), map[string]any{"token_use": tc.use})), "scope": nil})
			_, err := f.client(func(c *Config) { c.Profile = "cognito" }).Redeem(background, redemption())
			mustBe(t, err, tc.want)
		})
	}
}
