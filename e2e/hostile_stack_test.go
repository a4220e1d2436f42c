package e2e

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/internal/idptest"
)

// hostileStack is one process that signs people in at a provider which misbehaves on demand.
type hostileStack struct {
	*cloakroom
	provider  *idptest.Provider
	orders    *api
	elsewhere *elsewhere // where hostile answers and tokens point
	keys      hostileKeys
	atIdP     *http.Client // alice's browser at the provider: there she signs in once
}

// hostileKeys are keys of the test's own that the provider publishes beside its own, so that whatever is signed with them is
// refused for another reason than an unknown key.
type hostileKeys struct {
	any, enc, ps *rsa.PrivateKey
	ec           *ecdsa.PrivateKey
	ed           ed25519.PrivateKey
}

func newHostileKeys(t *testing.T) hostileKeys {
	t.Helper()
	k := hostileKeys{any: newRSAKey(t), enc: newRSAKey(t)}
	k.ps = k.enc
	var err error
	if k.ec, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	if _, k.ed, err = ed25519.GenerateKey(rand.Reader); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k hostileKeys) public() []jose.JSONWebKey {
	return []jose.JSONWebKey{
		{Key: k.any.Public(), KeyID: "any", Use: "sig"},
		{Key: k.enc.Public(), KeyID: "enc", Use: "enc"},
		{Key: k.ps.Public(), KeyID: "ps", Use: "sig", Algorithm: "PS256"},
		{Key: k.ec.Public(), KeyID: "ec", Use: "sig"},
		{Key: k.ed.Public(), KeyID: "ed", Use: "sig"},
	}
}

func (k hostileKeys) publish(doc map[string]any) {
	own, _ := doc["keys"].([]jose.JSONWebKey)
	doc["keys"] = append(slices.Clone(own), k.public()...)
}

// elsewhere is a server that nobody should ever ask.
type elsewhere struct {
	*httptest.Server
	hits atomic.Int64
}

func newElsewhere(t *testing.T) *elsewhere {
	e := &elsewhere{}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		e.hits.Add(1)
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"access_token":"stolen","token_type":"Bearer","id_token":"a.b.c","sub":"x","keys":[]}`))
	}))
	t.Cleanup(e.Close)
	return e
}

func newHostileStack(t *testing.T, program, more string) *hostileStack {
	t.Helper()
	s := &hostileStack{
		cloakroom: newCloakroom(t), orders: startAPI(t), elsewhere: newElsewhere(t), keys: newHostileKeys(t), atIdP: newBrowser(t),
		provider: idptest.New(idptest.Config{Persona: idptest.Generic, Clients: []idptest.Client{{ID: clientID, Secret: clientSecret}}}),
	}
	s.program = program
	s.behave(idptest.Misbehave{})
	s.configure(t, "memory:", s.provider.Start(t), fmt.Sprintf(`
    scopes: [openid, email, profile, offline_access, orders-api/read]
%s
routes:
  - {path: /api/orders, upstream: "%s", audience: orders}
  - {path: /legacy, upstream: "%s", token: access}
  - {path: /, spa: %s}
limits: {login_per_minute: 100000}
`, more, s.orders.URL, s.orders.URL, spa(t)))
	s.serve(t)
	return s
}

// behave lets the provider misbehave; the keys of the test are published in any case.
func (s *hostileStack) behave(m idptest.Misbehave) {
	if m.KeySet == nil {
		m.KeySet = s.keys.publish
	}
	s.provider.Set(m)
}

func (s *hostileStack) visitor(t *testing.T) *visitor {
	t.Helper()
	v := s.cloakroom.visitor(t)
	v.atIdP = s.atIdP
	return v
}

// mustSignIn shows that a person gets in where the provider behaves, so that what is refused is refused for its fault.
func (s *hostileStack) mustSignIn(t *testing.T) *visitor {
	t.Helper()
	s.behave(idptest.Misbehave{})
	v := s.visitor(t)
	res, body := v.signIn(t, "/bff/login?returnTo=/app", s.provider)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/app" || v.session() == "" {
		t.Fatalf("a provider that behaves: %d to %q %s", res.StatusCode, res.Header.Get("Location"), body)
	}
	return v
}

// refuses checks an answer that must not be a sign-in: its status, no session, and nothing in it that the provider said.
func (s *hostileStack) refuses(t *testing.T, v *visitor, res *http.Response, body string, status int) {
	t.Helper()
	if res.StatusCode != status {
		t.Errorf("answered %d, want %d: %s", res.StatusCode, status, body)
	}
	if v.session() != "" {
		t.Error("a session was started")
	}
	if res.Header.Get("Location") != "" {
		t.Errorf("the browser is sent to %q", res.Header.Get("Location"))
	}
	if strings.Contains(body, hostileWord) || strings.Contains(fmt.Sprint(res.Header), hostileWord) {
		t.Errorf("what the provider said is repeated: %s", body)
	}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") || !strings.Contains(body, "Sign in again") && !strings.Contains(body, "Try again") && !strings.Contains(body, "try again") {
		t.Errorf("a person is told nothing: %s %s", res.Header.Get("Content-Type"), body)
	}
	if n := s.elsewhere.hits.Load(); n != 0 {
		t.Errorf("the place that the answer points at was asked %d times", n)
		s.elsewhere.hits.Store(0)
	}
}

// hostileWord stands in whatever a hostile provider can write freely.
const hostileWord = "<script>hostile"

// unharmed is what must hold of the process after all of it.
func (s *hostileStack) unharmed(t *testing.T) {
	t.Helper()
	s.mustSignIn(t)
	log := s.printed()
	for _, bad := range []string{"DATA RACE", "panic", "goroutine ", hostileWord, `"level":"ERROR"`} {
		if strings.Contains(log, bad) {
			t.Errorf("%q stands in the log", bad)
		}
	}
	secrets := s.provider.Issued()
	if len(secrets) < 10 {
		t.Fatalf("the provider issued %d secrets: nothing to search for", len(secrets))
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(log, secret) {
			t.Fatal("a token or a code stands in the log")
		}
	}
}

// memory is what the process has now, and the most that it had since the last forgetPeak, in bytes.
func (p *process) memory(t *testing.T) (now, peak int) {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	field := func(name string) int {
		found := regexp.MustCompile(name + `:\s+(\d+) kB`).FindSubmatch(raw)
		if found == nil {
			t.Fatalf("no %s in /proc", name)
		}
		n, _ := strconv.Atoi(string(found[1]))
		return n << 10
	}
	return field("VmRSS"), field("VmHWM")
}

// forgetPeak lets the peak begin anew (proc(5), clear_refs).
func (p *process) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// forgedBy signs claims as they are.
func forgedBy(t *testing.T, alg jose.SignatureAlgorithm, kid string, key any, header map[string]any, claims map[string]any) string {
	t.Helper()
	return compact(t, forged(t, alg, kid, key, header, text(claims)))
}

// forged signs anything, under a header with whatever is in it.
func forged(t *testing.T, alg jose.SignatureAlgorithm, kid string, key any, header map[string]any, payload string) *jose.JSONWebSignature {
	t.Helper()
	options := &jose.SignerOptions{}
	if kid != "" {
		options.WithHeader("kid", kid)
	}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := signer.Sign([]byte(payload))
	if err != nil {
		t.Fatal(err)
	}
	return jws
}

// ofID misbehaves with ID tokens only: claims of change are set, or left out where they are nil.
func ofID(change map[string]any) idptest.Misbehave {
	return idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
		if kind != idptest.IDToken {
			return
		}
		maps.Copy(claims, change)
		maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	}}
}

// headerOfID misbehaves with the header of ID tokens.
func headerOfID(change map[string]any) idptest.Misbehave {
	return idptest.Misbehave{Token: func(kind idptest.Kind, header, _ map[string]any) {
		if kind == idptest.IDToken {
			maps.Copy(header, change)
		}
	}}
}

// forgedID lets make another ID token out of the claims of the good one.
func forgedID(make func(claims map[string]any, signed string, public any) string) idptest.Misbehave {
	return idptest.Misbehave{Sign: func(kind idptest.Kind, _, claims map[string]any, signed string, public any) string {
		if kind != idptest.IDToken {
			return signed
		}
		return make(claims, signed, public)
	}}
}
