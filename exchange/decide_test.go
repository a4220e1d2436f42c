package exchange

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/token"
)

const (
	us  = "https://cloakroom:8081"
	idp = "https://idp.example.com"
)

var at = time.Unix(1_800_000_000, 500_000_000)

// examplePolicy is a small company: orders calls payments, support looks into payments, batch has no user.
func examplePolicy() PolicyConfig {
	email := []ClaimConfig{{"email", "id.email"}}
	return PolicyConfig{
		Issuer: us,
		Audiences: []AudienceConfig{
			{
				Name: "orders", Resource: "https://orders.internal.example.com", Lifetime: 5 * time.Minute, Claims: append(email, ClaimConfig{"groups", "access.groups"}),
				Scopes: ScopesConfig{Rules: []ScopeConfig{
					{"orders:read", `granted("orders-api/read")`},
					{"orders:write", `granted("orders-api/write") && id.email_verified`},
				}},
				Allow: `id.email.endsWith("@example.com")`,
			},
			{
				Name: "payments", Lifetime: 5 * time.Minute, Claims: email,
				Scopes: ScopesConfig{Rules: []ScopeConfig{
					{"payments:read", `granted("payments-api/read") || "support" in actor.groups`},
					{"payments:read.any", `"support" in access.groups`},
				}},
			},
			{Name: "invoices", Lifetime: 2 * time.Minute, Claims: email, Scopes: ScopesConfig{FromSubject: true}},
			{Name: "archive", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{}},
			{Name: "vault", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{}, Algorithm: "EdDSA"},
			{Name: "mail", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{Rules: []ScopeConfig{{"mail:send", ""}, {"mail:read", ""}}}},
			{Name: "outbox", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{Rules: []ScopeConfig{{"mail:send", ""}}}},
			{Name: "locked", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{}, Allow: `false`},
			{Name: "legacy", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{FromSubject: true}, Subject: `id["custom:user_id"]`},
			{Name: "stock", Lifetime: 5 * time.Minute, Scopes: ScopesConfig{Rules: []ScopeConfig{{"stock:write", `client.id == "batch"`}}}},
		},
		Clients: []ClientConfig{
			{ID: "orders", Grants: []Grant{TokenExchange}, Audiences: []string{"payments"}, SubjectTypes: []TokenType{AccessToken}, SubjectAudiences: []string{"orders"}, Actor: ActorImplicit},
			{ID: "gateway", Grants: []Grant{TokenExchange}, Audiences: []string{"orders", "payments", "invoices", "archive", "vault", "mail", "outbox", "locked", "legacy"}, SubjectTypes: []TokenType{AccessToken, IDToken, SessionToken}, Actor: ActorNone},
			{ID: "lenient", Grants: []Grant{TokenExchange}, Audiences: []string{"orders"}, Scopes: token.Scope{"orders:read"}, Narrow: true, Lifetime: time.Minute, SubjectTypes: []TokenType{AccessToken}, Actor: ActorOptional},
			{ID: "support", Grants: []Grant{TokenExchange}, Audiences: []string{"payments"}, SubjectTypes: []TokenType{AccessToken, JWT}, Actor: ActorRequired},
			{ID: "robot", Grants: []Grant{ClientCredentials}, Audiences: []string{"archive"}, Actor: ActorImplicit},
			{ID: "batch", Grants: []Grant{TokenExchange, ClientCredentials}, Audiences: []string{"stock"}, SubjectTypes: []TokenType{AccessToken}, Actor: ActorNone},
		},
	}
}

func mustPolicy(t testing.TB, cfg PolicyConfig) *Policy {
	t.Helper()
	p, err := NewPolicy(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// alice has a Cognito-like access token, and an ID token that was issued beside it.
func aliceAccess() token.Claims {
	return token.Claims{
		"iss": idp, "sub": "alice", "client_id": "spa", "scope": "openid orders-api/read payments-api/read mail:send",
		"auth_time": at.Unix() - 60, "iat": at.Unix() - 60, "exp": at.Unix() + 3600, "groups": []any{"staff"},
	}
}

func aliceID() token.Claims {
	return token.Claims{
		"iss": idp, "sub": "alice", "aud": "spa", "email": "alice@example.com", "email_verified": true, "custom:user_id": "u-1",
		"auth_time": at.Unix() - 60, "iat": at.Unix() - 50, "exp": at.Unix() + 3600, "amr": []any{"pwd"}, "acr": "1", "nonce": "n", "at_hash": "h",
	}
}

func verifiedAccess(claims token.Claims) Verified {
	exp, _ := claims.Time("exp")
	return Verified{Claims: claims, Client: "spa", Expires: exp, IDP: idp}
}

func verifiedID(claims token.Claims) *Verified { v := verifiedAccess(claims); return &v }

func aliceSession() Evidence {
	return Evidence{
		Issuer: idp, Subject: "alice", Access: aliceAccess(), ID: aliceID(), SessionID: "handle", Created: at.Add(-time.Minute),
		AuthTime: at.Add(-time.Minute), SessionEnds: at.Add(12 * time.Hour), AccessExpires: at.Add(time.Hour),
	}
}

// aliceAtOrders is a token we minted for orders, with the session behind it.
func aliceAtOrders(change func(token.Claims)) Subject {
	claims := token.Claims{
		"iss": us, "aud": "orders", "sub": "alice", "idp": idp, "client_id": "bff", "scope": "orders:read", "sid": "handle",
		"iat": at.Unix() - 10, "exp": at.Unix() + 290, "jti": "j", "email": "alice@example.com",
	}
	if change != nil {
		change(claims)
	}
	e := aliceSession()
	return MintedSubject(claims, &e)
}

func samActs() *Actor {
	claims := token.Claims{"iss": idp, "sub": "sam", "client_id": "desk", "groups": []any{"support"}, "scope": []string{}}
	return &Actor{IDP: idp, Sub: "sam", Claims: claims, Expires: at.Add(30 * time.Minute)}
}

// ticket is what the support desk's issuer signs for an employee to look at a customer's payments.
func ticket(may any) Subject {
	claims := token.Claims{"iss": "https://support.example.com", "sub": "carol", "exp": at.Unix() + 600, "may_act": may}
	v := verifiedAccess(claims)
	v.Further = true
	return ProviderSubject(v, nil)
}

// say writes a decision as one line: what a reviewer compares with the rule.
func say(d Decision) string {
	if d.Err != nil {
		return fmt.Sprintf("%s: %s", d.Err.Code, d.Trace[len(d.Trace)-1].Because)
	}
	c := maps.Clone(d.Claims)
	exp, _ := c["exp"].(int64)
	for _, always := range []string{"iss", "iat", "exp", "jti", "idp", "client_id"} {
		delete(c, always)
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(c)) {
		value, err := json.Marshal(c[name])
		if err != nil {
			return err.Error()
		}
		parts = append(parts, name+"="+strings.NewReplacer(`"`, "").Replace(string(value)))
	}
	return fmt.Sprintf("granted for %ds: %s", exp-at.Unix(), strings.Join(parts, " "))
}

// decideCases are the rules as sentences. `ask` starts from gateway presenting alice's two tokens for orders.
var decideCases = []struct {
	name string
	ask  func(*Question)
	says string
}{
	{"the join: scope from the access token's authority, e-mail from the ID token", func(q *Question) {},
		`granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-085 over-asking is refused", func(q *Question) { q.Scope = token.Scope{"orders:read", "orders:write"} },
		`invalid_scope: more is asked for than is granted`},
	{"C-085 a lenient client gets what is left", func(q *Question) {
		q.Client, q.Scope = "lenient", token.Scope{"orders:read", "orders:write"}
	}, `granted for 60s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"a lenient client that asks only for what is not granted gets nothing", func(q *Question) {
		q.Client, q.Scope = "lenient", token.Scope{"orders:write"}
	}, `invalid_scope: nothing of what is asked for is granted`},
	{"the client's own scopes bound", func(q *Question) {
		q.Client = "lenient"
		q.Subject.Access = withScope(aliceAccess(), token.Scope{"orders-api/read", "orders-api/write"})
	}, `granted for 60s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"an audience that grants nothing of its scopes mints nothing", func(q *Question) {
		q.Subject.Access = withScope(aliceAccess(), token.Scope{"openid"})
	}, `invalid_scope: orders has scopes, and grants none of them`},
	{"a scope rule that cannot be evaluated grants nothing, and the others stand", func(q *Question) {
		q.Subject.Access = withScope(aliceAccess(), token.Scope{"orders-api/read", "orders-api/write"})
		q.Subject.ID = token.Claims{"email": "alice@example.com"}
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"scopes: subject passes the subject's on, less OpenID's own", func(q *Question) { q.Audience = []string{"invoices"} },
		`granted for 120s: acr=1 amr=[pwd] aud=invoices auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=orders-api/read payments-api/read mail:send sub=alice`},
	{"scopes: subject with nothing to pass on, and nothing asked, mints without scope", func(q *Question) {
		q.Audience = []string{"invoices"}
		q.Subject.Presented = withScope(aliceAccess(), token.Scope{"openid", "email"})
	}, `granted for 120s: acr=1 amr=[pwd] aud=invoices auth_time=1799999940 email=alice@example.com id_iat=1799999950 sub=alice`},
	{"scopes: subject with nothing to pass on, and something asked", func(q *Question) {
		q.Audience, q.Scope = []string{"invoices"}, token.Scope{"openid"}
	}, `invalid_scope: more is asked for than is granted`},
	{"a plain list grants what the subject has", func(q *Question) { q.Audience = []string{"mail"} },
		`granted for 300s: acr=1 amr=[pwd] aud=mail auth_time=1799999940 id_iat=1799999950 scope=mail:send sub=alice`},
	{"C-086 a subject without scope gets nothing from a plain list", func(q *Question) {
		q.Audience, q.SubjectType, q.Subject = []string{"mail"}, IDToken, IdentitySubject(*verifiedID(aliceID()))
	}, `invalid_scope: mail has scopes, and grants none of them`},
	{"scopes: [] mints without scope", func(q *Question) { q.Audience = []string{"archive"} },
		`granted for 300s: acr=1 amr=[pwd] aud=archive auth_time=1799999940 id_iat=1799999950 sub=alice`},
	{"scopes: [] grants nothing to who asks", func(q *Question) { q.Audience, q.Scope = []string{"archive"}, token.Scope{"x"} },
		`invalid_scope: more is asked for than is granted`},

	{"allow says no", func(q *Question) { q.Subject.ID = token.Claims{"email": "alice@elsewhere.org"} },
		`invalid_request: orders: id.email.endsWith("@example.com")`},
	{"allow cannot be evaluated, which is no", func(q *Question) { q.Subject.ID = nil },
		`invalid_request: orders: id.email.endsWith("@example.com")`},
	{"a claim that is not there is left out", func(q *Question) {
		access := aliceAccess()
		delete(access, "groups")
		q.Subject.Access = withScope(access, nil)
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-091 what the provider did not say of the sign-in is not made up", func(q *Question) {
		q.Subject.Known = Known{}
	}, `granted for 300s: aud=orders email=alice@example.com groups=[staff] scope=orders:read sub=alice`},
	{"a subject of the team's own", func(q *Question) { q.Audience, q.Scope = []string{"legacy"}, token.Scope{"mail:send"} },
		`granted for 300s: acr=1 amr=[pwd] aud=legacy auth_time=1799999940 id_iat=1799999950 scope=mail:send sub=u-1`},
	{"a subject of the team's own that is empty", func(q *Question) {
		q.Audience, q.Subject.ID = []string{"legacy"}, token.Claims{"custom:user_id": ""}
	}, `invalid_request: legacy: id["custom:user_id"]`},
	{"a subject of the team's own that is not there", func(q *Question) { q.Audience, q.Subject.ID = []string{"legacy"}, nil },
		`invalid_request: legacy: id["custom:user_id"]`},
	{"a subject of the team's own that is no text", func(q *Question) {
		q.Audience, q.Subject.ID = []string{"legacy"}, token.Claims{"custom:user_id": int64(7)}
	}, `invalid_request: legacy: id["custom:user_id"]`},
	{"a subject of the team's own that is too long for any reader of tokens", func(q *Question) {
		q.Audience, q.Subject.ID = []string{"legacy"}, token.Claims{"custom:user_id": strings.Repeat("u", 2049)}
	}, `invalid_request: legacy: id["custom:user_id"]`},
	{"a subject of the team's own that no reader of tokens would take", func(q *Question) {
		q.Audience, q.Subject.ID = []string{"legacy"}, token.Claims{"custom:user_id": "u\n1"}
	}, `invalid_request: legacy: id["custom:user_id"]`},

	{"C-080 an unknown audience", func(q *Question) { q.Audience = []string{"nowhere"} },
		`invalid_target: an audience that is unknown, or not this client's`},
	{"C-081 an audience that is not this client's", func(q *Question) { q.Audience = []string{"stock"} },
		`invalid_target: an audience that is unknown, or not this client's`},
	{"C-082 one of several is not this client's", func(q *Question) { q.Audience = []string{"orders", "stock"} },
		`invalid_target: an audience that is unknown, or not this client's`},
	{"C-080 an unknown resource", func(q *Question) { q.Resource = []string{"https://nowhere.example.com"} },
		`invalid_target: a resource that is unknown, or not this client's`},
	{"by resource, aud is still the audience's name", func(q *Question) {
		q.Audience, q.Resource = nil, []string{"https://orders.internal.example.com"}
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"the same target by both names is one", func(q *Question) { q.Resource = []string{"https://orders.internal.example.com"} },
		`granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-083 several targets that agree share a token, with the union of scopes and the shortest life", func(q *Question) {
		q.Audience = []string{"payments", "invoices"}
	}, `granted for 120s: acr=1 amr=[pwd] aud=[payments,invoices] auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=payments:read orders-api/read payments-api/read mail:send sub=alice`},
	{"several targets that are told different claims", func(q *Question) { q.Audience = []string{"orders", "payments"} },
		`invalid_target: algorithm, subject or claims of payments and orders differ`},
	{"a scope that two targets grant is there once", func(q *Question) { q.Audience = []string{"mail", "outbox"} },
		`granted for 300s: acr=1 amr=[pwd] aud=[mail,outbox] auth_time=1799999940 id_iat=1799999950 scope=mail:send sub=alice`},
	{"several targets that know the subject by different names", func(q *Question) { q.Audience = []string{"archive", "legacy"} },
		`invalid_target: algorithm, subject or claims of legacy and archive differ`},
	{"several targets whose tokens are signed differently", func(q *Question) { q.Audience = []string{"archive", "vault"} },
		`invalid_target: algorithm, subject or claims of vault and archive differ`},
	{"C-082 one of several says no, though the first asks nothing", func(q *Question) { q.Audience = []string{"archive", "locked"} },
		`invalid_request: locked: false`},
	{"C-084 no target, and the client has several", func(q *Question) { q.Audience = nil },
		`invalid_target: none was named, and the client has not just one`},
	{"C-083 no target, and the client has one", func(q *Question) { q.Audience, q.Client = nil, "lenient" },
		`granted for 60s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},

	{"C-108 a grant the client does not have", func(q *Question) { q.Grant = ClientCredentials },
		`unauthorized_client: its grants do not have client_credentials`},
	{"a client that is not configured", func(q *Question) { q.Client = "stranger" }, `invalid_client: not configured`},
	{"the name of the browser's side is no client", func(q *Question) { q.Client = "bff" }, `invalid_client: not configured`},
	{"a subject type the client may not bring", func(q *Question) { q.Client, q.SubjectType = "orders", IDToken },
		`invalid_request: its subject_types do not have it`},
	{"C-017 a type that is not issued", func(q *Question) { q.RequestedType = IDToken }, `invalid_request: not one that is issued`},
	{"C-020 a refresh token is not issued", func(q *Question) {
		q.RequestedType = "urn:ietf:params:oauth:token-type:refresh_token"
	}, `invalid_request: not one that is issued`},
	{"C-121 a subject bound to a key that was not shown", func(q *Question) {
		q.Subject.Presented = token.Claims{"sub": "alice", "cnf": map[string]any{"jkt": "x"}, "scope": []string{}}
	}, `invalid_request: bound to a key by cnf, and no proof of it can be checked`},
	{"an actor bound to a key that was not shown", func(q *Question) {
		q.Client, q.Actor = "lenient", samActs()
		q.Actor.Claims["cnf"] = map[string]any{"jkt": "x"}
	}, `invalid_request: the actor token is bound to a key by cnf`},
	{"a subject without a name", func(q *Question) { q.Subject.Sub = "" }, `invalid_request: no sub, or no issuer`},

	{"C-092 the subject token's end bounds", func(q *Question) { q.Subject.Expires = at.Add(100 * time.Second) },
		`granted for 100s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-092 a sent ID token's end bounds", func(q *Question) { q.Subject.IDExpires = at.Add(100 * time.Second) },
		`granted for 100s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-092 the session's end bounds", func(q *Question) { q.Subject.SessionEnds = at.Add(100 * time.Second) },
		`granted for 100s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-092 the actor token's end bounds", func(q *Question) {
		q.Client, q.Actor = "lenient", samActs()
		q.Actor.Expires = at.Add(20 * time.Second)
	}, `granted for 20s: acr=1 act={iss:https://idp.example.com,sub:sam} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-092 less than five seconds left is refused, not stretched", func(q *Question) { q.Subject.Expires = at.Add(4900 * time.Millisecond) },
		`invalid_request: the subject token ends too soon`},
	{"C-037 a subject that ended is refused", func(q *Question) { q.Subject.Expires = at.Add(-time.Second) },
		`invalid_request: the subject token ends too soon`},

	{"a minted subject: orders calls payments and is the actor; what is granted is the session's", func(q *Question) {
		q.Client, q.Audience, q.Subject = "orders", nil, aliceAtOrders(nil)
	}, `granted for 290s: acr=1 act={iss:https://cloakroom:8081,sub:orders} amr=[pwd] aud=payments auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=payments:read sid=handle sub=alice`},
	{"a minted subject under another name is the session's person again", func(q *Question) {
		q.Client, q.Audience, q.Subject = "orders", nil, aliceAtOrders(func(c token.Claims) { c["sub"] = "u-1" })
	}, `granted for 290s: acr=1 act={iss:https://cloakroom:8081,sub:orders} amr=[pwd] aud=payments auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=payments:read sid=handle sub=alice`},
	{"a minted subject with no session behind it speaks for itself", func(q *Question) {
		claims := token.Claims{"iss": us, "aud": "orders", "sub": "alice", "idp": idp, "scope": "payments-api/read", "email": "a@b.c", "exp": at.Unix() + 200, "auth_time": int64(7), "id_iat": int64(8)}
		q.Client, q.Audience, q.Subject = "orders", nil, MintedSubject(claims, nil)
	}, `granted for 200s: act={iss:https://cloakroom:8081,sub:orders} aud=payments auth_time=7 email=a@b.c id_iat=8 scope=payments:read sub=alice`},
	{"C-062 who acted before is nested inside", func(q *Question) {
		q.Client, q.Audience, q.Subject = "orders", nil, aliceAtOrders(func(c token.Claims) {
			c["act"] = map[string]any{"iss": us, "sub": "first", "act": map[string]any{"iss": us, "sub": "second"}}
		})
	}, `granted for 290s: acr=1 act={act:{act:{iss:https://cloakroom:8081,sub:second},iss:https://cloakroom:8081,sub:first},iss:https://cloakroom:8081,sub:orders} amr=[pwd] aud=payments auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=payments:read sid=handle sub=alice`},
	{"C-062 five actors are the most", func(q *Question) {
		q.Client, q.Audience, q.Subject = "orders", nil, aliceAtOrders(func(c token.Claims) { c["act"] = actors(4) })
	}, `granted for 290s: acr=1 act={act:{act:{act:{act:{sub:a1},sub:a2},sub:a3},sub:a4},iss:https://cloakroom:8081,sub:orders} amr=[pwd] aud=payments auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=payments:read sid=handle sub=alice`},
	{"C-062 the new actor would be the sixth", func(q *Question) {
		q.Client, q.Audience, q.Subject = "orders", nil, aliceAtOrders(func(c token.Claims) { c["act"] = actors(5) })
	}, `invalid_request: the chain would be longer than five`},
	{"C-062 a subject that already has six", func(q *Question) {
		q.Subject.Presented = token.Claims{"iss": idp, "sub": "alice", "act": actors(6)}
	}, `invalid_request: the subject's act is not a chain of actors`},
	{"C-063 act is a text", func(q *Question) { q.Subject.Presented = token.Claims{"sub": "alice", "act": "sam"} },
		`invalid_request: the subject's act is not a chain of actors`},
	{"C-063 act is a list", func(q *Question) { q.Subject.Presented = token.Claims{"sub": "alice", "act": []any{}} },
		`invalid_request: the subject's act is not a chain of actors`},
	{"C-063 act is null", func(q *Question) { q.Subject.Presented = token.Claims{"sub": "alice", "act": nil} },
		`invalid_request: the subject's act is not a chain of actors`},
	{"C-063 act inside act is null", func(q *Question) {
		q.Subject.Presented = token.Claims{"sub": "alice", "act": map[string]any{"sub": "sam", "act": nil}}
	}, `invalid_request: the subject's act is not a chain of actors`},
	{"C-063 an actor without a name could not be recorded", func(q *Question) {
		q.Subject.Presented = token.Claims{"sub": "alice", "act": map[string]any{"email": "sam@example.com"}}
	}, `invalid_request: the subject's act is not a chain of actors`},
	{"C-063 an actor whose issuer is no text", func(q *Question) {
		q.Subject.Presented = token.Claims{"sub": "alice", "act": map[string]any{"sub": "sam", "iss": int64(1)}}
	}, `invalid_request: the subject's act is not a chain of actors`},
	{"C-064 only an actor's identity is copied", func(q *Question) {
		q.Subject.Presented = withScope(token.Claims{"sub": "alice", "act": map[string]any{"iss": idp, "sub": "sam", "exp": int64(1), "nbf": int64(1), "iat": int64(1), "jti": "x", "aud": "y", "scope": "admin"}}, token.Scope{})
	}, `granted for 300s: acr=1 act={iss:https://idp.example.com,sub:sam} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-069 a delegated subject stays delegated though the client acts for nobody", func(q *Question) {
		q.Subject.Presented = withScope(token.Claims{"sub": "alice", "act": map[string]any{"iss": idp, "sub": "sam"}}, token.Scope{})
	}, `granted for 300s: acr=1 act={iss:https://idp.example.com,sub:sam} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-069 also on a route", func(q *Question) {
		e := aliceSession()
		e.Access["act"] = map[string]any{"iss": idp, "sub": "admin"}
		onRoute(q, e)
	}, `granted for 300s: acr=1 act={iss:https://idp.example.com,sub:admin} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sid=handle sub=alice`},
	{"C-069 an actor who is acted for brings its chain along", func(q *Question) {
		q.Client, q.Actor = "lenient", samActs()
		q.Actor.Claims["act"] = map[string]any{"iss": us, "sub": "desk"}
		q.Subject.Presented = withScope(token.Claims{"sub": "alice", "act": map[string]any{"sub": "before"}}, token.Scope{})
	}, `granted for 60s: acr=1 act={act:{act:{sub:before},iss:https://cloakroom:8081,sub:desk},iss:https://idp.example.com,sub:sam} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"an actor whose own act is malformed", func(q *Question) {
		q.Client, q.Actor = "lenient", samActs()
		q.Actor.Claims["act"] = "desk"
	}, `invalid_request: the actor's act is not a chain of actors`},
	{"C-061 an actor token: sub stays the subject's, act is the actor", func(q *Question) { q.Client, q.Actor = "lenient", samActs() },
		`granted for 60s: acr=1 act={iss:https://idp.example.com,sub:sam} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"an optional actor is not sent", func(q *Question) { q.Client = "lenient" },
		`granted for 60s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"an actor token from a client that may not send one", func(q *Question) { q.Actor = samActs() }, `invalid_request: actor: none`},
	{"an actor token from a client that is the actor itself", func(q *Question) {
		q.Client, q.Audience, q.Actor = "orders", nil, samActs()
	}, `invalid_request: actor: implicit`},
	{"a required actor is missing", func(q *Question) { q.Client, q.Audience = "support", nil }, `invalid_request: actor: required`},
	{"the support desk's ticket: the customer is the subject, the employee acts, and the rule sees the employee's groups", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": "sam"})
	}, `granted for 300s: act={iss:https://idp.example.com,sub:sam} aud=payments scope=payments:read sub=carol`},
	{"C-065 every member of may_act must fit", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": "sam", "client_id": "desk"})
	}, `granted for 300s: act={iss:https://idp.example.com,sub:sam} aud=payments scope=payments:read sub=carol`},
	{"C-066 may_act names another employee", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": "alice"})
	}, `invalid_request: may_act has another sub`},
	{"C-066 may_act names the same name at another issuer", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": "https://other.example.com", "sub": "sam"})
	}, `invalid_request: may_act has another iss`},
	{"C-066 may_act asks for more than name and issuer", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": "sam", "client_id": "other"})
	}, `invalid_request: may_act has another client_id`},
	{"C-066 may_act without an issuer means the people of who signed it", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"sub": "sam"})
	}, `invalid_request: may_act means the subject's issuer, and the actor has another`},
	{"C-067 may_act is a text", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket("sam")
	}, `invalid_request: may_act is not an object`},
	{"C-067 may_act is null", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(nil)
	}, `invalid_request: may_act is not an object`},
	{"C-067 may_act without a name", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp})
	}, `invalid_request: may_act has no sub`},
	{"C-067 may_act with an empty name", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": ""})
	}, `invalid_request: may_act has no sub`},
	{"C-066 a member of may_act is named to the operator", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": "sam", strings.Repeat("m", 32): "x"})
	}, `invalid_request: may_act has another mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm`},
	{"C-066 unless its name is too long for that", func(q *Question) {
		q.Client, q.Audience, q.SubjectType, q.Actor = "support", nil, JWT, samActs()
		q.Subject = ticket(map[string]any{"iss": idp, "sub": "sam", strings.Repeat("m", 33): "x"})
	}, `invalid_request: may_act has another member`},
	{"C-068 may_act is not escaped by leaving the actor token out", func(q *Question) {
		q.Subject.Presented["may_act"] = map[string]any{"iss": idp, "sub": "sam"}
	}, `invalid_request: may_act has another iss`},
	{"C-068 nor by an implicit actor that is not the one", func(q *Question) {
		q.Client, q.Audience, q.Subject = "orders", nil, aliceAtOrders(func(c token.Claims) { c["may_act"] = map[string]any{"iss": us, "sub": "batch"} })
	}, `invalid_request: may_act has another sub`},
	{"C-068 without an actor token may_act may name the client itself, which then acts", func(q *Question) {
		q.Subject.Presented["may_act"] = map[string]any{"iss": us, "sub": "gateway"}
	}, `granted for 300s: acr=1 act={iss:https://cloakroom:8081,sub:gateway} amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sub=alice`},
	{"C-070 without an actor token a client that acts for nobody impersonates", func(q *Question) { q.Audience = []string{"payments"} },
		`granted for 300s: acr=1 amr=[pwd] aud=payments auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=payments:read sub=alice`},

	{"a client for itself", func(q *Question) {
		q.Client, q.Grant, q.Audience, q.Subject = "batch", ClientCredentials, nil, ServiceSubject(us, "batch")
	}, `granted for 300s: aud=stock scope=stock:write sub=batch`},

	{"a client for itself is nobody's actor", func(q *Question) {
		q.Client, q.Grant, q.Audience, q.Subject = "robot", ClientCredentials, nil, ServiceSubject(us, "robot")
	}, `granted for 300s: aud=archive sub=robot`},

	{"a route: the provider's token is bound to our own key, which the browser's side has", func(q *Question) {
		e := aliceSession()
		e.Access["cnf"] = map[string]any{"jkt": "x"}
		onRoute(q, e)
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sid=handle sub=alice`},
	{"a route: the session's two tokens", func(q *Question) { onRoute(q, aliceSession()) },
		`granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sid=handle sub=alice`},
	{"a route with an opaque access token: the token response's scope speaks", func(q *Question) {
		e := aliceSession()
		e.Access, e.Scope = nil, token.Scope{"orders-api/read", "orders-api/write"}
		onRoute(q, e)
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com id_iat=1799999950 scope=orders:read orders:write sid=handle sub=alice`},
	{"a route's own scope is an upper bound", func(q *Question) {
		e := aliceSession()
		e.Scope = token.Scope{"orders-api/read", "orders-api/write"}
		onRoute(q, e)
		q.Scope = token.Scope{"orders:write", "orders:delete"}
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:write sid=handle sub=alice`},
	{"a route: nothing is granted", func(q *Question) {
		e := aliceSession()
		e.Scope = token.Scope{}
		onRoute(q, e)
	}, `forbidden: orders has scopes, and grants none of them`},
	{"a route: allow says no", func(q *Question) {
		e := aliceSession()
		e.ID = token.Claims{}
		onRoute(q, e)
	}, `forbidden: orders: id.email.endsWith("@example.com")`},
	{"a route: the access token is about to end", func(q *Question) {
		e := aliceSession()
		e.AccessExpires = at.Add(3 * time.Second)
		onRoute(q, e)
	}, `expired: the subject token ends too soon`},
	{"a route: the session is about to end", func(q *Question) {
		e := aliceSession()
		e.SessionEnds = at.Add(90 * time.Second)
		onRoute(q, e)
	}, `granted for 90s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sid=handle sub=alice`},
	{"a route: a stored ID token that expired is evidence, and its age is told", func(q *Question) {
		e := aliceSession()
		e.ID["exp"] = at.Unix() - 1000
		onRoute(q, e)
	}, `granted for 300s: acr=1 amr=[pwd] aud=orders auth_time=1799999940 email=alice@example.com groups=[staff] id_iat=1799999950 scope=orders:read sid=handle sub=alice`},
	{"a route may name an audience no client has", func(q *Question) {
		onRoute(q, aliceSession())
		q.Audience = []string{"archive"}
	}, `granted for 300s: acr=1 amr=[pwd] aud=archive auth_time=1799999940 id_iat=1799999950 sid=handle sub=alice`},
	{"a route as the service itself", func(q *Question) {
		onRoute(q, aliceSession())
		q.Subject, q.Audience = ServiceSubject(us, "bff"), []string{"archive"}
	}, `granted for 300s: aud=archive sub=bff`},
}

func onRoute(q *Question, e Evidence) {
	q.Client, q.Route, q.Grant, q.SubjectType, q.Subject = RouteClient, true, "", "", SessionSubject(e)
}

func actors(n int) map[string]any {
	act := map[string]any{"sub": "a1"}
	for i := 2; i <= n; i++ {
		act = map[string]any{"sub": fmt.Sprintf("a%d", i), "act": act}
	}
	return act
}

func aliceAsks() Question {
	return Question{
		Client: "gateway", Grant: TokenExchange, SubjectType: AccessToken, Audience: []string{"orders"}, TokenID: "jti-1", Now: at,
		Subject: ProviderSubject(verifiedAccess(aliceAccess()), verifiedID(aliceID())),
	}
}

func TestDecide(t *testing.T) {
	p := mustPolicy(t, examplePolicy())
	for _, tc := range decideCases {
		t.Run(tc.name, func(t *testing.T) {
			q := aliceAsks()
			tc.ask(&q)
			d := p.Decide(q)
			if says := say(d); says != tc.says {
				t.Errorf("\n got %s\nwant %s", says, tc.says)
			}
			if d.Err != nil && (d.Claims != nil || d.Scope != nil || d.Err.Description == "") {
				t.Errorf("a refusal with claims %v, scope %v, description %q", d.Claims, d.Scope, d.Err.Description)
			}
		})
	}
}

func TestDecideSetsWhatAlwaysStandsInAToken(t *testing.T) {
	d := mustPolicy(t, examplePolicy()).Decide(aliceAsks())
	for name, want := range map[string]any{
		"iss": us, "aud": "orders", "sub": "alice", "idp": idp, "jti": "jti-1", "client_id": "gateway", "iat": at.Unix(), "exp": at.Unix() + 300,
	} {
		if d.Claims[name] != want {
			t.Errorf("%s = %v, want %v", name, d.Claims[name], want)
		}
	}
	if _, there := d.Claims["nbf"]; there {
		t.Error("nbf is there: services with a slow clock would refuse the token")
	}
}

func TestDecideAnswersTheSameQuestionTheSame(t *testing.T) {
	p := mustPolicy(t, examplePolicy())
	first, second := p.Decide(aliceAsks()), p.Decide(aliceAsks())
	if say(first) != say(second) || fmt.Sprint(first.Trace) != fmt.Sprint(second.Trace) {
		t.Errorf("%v\n%v", first, second)
	}
}

func TestTraceTellsEveryRule(t *testing.T) {
	d := mustPolicy(t, examplePolicy()).Decide(aliceAsks())
	var lines []string
	for _, s := range d.Trace {
		lines = append(lines, s.Rule+" | "+s.Outcome+" | "+s.Because)
	}
	want := `client | ok | gateway
subject | ok | https://idp.example.com alice
target | ok | orders
allow | ok | orders: id.email.endsWith("@example.com")
scope orders:read | granted | granted("orders-api/read")
scope orders:write | not granted | granted("orders-api/write") && id.email_verified
scope | ok | orders:read
lifetime | 5m0s | lifetime of audience orders
claim email | set | id.email
claim groups | set | access.groups`
	if got := strings.Join(lines, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestFailedRulesAreNamed(t *testing.T) {
	q := aliceAsks()
	q.Audience, q.Subject.ID = []string{"payments"}, nil
	d := mustPolicy(t, examplePolicy()).Decide(q)
	if len(d.Failed) != 1 || d.Failed[0].Rule != "audience payments: claim email" || d.Failed[0].Err == nil {
		t.Errorf("failed: %v", d.Failed)
	}
}

func TestExplainJSON(t *testing.T) {
	p := mustPolicy(t, examplePolicy())
	q := aliceAsks()
	granted, err := json.Marshal(p.Decide(q))
	if err != nil || !strings.Contains(string(granted), `{"granted":true,"claims":{`) {
		t.Errorf("%s, %v", granted, err)
	}
	q.Audience = []string{"nowhere"}
	refused, err := json.Marshal(p.Decide(q))
	if err != nil || !strings.HasPrefix(string(refused), `{"granted":false,"error":"invalid_target","error_description":"audience and resource must`) || strings.Contains(string(refused), "claims") {
		t.Errorf("%s, %v", refused, err)
	}
}

func TestWhatBindsAnIDTokenIsNotForRules(t *testing.T) {
	for name, s := range map[string]Subject{
		"sent along":     ProviderSubject(verifiedAccess(aliceAccess()), verifiedID(aliceID())),
		"as the subject": IdentitySubject(*verifiedID(aliceID())),
	} {
		for _, claim := range []string{"nonce", "at_hash"} {
			if _, there := s.ID[claim]; there {
				t.Errorf("%s: %s is there", name, claim)
			}
		}
		if s.ID["email"] != "alice@example.com" {
			t.Errorf("%s: %v", name, s.ID)
		}
	}
}
