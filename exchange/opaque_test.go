package exchange

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

func TestWhatIsOpaque(t *testing.T) {
	b64 := base64.RawURLEncoding.EncodeToString
	header := b64([]byte(`{"alg":"RS256"}`))
	for _, tc := range []struct {
		name, raw             string
		unclaimed, wasClaimed bool
	}{
		{"random letters", "Zm9vYmFy-_~+/x.9", true, true},
		{"with padding", "Zm9vYmE=", true, true},
		{"Google's, with a dot", "ya29.a0AfH6SMB", true, true},
		{"three parts without a JOSE header", "v2.public.abc", true, true},
		{"empty", "", false, false},
		{"longer than 64 KiB", strings.Repeat("x", token.MaxSize+1), false, false},
		{"64 KiB", strings.Repeat("x", token.MaxSize), true, true},
		{"padding within", "a=b", false, false},
		{"a space", "a b", false, false},
		{"a line end", "a\r\nX: y", false, false},
		{"beyond ASCII", "abcé", false, false},
		{"C-047 a JWS as JSON", `{"payload":"e30","signatures":[]}`, false, false},
		{"C-030 a JWT that is malformed", header + ".e30.%", false, false},
		{"a JWT", header + ".e30.c2ln", false, false},
		{"C-031 a JWT without signature", header + ".e30.", false, false},
		{"a header with spaces", b64([]byte("{ \n\"alg\":\"RS256\"}")) + ".e30.c2ln", false, false},
		{"a header that breaks off", b64([]byte(`{"alg":`)) + ".e30.c2ln", false, false},
		{"a header with padding", base64.URLEncoding.EncodeToString([]byte(`{"alg": 1}`)) + "..c2ln", false, false},
		{"C-046 a JWE, unless it is said whose", header + ".a.b.c.d", false, true},
		{"half a JWT, unless it is said whose", header + ".e30", false, true},
	} {
		if got := isOpaque(tc.raw, false); got != tc.unclaimed {
			t.Errorf("%s: %v", tc.name, got)
		}
		if got := isOpaque(tc.raw, true); got != tc.wasClaimed {
			t.Errorf("%s, with subject_issuer: %v", tc.name, got)
		}
	}
}

// asked is a provider that understands opaque tokens of its own, and keeps what it was shown.
type asked struct {
	issuer string
	shown  []string
	err    error
}

func (a *asked) Verify(_ context.Context, t Presented) (Verified, error) {
	a.shown = append(a.shown, t.Raw.Reveal())
	if a.err != nil {
		return Verified{}, a.err
	}
	return Verified{
		Claims: token.Claims{"iss": a.issuer, "sub": "alice", "client_id": "spa"}, Client: "spa", Scope: token.Scope{"archive:read"},
		Expires: at.Add(time.Minute), IDP: a.issuer,
	}, nil
}

// D row 9: an opaque token does not say whose it is. It is shown to one provider, or to none.
func TestAnOpaqueTokenIsShownToItsIssuerOnly(t *testing.T) {
	const a, b, c = "https://a.example", "https://b.example", "https://c.example"
	jwe := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"dir"}`)) + "..a.b.c"
	no := fmt.Errorf("%w: inactive", ErrUnacceptable)
	for _, tc := range []struct {
		name    string
		opaque  string // which of a, b, c take opaque tokens
		raw, of string
		shown   string // to whom
		fails   error
		want    Code // "" = granted
	}{
		{"one could have issued it", "a", "opaque-1", "", "a", nil, ""},
		{"one could, and it is said", "a", "opaque-1", "a", "a", nil, ""},
		{"two could, and it is not said", "ab", "opaque-1", "", "", nil, InvalidRequest},
		{"two could, said by name", "ab", "opaque-1", "b", "b", nil, ""},
		{"two could, said by issuer", "ab", "opaque-1", b, "b", nil, ""},
		{"of one whose tokens are JWTs", "ab", "opaque-1", "c", "", nil, InvalidRequest},
		{"of nobody known", "a", "opaque-1", "https://evil.example", "", nil, InvalidRequest},
		{"none takes them", "", "opaque-1", "", "", nil, InvalidRequest},
		{"its issuer says no, and nobody else is asked", "ab", "opaque-1", "a", "a", no, InvalidRequest},
		{"its issuer cannot tell, and nobody else is asked", "ab", "opaque-1", "a", "a", errors.New("timeout"), TemporarilyUnavailable},
		{"C-046 a JWE, which may be anybody's", "a", jwe, "", "", nil, InvalidRequest},
		{"C-046 a JWE, and it is said whose", "ab", jwe, "b", "b", nil, ""},
	} {
		for _, role := range []string{"subject", "actor"} {
			if role == "actor" && tc.of != "" {
				continue // subject_issuer speaks of the subject
			}
			t.Run(role+" "+tc.name, func(t *testing.T) {
				providers := map[string]*asked{"a": {issuer: a, err: tc.fails}, "b": {issuer: b, err: tc.fails}, "c": {issuer: c}}
				var issuers []TrustedIssuer
				for name, p := range providers {
					issuers = append(issuers, TrustedIssuer{Name: name, Issuer: p.issuer, Verifier: p, Opaque: strings.Contains(tc.opaque, name)})
				}
				bench := newBench(t, func(p *PolicyConfig) {
					for i := range p.Clients {
						if role == "actor" && p.Clients[i].ID == "gateway" {
							p.Clients[i].Actor = ActorRequired
						}
					}
				})
				service, err := NewService(Config{Policy: bench.Policy(), Keys: bench.keys, Now: bench.cfg.Now, Issuers: issuers})
				if err != nil {
					t.Fatal(err)
				}
				r := Request{Client: "gateway", Grant: TokenExchange, SubjectToken: secret.Text(tc.raw), SubjectType: AccessToken, SubjectIssuer: tc.of, Audience: []string{"archive"}}
				if role == "actor" {
					providers["d"] = &asked{issuer: "https://d.example"}
					issuers = append(issuers, TrustedIssuer{Name: "d", Issuer: "https://d.example", Verifier: providers["d"]})
					if service, err = NewService(Config{Policy: bench.Policy(), Keys: bench.keys, Now: bench.cfg.Now, Issuers: issuers}); err != nil {
						t.Fatal(err)
					}
					jwt, err := bench.keys.Sign("", "at+jwt", token.Claims{"iss": "https://d.example", "exp": at.Unix() + 60})
					if err != nil {
						t.Fatal(err)
					}
					r.ActorToken, r.ActorType, r.SubjectToken = r.SubjectToken, AccessToken, secret.Text(jwt)
				}
				m, err := service.Exchange(t.Context(), r)
				var shown []string
				for name, p := range providers {
					if name != "d" && len(p.shown) > 0 {
						shown = append(shown, name)
						if !slices.Equal(p.shown, []string{tc.raw}) {
							t.Errorf("%s was shown %q", name, p.shown)
						}
					}
				}
				slices.Sort(shown)
				if strings.Join(shown, "") != tc.shown {
					t.Errorf("shown to %v, want %q", shown, tc.shown)
				}
				var refused *Error
				if errors.As(err, &refused); tc.want == "" && err != nil || tc.want != "" && (refused == nil || refused.Code != tc.want) {
					t.Fatalf("%v, want %q", err, tc.want)
				}
				if tc.want == "" && role == "subject" && m.Claims["idp"] != "https://"+tc.shown+".example" {
					t.Errorf("idp %v", m.Claims["idp"])
				}
				if act, _ := m.Claims["act"].(map[string]any); tc.want == "" && role == "actor" && act["iss"] != "https://"+tc.shown+".example" {
					t.Errorf("act %v", act)
				}
			})
		}
	}
}

func TestOnlyAnAccessTokenMayBeOpaque(t *testing.T) {
	b, p := newBench(t), &asked{issuer: idp}
	service, err := NewService(Config{Policy: b.Policy(), Keys: b.keys, Now: b.cfg.Now, Issuers: []TrustedIssuer{{Name: "main", Issuer: idp, Verifier: p, Opaque: true}}})
	if err != nil {
		t.Fatal(err)
	}
	for client, kind := range map[string]TokenType{"gateway": IDToken, "orders": JWT} {
		var refused *Error
		_, err := service.Exchange(t.Context(), Request{Client: client, Grant: TokenExchange, SubjectToken: "opaque-1", SubjectType: kind})
		if !errors.As(err, &refused) || refused.Code != InvalidRequest || len(p.shown) > 0 {
			t.Errorf("%s: %v, shown %q", kind, err, p.shown)
		}
	}
}

// sworn is a provider whose opaque tokens are understood by userinfo, beside the ID token of their sign-in.
type sworn struct{ shown *Presented }

func (s sworn) Verify(_ context.Context, t Presented) (Verified, error) {
	v := Verified{IDP: idp, Client: "spa", Expires: at.Add(time.Minute), Algorithm: "ES256"}
	if t.As == IDToken {
		v.Claims, v.Expires = aliceID(), at.Add(time.Hour)
		v.Claims["at_hash"] = token.HalfHash("ES256", "opaque-1")
		return v, nil
	}
	*s.shown = t
	v.Claims, v.Scope = token.Claims{"iss": idp, "sub": "alice", "client_id": "spa"}, token.Scope{}
	v.UserInfo = token.Claims{"sub": "alice", "email": "old@example.com", "nickname": "Al"}
	return v, nil
}

func TestWhatUserInfoToldJoinsTheIDToken(t *testing.T) {
	b := newBench(t, func(p *PolicyConfig) {
		p.Audiences = append(p.Audiences, AudienceConfig{
			Name: "club", Lifetime: time.Hour, Scopes: ScopesConfig{FromSubject: true},
			Claims: []ClaimConfig{{"nickname", "id.nickname"}, {"email", "id.email"}},
		})
		for i := range p.Clients {
			if p.Clients[i].ID == "gateway" {
				p.Clients[i].Audiences = append(p.Clients[i].Audiences, "club")
			}
		}
	})
	var shown Presented
	service, err := NewService(Config{Policy: b.Policy(), Keys: b.keys, Now: b.cfg.Now, Issuers: []TrustedIssuer{{Name: "main", Issuer: idp, Verifier: sworn{&shown}, Opaque: true}}})
	if err != nil {
		t.Fatal(err)
	}
	id, err := b.keys.Sign("", "jwt", token.Claims{"iss": idp})
	if err != nil {
		t.Fatal(err)
	}
	ask := Request{Client: "gateway", Grant: TokenExchange, SubjectToken: "opaque-1", SubjectType: AccessToken, SubjectIDToken: secret.Text(id), Audience: []string{"club"}}
	m, err := service.Exchange(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	if shown.ID.Reveal() != id || shown.Read != nil {
		t.Errorf("the provider was shown %+v", shown)
	}
	if c := m.Claims; c["nickname"] != "Al" || c["email"] != aliceID()["email"] || len(m.Scope) > 0 || m.Expires.Sub(at) > time.Minute {
		t.Errorf("%v until %v", c, m.Expires)
	}
	ask.SubjectToken = "opaque-2"
	var refused *Error
	if _, err := service.Exchange(t.Context(), ask); !errors.As(err, &refused) || refused.Code != InvalidRequest {
		t.Errorf("an ID token of another access token: %v", err)
	}
}
