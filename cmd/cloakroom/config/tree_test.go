package config

import (
	"errors"
	"strings"
	"testing"

	yaml "github.com/goccy/go-yaml/ast"
)

func TestFlowStyleReadsWordsAsYAMLDoes(t *testing.T) {
	for _, c := range []struct{ name, source, path, want string }{
		{"a colon inside a key", `a: {payments:read: x, payments:read.any: y}`, "payments:read.any", "y"},
		{"a colon inside a value", `a: {b: host:8080, c: 2}`, "b", "host:8080"},
		{"a value that begins with a colon", `a: {b: :8080}`, "b", ":8080"},
		{"a URL", `a: {b: http://orders:9001/x, c: 2}`, "b", "http://orders:9001/x"},
		{"a key in quotes without a space after it", `a: {"b":"c:d"}`, "b", "c:d"},
		{"a colon in quotes", `a: {b: 'x:y', c: "p:q"}`, "c", "p:q"},
		{"an apostrophe in a word", "a: {b: it's, c: x:y}", "c", "x:y"},
		{"a quote that spans lines", "a: {b: \"x\n  {y:z\", c: p:q}", "c", "p:q"},
		{"a brace in a block scalar", "x: |\n  {a:\n  '\na: {b: c:d}", "b", "c:d"},
		{"a brace in a comment", "# it's {\na: {b: c:d} # {", "b", "c:d"},
		{"a brace in a plain word", "x: y{z\na: {b: c:d}", "b", "c:d"},
		{"line ends of Windows", "x: [\r\n  a:b\r\n]\r\na: {b: c:d}\r\n", "b", "c:d"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &report{places: map[string]place{}}
			top, whole := (&tree{report: r, expand: expander{env: lookup}, anchors: map[string]yaml.Node{}}).parse(c.source)
			if !whole || len(r.faults) > 0 {
				t.Fatalf("does not parse: %v", r.faults)
			}
			a := top.find("a")
			if a == nil || a.find(c.path) == nil || a.find(c.path).text != c.want {
				t.Errorf("is %v, not %q", plain(top), c.want)
			}
		})
	}
}

func TestAliases(t *testing.T) {
	f, err := Parse("c.yaml", with(`routes:
- {path: /a, upstream: "http://a", token: &t {audience: api, scope: "api:read"}}
- {path: /b, upstream: "http://b", token: *t}`), lookup)
	if err != nil {
		t.Fatal(err)
	}
	if f.Routes[1].Token.Scope[0] != "api:read" {
		t.Errorf("an alias is %v", f.Routes[1].Token)
	}
	for _, source := range []string{
		with("log: *nowhere"),
		with("log: &a {level: *a}"),
		with("log: {<<: {level: info}}"),
		with("log: !!map {level: info}"),
		with("log: {level: info}") + "---\nlog: {}\n",
		"- a\n",
		"\xff",
		"public: \ue000",
		bomb(),
	} {
		_, err := Parse("c.yaml", source, lookup)
		if faults, ok := errors.AsType[Faults](err); !ok || len(faults) == 0 {
			t.Errorf("%.60q is accepted: %v", source, err)
		}
	}
}

// bomb is a text that aliases multiply to a billion items.
func bomb() string {
	var b strings.Builder
	b.WriteString("log: [&a [x, x, x, x, x, x, x, x, x, x]")
	for c := 'b'; c < 'j'; c++ {
		b.WriteString(", &" + string(c) + " [" + strings.Repeat("*"+string(c-1)+" , ", 9) + "*" + string(c-1) + " ]")
	}
	return b.String() + "]\n"
}

// Whatever the file holds, it is read or refused with complete faults.
func FuzzParse(f *testing.F) {
	f.Add(with())
	f.Add(with(`log: {level: ${K1}, a: [b:c, "d`))
	f.Add("a: &x [*x ]\n? b\n: c\n--- |\n {")
	f.Add("public: {url: \"${file:a}\"}\nsecrets: [\n  x: {y: z}\n]\n\"q\": 'it''s'\n")
	f.Fuzz(func(t *testing.T, source string) {
		file, err := Parse("c.yaml", source, lookup)
		faults, ok := errors.AsType[Faults](err)
		if file == nil || err != nil && !ok {
			t.Fatalf("neither read nor refused: %v", err)
		}
		for _, fault := range faults {
			if fault.Line < 1 || fault.Column < 1 || fault.Problem == "" || fault.Remedy == "" {
				t.Errorf("incomplete: %#v", fault)
			}
		}
	})
}
