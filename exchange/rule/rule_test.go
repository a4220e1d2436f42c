package rule_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/token"
)

func alice() *rule.Context {
	return &rule.Context{
		Access: token.Claims{"sub": "alice", "scope": []any{"orders-api/read"}, "groups": []any{"staff"}},
		ID: token.Claims{
			"email": "alice@example.com", "email_verified": true, "age": int64(30), "height": 1.75, "custom:user_id": "u-1",
			"address": map[string]any{"country": "NL", "lines": []any{"a", "b"}},
		},
		Subject: token.Claims{"sub": "alice", "scope": []any{"orders:read"}},
		Client:  "orders",
		Request: rule.Request{Audience: []string{"payments"}, Scope: token.Scope{"payments:read"}, Details: map[string]any{"payment": "p-1"}},
		Session: &rule.Session{ID: "handle", Created: time.Unix(1_000, 0), AuthTime: time.Unix(900, 0)},
		Now:     time.Unix(2_000, 0),
	}
}

func TestCondition(t *testing.T) {
	with := func(change func(*rule.Context)) *rule.Context { c := alice(); change(c); return c }
	outside := with(func(c *rule.Context) { c.Session = nil })
	acted := with(func(c *rule.Context) { c.Actor = token.Claims{"sub": "sam", "groups": []any{"support"}} })
	perRequest := with(func(c *rule.Context) { c.Request.Method, c.Request.Path = "GET", "/orders/1" })
	empty := &rule.Context{Now: time.Unix(2_000, 0)}
	for _, tc := range []struct {
		name, src string
		in        *rule.Context
		holds     bool
		err       string
	}{
		{"a claim of the ID token", `id.email_verified && id.email.endsWith("@example.com")`, alice(), true, ""},
		{"granted is short for in access.scope", `granted("orders-api/read")`, alice(), true, ""},
		{"granted of another scope", `granted("orders-api/write")`, alice(), false, ""},
		{"granted without an access token is an error, so no", `granted("x")`, empty, false, "no such key: scope"},
		{"a missing claim is an error, so no", `id.nickname == "al"`, alice(), false, "no such key: nickname"},
		{"even where negated", `!id.disabled`, alice(), false, "no such key: disabled"},
		{"the right side of an or may save it", `id.nickname == "al" || true`, alice(), true, ""},
		{"has asks whether a claim is there", `has(id.nickname)`, alice(), false, ""},
		{"a claim with a colon", `id["custom:user_id"] == "u-1"`, alice(), true, ""},
		{"actor is null without one", `actor == null`, alice(), true, ""},
		{"a group of nobody", `"support" in actor.groups`, alice(), false, "no such"},
		{"a group of the actor", `actor != null && "support" in actor.groups`, acted, true, ""},
		{"the client", `client.id == "orders"`, alice(), true, ""},
		{"the request", `request.audience == ["payments"] && "payments:read" in request.scope && request.details.payment == "p-1"`, alice(), true, ""},
		{"details that were not sent are empty", `request.details == {}`, empty, true, ""},
		{"a resource nobody named", `request.resource.size() == 0`, empty, true, ""},
		{"method and path of this request", `request.method == "GET" && request.path.startsWith("/orders/")`, perRequest, true, ""},
		{"method outside per request", `request.method == "GET"`, alice(), false, "no such key: method"},
		{"has of method outside per request", `has(request.method)`, alice(), false, ""},
		{"a session", `session != null && session.id == "handle" && now - session.created < duration("1h")`, alice(), true, ""},
		{"a session of unknown auth_time", `now - session.auth_time < duration("1h")`, with(func(c *rule.Context) { c.Session.AuthTime = time.Time{} }), false, "no such key: auth_time"},
		{"no session is null", `session == null`, outside, true, ""},
		{"a member of no session", `session.id == "handle"`, outside, false, "no such key: id"},
		{"not a bool at run time", `id.email`, alice(), false, "bool"},
		{"optional selection", `id.?nickname.orValue("none") == "none"`, alice(), true, ""},
		{"an object is itself", `client == client && dyn(session) != dyn(client) && dyn(client) != "orders"`, alice(), true, ""},
		{"an object has its type", `type(client) == type(client) && type(dyn(client)) != type(dyn(session))`, alice(), true, ""},
		{"a number", `id.age >= 18 && id.height < 2.0`, alice(), true, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := rule.CompileCondition(tc.src)
			if err != nil {
				t.Fatal(err)
			}
			holds, err := c.Holds(tc.in)
			if holds != tc.holds {
				t.Errorf("holds = %v, want %v (%v)", holds, tc.holds, err)
			}
			if got := fmt.Sprint(err); (tc.err == "") != (err == nil) || !strings.Contains(got, tc.err) {
				t.Errorf("error %q, want %q", got, tc.err)
			}
		})
	}
}

func TestRefusedAtLoad(t *testing.T) {
	deep := strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300)
	for _, tc := range []struct{ name, src, says string }{
		{"empty", "  ", "empty rule"},
		{"too long", `"` + strings.Repeat("x", rule.MaxSource) + `" == ""`, "more than"},
		{"too deeply nested", deep, "recursion"},
		{"unknown variable", `user.email == ""`, "column 1: undeclared reference to 'user'"},
		{"unknown member of client", `client.name == "orders"`, "undefined field 'name'"},
		{"unknown member of request", `request.scopes == []`, "undefined field 'scopes'"},
		{"unknown member of session", `session.sub == ""`, "undefined field 'sub'"},
		{"not a bool", `"yes"`, "yields string, not a bool"},
		{"a text compared with a number", `client.id == 1`, "no matching overload"},
		{"a syntax error says where", "true &&\n  )", "line 2, column 3"},
		{"dear whatever the input", `[1,2,3,4,5,6,7,8,9,0].map(e, [1,2,3,4,5,6,7,8,9,0].map(d, [1,2,3,4,5,6,7,8,9,0].map(c, [1,2,3,4,5,6,7,8,9,0].map(b, [1,2,3,4,5,6,7,8,9,0].map(a, 1))))).size() > 0`, "costs at least"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := rule.CompileCondition(tc.src)
			if err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one that says %q", err, tc.says)
			}
		})
	}
}

func TestDearRuleIsStopped(t *testing.T) {
	c, err := rule.CompileCondition(`id.l.all(a, id.l.all(b, id.l.all(c, a + b + c >= 0)))`)
	if err != nil {
		t.Fatal(err)
	}
	long := make([]any, 2_000)
	for i := range long {
		long[i] = int64(i)
	}
	began := time.Now()
	holds, err := c.Holds(&rule.Context{ID: token.Claims{"l": long}})
	if holds || err == nil || !strings.Contains(err.Error(), "cost limit") {
		t.Errorf("holds %v, error %v; want the cost limit", holds, err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestValue(t *testing.T) {
	for _, tc := range []struct {
		name, src string
		want      any
		err       string
	}{
		{"a text", `id.email`, "alice@example.com", ""},
		{"a bool", `id.email_verified`, true, ""},
		{"an integer", `id.age`, int64(30), ""},
		{"an unsigned integer", `uint(3)`, int64(3), ""},
		{"a number", `id.height`, 1.75, ""},
		{"a list", `access.groups`, []any{"staff"}, ""},
		{"a list of the request", `request.scope`, []any{"payments:read"}, ""},
		{"a nested object", `id.address`, map[string]any{"country": "NL", "lines": []any{"a", "b"}}, ""},
		{"a built object", `{"type": "payment", "ids": [request.details.payment]}`, map[string]any{"type": "payment", "ids": []any{"p-1"}}, ""},
		{"a timestamp is a NumericDate", `now`, int64(2_000), ""},
		{"a duration is seconds", `now - session.created`, int64(1_000), ""},
		{"bytes are base64", `b"abc"`, "YWJj", ""},
		{"null is absent", `actor`, nil, ""},
		{"an empty optional is absent", `id.?nickname`, nil, ""},
		{"a full optional is its value", `id.?email`, "alice@example.com", ""},
		{"a choice", `"staff" in access.groups ? "internal" : "external"`, "internal", ""},
		{"a missing claim", `id.nickname`, nil, "no such key: nickname"},
		{"not a finite number", `1.0 / 0.0`, nil, "finite"},
		{"a map with number keys", `{1: "x"}`, nil, "int keys"},
		{"an object inside a list", `[dyn(client)]`, nil, "not a value"},
		{"an object of ours cannot be made", `cloakroom.Client{id: "bff"}.id`, nil, "cannot be made"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			v, err := rule.CompileValue(tc.src)
			if err != nil {
				t.Fatal(err)
			}
			got, err := v.Of(alice())
			if !reflect.DeepEqual(got, tc.want) {
				t.Errorf("= %#v, want %#v", got, tc.want)
			}
			if said := fmt.Sprint(err); (tc.err == "") != (err == nil) || !strings.Contains(said, tc.err) {
				t.Errorf("error %q, want %q", said, tc.err)
			}
		})
	}
}

func TestValueOfAnObjectIsRefusedAtLoad(t *testing.T) {
	for _, src := range []string{"client", "request", "session", "type(now)"} {
		if _, err := rule.CompileValue(src); err == nil {
			t.Errorf("%s compiles", src)
		}
	}
}

func TestIdentityClaims(t *testing.T) {
	v, err := rule.CompileValue(`has(id.name) ? id.name : (id["custom:user_id"] + id.?nickname.orValue("") + access.email + access["groups"] + id[client.id] + ("phone" in id ? id.phone : ""))`)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"custom:user_id", "name", "nickname", "phone"}
	if got := v.IdentityClaims(); !reflect.DeepEqual(got, want) {
		t.Errorf("= %q, want %q", got, want)
	}
}

func ExampleCompileCondition() {
	mayRead, err := rule.CompileCondition(`granted("orders-api/read") && id.email_verified`)
	if err != nil {
		panic(err)
	}
	fmt.Println(mayRead.Holds(&rule.Context{
		Access: token.Claims{"scope": []any{"orders-api/read"}},
		ID:     token.Claims{"email_verified": true},
	}))
	// Output: true <nil>
}

func BenchmarkCondition(b *testing.B) {
	c, err := rule.CompileCondition(`granted("orders-api/read") && id.email_verified && id.email.endsWith("@example.com")`)
	if err != nil {
		b.Fatal(err)
	}
	in := alice()
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := c.Holds(in); !ok {
			b.Fatal(err)
		}
	}
}

func TestRulesJustWithinTheirBounds(t *testing.T) {
	longest := `true` + strings.Repeat(" ", rule.MaxSource-4)
	if _, err := rule.CompileCondition(longest); err != nil {
		t.Error(err)
	}
	if _, err := rule.CompileCondition(longest + " "); err == nil {
		t.Error("a rule of more than the most compiles")
	}
	if _, err := rule.CompileCondition("false ||\n user.email"); err == nil || !strings.Contains(err.Error(), "line 2, column 2: ") {
		t.Errorf("in the second line: %v", err)
	}
	if _, err := rule.CompileCondition("user.email"); err == nil || strings.Contains(err.Error(), "line") {
		t.Errorf("in the first line: %v", err)
	}
	nested := func(levels int) any {
		var out any = "x"
		for range levels {
			out = []any{out}
		}
		return out
	}
	for src, values := range map[string]map[int]bool{"id.deep": {32: true, 33: false}, `{"a": id.deep}`: {31: true, 32: false}, "id.?deep": {31: true, 32: false}} {
		v, err := rule.CompileValue(src)
		if err != nil {
			t.Fatal(err)
		}
		for levels, fine := range values {
			if _, err := v.Of(&rule.Context{ID: token.Claims{"deep": nested(levels)}}); (err == nil) != fine {
				t.Errorf("%s of %d levels: %v", src, levels, err)
			}
		}
	}
	for src, fine := range map[string]bool{"uint(9223372036854775807)": true, "9223372036854775808u": false} {
		v, err := rule.CompileValue(src)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := v.Of(alice()); (err == nil) != fine {
			t.Errorf("%s: %v, %v", src, got, err)
		}
	}
}

// An error goes into a log. What it was evaluated on is somebody's.
func TestAnErrorDoesNotTellWhatTheRuleWasEvaluatedOn(t *testing.T) {
	ctx := &rule.Context{ID: token.Claims{"zip": "no such overload (secret", "list": []any{"a"}, "m": map[string]any{}}}
	for src, says := range map[string]string{
		`int(id.zip)`:            "type conversion error",
		`id.zip + 1`:             "no such overload",
		`id.list[5]`:             "index out of bounds: 5",
		`id.m.missing`:           "no such key: missing",
		`id.m[id.zip]`:           "no such key",
		`timestamp(id.zip)`:      "cannot be evaluated on this value",
		`id.zip.matches(id.zip)`: "cannot be evaluated on this value",
	} {
		v, err := rule.CompileValue(src)
		if err != nil {
			t.Fatalf("%s: %v", src, err)
		}
		if _, err := v.Of(ctx); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", src, err, says)
		}
	}
}
