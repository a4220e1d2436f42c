package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"

	"cloakroom/internal/idptest"
)

const people = 64

// patient gives Redis the time that a machine needs which runs all of these tests at once: what is asked here is whose data
// comes back, not how soon.
func patient(configuration string) string {
	return strings.Replace(configuration, "\nstore: {", "\nstore: {timeout: 10s, ", 1)
}

// markOf is in everything that is somebody's own: subject, e-mail, name.
func markOf(n int) string { return fmt.Sprintf("person%02d", n) }

func everybody() []idptest.User {
	var all []idptest.User
	for n := range people {
		mark := markOf(n)
		all = append(all, idptest.User{Name: mark, Password: mark, Subject: "sub-of-" + mark, Email: mark + "@example.com", EmailVerified: true, GivenName: mark, FamilyName: "Example", Groups: []string{"group-of-" + mark}})
	}
	return all
}

// Two replicas, one Redis, sixty-four people who all ask at once and in every way there is.
func TestNoAnswerEverCarriesAnotherPersonsData(t *testing.T) {
	t.Parallel()
	s := newExchangeStack(t, startRedis(t).url(), everybody(), exchangePolicy, patient)
	second := s.replica(t)
	all := make([]person, people)
	for n := range all {
		all[n] = s.signIn(t, markOf(n))
	}
	var mu sync.Mutex
	ids, answers := map[any]string{}, 0
	var working sync.WaitGroup
	for n := range all {
		working.Go(func() {
			for round := range 6 {
				for name, got := range s.everyWay(t, all[n], all[(n+1+round)%people], []int{s.intern, second.intern}[(n+round)%2]) {
					belongs(t, name, got, all[n])
					mu.Lock()
					answers++
					if id := part(got.text("access_token"), 1)["jti"]; id != nil {
						if ids[id] != "" {
							t.Errorf("%s and %s got the same token", ids[id], all[n].name)
						}
						ids[id] = all[n].name
					}
					mu.Unlock()
				}
			}
		})
	}
	working.Wait()
	t.Logf("%d answers, %d tokens", answers, len(ids))
	if len(ids) < people*6*4 {
		t.Errorf("only %d tokens were minted", len(ids))
	}
}

// everyWay asks for one person at the replica of that port; the neighbour's ID token is the one that must not fit.
func (s *exchangeStack) everyWay(t *testing.T, own, neighbour person, port int) map[string]answer {
	ask := func(client, path string, form url.Values) answer {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d%s", port, path), strings.NewReader(form.Encode()))
		if err != nil {
			t.Error(err)
			return answer{}
		}
		request.Header.Set("Content-Type", formKind)
		request.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secretsOf[client]))
		return s.do(t, request)
	}
	browse := func(path string) answer {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.origin()+path, nil)
		if err != nil {
			t.Error(err)
			return answer{}
		}
		request.Header.Set("X-CSRF", "1")
		request.Header.Set("Cookie", own.cookie)
		return s.do(t, request)
	}
	return map[string]answer{
		"granted: session":       ask("gateway", "/oauth2/token", s.form(url.Values{"subject_token": {own.session}, "subject_token_type": {typeSession}})),
		"granted: both tokens":   ask("gateway", "/oauth2/token", s.form(url.Values{"subject_token": {own.access}, "subject_id_token": {own.id}})),
		"granted: access token":  ask("gateway", "/oauth2/token", s.form(url.Values{"subject_token": {own.access}, "audience": {"crm"}})),
		"granted: ID token":      ask("gateway", "/oauth2/token", s.form(url.Values{"subject_token": {own.id}, "subject_token_type": {typeID}, "audience": {"mail"}})),
		"granted: minted token":  ask("orders", "/oauth2/token", s.form(url.Values{"subject_token": {own.minted}, "audience": nil})),
		"refused: a neighbour's": ask("gateway", "/oauth2/token", s.form(url.Values{"subject_token": {own.access}, "subject_id_token": {neighbour.id}})),
		"told: introspection":    ask("orders", "/oauth2/introspect", url.Values{"token": {own.minted}}),
		"told: user":             browse("/bff/user"),
		"told: route":            browse("/api/echo"),
	}
}

var mark = regexp.MustCompile(`person[0-9]{2}`)

// belongs looks into an answer, and into every token in it.
func belongs(t *testing.T, name string, got answer, own person) {
	content := got.raw
	for _, raw := range regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`).FindAllString(got.raw, -1) {
		content += text(part(raw, 1))
	}
	found := mark.FindAllString(content, -1)
	for _, one := range found {
		if one != own.name {
			t.Errorf("%s: %s got data of %s", name, own.name, one)
		}
	}
	sid, _ := part(own.minted, 1)["sid"].(string)
	switch {
	case strings.HasPrefix(name, "refused"):
		if got.status != http.StatusBadRequest || got.text("error") != "invalid_request" || len(found) > 0 {
			t.Errorf("%s: %d %s", name, got.status, got.raw)
		}
	case got.status != http.StatusOK || len(found) == 0:
		t.Errorf("%s: %d, nothing of %s in %s", name, got.status, own.name, content)
	case name == "granted: session" || name == "granted: minted token" || strings.HasPrefix(name, "told"):
		if !strings.Contains(content, sid) {
			t.Errorf("%s: %s got another session than %s: %s", name, own.name, sid, content)
		}
	}
}

// What an API that verifies "a token of our pool" by its signature would take, because signature, issuer and times are good.
func TestAnIDTokenOfAnotherAppClientOfTheSamePoolWhoseSignatureAnyAPIWouldAcceptIsRefused(t *testing.T) {
	t.Parallel()
	s := newExchangeStack(t, "memory:", nil, exchangePolicy, nil)
	s.alice = s.signIn(t, "alice")
	access, id := s.signInElsewhere(t, "alice")
	keys, err := jwk.Fetch(t.Context(), s.pool.URL(idptest.JWKS))
	if err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string]string{"ID token": id, "access token": access} {
		if _, err := jwt.ParseString(raw, jwt.WithKeySet(keys), jwt.WithIssuer(s.pool.Issuer())); err != nil {
			t.Errorf("any API would refuse the %s: %v", name, err)
		}
	}
	if part(id, 1)["sub"] != part(s.alice.id, 1)["sub"] || part(id, 1)["aud"] != otherApp {
		t.Fatalf("%v", part(id, 1))
	}
	for name, with := range map[string]url.Values{
		"as id_token":            {"subject_token": {id}, "subject_token_type": {typeID}, "audience": {"invoices"}},
		"as access_token":        {"subject_token": {id}, "audience": {"invoices"}},
		"as jwt":                 {"subject_token": {id}, "subject_token_type": {typeJWT}, "audience": {"invoices"}},
		"beside an access token": {"subject_id_token": {id}, "audience": {"invoices"}},
		"beside its own one":     {"subject_token": {access}, "subject_id_token": {id}, "audience": {"invoices"}},
		"its access token":       {"subject_token": {access}, "audience": {"invoices"}},
		"as session":             {"subject_token": {id}, "subject_token_type": {typeSession}, "audience": {"invoices"}},
	} {
		t.Run(name, func(t *testing.T) { s.refused(t, s.exchange(t, "gateway", s.form(with)), 400, "invalid_request") })
	}
	t.Run("as actor", func(t *testing.T) {
		for _, raw := range []string{id, access} {
			s.refused(t, s.onward(t, "desk", s.alice.access, byActor(raw)), 400, "invalid_request")
		}
	})
	t.Run("as bearer of the SPA's routes", func(t *testing.T) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.origin()+"/api/orders", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-CSRF", "1")
		request.Header.Set("Authorization", "Bearer "+id)
		if a := s.do(t, request); a.status != http.StatusUnauthorized {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	t.Run("and the pool's own app may", func(t *testing.T) {
		s.granted(t, s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.alice.id}, "subject_token_type": {typeID}, "audience": {"invoices"}})))
	})
}

// signInElsewhere is the second app's own code flow with the pool.
func (s *exchangeStack) signInElsewhere(t *testing.T, name string) (access, id string) {
	t.Helper()
	const verifier, callback = "a-verifier-that-is-long-enough-for-the-rfc-7636", "https://other.example.com/callback"
	sum := sha256.Sum256([]byte(verifier))
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	back, err := s.pool.SignIn(t.Context(), &http.Client{Jar: jar}, s.pool.URL(idptest.Authorize)+"?"+url.Values{
		"response_type": {"code"}, "client_id": {otherApp}, "redirect_uri": {callback}, "scope": {"openid email orders-api/read"}, "state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}.Encode(), name, name)
	if err != nil {
		t.Fatal(err)
	}
	at, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.PostForm(s.pool.URL(idptest.Token), url.Values{ //nolint:gosec,noctx // the test's own provider
		"grant_type": {"authorization_code"}, "code": {at.Query().Get("code")}, "redirect_uri": {callback}, "code_verifier": {verifier}, "client_id": {otherApp}, "client_secret": {"other-secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	var tokens struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &tokens); err != nil || tokens.ID == "" {
		t.Fatalf("%d %s", answer.StatusCode, body)
	}
	return tokens.Access, tokens.ID
}

// The browser's half and the services' half are two processes that share secrets and a store, and nothing else.
func TestEitherHalfAloneAndASessionThatEnds(t *testing.T) {
	t.Parallel()
	var whole string
	s := newExchangeStack(t, startRedis(t).url(), nil, strings.Replace(exchangePolicy, "signing: {", "signing: {algorithm: EdDSA, ", 1), func(configuration string) string {
		whole = configuration
		return strings.Replace(configuration, "\ninternal:", "\n  publish_keys: true\ninternal:", 1)
	})
	published := s.keySet(t, s.origin())
	if before := s.keySet(t, s.issuer()); before.raw != published.raw || before.header.Get("ETag") != published.header.Get("ETag") {
		t.Errorf("public.publish_keys shows other keys than the internal listener:\n%s\n%s", published.raw, before.raw)
	}
	s.stop()

	off := func(configuration string, port int) string {
		return strings.Replace(configuration, fmt.Sprintf("listen: 127.0.0.1:%d\n", port), "listen: off\n", 1)
	}
	s.write(t, "cloakroom.yaml", off(strings.Replace(whole, "\ninternal:", "\n  publish_keys: true\ninternal:", 1), s.intern))
	s.serve(t)
	services := *s.cloakroom
	services.admin, services.config = freePort(t), s.dir+"/services.yaml"
	configuration := strings.ReplaceAll(off(whole, s.public), fmt.Sprintf(`{listen: "127.0.0.1:%d"}`, s.admin), fmt.Sprintf(`{listen: "127.0.0.1:%d"}`, services.admin))
	s.write(t, "services.yaml", configuration)
	if answers(s.http, s.issuer()+"/.well-known/jwks.json") {
		t.Error("internal.listen: off listens")
	}
	services.serve(t)

	t.Run("C-132 a restart keeps every kid, in either half", func(t *testing.T) {
		for _, base := range []string{s.origin(), s.issuer()} {
			if now := s.keySet(t, base); now.raw != published.raw || now.header.Get("ETag") != published.header.Get("ETag") {
				t.Errorf("%s\n%s", now.raw, published.raw)
			}
		}
	})
	t.Run("the public half has keys and metadata, and no exchange", func(t *testing.T) {
		for _, path := range []string{"/oauth2/token", "/oauth2/introspect"} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.origin()+path, strings.NewReader(s.form(nil).Encode()))
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", formKind)
			request.Header.Set("X-CSRF", "1")
			request.SetBasicAuth("orders", "orders-secret")
			if a := s.do(t, request); a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed && a.status != http.StatusUnauthorized || strings.Contains(a.raw, "eyJ") {
				t.Errorf("%s: %d %s", path, a.status, a.raw)
			}
		}
		if a := s.document(t, s.origin()+"/.well-known/oauth-authorization-server"); a.text("issuer") != s.issuer() || a.text("token_endpoint") != s.issuer()+"/oauth2/token" {
			t.Errorf("%d %s", a.status, a.raw)
		}
	})
	s.alice = s.signIn(t, "alice") // at the one half
	var tokens []string
	t.Run("a token of one half is a token of the other", func(t *testing.T) {
		c := s.verify(t, s.alice.minted) // with the keys of the services' half
		if header := part(s.alice.minted, 0); header["alg"] != "EdDSA" || c["aud"] != "orders" || c["sid"] == nil {
			t.Errorf("%v %v", header, c)
		}
		session := s.exchange(t, "gateway", s.form(url.Values{"subject_token": {s.alice.session}, "subject_token_type": {typeSession}}))
		onward := s.onward(t, "orders", s.alice.minted, nil)
		if a, b := s.granted(t, session), s.granted(t, onward); a["sid"] != c["sid"] || b["sid"] != c["sid"] || b["email"] != "alice@example.com" {
			t.Errorf("%v\n%v\n%v", a, b, c)
		}
		tokens = []string{s.alice.minted, session.text("access_token"), onward.text("access_token")}
	})
	t.Run("C-135 after a logout every token of the session is inactive within a second", func(t *testing.T) {
		introspect := func(n int) answer {
			client := []string{"orders", "orders", "payments"}[n]
			return s.post(t, http.MethodPost, "/oauth2/introspect", formKind, client, url.Values{"token": {tokens[n]}}.Encode())
		}
		for n := range tokens {
			if a := introspect(n); a.body["active"] != true {
				t.Fatalf("before: %s", a.raw)
			}
		}
		s.signOut(t, s.alice)
		ended := time.Now()
		for n := range tokens {
			for introspect(n).body["active"] != false {
				if time.Since(ended) > time.Second {
					t.Fatalf("token %d is still active after %s", n, time.Since(ended))
				}
			}
			if a := introspect(n); a.raw != `{"active":false}` {
				t.Errorf("says more than that: %s", a.raw)
			}
		}
		t.Logf("all inactive %s after the logout was answered", time.Since(ended).Round(time.Millisecond))
		s.refused(t, s.onward(t, "orders", tokens[0], nil), 400, "invalid_request")
	})
}

// keySet is the published one; document any other.
func (s *exchangeStack) keySet(t *testing.T, base string) answer {
	t.Helper()
	a := s.document(t, base+"/.well-known/jwks.json")
	if keys, _ := a.body["keys"].([]any); a.status != http.StatusOK || len(keys) == 0 {
		t.Errorf("%s: %d %s", base, a.status, a.raw)
	}
	return a
}

func (s *exchangeStack) document(t *testing.T, address string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s.do(t, request)
}
