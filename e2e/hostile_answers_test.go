package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/internal/idptest"
)

// Every way to answer otherwise than a provider must (security.md B3), at every endpoint, against one process: nobody is signed
// in by it, nothing is sent where it points, and nothing is sent twice that can be had once.
func TestWhateverAProviderAnswersNobodyGetsInByIt(t *testing.T) {
	t.Parallel()
	cold := newFacade(t)
	s := newHostileStack(t, binary, cold.config(t))
	eventually(t, 20*time.Second, "the providers were asked once", cold.asked)

	cold.play(t, s)
	s.play(t, tokenEndpointRows(s))
	s.play(t, userInfoRows(t, s))
	s.play(t, moderateRows())
	s.refreshes(t)
	s.floods(t)
	t.Run("B3.7 a redirect of the revocation", func(t *testing.T) {
		v := s.mustSignIn(t)
		s.behave(idptest.Misbehave{Answer: idptest.At(idptest.RedirectTo(s.elsewhere.URL), idptest.Revoke)})
		if res, body := v.fetch(t, http.MethodPost, "/bff/logout"); res.StatusCode != http.StatusOK {
			t.Errorf("logout: %d %s", res.StatusCode, body)
		}
		eventually(t, 5*time.Second, "the refresh token is revoked", func() bool { return s.provider.Count(idptest.Revoke) > 0 })
	})

	if n := s.elsewhere.hits.Load(); n != 0 {
		t.Errorf("B3.7 where the answers point was asked %d times", n)
	}
	s.unharmed(t)
}

// What is large, deep or unpacks to more, at every endpoint, against a binary without the race detector, which takes several times
// the memory that the program does. Without bounds one bomb alone would be more than a GiB.
func TestB3_9_WhatAProviderAnswersTakesNoMemory(t *testing.T) {
	t.Parallel()
	cold := newFacade(t)
	s := newHostileStack(t, plainBinary(t), cold.config(t))
	eventually(t, 20*time.Second, "the providers were asked once", cold.asked)
	s.mustSignIn(t)
	s.forgetPeak(t)
	before, _ := s.memory(t)
	cold.play(t, s)
	s.play(t, slices.DeleteFunc(append(tokenEndpointRows(s), userInfoRows(t, s)...), func(row hostileRow) bool {
		return !strings.Contains(row.name, "MiB") && !strings.Contains(row.name, "GiB") && !strings.Contains(row.name, "million")
	}))
	_, peak := s.memory(t)
	if t.Logf("from %d to at most %d MiB", before>>20, peak>>20); peak-before > 64<<20 {
		t.Errorf("B3.9 the process grew from %d to %d MiB", before>>20, peak>>20)
	}
}

// nonsense is what no endpoint may answer.
func nonsense(elsewhere string) map[string]http.HandlerFunc {
	rows := map[string]http.HandlerFunc{
		"B3.8 HTML":                            idptest.Status(200, "<html>"+hostileWord+"</script>"),
		"B3.8 nothing":                         idptest.Status(200, ""),
		"B3.8 truncated JSON":                  idptest.Status(200, `{"access_token":"a`),
		"B3.8 an array":                        idptest.Status(200, `[{"access_token":"a"}]`),
		"B3.8 10 MiB":                          idptest.Huge(10 << 20),
		"B3.8 E-18 lists a million deep":       idptest.Deep(1_000_000),
		"B3.9 E-51 a GiB of gzip":              idptest.GzipBomb(1 << 30),
		"B3.8 a form":                          form("access_token=a&token_type=Bearer&id_token=a.b.c"),
		"B3.8 fewer bytes than promised":       short,
		"B3.8 gzip that is none":               badGzip,
		"B3.11 403 of a firewall, with a page": idptest.Status(403, hostileWord),
		"B3.11 404":                            idptest.Status(404, ""),
	}
	for _, status := range []int{301, 302, 303, 307, 308} {
		rows[fmt.Sprintf("B3.7 E-11 a redirect by %d", status)] = redirectBy(status, elsewhere)
	}
	return rows
}

// trouble is what says nothing about a request but that it may be answered another time.
func trouble() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"B3.11 500": idptest.Status(500, hostileWord),
		"B3.11 502": idptest.Status(502, hostileWord),
		"B3.11 503 and when to come back": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "1")
			idptest.Status(503, `{"error":"invalid_grant"}`)(w, r)
		},
		"B3.11 429":             idptest.Status(429, ""),
		"B3.8 a head of 10 MiB": idptest.HugeHead(10 << 20),
		"B3.11 it hangs up":     idptest.HangUp,
	}
}

func form(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded")
		_, _ = io.WriteString(w, body)
	}
}

func redirectBy(status int, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, status) }
}

func short(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = io.WriteString(w, `{"access_token":"`)
}

func badGzip(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = io.WriteString(w, "no gzip at all")
}

func tokenEndpointRows(s *hostileStack) []hostileRow {
	rows := []hostileRow{}
	add := func(name string, status int, answer http.HandlerFunc) {
		rows = append(rows, hostileRow{name: "the token endpoint: " + name, manners: idptest.Misbehave{Answer: idptest.At(answer, idptest.Token)}, status: status, redeemed: 1})
	}
	for name, answer := range nonsense(s.elsewhere.URL) {
		add(name, 502, answer)
	}
	for name, answer := range trouble() {
		add(name, 503, answer)
	}
	add("B3.8 an empty object", 502, idptest.Status(200, `{}`))
	add("B3.8 200 with an error", 502, idptest.Status(200, `{"error":"invalid_grant","error_description":"`+hostileWord+`"}`))
	add("B3.11 invalid_grant", 400, idptest.Status(400, `{"error":"invalid_grant","error_description":"`+hostileWord+`"}`))
	add("B3.18 invalid_client", 503, idptest.Status(401, `{"error":"invalid_client"}`))
	add("an error code of its own", 502, idptest.Status(400, `{"error":"`+hostileWord+`"}`))
	alter := func(name string, status int, change func(body map[string]any)) {
		rows = append(rows, hostileRow{name: name, manners: idptest.Misbehave{TokenResponse: change}, status: status, redeemed: 1})
	}
	alter("B3.8 an access token that is a number", 502, func(body map[string]any) { body["access_token"] = 7 })
	alter("B3.8 an access token with a line end", 502, func(body map[string]any) { body["access_token"] = "a\r\nX-Evil: 1" })
	alter("B3.8 an ID token that is an object", 502, func(body map[string]any) { body["id_token"] = map[string]any{} })
	alter("B3.8 a refresh token that is a list", 502, func(body map[string]any) { body["refresh_token"] = []string{"a"} })
	alter("B3.13 no token_type", 502, func(body map[string]any) { delete(body, "token_type") })
	alter("B3.13 token_type DPoP", 502, func(body map[string]any) { body["token_type"] = "DPoP" })
	alter("B3.13 the scope lacks openid", 400, func(body map[string]any) { body["scope"] = "email profile" })
	alter("B3.13 the scope is a list", 502, func(body map[string]any) { body["scope"] = []string{"openid"} })
	return rows
}

func userInfoRows(t *testing.T, s *hostileStack) []hostileRow {
	rows := []hostileRow{}
	add := func(name string, status int, answer http.HandlerFunc) {
		rows = append(rows, hostileRow{name: "userinfo: " + name, manners: idptest.Misbehave{Answer: idptest.At(answer, idptest.UserInfo)}, status: status, redeemed: 1})
	}
	for name, answer := range nonsense(s.elsewhere.URL) {
		if !strings.Contains(name, "403") { // says that this token gets none: the ID token alone must do
			add(name, 502, answer)
		}
	}
	for name, answer := range trouble() {
		add(name, 503, answer)
	}
	signed := func(alg jose.SignatureAlgorithm, key any, kid string, claims map[string]any) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/jwt")
			raw := unsigned("none", kid, claims)
			if alg != "" {
				raw = forgedBy(t, alg, kid, key, nil, claims)
			}
			_, _ = io.WriteString(w, raw)
		}
	}
	about := func(change map[string]any) map[string]any {
		now := time.Now().Unix()
		return changed(map[string]any{"iss": s.provider.Issuer(), "aud": clientID, "sub": idptest.DefaultUsers()[0].Subject, "iat": now, "exp": now + 600}, change)
	}
	add("B3.14 of another", 400, idptest.Status(200, `{"sub":"somebody-else","email":"admin@example.com"}`))
	add("B3.14 of nobody", 400, idptest.Status(200, `{"email":"admin@example.com"}`))
	add("B3.14 sub twice", 502, idptest.Status(200, `{"sub":"`+idptest.DefaultUsers()[0].Subject+`","sub":"admin"}`))
	add("B3.14 signed", 303, signed(jose.RS256, s.keys.any, "any", about(nil)))
	add("B3.14 signed, of another", 400, signed(jose.RS256, s.keys.any, "any", about(map[string]any{"sub": "somebody-else"})))
	add("B3.14 signed by nobody", 400, signed("", nil, "any", about(nil)))
	add("B3.14 signed by another algorithm", 400, signed(jose.PS256, s.keys.any, "any", about(nil)))
	add("B3.14 signed by another issuer", 400, signed(jose.RS256, s.keys.any, "any", about(map[string]any{"iss": "https://evil.example"})))
	add("B3.14 signed, for another client", 400, signed(jose.RS256, s.keys.any, "any", about(map[string]any{"aud": "other"})))
	add("refused", 303, idptest.Status(401, ""))
	return rows
}

// moderateRows are answers that are odd but no reason to refuse anybody.
func moderateRows() []hostileRow {
	rows := []hostileRow{}
	for name, value := range map[string]any{"0": 0, "negative": -1, "1e12": 1e12, "a string": "3600", "missing": nil} {
		rows = append(rows, hostileRow{name: "B3.13 expires_in is " + name, status: 303, redeemed: 1, manners: idptest.Misbehave{TokenResponse: func(body map[string]any) {
			if body["expires_in"] = value; value == nil {
				delete(body, "expires_in")
			}
		}}})
	}
	return append(rows,
		hostileRow{name: "B3.3 no kid, and several keys that it may be", manners: headerOfID(map[string]any{"kid": nil}), status: 303, redeemed: 1},
		hostileRow{name: "B3.5 the key set is down, its keys are known", manners: idptest.Misbehave{Answer: idptest.At(idptest.Status(503, ""), idptest.JWKS)}, status: 303, redeemed: 1},
		hostileRow{name: "B3.17 no refresh token", manners: idptest.Misbehave{TokenResponse: func(body map[string]any) { delete(body, "refresh_token") }}, status: 303, redeemed: 1},
	)
}

// facade is many providers behind one listener, of which each lacks something already at its metadata or its keys. They have no
// people: whoever asks for a sign-in there comes back with a code at once.
type facade struct {
	*httptest.Server
	keys hostileKeys
	rows map[string]*coldRow // by name

	mu   sync.Mutex
	hits map[string]int // by path
}

// coldRow is a provider of a facade.
type coldRow struct {
	name, says  string // the provider's in the configuration; what it shows
	metadata    func(doc map[string]any)
	discovery   http.HandlerFunc // stand in for a good answer
	jwks, token http.HandlerFunc
	login       int // status of /bff/login; 302 goes on to the callback
	callback    int
	redeemed    int
	issuer      string // where it is not the facade itself
	settings    string // further ones
}

func newFacade(t *testing.T) *facade {
	f := &facade{keys: newHostileKeys(t), rows: map[string]*coldRow{}, hits: map[string]int{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	elsewhere := newElsewhere(t)
	t.Cleanup(func() {
		if n := elsewhere.hits.Load(); n != 0 {
			t.Errorf("B3.7 where metadata and keys point was asked %d times", n)
		}
	})
	add := func(row coldRow) {
		row.name = fmt.Sprintf("cold%d", len(f.rows))
		f.rows[row.name] = &row
	}
	for name, answer := range nonsense(elsewhere.URL) {
		add(coldRow{says: "discovery: " + name, discovery: answer, login: 502})
		add(coldRow{says: "the key set: " + name, jwks: answer, login: 302, callback: 502})
	}
	for name, answer := range trouble() {
		add(coldRow{says: "discovery: " + name, discovery: answer, login: 503})
		add(coldRow{says: "the key set: B3.5 a cold start, " + name, jwks: answer, login: 302, callback: 503})
	}
	const hasty = "    timeout: 1s\n"
	for name, answer := range map[string]http.HandlerFunc{
		"B3.10 silence": idptest.Silence, "B3.10 a byte now and then": idptest.Drip, "B3.10 a head without end": idptest.DripHead,
	} {
		add(coldRow{says: "discovery: " + name, discovery: answer, login: 503, settings: hasty})
		add(coldRow{says: "the key set: " + name, jwks: answer, login: 302, callback: 503, settings: hasty})
		add(coldRow{says: "the token endpoint: " + name, token: answer, login: 302, callback: 503, redeemed: 1, settings: hasty})
	}
	for name, change := range map[string]func(map[string]any){
		"B3.1 another issuer":             func(doc map[string]any) { doc["issuer"] = "https://evil.example" },
		"B3.1 the issuer with a slash":    func(doc map[string]any) { doc["issuer"] = doc["issuer"].(string) + "/" },
		"B3.1 no token endpoint":          func(doc map[string]any) { delete(doc, "token_endpoint") },
		"B3.1 no key set":                 func(doc map[string]any) { delete(doc, "jwks_uri") },
		"B3.1 plain http to somebody":     func(doc map[string]any) { doc["token_endpoint"] = "http://idp.example/token" },
		"B3.1 a script for an endpoint":   func(doc map[string]any) { doc["authorization_endpoint"] = "javascript:alert(1)" },
		"B3.1 a user in an endpoint":      func(doc map[string]any) { doc["authorization_endpoint"] = "https://app@evil.example/" },
		"B3.1 a list for an endpoint":     func(doc map[string]any) { doc["token_endpoint"] = []string{"https://idp.example/token"} },
		"B1.12 PKCE without S256":         func(doc map[string]any) { doc["code_challenge_methods_supported"] = []string{"plain"} },
		"D9 the metadata service":         func(doc map[string]any) { doc["jwks_uri"] = "https://169.254.169.254/latest/meta-data" },
		"D9 the metadata service, mapped": func(doc map[string]any) { doc["jwks_uri"] = "https://[::ffff:169.254.169.254]/" },
		"D9 the metadata service, NAT64":  func(doc map[string]any) { doc["userinfo_endpoint"] = "https://[64:ff9b::a9fe:a9fe]/" },
	} {
		add(coldRow{says: "discovery: " + name, metadata: change, login: 502})
	}
	add(coldRow{says: "the key set: B3.6 only garbage", jwks: idptest.Status(200, `{"keys":[{"kty":"EC","crv":"secp256k1","kid":"a"},{"kty":"OKP","crv":"Ed448"},7,null]}`), login: 302, callback: 502})
	add(coldRow{says: "the key set: B3.6 garbage beside good keys", jwks: f.garbageBeside, login: 302, callback: 502, redeemed: 1})
	add(coldRow{says: "B1.13 it is a good one but for its token endpoint", login: 302, callback: 502, redeemed: 1})
	f.addTLS(t, add)
	return f
}

func (f *facade) garbageBeside(w http.ResponseWriter, _ *http.Request) {
	good := strings.TrimSuffix(strings.TrimPrefix(text(f.keys.public()), "["), "]")
	_, _ = io.WriteString(w, `{"keys":[{"kty":"EC","crv":"secp256k1","kid":"a","x":"AA","y":"AA"},7,`+good+`]}`)
}

// addTLS adds providers that a certificate speaks for, or does not (B3.15).
func (f *facade) addTLS(t *testing.T, add func(coldRow)) {
	t.Helper()
	c := &cloakroom{dir: t.TempDir()}
	c.certify(t)
	pair, err := tls.LoadX509KeyPair(c.dir+"/tls.crt", c.dir+"/tls.key")
	if err != nil {
		t.Fatal(err)
	}
	past := expired(t, pair)
	serve := func(config *tls.Config) string {
		server := httptest.NewUnstartedServer(f)
		server.TLS, server.Config.ErrorLog = config, log.New(io.Discard, "", 0)
		server.StartTLS()
		t.Cleanup(server.Close)
		return server.URL
	}
	ca := "    ca_file: " + c.dir + "/tls.crt\n"
	good := serve(&tls.Config{Certificates: []tls.Certificate{pair}}) //nolint:gosec // the client decides
	add(coldRow{says: "B3.15 a certificate that is in order", issuer: good, settings: ca, login: 302, callback: 502, redeemed: 1})
	add(coldRow{says: "B3.15 a certificate that nobody vouches for", issuer: good, login: 503})
	add(coldRow{says: "B3.15 a certificate of another host", issuer: strings.Replace(good, "127.0.0.1", "localhost", 1), settings: ca, login: 503})
	add(coldRow{says: "B3.15 a certificate that has expired", issuer: serve(&tls.Config{Certificates: []tls.Certificate{past}}), settings: ca, login: 503})                                      //nolint:gosec // likewise
	add(coldRow{says: "B3.15 TLS 1.1", issuer: serve(&tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), settings: ca, login: 503}) //nolint:gosec // the point of it
}

// expired makes a certificate that the one of signer vouches for, and that is over.
func expired(t *testing.T, signer tls.Certificate) tls.Certificate {
	t.Helper()
	parent, err := x509.ParseCertificate(signer.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	past := *parent
	past.NotBefore, past.NotAfter, past.IsCA = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour), false
	raw, err := x509.CreateCertificate(nil, &past, parent, parent.PublicKey, signer.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{raw}, PrivateKey: signer.PrivateKey}
}

func (row *coldRow) at(f *facade) string {
	origin := row.issuer
	if origin == "" {
		origin = f.URL
	}
	return origin + "/" + row.name
}

// config is what names the providers in the configuration.
func (f *facade) config(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for name, row := range f.rows {
		fmt.Fprintf(&out, "  %s:\n    issuer: %s\n    client_id: %s\n    client_secret: \"${CLIENT_SECRET}\"\n%s", name, row.at(f), clientID, row.settings)
	}
	return strings.TrimSuffix(out.String(), "\n")
}

func (f *facade) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil { // also because only then a handler is told that the caller has gone
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.hits[r.URL.Path]++
	f.mu.Unlock()
	name, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	row := f.rows[name]
	if row == nil {
		http.NotFound(w, r)
		return
	}
	answer := func(instead http.HandlerFunc, good any) {
		if instead != nil {
			instead(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text(good))
	}
	at := row.at(f)
	switch path {
	case ".well-known/openid-configuration":
		doc := map[string]any{"issuer": at, "authorization_endpoint": at + "/authorize", "token_endpoint": at + "/token", "jwks_uri": at + "/jwks", "code_challenge_methods_supported": []string{"S256"}}
		if row.metadata != nil {
			row.metadata(doc)
		}
		answer(row.discovery, doc)
	case "jwks":
		answer(row.jwks, map[string]any{"keys": f.keys.public()})
	case "token":
		answer(row.token, map[string]any{})
	default:
		http.NotFound(w, r)
	}
}

func (f *facade) count(path string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits[path]
}

// asked tells whether every provider that can be asked was.
func (f *facade) asked() bool {
	for name, row := range f.rows {
		if row.issuer == "" && f.count("/"+name+"/.well-known/openid-configuration") == 0 {
			return false
		}
	}
	return true
}

// play tries to sign in at each, all at once: one that is slow holds up nobody else.
func (f *facade) play(t *testing.T, s *hostileStack) {
	t.Helper()
	t.Run("cold", func(t *testing.T) {
		for _, row := range f.rows {
			t.Run(row.says, func(t *testing.T) {
				t.Parallel()
				f.try(t, s, row)
			})
		}
	})
}

func (f *facade) try(t *testing.T, s *hostileStack, row *coldRow) {
	t.Helper()
	began := time.Now()
	v := s.visitor(t)
	res, body := v.navigate(t, s.origin()+"/bff/login?provider="+row.name)
	if row.login != http.StatusFound {
		s.refuses(t, v, res, body, row.login)
	} else if at, err := url.Parse(res.Header.Get("Location")); res.StatusCode != http.StatusFound || err != nil || !strings.HasPrefix(at.String(), row.at(f)+"/authorize?") {
		t.Errorf("login: %d to %q %s", res.StatusCode, res.Header.Get("Location"), body)
	} else {
		back := url.Values{"state": at.Query()["state"], "code": {"a-code"}}
		res, body = v.navigate(t, s.origin()+"/bff/callback/"+row.name+"?"+back.Encode())
		s.refuses(t, v, res, body, row.callback)
	}
	if n := f.count("/" + row.name + "/token"); n != row.redeemed {
		t.Errorf("the code was sent %d times, want %d", n, row.redeemed)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("B3.10 took %s", took)
	}
}
