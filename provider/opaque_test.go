package provider

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

func opaqueToken(raw string) Presented { return Presented{Raw: secret.Text(raw)} }

// introspects lets the provider have an introspection endpoint with an answer.
func (f *idp) introspects(answer http.HandlerFunc) {
	f.meta["introspection_endpoint"] = f.issuer + "/introspect"
	f.route("/introspect", answer)
}

func (f *idp) described(change map[string]any) map[string]any {
	return merged(map[string]any{
		"active": true, "token_type": "Bearer", "iss": f.issuer, "sub": subject, "client_id": clientID, "scope": "openid orders:read",
		"exp": f.now.Unix() + 3600, "iat": f.now.Unix(),
	}, change)
}

func says(claims map[string]any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { answerJSON(w, 200, claims) }
}

func byIntrospection(c *Config) {
	c.AccessTokenValidation = ByIntrospection
	c.AcceptedAudiences, c.AcceptedClients = []string{clientID, "orders-api"}, []string{clientID, "mobile"}
}

func TestIntrospectionIsJudgedAsAJWTWouldBe(t *testing.T) {
	now := time.Unix(1_790_000_000, 0).Unix()
	for _, tc := range []struct {
		name   string
		change map[string]any
		want   error
	}{
		{"active, and issued to us", nil, nil},
		{"issued to an accepted client", map[string]any{"client_id": "mobile"}, nil},
		{"for an accepted audience", map[string]any{"aud": []string{"https://x", "orders-api"}}, nil},
		{"without iss, which is the provider's to leave out", map[string]any{"iss": nil}, nil},
		{"without scope", map[string]any{"scope": nil}, nil},
		{"token_type in another case", map[string]any{"token_type": "bearer"}, nil},
		{"token_use in place of token_type", map[string]any{"token_type": nil, "token_use": "access_token"}, nil},
		{"Keycloak's typ in place of token_type", map[string]any{"token_type": nil, "typ": "Bearer"}, nil},
		{"bound to a key by DPoP, which is for others to judge", map[string]any{"token_type": "DPoP", "cnf": map[string]any{"jkt": "x"}}, nil},
		{"C-050 not active: revoked, expired, unknown", map[string]any{"active": false}, ErrRejected},
		{"C-021 a refresh token, which has no token_type", map[string]any{"token_type": nil}, ErrRejected},
		{"C-021 a refresh token by token_use", map[string]any{"token_use": "refresh_token"}, ErrRejected},
		{"C-021 Keycloak's refresh token", map[string]any{"typ": "Refresh"}, ErrRejected},
		{"C-021 an ID token", map[string]any{"typ": "ID"}, ErrRejected},
		{"C-121 bound by DPoP to a key it does not tell", map[string]any{"token_type": "DPoP"}, ErrRejected},
		{"C-037 expired", map[string]any{"exp": now - 61}, ErrRejected},
		{"C-037 exp is no date", map[string]any{"exp": "tomorrow"}, ErrRejected},
		{"C-039 nbf lies ahead", map[string]any{"nbf": now + 61}, ErrRejected},
		{"C-040 iat lies ahead", map[string]any{"iat": now + 61}, ErrRejected},
		{"C-042 of another issuer", map[string]any{"iss": "https://evil.example"}, ErrRejected},
		{"C-042 an iss that is no text", map[string]any{"iss": []string{"x"}}, ErrRejected},
		{"C-044 for another audience", map[string]any{"aud": "https://graph"}, ErrRejected},
		{"C-044 an aud that cannot be read", map[string]any{"aud": 7}, ErrRejected},
		{"C-045 of another client", map[string]any{"client_id": "third-party"}, ErrRejected},
		{"C-045 of a client it does not name", map[string]any{"client_id": nil}, ErrRejected},
		{"a client's own, without sub", map[string]any{"sub": nil}, ErrRejected},
		{"a sub that is no name", map[string]any{"sub": "a\nb"}, ErrRejected},
		{"active as a text", map[string]any{"active": "true"}, ErrNonsense},
		{"without active", map[string]any{"active": nil}, ErrNonsense},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			f.introspects(says(f.described(tc.change)))
			s, err := f.client(byIntrospection).VerifyAccessToken(background, opaqueToken(canaryAccess))
			mustBe(t, err, tc.want)
			if err != nil {
				return
			}
			scope := token.Scope{"openid", "orders:read"}
			if tc.name == "without scope" {
				scope = token.Scope{}
			}
			if s.Claims["iss"] != f.issuer || s.Claims["sub"] != subject || !slices.Equal(s.Scope, scope) || s.Scope == nil || s.Expiry.Unix() != f.now.Unix()+3600 {
				t.Errorf("%+v", s)
			}
			if _, there := s.Claims["active"]; there || s.Client == "" {
				t.Errorf("claims %v of client %q", s.Claims, s.Client)
			}
		})
	}
}

func TestIntrospectionIsAskedAsTheClientWeAre(t *testing.T) {
	for method, is := range map[string]func(form url.Values, header http.Header) bool{
		AuthBasic: func(form url.Values, h http.Header) bool {
			r := http.Request{Header: h}
			id, password, _ := r.BasicAuth()
			return id == url.QueryEscape(clientID) && password == url.QueryEscape(canarySecret) && form.Get("client_secret") == ""
		},
		AuthPost: func(form url.Values, h http.Header) bool {
			return form.Get("client_id") == clientID && form.Get("client_secret") == canarySecret && h.Get("Authorization") == ""
		},
	} {
		f := newIDP(t)
		f.introspects(says(f.described(nil)))
		_, err := f.client(byIntrospection, func(c *Config) { c.AuthMethod = method }).VerifyAccessToken(background, opaqueToken(canaryAccess))
		mustBe(t, err, nil)
		form := f.forms[len(f.forms)-1]
		if form.Get("token") != canaryAccess || form.Get("token_type_hint") != "access_token" || !is(form, f.headers[len(f.headers)-1]) {
			t.Errorf("%s: %v", method, form)
		}
	}
}

func TestC151_AProviderThatCannotTellIsNotANo(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		want   error
	}{
		"500":                              {status(500, ""), ErrUnavailable},
		"429":                              {status(429, ""), ErrUnavailable},
		"it does not know us":              {status(401, `{"error":"invalid_client"}`), ErrUnavailable},
		"401 without a word":               {status(401, ""), ErrUnavailable},
		"400":                              {status(400, `{"error":"invalid_request"}`), ErrNonsense},
		"what it says of a JWT":            {status(400, `{"error":"unsupported_token_type"}`), ErrRejected},
		"201":                              {status(201, `{"active":true}`), ErrNonsense},
		"HTML":                             {body("text/html", "<html>"), ErrNonsense},
		"C-048 a member twice":             {body("application/json", `{"active":false,"active":true}`), ErrNonsense},
		"a redirect":                       {redirectTo(307, "https://evil.example"), ErrNonsense},
		"an answer without end":            {body("application/json", `{"active":true,"x":"`+strings.Repeat("x", maxAnswer)+`"}`), ErrNonsense},
		"it has no introspection endpoint": {nil, ErrNonsense},
	} {
		t.Run(name, func(t *testing.T) {
			f := newIDP(t)
			var warned []string
			if tc.answer != nil {
				f.introspects(tc.answer)
			}
			p := f.client(byIntrospection, func(c *Config) { c.Warn = func(m string) { warned = append(warned, m) } })
			_, err := p.VerifyAccessToken(background, opaqueToken(canaryAccess))
			mustBe(t, err, tc.want)
			if told := slices.ContainsFunc(warned, func(m string) bool { return strings.Contains(m, "access_token_validation") }); told != (tc.answer == nil) {
				t.Errorf("warned: %v", warned)
			}
		})
	}
}

func TestWhatIntrospectionSaidIsRepeatedForAMomentOnly(t *testing.T) {
	f := newIDP(t)
	answer := f.described(map[string]any{"exp": f.now.Unix() + 45})
	f.introspects(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		answerJSON(w, 200, merged(answer, map[string]any{"sub": "of-" + r.Form.Get("token")}))
	})
	p := f.client(byIntrospection)
	ask := func(raw string) (Subject, error) {
		s, err := p.VerifyAccessToken(background, opaqueToken(raw))
		if err == nil && s.Claims["sub"] != "of-"+raw {
			t.Fatalf("the answer for another token: %v", s.Claims["sub"])
		}
		return s, err
	}
	asked := 0
	for _, step := range []struct {
		what    string
		advance time.Duration
		token   string
		more    int // requests made
		want    error
	}{
		{"the first time", 0, "a", 1, nil},
		{"again at once", 0, "a", 0, nil},
		{"B4.9 one character more is another token", 0, "aa", 1, nil},
		{"29 s later", 29 * time.Second, "a", 0, nil},
		{"30 s later", time.Second, "a", 1, nil},
		{"just before exp", 14 * time.Second, "a", 0, nil},
		{"from exp on it is asked for again", time.Second, "a", 1, nil},
		{"and nothing is kept of it any more", 0, "a", 1, nil},
		{"the clock is set back", -20 * time.Second, "a", 1, nil},
	} {
		f.advance(step.advance)
		_, err := ask(step.token)
		mustBe(t, err, step.want)
		if asked += step.more; f.count("/introspect") != asked {
			t.Fatalf("%s: asked %d times, want %d", step.what, f.count("/introspect"), asked)
		}
	}

	f.mu.Lock()
	answer["active"], answer["exp"] = false, nil
	f.mu.Unlock()
	f.advance(time.Hour)
	for range 2 { // a no is not kept
		_, err := ask("a")
		mustBe(t, err, ErrRejected)
	}
	if asked += 2; f.count("/introspect") != asked {
		t.Errorf("asked %d times, want %d", f.count("/introspect"), asked)
	}
}

func TestC038_AnIntrospectionWithoutExpLastsAMinute(t *testing.T) {
	f := newIDP(t)
	f.introspects(says(f.described(map[string]any{"exp": nil})))
	p := f.client(byIntrospection)
	asked := f.now
	for range 2 {
		s, err := p.VerifyAccessToken(background, opaqueToken(canaryAccess))
		mustBe(t, err, nil)
		if !s.Expiry.Equal(asked.Add(time.Minute)) {
			t.Errorf("until %v, counted from %v", s.Expiry, asked)
		}
		f.advance(20 * time.Second) // remembered: the minute counts from when the provider said it
	}
}

func TestTheMemoryIsBounded(t *testing.T) {
	m, at := newMemory(), time.Unix(1_790_000_000, 0)
	key := func(i int) memoryKey { return memoryKeyOf(secret.Text(strconv.Itoa(i))) }
	for i := range 3 * memorySize {
		m.keep(key(i), said{at: at, until: at.Add(memoryFor)})
	}
	if len(m.of) > memorySize {
		t.Errorf("%d tokens", len(m.of))
	}
	if _, known := m.recall(key(3*memorySize-1), at); !known {
		t.Error("the newest is not there")
	}
	later := at.Add(memoryFor)
	for i := range memorySize { // what is over goes first
		m.keep(key(-i-1), said{at: later, until: later.Add(memoryFor)})
	}
	fresh := 0
	for i := range memorySize {
		if _, known := m.recall(key(-i-1), later); known {
			fresh++
		}
	}
	if len(m.of) > memorySize || fresh < memorySize*9/10 {
		t.Errorf("%d tokens, %d of the last %d", len(m.of), fresh, memorySize)
	}
}

func TestAUserInfoSubjectNeedsTheIDTokenOfItsSignIn(t *testing.T) {
	bound := map[string]any{"at_hash": token.HalfHash("RS256", canaryAccess)}
	with := func(change map[string]any) map[string]any { return merged(bound, change) }
	for _, tc := range []struct {
		name   string
		id     map[string]any // nil: none is sent
		answer http.HandlerFunc
		asks   int // requests to userinfo
		want   error
	}{
		{"bound by at_hash, and ours", bound, nil, 1, nil},
		{"without an ID token", nil, nil, 0, ErrRejected},
		{"without at_hash", map[string]any{}, nil, 0, ErrRejected},
		{"at_hash of another access token", map[string]any{"at_hash": token.HalfHash("RS256", "x")}, nil, 0, ErrRejected},
		{"C-045 of an accepted client, but not us", with(map[string]any{"aud": "mobile"}), nil, 0, ErrRejected},
		{"C-037 expired", with(map[string]any{"exp": 1_789_000_000}), nil, 0, ErrRejected},
		{"C-042 of another issuer", with(map[string]any{"iss": "https://evil.example"}), nil, 0, ErrRejected},
		{"userinfo refuses the access token", bound, status(401, ""), 1, ErrRejected},
		{"userinfo is about another", bound, body("application/json", `{"sub":"another"}`), 1, ErrRejected},
		{"userinfo is about nobody", bound, body("application/json", `{}`), 1, ErrRejected},
		{"userinfo is down", bound, status(500, ""), 1, ErrUnavailable},
		{"userinfo is HTML", bound, body("text/html", "<html>"), 1, ErrNonsense},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newIDP(t)
			if tc.answer != nil {
				f.route("/userinfo", tc.answer)
			}
			p := f.client(func(c *Config) { c.AccessTokenValidation, c.AcceptedClients = ByUserInfo, []string{clientID, "mobile"} })
			presented := opaqueToken(canaryAccess)
			if tc.id != nil {
				presented.ID = text(f.sign(merged(f.idClaims(), tc.id)))
			}
			s, err := p.VerifyAccessToken(background, presented)
			mustBe(t, err, tc.want)
			if f.count("/userinfo") != tc.asks {
				t.Errorf("userinfo was asked %d times", f.count("/userinfo"))
			}
			if err != nil {
				return
			}
			if s.Client != clientID || s.Scope == nil || len(s.Scope) > 0 || !s.Expiry.Equal(f.now.Add(time.Minute)) || s.Claims["sub"] != subject || s.Claims["iss"] != f.issuer {
				t.Errorf("%+v", s)
			}
			if s.UserInfo["email"] != "u@example.com" || s.UserInfo["email_verified"] != true {
				t.Errorf("userinfo: %v", s.UserInfo)
			}
			if _, err := p.VerifyAccessToken(background, presented); err != nil || f.count("/userinfo") != 1 {
				t.Errorf("again: %v, asked %d times", err, f.count("/userinfo"))
			}
		})
	}
}

// D row 10: how a token is understood is configured; neither its looks nor a failure change that.
func TestTheWayATokenIsUnderstoodIsNeverGuessed(t *testing.T) {
	f := newIDP(t)
	f.introspects(says(f.described(nil)))
	jwt := presented(t, f.sign(f.accessClaims()))

	_, err := f.client().VerifyAccessToken(background, opaqueToken(canaryAccess))
	mustBe(t, err, ErrRejected)
	_, err = f.client().VerifyAccessToken(background, jwt)
	mustBe(t, err, nil)
	if f.count("/introspect")+f.count("/userinfo") > 0 {
		t.Error("jwt: the provider was shown a token")
	}

	f.introspects(says(map[string]any{"active": false}))
	_, err = f.client(byIntrospection).VerifyAccessToken(background, jwt)
	mustBe(t, err, ErrRejected) // C-050: its signature is good, and it was revoked
	if f.count("/introspect") != 1 {
		t.Error("introspection: a JWT was not asked about")
	}
	for mode, want := range map[string]bool{"": false, ByJWT: false, ByIntrospection: true, ByUserInfo: true} {
		if got := f.client(func(c *Config) { c.AccessTokenValidation = mode }).TakesOpaque(); got != want {
			t.Errorf("%q takes opaque tokens: %v", mode, got)
		}
	}
}

func jwksOf(keys ...any) []byte {
	raw, _ := json.Marshal(map[string]any{"keys": keys})
	return raw
}
