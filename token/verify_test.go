package token

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

const (
	good   = `{"iss":"https://idp.example.com","sub":"alice","aud":"spa","iat":1799999990,"exp":1800000300}`
	header = `{"alg":"RS256","kid":"rsa"}`
)

var rules = Rules{
	Issuer: "https://idp.example.com", Algorithms: []string{"RS256", "ES256", "EdDSA"}, Skew: time.Minute, Audiences: []string{"spa"},
}

func TestVerifyAccepts(t *testing.T) {
	p := issuer()
	at9068 := rules
	at9068.Types = []string{"at+jwt"}
	noAudience := rules
	noAudience.Audiences = nil
	for _, tt := range []struct {
		name, header, payload string
		sign                  signer
		rules                 Rules
	}{
		{"RS256", header, good, p.rs256, rules},
		{"ES256", `{"alg":"ES256","kid":"ec","typ":"JWT"}`, good, p.es256, rules},
		{"EdDSA", `{"alg":"EdDSA","kid":"ed"}`, good, p.eddsa, rules},
		{"no kid, and one key that fits the algorithm", `{"alg":"ES256"}`, good, p.es256, rules},
		{"a type in its long form and another case", `{"alg":"RS256","kid":"rsa","typ":"application/AT+JWT"}`, good, p.rs256, at9068},
		{"jku and x5u that nobody reads (C-036)", `{"alg":"RS256","kid":"rsa","jku":"https://evil.example","x5u":"https://evil.example"}`, good, p.rs256, rules},
		{"a list of audiences with ours", header, strings.Replace(good, `"spa"`, `["other","spa"]`, 1), p.rs256, rules},
		{"no audience where the caller checks it", header, strings.Replace(good, `"aud":"spa",`, ``, 1), p.rs256, noAudience},
		{"expired, but within the skew", header, strings.Replace(good, "1800000300", "1799999941", 1), p.rs256, rules},
		{"issued by a clock that is ahead within the skew", header, strings.Replace(good, "1799999990", "1800000060", 1), p.rs256, rules},
		{"an iat with a fraction", header, strings.Replace(good, "1799999990", "1799999990.25", 1), p.rs256, rules},
		{"no iat and no sub", header, `{"iss":"https://idp.example.com","aud":"spa","exp":1800000300}`, p.rs256, rules},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, claims, err := Verify(context.Background(), forge(tt.header, tt.payload, tt.sign), tt.rules, p.keys(t), at)
			if err != nil {
				t.Fatal(err)
			}
			if claims.Text("iss") != "https://idp.example.com" {
				t.Errorf("claims %v", claims)
			}
		})
	}
}

// with replaces one thing in the good claims.
func with(t *testing.T, old, new string) string {
	t.Helper()
	if strings.Count(good, old) != 1 {
		t.Fatalf("%q is not in the good claims once", old)
	}
	return strings.Replace(good, old, new, 1)
}

func TestVerifyRefuses(t *testing.T) {
	p, evil := issuer(), attacker()
	pkix, err := x509.MarshalPKIXPublicKey(&p.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pkix})
	jwk, err := json.Marshal(jose.JSONWebKey{Key: &p.rsa.PublicKey, KeyID: "rsa", Use: "sig", Algorithm: "RS256"})
	if err != nil {
		t.Fatal(err)
	}
	evilJWK, err := json.Marshal(jose.JSONWebKey{Key: &evil.rsa.PublicKey, KeyID: "rsa"})
	if err != nil {
		t.Fatal(err)
	}
	genuine := forge(header, good, p.rs256)
	parts := strings.Split(genuine, ".")
	flattened := fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, parts[0], parts[1], parts[2])
	general := fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q},{"protected":%q,"signature":"AA"}]}`, parts[1], parts[0], parts[2], parts[0])
	b64 := base64.RawURLEncoding.EncodeToString

	for _, tt := range []struct{ name, raw, reason string }{
		{"C-030 a changed payload", parts[0] + "." + b64([]byte(with(t, "alice", "admin"))) + "." + parts[2], "signature does not verify"},
		{"C-030 a signature of other bytes", forge(header, good, constant(strings.Repeat("x", 256))), "signature does not verify"},
		{"C-030 another's key under the right kid (C-043)", forge(header, good, evil.rs256), "signature does not verify"},
		{"C-030 ES256 in ASN.1", forge(`{"alg":"ES256","kid":"ec"}`, good, p.es256ASN1), "signature does not verify"},
		{"C-030 ES256 of zeros", forge(`{"alg":"ES256","kid":"ec"}`, good, constant(strings.Repeat("\x00", 64))), "signature does not verify"},
		{"C-031 alg none without a signature", forge(`{"alg":"none"}`, good, constant("")), "no signature"},
		{"C-031 alg none with a signature", forge(`{"alg":"none"}`, good, p.rs256), "alg is not"},
		{"C-031 alg None", forge(`{"alg":"None","kid":"rsa"}`, good, p.rs256), "alg is not"},
		{"C-031 alg nOnE", forge(`{"alg":"nOnE","kid":"rsa"}`, good, p.rs256), "alg is not"},
		{"C-031 the right alg with an empty signature", forge(header, good, constant("")), "no signature"},
		{"C-031 no alg", forge(`{"kid":"rsa"}`, good, p.rs256), "no alg"},
		{"C-031 an alg that is a list", forge(`{"alg":["RS256"],"kid":"rsa"}`, good, p.rs256), "no alg"},
		{"C-031 alg in another case", forge(`{"Alg":"RS256","kid":"rsa"}`, good, p.rs256), "no alg"},
		{"C-032 HS256 with the RSA key's PEM", forge(`{"alg":"HS256","kid":"rsa"}`, good, hs256(pemKey)), "alg is not"},
		{"C-032 HS256 with the RSA key's DER", forge(`{"alg":"HS256","kid":"rsa"}`, good, hs256(pkix)), "alg is not"},
		{"C-032 HS256 with the RSA key's JWK", forge(`{"alg":"HS256","kid":"rsa"}`, good, hs256(jwk)), "alg is not"},
		{"C-032 HS256 under the name of RS256", forge(header, good, hs256(pemKey)), "signature does not verify"},
		{"C-033 an unknown kid", forge(`{"alg":"RS256","kid":"gone"}`, good, p.rs256), "not in the issuer's set"},
		{"C-033 a kid that is a number", forge(`{"alg":"RS256","kid":7}`, good, p.rs256), "kid is not"},
		{"C-033 a kid of a kilobyte", forge(`{"alg":"RS256","kid":"`+strings.Repeat("k", 1024)+`"}`, good, p.rs256), "kid is not"},
		{"C-034 an algorithm the issuer does not use, with its key", forge(`{"alg":"PS256","kid":"rsa"}`, good, p.ps256), "alg is not"},
		{"C-034 PBES2 with a huge count", forge(`{"alg":"PBES2-HS256+A128KW","p2c":2147483647}`, good, p.rs256), "alg is not"},
		{"B2.5 ES256 with the kid of the RSA key", forge(`{"alg":"ES256","kid":"rsa"}`, good, p.es256), "not in the issuer's set"},
		{"B2.5 a key for encryption", forge(`{"alg":"RS256","kid":"enc"}`, good, p.rs256), "not in the issuer's set"},
		{"C-035 crit with an unknown entry", forge(`{"alg":"RS256","kid":"rsa","crit":["x"],"x":1}`, good, p.rs256), "crit"},
		{"C-035 crit with b64", forge(`{"alg":"RS256","kid":"rsa","crit":["b64"],"b64":false}`, good, p.rs256), "crit"},
		{"C-035 an empty crit", forge(`{"alg":"RS256","kid":"rsa","crit":[]}`, good, p.rs256), "crit"},
		{"C-035 crit that is null", forge(`{"alg":"RS256","kid":"rsa","crit":null}`, good, p.rs256), "crit"},
		{"C-036 a key of its own", forge(`{"alg":"RS256","jwk":`+string(evilJWK)+`}`, good, evil.rs256), "its own key"},
		{"C-036 a chain of its own", forge(`{"alg":"RS256","x5c":["AAAA"]}`, good, evil.rs256), "its own key"},
		{"C-036 jku of the attacker", forge(`{"alg":"RS256","kid":"rsa","jku":"http://127.0.0.1:1/jwks"}`, good, evil.rs256), "signature does not verify"},
		{"C-037 expired", forge(header, with(t, "1800000300", "1799999940"), p.rs256), "expired"},
		{"C-037 exp zero", forge(header, with(t, "1800000300", "0"), p.rs256), "expired"},
		{"E25 expired and badly signed", forge(header, with(t, "1800000300", "1799999000"), evil.rs256), "signature does not verify"},
		{"C-038 no exp", forge(header, with(t, `,"exp":1800000300`, ``), p.rs256), "no exp"},
		{"C-038 exp null", forge(header, with(t, "1800000300", "null"), p.rs256), "no exp"},
		{"B2.12 exp as text", forge(header, with(t, "1800000300", `"1800000300"`), p.rs256), "exp is not"},
		{"B2.12 exp with a fraction", forge(header, with(t, "1800000300", "1800000300.5"), p.rs256), "exp is not"},
		{"B2.12 exp with an exponent", forge(header, with(t, "1800000300", "1e308"), p.rs256), "exp is not"},
		{"B2.12 exp negative", forge(header, with(t, "1800000300", "-1"), p.rs256), "exp is not"},
		{"B2.12 exp beyond all dates", forge(header, with(t, "1800000300", "9223372036854775807"), p.rs256), "exp is not"},
		{"B2.12 exp of more digits than a number has", forge(header, with(t, "1800000300", "1e999"), p.rs256), "out of range"},
		{"C-039 nbf in the future", forge(header, with(t, `"iat"`, `"nbf":1800000061,"iat"`), p.rs256), "nbf"},
		{"C-039 nbf as text", forge(header, with(t, `"iat"`, `"nbf":"0","iat"`), p.rs256), "nbf is not"},
		{"C-040 iat in the future", forge(header, with(t, "1799999990", "1800000061"), p.rs256), "iat lies"},
		{"C-040 iat as a list", forge(header, with(t, "1799999990", "[]"), p.rs256), "iat is not"},
		{"C-040 iat beyond all dates", forge(header, with(t, "1799999990", "1e300"), p.rs256), "iat is not"},
		{"C-040 iat before all dates", forge(header, with(t, "1799999990", "-1"), p.rs256), "iat is not"},
		{"C-042 another issuer", forge(header, with(t, "idp.example.com", "idp.example.org"), p.rs256), "iss is not"},
		{"C-042 the issuer with a slash more", forge(header, with(t, "idp.example.com", "idp.example.com/"), p.rs256), "iss is not"},
		{"C-042 the issuer over http", forge(header, with(t, "https:", "http:"), p.rs256), "iss is not"},
		{"C-042 the issuer in another case", forge(header, with(t, "idp.example.com", "IDP.example.com"), p.rs256), "iss is not"},
		{"C-042 no issuer", forge(header, with(t, `"iss":"https://idp.example.com",`, ``), p.rs256), "iss is not"},
		{"C-042 a list of issuers", forge(header, with(t, `"https://idp.example.com"`, `["https://idp.example.com"]`), p.rs256), "iss is not"},
		{"C-044 another audience", forge(header, with(t, `"spa"`, `"other"`), p.rs256), "aud is not"},
		{"C-044 no audience", forge(header, with(t, `"aud":"spa",`, ``), p.rs256), "aud is not"},
		{"E24 an empty list of audiences", forge(header, with(t, `"spa"`, `[]`), p.rs256), "aud is not"},
		{"E24 an audience without a name", forge(header, with(t, `"spa"`, `[""]`), p.rs256), "aud is not"},
		{"E24 a number for an audience", forge(header, with(t, `"spa"`, `7`), p.rs256), "aud is neither"},
		{"E24 a number among the audiences", forge(header, with(t, `"spa"`, `["spa",7]`), p.rs256), "aud is neither"},
		{"E24 an audience null", forge(header, with(t, `"spa"`, `null`), p.rs256), "aud is neither"},
		{"B2.18 an empty subject", forge(header, with(t, `"alice"`, `""`), p.rs256), "sub is not"},
		{"B2.18 a subject with a line's end", forge(header, with(t, `"alice"`, `"alice\nbob"`), p.rs256), "sub is not"},
		{"B2.18 a subject that is a number", forge(header, with(t, `"alice"`, `7`), p.rs256), "sub is not"},
		{"B2.19 a logout token", forge(`{"alg":"RS256","kid":"rsa","typ":"logout+jwt"}`, good, p.rs256), "typ is not"},
		{"B2.19 an access token in long form", forge(`{"alg":"RS256","kid":"rsa","typ":"application/at+jwt"}`, good, p.rs256), "typ is not"},
		{"B2.19 a type that is a number", forge(`{"alg":"RS256","kid":"rsa","typ":7}`, good, p.rs256), "typ is not"},
		{"C-046 five parts", genuine + "." + parts[1] + "." + parts[2], "three parts"},
		{"C-046 two parts", parts[0] + "." + parts[1], "three parts"},
		{"C-046 a nested token", forge(`{"alg":"RS256","kid":"rsa","cty":"JWT"}`, genuine, p.rs256), "claims"},
		{"C-046 compressed (E21)", forge(`{"alg":"RS256","kid":"rsa","zip":"DEF"}`, good, p.rs256), "plain"},
		{"C-047 flattened JSON", flattened, "three parts"},
		{"C-047 general JSON with two signatures (E23)", general, "three parts"},
		{"C-048 a claim twice", forge(header, with(t, `"sub":"alice"`, `"sub":"alice","sub":"admin"`), p.rs256), "occurs twice"},
		{"C-048 a claim twice, once escaped", forge(header, with(t, `"sub":"alice"`, `"sub":"alice","s\u0075b":"admin"`), p.rs256), "occurs twice"},
		{"C-048 a header member twice", forge(`{"alg":"RS256","alg":"none","kid":"rsa"}`, good, p.rs256), "occurs twice"},
		{"no token at all", "", "empty"},
		{"spaces around it", " " + genuine, "base64url"},
		{"a line's end within", parts[0] + "." + parts[1][:8] + "\n" + parts[1][8:] + "." + parts[2], "base64url"},
		{"padding", genuine + "==", "base64url"},
		{"a list for claims", forge(header, `[`+good+`]`, p.rs256), "not a JSON object"},
		{"claims with something after them", forge(header, good+`{}`, p.rs256), "data after"},
		{"claims that are empty", forge(header, ``, p.rs256), "not a JSON object"},
		{"more than 64 KiB", forge(header, with(t, "alice", strings.Repeat("a", MaxSize)), p.rs256), "64 KiB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h, claims, err := Verify(context.Background(), tt.raw, rules, p.keys(t), at)
			var refused *Invalid
			if !errors.As(err, &refused) {
				t.Fatalf("error %v, want an *Invalid", err)
			}
			if !strings.Contains(refused.Reason, tt.reason) {
				t.Errorf("reason %q, want one about %q", refused.Reason, tt.reason)
			}
			if claims != nil || h != (Header{}) {
				t.Errorf("a refused token gave %v, %v", h, claims)
			}
			if errors.Is(err, ErrUnavailable) {
				t.Error("a refusal that says nothing can be said")
			}
		})
	}
}

// Whoever forgets a rule gets refusals, not a pass.
func TestRulesThatSayNothingAllowNothing(t *testing.T) {
	p := issuer()
	raw := forge(header, good, p.rs256)
	nameless := forge(header, `{"iss":"","aud":"","exp":1800000300}`, p.rs256)
	for _, tt := range []struct {
		name, raw string
		rules     Rules
	}{
		{"no rules", raw, Rules{}},
		{"no algorithm", raw, Rules{Issuer: rules.Issuer}},
		{"no issuer", nameless, Rules{Algorithms: rules.Algorithms}},
		{"no type", raw, Rules{Issuer: rules.Issuer, Algorithms: rules.Algorithms, Types: []string{}}},
		{"an audience without a name", forge(header, with(t, `"spa"`, `""`), p.rs256), Rules{Issuer: rules.Issuer, Algorithms: rules.Algorithms, Audiences: []string{""}}},
	} {
		var refused *Invalid
		if _, _, err := Verify(context.Background(), tt.raw, tt.rules, p.keys(t), at); !errors.As(err, &refused) {
			t.Errorf("%s: %v, want an *Invalid", tt.name, err)
		}
	}
}

func TestAConfigurationCannotAskForHS256OrNone(t *testing.T) {
	shared := []byte(strings.Repeat("k", 32))
	weak := rules
	weak.Algorithms = []string{"HS256", "none"}
	for _, raw := range []string{forge(`{"alg":"HS256"}`, good, hs256(shared)), forge(`{"alg":"none"}`, good, constant("x"))} {
		_, _, err := Verify(context.Background(), raw, weak, keysFunc(func() ([]jose.JSONWebKey, error) {
			t.Error("keys were asked for")
			return []jose.JSONWebKey{{Key: shared}}, nil
		}), at)
		if err == nil {
			t.Error("accepted")
		}
	}
}

func TestKeysThatDoNotFitAreNotTried(t *testing.T) {
	p := issuer()
	for name, key := range map[string]jose.JSONWebKey{
		"for encryption":       {Key: &p.rsa.PublicKey, Use: "enc"},
		"of another algorithm": {Key: &p.rsa.PublicKey, Algorithm: "PS256"},
		"symmetric":            {Key: []byte(strings.Repeat("k", 32))},
		"private":              {Key: p.rsa},
	} {
		_, _, err := Verify(context.Background(), forge(header, good, p.rs256), rules, keysFunc(func() ([]jose.JSONWebKey, error) { return []jose.JSONWebKey{key}, nil }), at)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

type keysFunc func() ([]jose.JSONWebKey, error)

func (f keysFunc) Candidates(context.Context, string, string) ([]jose.JSONWebKey, error) { return f() }

func TestKeysThatCannotBeHadAreNotARefusal(t *testing.T) {
	raw := forge(header, good, issuer().rs256)
	for name, err := range map[string]error{
		"unavailable":      fmt.Errorf("fetch: %w", ErrUnavailable),
		"something unsaid": errors.New("connection reset"),
		"ended":            context.Canceled,
	} {
		_, _, got := Verify(context.Background(), raw, rules, keysFunc(func() ([]jose.JSONWebKey, error) { return nil, err }), at)
		var refused *Invalid
		if errors.As(got, &refused) || !errors.Is(got, ErrUnavailable) || !errors.Is(got, err) {
			t.Errorf("%s: %v", name, got)
		}
	}
	_, _, got := Verify(context.Background(), raw, rules, keysFunc(func() ([]jose.JSONWebKey, error) { return nil, ErrUnknownKey }), at)
	var refused *Invalid
	if !errors.As(got, &refused) || !errors.Is(got, ErrUnknownKey) {
		t.Errorf("unknown key: %v, want an *Invalid that is ErrUnknownKey", got)
	}
}

// A token of somebody else, or with an algorithm not in use, must not make us ask for keys (B3.4).
func TestKeysAreAskedForOnlyWhenTheyMatter(t *testing.T) {
	p := issuer()
	for name, raw := range map[string]string{
		"another issuer":    forge(header, with(t, "idp.example.com", "evil.example"), p.rs256),
		"another algorithm": forge(`{"alg":"PS256","kid":"x"}`, good, p.ps256),
		"another type":      forge(`{"alg":"RS256","kid":"x","typ":"dpop+jwt"}`, good, p.rs256),
	} {
		_, _, err := Verify(context.Background(), raw, rules, keysFunc(func() ([]jose.JSONWebKey, error) {
			t.Errorf("%s: keys were asked for", name)
			return nil, ErrUnknownKey
		}), at)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestOnlySoManyKeysAreTried(t *testing.T) {
	p := issuer()
	var keys []jose.JSONWebKey
	for range MaxCandidates {
		keys = append(keys, jose.JSONWebKey{Key: &attacker().rsa.PublicKey})
	}
	keys = append(keys, jose.JSONWebKey{Key: &p.rsa.PublicKey})
	_, _, err := Verify(context.Background(), forge(`{"alg":"RS256"}`, good, p.rs256), rules, keysFunc(func() ([]jose.JSONWebKey, error) { return keys, nil }), at)
	if err == nil {
		t.Error("the eleventh key was tried")
	}
}

// A reason goes to the log: what an attacker wrote must not.
func TestReasonsHoldNoPartOfTheToken(t *testing.T) {
	const mark = "MARK"
	p := issuer()
	for _, raw := range []string{
		mark + "." + mark + "." + mark,
		forge(`{"alg":"`+mark+`"}`, good, p.rs256),
		forge(`{"alg":"RS256","kid":"`+mark+`"}`, good, p.rs256),
		forge(`{"alg":"RS256","typ":"`+mark+`"}`, good, p.rs256),
		forge(`{"alg":"RS256","kid":"rsa","crit":["`+mark+`"]}`, good, p.rs256),
		forge(header, `{"`+mark+`":1,"`+mark+`":2}`, p.rs256),
		forge(header, `{"`+mark+`":`+mark+`}`, p.rs256),
		forge(header, with(t, "idp.example.com", mark), p.rs256),
		forge(header, with(t, `"spa"`, `"`+mark+`"`), p.rs256),
		forge(header, with(t, "1800000300", `"`+mark+`"`), p.rs256),
		forge(header, with(t, `"alice"`, `"`+mark+`\u0000"`), p.rs256),
	} {
		_, _, err := Verify(context.Background(), raw, rules, p.keys(t), at)
		if err == nil || strings.Contains(err.Error(), mark) {
			t.Errorf("%v", err)
		}
	}
}

// FuzzVerify: nothing but what the issuer signed is ever accepted, whatever the three parts are.
func FuzzVerify(f *testing.F) {
	p := issuer()
	signed := map[string]bool{}
	for _, raw := range []string{
		forge(header, good, p.rs256),
		forge(`{"alg":"ES256","kid":"ec"}`, good, p.es256),
		forge(`{"alg":"EdDSA","kid":"ed"}`, good, p.eddsa),
	} {
		parts := strings.Split(raw, ".")
		signed[raw] = true
		for _, signature := range []string{parts[2], "", parts[2][:len(parts[2])-1] + "A", strings.Repeat("A", len(parts[2]))} {
			f.Add(parts[0], parts[1], signature)
			f.Add(base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)), parts[1], signature)
			f.Add(parts[0], base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://idp.example.com","aud":"spa","exp":1900000000,"sub":"admin"}`)), signature)
		}
	}
	keys := p.keys(f)
	f.Fuzz(func(t *testing.T, header, payload, signature string) {
		raw := header + "." + payload + "." + signature
		_, claims, err := Verify(context.Background(), raw, rules, keys, at)
		if err == nil && !signed[raw] {
			t.Fatalf("accepted %q with %v", raw, claims)
		}
		if err != nil && claims != nil {
			t.Fatalf("refused with claims: %q", raw)
		}
	})
}
