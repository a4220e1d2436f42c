package exchangehttp_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
	"cloakroom/token"
)

const jwtBearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// keyed are the keys of the client of that name: one of each kind, and two of one kind.
var keyed = sync.OnceValue(func() map[string]crypto.Signer {
	ec, errEC := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, errED := ed25519.GenerateKey(rand.Reader)
	one, errOne := rsa.GenerateKey(rand.Reader, 2048)
	two, errTwo := rsa.GenerateKey(rand.Reader, 2048)
	if err := errors.Join(errEC, errED, errOne, errTwo); err != nil {
		panic(err)
	}
	return map[string]crypto.Signer{"ec": ec, "ed": ed, "rsa": one, "rsa-next": two}
})

func keyedPublic() token.StaticKeys {
	var all token.StaticKeys
	for _, kid := range slices.Sorted(maps.Keys(keyed())) {
		all = append(all, jose.JSONWebKey{Key: keyed()[kid].Public(), KeyID: kid, Use: "sig"})
	}
	return all
}

// markers is a store that can be down, and forgets what is over.
type markers struct {
	now func() time.Time

	mu   sync.Mutex
	of   map[string]mark
	down bool
}

type mark struct {
	attempt []byte
	until   time.Time
}

func (m *markers) Claim(_ context.Context, name string, attempt []byte, ttl time.Duration) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return false, errors.New("store timeout")
	}
	if ttl <= 0 || len(attempt) == 0 {
		return false, fmt.Errorf("a mark for %v by %q", ttl, attempt)
	}
	if was, there := m.of[name]; there && m.now().Before(was.until) {
		return bytes.Equal(was.attempt, attempt), nil
	}
	m.of[name] = mark{attempt, m.now().Add(ttl)}
	return true, nil
}

// assertionClaims are those of a good assertion, each with a jti of its own, changed; a nil member is removed.
func (w *world) assertionClaims(with token.Claims) token.Claims {
	return changed(token.Claims{"iss": "keyed", "sub": "keyed", "aud": us, "jti": rand.Text(), "iat": w.now.Unix(), "exp": w.now.Unix() + 60}, with)
}

// assert signs an assertion.
func (w *world) assert(kid string, alg jose.SignatureAlgorithm, header map[jose.HeaderKey]any, with token.Claims) string {
	w.t.Helper()
	payload, err := json.Marshal(w.assertionClaims(with))
	if err != nil {
		w.t.Fatal(err)
	}
	return assertion(w.t, keyed()[kid], kid, alg, header, payload)
}

func assertion(t testing.TB, key crypto.Signer, kid string, alg jose.SignatureAlgorithm, header map[jose.HeaderKey]any, payload []byte) string {
	t.Helper()
	opts := &jose.SignerOptions{ExtraHeaders: map[jose.HeaderKey]any{"kid": kid}}
	maps.Copy(opts.ExtraHeaders, header)
	if opts.ExtraHeaders["kid"] == nil {
		delete(opts.ExtraHeaders, "kid")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, opts)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// asserted is a form that authenticates by an assertion.
func asserted(raw string, form url.Values) url.Values {
	out := maps.Clone(form)
	out["client_assertion_type"], out["client_assertion"] = []string{jwtBearer}, []string{raw}
	return out
}

func (w *world) present(raw string) reply {
	w.t.Helper()
	return w.send("", "", "/oauth2/token", asserted(raw, w.ask(url.Values{"audience": {"ledger"}})))
}

func TestC103_PrivateKeyJWT(t *testing.T) {
	w := newWorld(t)
	stranger, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	payload := func(with token.Claims) []byte {
		raw, err := json.Marshal(w.assertionClaims(with))
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	ec := func(with token.Claims) string { return w.assert("ec", jose.ES256, nil, with) }
	now := w.now.Unix()
	for _, tc := range []struct {
		name string
		raw  string
		why  string // in the reason the operator gets; "" = accepted
	}{
		{"C-103 ES256", ec(nil), ""},
		{"C-103 EdDSA", w.assert("ed", jose.EdDSA, nil, nil), ""},
		{"C-103 RS256", w.assert("rsa", jose.RS256, nil, nil), ""},
		{"C-103 PS256", w.assert("rsa", jose.PS256, nil, nil), ""},
		{"C-103 the next key while it is being changed", w.assert("rsa-next", jose.RS256, nil, nil), ""},
		{"C-103 for the token endpoint", ec(token.Claims{"aud": us + "/oauth2/token"}), ""},
		{"C-103 for issuer and token endpoint", ec(token.Claims{"aud": []string{us, us + "/oauth2/token"}}), ""},
		{"C-103 with typ JWT", w.assert("ec", jose.ES256, header("typ", "JWT"), nil), ""},
		{"C-103 with the type of its own", w.assert("ec", jose.ES256, header("typ", "client-authentication+jwt"), nil), ""},
		{"C-103 without kid, where only one key fits", w.assert("ec", jose.ES256, header("kid", nil), nil), ""},
		{"C-103 ends in just 5 minutes", ec(token.Claims{"exp": now + 300}), ""},
		{"C-103 ended within the clocks' skew", ec(token.Claims{"exp": now - 29}), ""},
		{"C-103 without iat", ec(token.Claims{"iat": nil}), ""},

		{"C-103 ends in more than 5 minutes", ec(token.Claims{"exp": now + 301}), "exp is more than 5 minutes ahead"},
		{"C-103 no exp", ec(token.Claims{"exp": nil}), "no exp"},
		{"C-103 ended", ec(token.Claims{"exp": now - 30}), "expired"},
		{"C-103 begins later", ec(token.Claims{"nbf": now + 31}), "nbf"},
		{"C-103 issued later", ec(token.Claims{"iat": now + 31}), "iat"},
		{"C-103 no jti", ec(token.Claims{"jti": nil}), "no jti"},
		{"C-103 an empty jti", ec(token.Claims{"jti": ""}), "no jti"},
		{"C-103 a jti that is a number", ec(token.Claims{"jti": 7}), "no jti"},
		{"C-103 no aud", ec(token.Claims{"aud": nil}), "no aud"},
		{"C-103 an empty aud", ec(token.Claims{"aud": []string{}}), "no aud"},
		{"C-103 for another server", ec(token.Claims{"aud": "https://other.example"}), "aud is not this server"},
		{"C-103 for another server as well", ec(token.Claims{"aud": []string{us, "https://other.example"}}), "aud is not this server"},
		{"C-103 for the introspection endpoint", ec(token.Claims{"aud": us + "/oauth2/introspect"}), "aud is not this server"},
		{"C-103 for something that begins like it", ec(token.Claims{"aud": us + "/"}), "aud is not this server"},
		{"C-103 no sub", ec(token.Claims{"sub": nil}), "sub is not iss"},
		{"C-103 sub is another", ec(token.Claims{"sub": "gateway"}), "sub is not iss"},
		{"C-103 no iss", ec(token.Claims{"iss": nil}), "iss"},
		{"C-103 iss is a client without keys", ec(token.Claims{"iss": "gateway", "sub": "gateway"}), "no client of that name"},
		{"C-103 iss is no client", ec(token.Claims{"iss": "nobody", "sub": "nobody"}), "no client of that name"},
		{"C-103 iss is the browser's side", ec(token.Claims{"iss": "bff", "sub": "bff"}), "no client of that name"},
		{"C-103 a wrong key under the right kid", assertion(t, stranger, "ec", jose.ES256, nil, payload(nil)), "signature does not verify"},
		{"C-103 a wrong key without kid", assertion(t, stranger, "", jose.ES256, header("kid", nil), payload(nil)), "signature does not verify"},
		{"C-103 an unknown kid", w.assert("ec", jose.ES256, header("kid", "other"), nil), "the client has no such key"},
		{"C-103 the kid of a key of another kind", w.assert("ec", jose.ES256, header("kid", "rsa"), nil), "the client has no such key"},
		{"C-103 without kid, where two keys fit", w.assert("rsa", jose.RS256, header("kid", nil), nil), "kid does not say which"},
		{"C-103 RS512", w.assert("rsa", jose.RS512, nil, nil), "alg"},
		{"C-103 HS256 with a public key for its secret", hmacOf(t, payload(nil)), "alg"},
		{"C-103 alg none", none(string(payload(nil))), "no signature"},
		{"C-103 another's kind of token", w.assert("ec", jose.ES256, header("typ", "at+jwt"), nil), "typ"},
		{"C-103 a logout token", w.assert("ec", jose.ES256, header("typ", "logout+jwt"), nil), "typ"},
		{"C-103 a key of its own in the header", w.assert("ec", jose.ES256, header("jwk", map[string]any{"kty": "EC"}), nil), "brings its own key"},
		{"C-103 cut", ec(nil)[:120], "not a signed token"},
		{"C-103 not a JWT", "x", "not a signed token"},
		{"C-103 four parts", ec(nil) + ".x", "not a signed token"},
		{"C-103 too long", strings.Repeat("a", 70_000), "longer than"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			got := w.present(tc.raw)
			if tc.why == "" {
				if c := w.claims(got); c["client_id"] != "keyed" || c["sub"] != "alice" {
					t.Errorf("%v", c)
				}
				return
			}
			w.refused(got, 401, "invalid_client")
			if e := w.lastEvent(); e.Client != "" || e.Code != "invalid_client" || !strings.Contains(e.Reason, tc.why) {
				t.Errorf("C-154: observed %+v", e)
			}
		})
	}
}

// hmacOf signs with a public key as if it were a shared secret.
func hmacOf(t *testing.T, payload []byte) string {
	t.Helper()
	public, err := json.Marshal(keyedPublic()[0])
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: public}, (&jose.SignerOptions{}).WithHeader("kid", "ec"))
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestAnAssertionInItsForm(t *testing.T) {
	w := newWorld(t)
	good := func() string { return w.assert("ec", jose.ES256, nil, nil) }
	for _, tc := range []struct {
		name   string
		with   url.Values // over a good form
		auth   string
		status int
		code   exchange.Code
	}{
		{"the same client_id", url.Values{"client_id": {"keyed"}}, "", 200, ""},
		{"C-104 another client_id", url.Values{"client_id": {"gateway"}}, "", 401, "invalid_client"},
		{"C-104 a client_id that is nobody's", url.Values{"client_id": {"nobody"}}, "", 401, "invalid_client"},
		{"C-102 with Basic", nil, basic("gateway", secretA), 400, "invalid_request"},
		{"C-102 with a secret", url.Values{"client_secret": {"x"}}, "", 400, "invalid_request"},
		{"without its type", url.Values{"client_assertion_type": nil}, "", 400, "invalid_request"},
		{"its type alone", url.Values{"client_assertion": nil}, "", 400, "invalid_request"},
		{"of another type", url.Values{"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}}, "", 401, "invalid_client"},
		{"twice", url.Values{"client_assertion": {good(), good()}}, "", 400, "invalid_request"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w.t = t
			form := asserted(good(), w.ask(url.Values{"audience": {"ledger"}}))
			for name, values := range tc.with {
				if form[name] = values; values == nil {
					delete(form, name)
				}
			}
			r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", formKind)
			if tc.auth != "" {
				r.Header.Set("Authorization", tc.auth)
			}
			got := w.serve(r)
			if tc.code == "" {
				w.claims(got)
				return
			}
			w.refused(got, tc.status, tc.code)
		})
	}
}

// An assertion authenticates once (CVE-2020-5300, CVE-2020-15222), wherever it is presented, as long as it could be.
func TestC103_AnAssertionIsUsedOnce(t *testing.T) {
	w := newWorld(t)
	end := w.now.Add(60 * time.Second)
	raw := w.assert("ec", jose.ES256, nil, token.Claims{"jti": "once"})
	w.claims(w.present(raw))
	w.refused(w.present(raw), 401, "invalid_client")
	if e := w.lastEvent(); !strings.Contains(e.Reason, "used before") {
		t.Errorf("observed %+v", e)
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		w.refused(w.send("", "", path, asserted(raw, url.Values{"token": {"x"}})), 401, "invalid_client")
	}
	again := w.assert("rsa", jose.RS256, nil, token.Claims{"jti": "once", "exp": w.now.Unix() + 90})
	w.refused(w.present(again), 401, "invalid_client") // another assertion, but the same jti
	w.now = end.Add(29 * time.Second)                  // a clock that is behind could still take it for alive
	w.refused(w.present(raw), 401, "invalid_client")
	w.now = end.Add(31 * time.Second)
	w.refused(w.present(raw), 401, "invalid_client") // over
	for name, m := range w.markers.of {
		if strings.Contains(name, "once") || m.until.Sub(end) != 30*time.Second {
			t.Errorf("%s is remembered until %v", name, m.until)
		}
	}
	w.claims(w.present(w.assert("ec", jose.ES256, nil, token.Claims{"jti": "once"}))) // long after, a jti may come again
}

// Two clients may have the same jti: neither uses up the other's.
func TestC103_AJTIIsItsClientsOwn(t *testing.T) {
	w := newWorld(t, func(p *exchange.PolicyConfig, c *exchangehttpConfig) {
		c.Clients = append(c.Clients, exchangehttp.Caller{ID: "keyed2", Keys: keyedPublic()})
		other := p.Clients[len(p.Clients)-1]
		other.ID = "keyed2"
		p.Clients = append(p.Clients, other)
	})
	w.claims(w.present(w.assert("ec", jose.ES256, nil, token.Claims{"jti": "same"})))
	w.claims(w.present(w.assert("ec", jose.ES256, nil, token.Claims{"jti": "same", "iss": "keyed2", "sub": "keyed2"})))
	if len(w.markers.of) != 2 {
		t.Errorf("%d assertions are remembered", len(w.markers.of))
	}
}

// Only an assertion that is good is used up: whoever sees a jti cannot spend it.
func TestARefusedAssertionIsNotUsedUp(t *testing.T) {
	w := newWorld(t)
	w.present(w.assert("ec", jose.ES256, header("kid", "rsa"), token.Claims{"jti": "kept"}))
	w.present(w.assert("ec", jose.ES256, nil, token.Claims{"jti": "kept", "aud": "https://other.example"}))
	w.send("", "", "/oauth2/token", asserted(w.assert("ec", jose.ES256, nil, token.Claims{"jti": "kept"}), w.ask(url.Values{"client_id": {"gateway"}})))
	if len(w.markers.of) != 0 {
		t.Errorf("%d assertions are remembered", len(w.markers.of))
	}
	w.claims(w.present(w.assert("ec", jose.ES256, nil, token.Claims{"jti": "kept"})))
}

func TestManyAtOnceUseAnAssertionOnce(t *testing.T) {
	w := newWorld(t)
	form := asserted(w.assert("ec", jose.ES256, nil, nil), w.ask(url.Values{"audience": {"ledger"}})).Encode()
	var all sync.WaitGroup
	statuses := make([]int, 32)
	for i := range statuses {
		all.Go(func() {
			r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(form))
			r.Header.Set("Content-Type", formKind)
			rec := httptest.NewRecorder()
			w.handler.ServeHTTP(rec, r)
			statuses[i] = rec.Code
		})
	}
	all.Wait()
	if slices.Sort(statuses); statuses[0] != 200 || statuses[1] != 401 || statuses[31] != 401 {
		t.Errorf("%v", statuses)
	}
}

// Where the store or the keys cannot tell, nobody is let in, and nobody is called a liar.
func TestWhatCannotTellAboutAnAssertionIs503(t *testing.T) {
	w := newWorld(t)
	w.markers.down = true
	w.refused(w.present(w.assert("ec", jose.ES256, nil, nil)), 503, "temporarily_unavailable")
	w.refused(w.present(w.assert("ec", jose.ES256, header("kid", "rsa"), nil)), 401, "invalid_client") // needs no store
	down := newIssuer(t, "keyed")
	down.down = true
	w = newWorld(t, func(_ *exchange.PolicyConfig, c *exchangehttpConfig) { c.Clients[4].Keys = down })
	w.refused(w.present(w.assert("ec", jose.ES256, nil, nil)), 503, "temporarily_unavailable")
	if e := w.lastEvent(); e.Client != "" || e.Code != "temporarily_unavailable" || !strings.Contains(e.Reason, `keys of client "keyed"`) {
		t.Errorf("observed %+v", e)
	}
}

// The same authentication stands before introspection and revocation.
func TestAnAssertionAtTheOtherEndpoints(t *testing.T) {
	w := newWorld(t)
	own, _ := w.send("", "", "/oauth2/token", asserted(w.assert("ec", jose.ES256, nil, nil), url.Values{"grant_type": {"client_credentials"}, "audience": {"ledger"}})).body["access_token"].(string)
	ask := func(path string) reply {
		return w.send("", "", path, asserted(w.assert("ed", jose.EdDSA, nil, nil), url.Values{"token": {own}}))
	}
	if r := ask("/oauth2/introspect"); r.body["active"] != true || r.body["client_id"] != "keyed" {
		t.Fatalf("C-133: %d %s", r.status, r.raw)
	}
	if r := ask("/oauth2/revoke"); r.status != 200 {
		t.Errorf("C-134: %d %s", r.status, r.raw)
	}
	if r := ask("/oauth2/introspect"); r.raw != `{"active":false}` {
		t.Errorf("C-134: %d %s", r.status, r.raw)
	}
	for _, path := range []string{"/oauth2/introspect", "/oauth2/revoke"} {
		w.refused(w.send("", "", path, asserted(w.assert("ec", jose.ES256, header("kid", "rsa"), nil), url.Values{"token": {own}})), 401, "invalid_client")
	}
}

// counted counts the keys that were handed out for a signature to be verified with.
type counted struct {
	token.Keys
	asked *int
}

func (c counted) Candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	*c.asked++
	return c.Keys.Candidates(ctx, kid, alg)
}

// Whatever is wrong with an assertion's signer, one signature is verified, and the answer reads the same: neither shows
// which clients there are, or what keys they have.
func TestC110_AnUnknownClientAndAWrongKeyCostTheSame(t *testing.T) {
	asked := 0
	w := newWorld(t, func(_ *exchange.PolicyConfig, c *exchangehttpConfig) {
		c.Clients[4].Keys = counted{keyedPublic(), &asked}
	})
	strangers, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	forms := map[string]string{}
	for name, with := range map[string]struct {
		kid    any
		client string
	}{
		"an unknown client": {"ec", "nobody"}, "a client without keys": {"ec", "gateway"}, "a wrong key": {"ec", "keyed"},
		"an unknown kid": {"x", "keyed"}, "a kid of another kind": {"rsa", "keyed"},
	} {
		payload, err := json.Marshal(w.assertionClaims(token.Claims{"iss": with.client, "sub": with.client}))
		if err != nil {
			t.Fatal(err)
		}
		forms[name] = asserted(assertion(t, strangers, "", jose.ES256, header("kid", with.kid), payload), w.ask(nil)).Encode()
	}
	ask := func(body string) (time.Duration, string) {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", formKind)
		rec := httptest.NewRecorder()
		began := time.Now()
		w.handler.ServeHTTP(rec, r)
		return time.Since(began), fmt.Sprint(rec.Code, rec.Header()["Www-Authenticate"], rec.Body)
	}
	const tries = 1000
	took := map[string][]time.Duration{}
	_, want := ask(forms["a wrong key"])
	for range tries { // in turns, so that all meet the same machine
		for name, body := range forms {
			d, got := ask(body)
			took[name] = append(took[name], d)
			if got != want {
				t.Fatalf("%s: %s, want %s", name, got, want)
			}
		}
	}
	median := func(name string) time.Duration { slices.Sort(took[name]); return took[name][tries/2] }
	for name := range forms {
		if apart := (median(name) - median("a wrong key")).Abs(); apart > time.Millisecond {
			t.Errorf("medians of %s (%v) and a wrong key (%v) are %v apart", name, median(name), median("a wrong key"), apart)
		}
	}
	if asked != 3*tries+1 { // each time once; of the other two clients there are none to ask for
		t.Errorf("asked for the client's keys %d times", asked)
	}
}

func TestKeysNeedAMemory(t *testing.T) {
	w := newWorld(t)
	cfg := exchangehttp.Config{
		Service: w.service, Keys: w.keys, URL: us, Log: discard(), Clients: []exchangehttp.Caller{{ID: "keyed", Keys: keyedPublic()}},
	}
	if _, err := exchangehttp.New(cfg); err == nil || !strings.Contains(err.Error(), `"keyed"`) {
		t.Errorf("keys without markers: %v", err)
	}
	cfg.Clients = []exchangehttp.Caller{{ID: "gateway", Secrets: []secret.Text{"s"}}}
	server, err := exchangehttp.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	rec := httptest.NewRecorder()
	server.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil))
	if rec.Code != 200 || strings.Contains(rec.Body.String(), "private_key_jwt") || strings.Contains(rec.Body.String(), "auth_signing_alg") {
		t.Errorf("C-130: %d %s", rec.Code, rec.Body)
	}
}
