package exchange

import (
	"maps"
	"testing"

	"cloakroom/secret"
	"cloakroom/token"
)

// The rules of exchange.md F.3: each has its refusal.
func TestBind(t *testing.T) {
	const raw = secret.Text("header.payload.signature")
	hash := token.HalfHash("RS256", raw.Reveal())
	if hash == "" {
		t.Fatal("no hash")
	}
	access := token.Claims{"iss": idp, "sub": "alice", "auth_time": int64(100), "origin_jti": "o-1"}
	id := token.Claims{"iss": idp, "sub": "alice", "aud": "spa", "at_hash": hash, "auth_time": int64(100), "origin_jti": "o-1"}
	for _, tc := range []struct {
		name   string
		access map[string]any // members changed; nil removes
		id     map[string]any
		client string
		says   string
	}{
		{"two halves of one sign-in", nil, nil, "spa", ""},
		{"another issuer", nil, map[string]any{"iss": "https://other.example.com"}, "spa", "the two tokens have different issuers"},
		{"another person", nil, map[string]any{"sub": "bob"}, "spa", "the two tokens have different subjects"},
		{"nobody", map[string]any{"sub": nil}, map[string]any{"sub": nil}, "spa", "the two tokens have different subjects"},
		{"an access token of no client", nil, nil, "", "the access token names no client"},
		{"an ID token of another app client of the same pool", nil, map[string]any{"aud": "other"}, "spa", "the ID token's aud is not the access token's client"},
		{"an ID token with no audience", nil, map[string]any{"aud": nil}, "spa", "the ID token's aud is not the access token's client"},
		{"several audiences and azp the client", nil, map[string]any{"aud": []any{"spa", "api"}, "azp": "spa"}, "spa", ""},
		{"several audiences and azp another", nil, map[string]any{"aud": []any{"spa", "api"}, "azp": "api"}, "spa", "the ID token's azp is not the access token's client"},
		{"several audiences and no azp", nil, map[string]any{"aud": []any{"spa", "api"}}, "spa", "the ID token has 2 audiences and no azp"},
		{"one audience and azp another", nil, map[string]any{"azp": "api"}, "spa", "the ID token's azp is not the access token's client"},
		{"at_hash of another access token", nil, map[string]any{"at_hash": token.HalfHash("RS256", "other")}, "spa", "at_hash is not that of the access token"},
		{"at_hash that is empty", nil, map[string]any{"at_hash": ""}, "spa", "at_hash is not that of the access token"},
		{"at_hash that is no text", nil, map[string]any{"at_hash": int64(1)}, "spa", "at_hash is not that of the access token"},
		{"no at_hash, as after a refresh", nil, map[string]any{"at_hash": nil}, "spa", ""},
		{"another family of refreshes", map[string]any{"origin_jti": "o-2"}, nil, "spa", "the two tokens have different origin_jti"},
		{"a family only one of them names", map[string]any{"origin_jti": nil}, nil, "spa", ""},
		{"another sign-in", map[string]any{"auth_time": int64(101)}, nil, "spa", "the two tokens have different auth_time"},
		{"a sign-in only one of them tells the time of", map[string]any{"auth_time": nil}, nil, "spa", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, i := maps.Clone(access), maps.Clone(id)
			for changed, with := range map[*token.Claims]map[string]any{&a: tc.access, &i: tc.id} {
				for name, value := range with {
					if (*changed)[name] = value; value == nil {
						delete(*changed, name)
					}
				}
			}
			err := Bind(raw, Verified{Claims: a, Client: tc.client}, Verified{Claims: i, Algorithm: "RS256"})
			if err != nil {
				says := err.Error()
				if says != tc.says {
					t.Errorf("error %q, want %q", says, tc.says)
				}
			} else if tc.says != "" {
				t.Errorf("no error, want %q", tc.says)
			}
		})
	}
}

func TestBindOfAnUnknownAlgorithmFailsClosed(t *testing.T) {
	claims := token.Claims{"iss": idp, "sub": "alice", "aud": "spa", "at_hash": ""}
	if err := Bind("raw", Verified{Claims: claims, Client: "spa"}, Verified{Claims: claims}); err == nil {
		t.Error("bound")
	}
}
