package token

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	gojwt "github.com/golang-jwt/jwt/v5"
	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"cloakroom/secret"
)

// clock is one that the test sets.
type clock struct{ nanos atomic.Int64 }

func newClock(t time.Time) *clock {
	c := &clock{}
	c.set(t)
	return c
}
func (c *clock) now() time.Time        { return time.Unix(0, c.nanos.Load()) }
func (c *clock) set(t time.Time)       { c.nanos.Store(t.UnixNano()) }
func (c *clock) step(by time.Duration) { c.nanos.Add(int64(by)) }

const rotate = 720 * time.Hour

// epochStart is the first moment of an epoch.
func epochStart(epoch int64) time.Time { return time.Unix(0, epoch*int64(rotate)) }

func keyRing(t testing.TB, c *clock, secrets ...secret.Key) *KeyRing {
	t.Helper()
	k, err := NewKeyRing(KeyRingConfig{
		Secrets: secrets, Algorithm: ES256, Also: []string{EdDSA, RS256, ES256}, Rotate: rotate, RSAKeys: []*rsa.PrivateKey{issuer().rsa}, Now: c.now,
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func mint(t testing.TB, k *KeyRing, alg string, now time.Time) string {
	t.Helper()
	raw, err := k.Sign(alg, "at+jwt", Claims{"iss": "https://cloakroom:8081", "aud": "orders", "sub": "alice", "iat": now.Unix(), "exp": now.Unix() + 300, "jti": "1"})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func verifies(k *KeyRing, raw string, now time.Time) error {
	_, _, err := Verify(context.Background(), raw, Rules{Issuer: "https://cloakroom:8081", Algorithms: k.Algorithms(), Types: []string{"at+jwt"}}, k, now)
	return err
}

// The vector was worked out by another implementation; it must never change, or replicas of two releases would disagree.
func TestDerivedKeysAreThoseOfTheVector(t *testing.T) {
	raw, err := os.ReadFile("testdata/derived_keys.json")
	if err != nil {
		t.Fatal(err)
	}
	var vector struct {
		Secret string
		Keys   []struct {
			Algorithm            string
			Epoch                int64
			Private, Public, KID string
		}
	}
	if err := json.Unmarshal(raw, &vector); err != nil {
		t.Fatal(err)
	}
	s, err := secret.ParseKey(vector.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if len(vector.Keys) != 6 {
		t.Fatalf("%d keys in the vector", len(vector.Keys))
	}
	for _, want := range vector.Keys {
		key, err := derivedKey(s, want.Algorithm, want.Epoch)
		if err != nil {
			t.Fatal(err)
		}
		var private, public []byte
		switch p := key.private.(type) {
		case *ecdsa.PrivateKey:
			if private, err = p.Bytes(); err != nil {
				t.Fatal(err)
			}
			if public, err = p.PublicKey.Bytes(); err != nil {
				t.Fatal(err)
			}
			public = public[1:] // less the mark of an uncompressed point
		case ed25519.PrivateKey:
			private, public = p.Seed(), p.Public().(ed25519.PublicKey)
		}
		if hex.EncodeToString(private) != want.Private || hex.EncodeToString(public) != want.Public || key.public.KeyID != want.KID {
			t.Errorf("%s, epoch %d: %x, %x, %s", want.Algorithm, want.Epoch, private, public, key.public.KeyID)
		}
	}
}

func TestMintedTokensVerifyWithOtherLibraries(t *testing.T) {
	now := time.Now()
	k := keyRing(t, newClock(now), secret.NewKey(), secret.NewKey())
	set, err := jwk.Parse(k.JWKS().JSON)
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range k.Algorithms() {
		t.Run(alg, func(t *testing.T) {
			raw := mint(t, k, alg, now)
			if err := verifies(k, raw, now); err != nil {
				t.Fatal(err)
			}

			byJWX, err := jwt.Parse([]byte(raw), jwt.WithKeySet(set), jwt.WithIssuer("https://cloakroom:8081"), jwt.WithAudience("orders"))
			if err != nil {
				t.Fatalf("jwx: %v", err)
			}
			if subject, _ := byJWX.Subject(); subject != "alice" {
				t.Errorf("jwx: subject %q", subject)
			}

			byGolangJWT, err := gojwt.Parse(raw, func(token *gojwt.Token) (any, error) {
				kid, _ := token.Header["kid"].(string)
				key, ok := set.LookupKeyID(kid)
				if !ok {
					return nil, errors.New("no such key in the set")
				}
				var public any
				return public, jwk.Export(key, &public)
			}, gojwt.WithValidMethods([]string{alg}), gojwt.WithAudience("orders"), gojwt.WithExpirationRequired())
			if err == nil && byGolangJWT.Header["typ"] != "at+jwt" {
				t.Errorf("golang-jwt: typ %v", byGolangJWT.Header["typ"])
			}
			if err != nil {
				t.Fatalf("golang-jwt: %v", err)
			}

			changed := raw[:len(raw)-8] + "AAAAAAAA"
			if _, err := jwt.Parse([]byte(changed), jwt.WithKeySet(set)); err == nil {
				t.Error("jwx accepts a changed signature: it does not check")
			}
		})
	}
}

func TestTheKeySet(t *testing.T) {
	secrets := []secret.Key{secret.NewKey(), secret.NewKey()}
	k := keyRing(t, newClock(epochStart(688)), secrets...)
	var doc struct{ Keys []map[string]any }
	if err := json.Unmarshal(k.JWKS().JSON, &doc); err != nil {
		t.Fatal(err)
	}
	if want := 2*2*3 + 1; len(doc.Keys) != want { // algorithms, secrets, epochs; and the RSA key
		t.Errorf("%d keys, want %d", len(doc.Keys), want)
	}
	set, err := jwk.Parse(k.JWKS().JSON)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for i, key := range doc.Keys {
		kid, _ := key["kid"].(string)
		if seen[kid] {
			t.Errorf("%s is there twice", kid)
		}
		seen[kid] = true
		if key["use"] != "sig" || !slices.Contains(k.Algorithms(), key["alg"].(string)) {
			t.Errorf("key %d: %v", i, key)
		}
		for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "k"} {
			if _, there := key[private]; there {
				t.Errorf("key %d publishes %q", i, private)
			}
		}
		other, _ := set.Key(i)
		thumbprint, err := other.Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if want := base64.RawURLEncoding.EncodeToString(thumbprint); kid != want {
			t.Errorf("kid %s is not the thumbprint %s", kid, want)
		}
	}
	for _, s := range secrets {
		for _, alg := range []string{ES256, EdDSA} {
			for epoch := int64(687); epoch <= 689; epoch++ {
				key, err := derivedKey(s, alg, epoch)
				if err != nil {
					t.Fatal(err)
				}
				if !seen[key.public.KeyID] {
					t.Errorf("%s of epoch %d is not published", alg, epoch)
				}
			}
		}
	}
	if !seen[k.CurrentID()] {
		t.Error("the key that signs is not published")
	}
}

func TestTheKeySetMayBeCachedForHalfAnEpochAtMost(t *testing.T) {
	for _, tt := range []struct{ rotate, want time.Duration }{
		{720 * time.Hour, time.Hour}, {2 * time.Hour, time.Hour}, {time.Hour, 30 * time.Minute}, {30 * time.Second, 15 * time.Second},
	} {
		k, err := NewKeyRing(KeyRingConfig{Secrets: []secret.Key{secret.NewKey()}, Algorithm: EdDSA, Rotate: tt.rotate, Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		if got := k.JWKS().MaxAge; got != tt.want {
			t.Errorf("rotate %v: max-age %v, want %v", tt.rotate, got, tt.want)
		}
	}
}

func TestReplicasAgree(t *testing.T) {
	s := secret.NewKey()
	a, b := newClock(epochStart(688)), newClock(epochStart(689).Add(-time.Nanosecond)) // both in epoch 688
	one, two := keyRing(t, a, s), keyRing(t, b, s)
	if string(one.JWKS().JSON) != string(two.JWKS().JSON) || one.JWKS().ETag != two.JWKS().ETag || one.CurrentID() != two.CurrentID() {
		t.Error("two replicas with one secret publish two key sets")
	}
	if err := verifies(two, mint(t, one, "", a.now()), a.now()); err != nil {
		t.Error(err)
	}
	etag := two.JWKS().ETag
	b.step(time.Nanosecond)
	if two.Epoch() != 689 || two.JWKS().ETag == etag || one.CurrentID() == two.CurrentID() {
		t.Error("nothing changed with the epoch")
	}
	// The clock of one is behind by less than a moment, but on the other side of the change: each knows the other's key.
	if err := verifies(one, mint(t, two, "", a.now()), a.now()); err != nil {
		t.Errorf("a token of the next epoch: %v", err)
	}
	if err := verifies(two, mint(t, one, "", a.now()), a.now()); err != nil {
		t.Errorf("a token of the previous epoch: %v", err)
	}
}

func TestAKeyServesUntilTheEndOfTheNextEpoch(t *testing.T) {
	c := newClock(epochStart(688))
	k := keyRing(t, c, secret.NewKey())
	minted := c.now()
	raw := mint(t, k, "", minted)
	c.set(epochStart(690).Add(-1))
	if err := verifies(k, raw, minted); err != nil {
		t.Errorf("in the next epoch: %v", err)
	}
	c.set(epochStart(690))
	if err := verifies(k, raw, minted); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("two epochs later: %v, want ErrUnknownKey", err)
	}
}

// A secret is rotated by append, promote, remove; at each step every token in use verifies at every replica.
func TestASecretIsRotatedWithoutAnyoneNoticing(t *testing.T) {
	c := newClock(epochStart(688).Add(time.Hour))
	older, newer := secret.NewKey(), secret.NewKey()
	before, appended, promoted, removed := keyRing(t, c, older), keyRing(t, c, older, newer), keyRing(t, c, newer, older), keyRing(t, c, newer)
	if before.CurrentID() != appended.CurrentID() || appended.CurrentID() == promoted.CurrentID() || promoted.CurrentID() != removed.CurrentID() {
		t.Error("the first secret does not decide which key signs")
	}
	for name, pair := range map[string][2]*KeyRing{
		"appended here, not yet there": {appended, before}, "promoted here, appended there": {promoted, appended}, "removed here, promoted there": {removed, promoted},
	} {
		for direction, rings := range map[string][2]*KeyRing{"there": pair, "back": {pair[1], pair[0]}} {
			if name == "removed here, promoted there" && direction == "back" {
				continue // by then no token of the older secret lives, and no replica signs with it
			}
			if err := verifies(rings[1], mint(t, rings[0], "", c.now()), c.now()); err != nil {
				t.Errorf("%s, %s: %v", name, direction, err)
			}
		}
	}
	if err := verifies(removed, mint(t, before, "", c.now()), c.now()); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("a token of the removed secret: %v", err)
	}
}

func TestSigningDerivesNothing(t *testing.T) {
	c := newClock(epochStart(688))
	k := keyRing(t, c, secret.NewKey())
	first := k.keys()
	for range 3 {
		mint(t, k, "", c.now())
		k.JWKS()
		c.step(rotate / 4)
	}
	if k.keys() != first {
		t.Error("the keys were derived anew within one epoch")
	}
}

func TestAnEpochMayBeginWhileManySign(t *testing.T) {
	c := newClock(epochStart(688))
	k := keyRing(t, c, secret.NewKey())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				now := c.now()
				raw, err := k.Sign(ES256, "at+jwt", Claims{"iss": "https://cloakroom:8081", "exp": now.Unix() + 300})
				if err != nil {
					t.Error(err)
				}
				if err := verifies(k, raw, now); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 5 {
		c.step(rotate / 5) // one epoch in all, so that whatever was signed is still known
	}
	wg.Wait()
}

func TestNewKeyRingRefuses(t *testing.T) {
	s, own := secret.NewKey(), issuer().rsa
	base := KeyRingConfig{Secrets: []secret.Key{s}, Algorithm: ES256, Rotate: rotate, Now: time.Now}
	for _, tt := range []struct {
		name   string
		change func(*KeyRingConfig)
		fault  string
	}{
		{"no algorithm", func(c *KeyRingConfig) { c.Algorithm = "" }, "no signing with"},
		{"HS256", func(c *KeyRingConfig) { c.Algorithm = "HS256" }, "no signing with"},
		{"none, for some audience", func(c *KeyRingConfig) { c.Also = []string{"none"} }, "no signing with"},
		{"no secret", func(c *KeyRingConfig) { c.Secrets = nil }, "no secret"},
		{"a secret twice", func(c *KeyRingConfig) { c.Secrets = []secret.Key{s, s} }, "twice"},
		{"RS256 without a key", func(c *KeyRingConfig) { c.Algorithm = RS256 }, "RSA key"},
		{"RS256 for some audience without a key", func(c *KeyRingConfig) { c.Also = []string{RS256} }, "RSA key"},
		{"an RSA key twice", func(c *KeyRingConfig) { c.RSAKeys = []*rsa.PrivateKey{own, own} }, "twice"},
		{"no rotation", func(c *KeyRingConfig) { c.Rotate = 0 }, "rotation"},
		{"no clock", func(c *KeyRingConfig) { c.Now = nil }, "clock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := base
			tt.change(&cfg)
			if _, err := NewKeyRing(cfg); err == nil || !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("error %v, want one about %q", err, tt.fault)
			}
		})
	}
}

func TestRS256NeedsNoSecret(t *testing.T) {
	k, err := NewKeyRing(KeyRingConfig{Algorithm: RS256, Rotate: rotate, RSAKeys: []*rsa.PrivateKey{issuer().rsa, attacker().rsa}, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if err := verifies(k, mint(t, k, "", time.Now()), time.Now()); err != nil {
		t.Error(err)
	}
	if n := strings.Count(string(k.JWKS().JSON), `"kid"`); n != 2 {
		t.Errorf("%d keys published, want both", n)
	}
}

func TestSignRefuses(t *testing.T) {
	k := keyRing(t, newClock(time.Now()), secret.NewKey())
	for _, tt := range []struct {
		name, alg, typ string
		claims         Claims
	}{
		{"an algorithm not in use", "PS256", "at+jwt", Claims{}},
		{"none", "none", "at+jwt", Claims{}},
		{"no type", ES256, "", Claims{}},
		{"claims that are not JSON", ES256, "at+jwt", Claims{"a": func() {}}},
		{"a token nobody would read, ourselves included", ES256, "at+jwt", Claims{"a": strings.Repeat("x", MaxSize-1000)}},
	} {
		if raw, err := k.Sign(tt.alg, tt.typ, tt.claims); err == nil || raw != "" {
			t.Errorf("%s: signed", tt.name)
		}
	}
}

func TestCandidatesOfTheRing(t *testing.T) {
	k := keyRing(t, newClock(epochStart(688)), secret.NewKey(), secret.NewKey())
	ctx := context.Background()
	if got, err := k.Candidates(ctx, k.CurrentID(), ES256); err != nil || len(got) != 1 {
		t.Errorf("by kid: %d, %v", len(got), err)
	}
	if _, err := k.Candidates(ctx, k.CurrentID(), EdDSA); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("by kid with another algorithm: %v", err)
	}
	if _, err := k.Candidates(ctx, "gone", ES256); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("an unknown kid: %v", err)
	}
	if got, err := k.Candidates(ctx, "", ES256); err != nil || len(got) != 6 || got[0].KeyID != k.CurrentID() {
		t.Errorf("without kid: %d, %v", len(got), err)
	}
}

// crooked is a signer that answers what no key of P-256 would.
type crooked struct {
	crypto.Signer
	answer []byte
	err    error
}

func (c crooked) Public() crypto.PublicKey { return issuer().ec.Public() }
func (c crooked) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return c.answer, c.err
}

func TestASignatureThatIsNoneIsNotPassedOn(t *testing.T) {
	long := append([]byte{0x30, 0x26, 0x02, 0x21, 0x7f}, make([]byte, 32)...)
	long = append(long, 0x02, 0x01, 0x01)
	for name, signer := range map[string]crooked{
		"not ASN.1":                     {answer: []byte("x")},
		"a number that is too long":     {answer: long},
		"zero":                          {answer: []byte{0x30, 0x06, 0x02, 0x01, 0x00, 0x02, 0x01, 0x01}},
		"something after the signature": {answer: []byte{0x30, 0x06, 0x02, 0x01, 0x01, 0x02, 0x01, 0x01, 0x00}},
		"a device that is gone":         {err: errors.New("no device")},
	} {
		key, err := newSigningKey(ES256, signer)
		if err != nil {
			t.Fatal(err)
		}
		if raw, err := key.sign("at+jwt", []byte("{}")); err == nil || raw != "" {
			t.Errorf("%s: signed", name)
		}
	}
}

func TestWhatIsPublishedIsWhatTheKeySetHolds(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ring, err := NewKeyRing(KeyRingConfig{
		Secrets: []secret.Key{secret.NewKey(), secret.NewKey()}, Algorithm: ES256, Also: []string{EdDSA, RS256}, Rotate: time.Hour,
		RSAKeys: []*rsa.PrivateKey{rsaKey}, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []struct{ Kid, Alg string } }
	if err := json.Unmarshal(ring.JWKS().JSON, &set); err != nil {
		t.Fatal(err)
	}
	published, signing := ring.Published(), 0
	if len(published) != len(set.Keys) || len(published) != 2*2*3+1 {
		t.Fatalf("%d published, %d in the set", len(published), len(set.Keys))
	}
	for i, key := range published {
		if key.ID != set.Keys[i].Kid || key.Algorithm != set.Keys[i].Alg || (key.Secret == "") != (key.Algorithm == RS256) {
			t.Errorf("%+v is published as %s", key, set.Keys[i].Kid)
		}
		if key.Signs {
			signing++
		}
	}
	if signing != 3 {
		t.Errorf("%d keys sign, for three algorithms", signing)
	}
}
