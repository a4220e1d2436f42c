package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	yaml "github.com/goccy/go-yaml/ast"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"cloakroom/secret"
)

var update = flag.Bool("update", false, "write schema.json and the golden files anew")

func TestSchemaIsMadeFromTheTypes(t *testing.T) {
	g := schemaWriter{docs: fieldDocs(t)}
	root := g.object(reflect.TypeFor[File]())
	root["$schema"], root["title"] = "https://json-schema.org/draft/2020-12/schema", "Cloakroom's configuration"
	root["required"] = []string{"public"}
	made, err := json.MarshalIndent(root, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	made = append(made, '\n')
	if *update {
		if err := os.WriteFile("schema.json", made, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	there, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(made, there) {
		t.Error("schema.json is not what the types say: go test ./cmd/cloakroom/config -run TestSchema -update")
	}
}

func TestSchemaAcceptsWholeFiles(t *testing.T) {
	schema := compiledSchema(t)
	for _, file := range []string{"testdata/cloakroom.yaml", "testdata/minimal.yaml", "testdata/defaults.yaml", "example.yaml"} {
		if err := schema.Validate(plain(parsed(t, file))); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestSchemaRefusesWhatIsWrong(t *testing.T) {
	schema := compiledSchema(t)
	for _, doc := range []string{
		`{"public": {"url": "https://a.example", "lisen": ":1"}}`,
		`{"public": {"url": "https://a.example"}, "providers": {"main": {"issuer": 1, "client_id": "x"}}}`,
		`{"public": {"url": "https://a.example"}, "session": {"cookie": {"same_site": "none"}}}`,
		`{"public": {"url": "https://a.example"}, "telemetry": {"otlp_endpoint": "http://me:hunter2@collector:4318"}}`,
		`{"public": {"url": "https://a.example"}, "providers": {"main": {"issuer": "https://id.example", "client_id": "x", "endpoints": {"token": "https://me:hunter2@id.example"}}}}`,
		`{}`,
	} {
		value, err := jsonschema.UnmarshalJSON(strings.NewReader(doc))
		if err != nil {
			t.Fatal(err)
		}
		if schema.Validate(value) == nil {
			t.Errorf("accepts %s", doc)
		}
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(Schema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("cloakroom.json", doc); err != nil {
		t.Fatal(err)
	}
	return c.MustCompile("cloakroom.json")
}

// schemaWriter makes a JSON Schema from types, their tags and their comments.
type schemaWriter struct{ docs map[string]string }

type object = map[string]any

func (g schemaWriter) object(t reflect.Type) object {
	properties := object{}
	for _, k := range keysOf(t) {
		f := t.Field(k.field)
		p := g.value(f.Type, f.Tag)
		if doc := g.docs[t.Name()+"."+f.Name]; doc != "" {
			p["description"] = strings.Replace(doc, f.Name, k.name, 1) // "Listen is …" becomes "listen is …"
		}
		properties[k.name] = p
	}
	out := object{"type": "object", "additionalProperties": false, "properties": properties}
	switch t {
	case reflect.TypeFor[Provider]():
		out["required"] = []string{"issuer", "client_id"}
	case reflect.TypeFor[Issuer]():
		out["required"] = []string{"issuer", "audiences"}
	case reflect.TypeFor[Route]():
		out["required"] = []string{"path"}
	case reflect.TypeFor[Client]():
		out["required"] = []string{"auth", "audiences"}
	case reflect.TypeFor[Public]():
		out["required"] = []string{"url"}
	}
	return out
}

func (g schemaWriter) value(t reflect.Type, tag reflect.StructTag) object {
	text := object{"type": "string"}
	secretText := object{"type": "string", "writeOnly": true} // the chart takes these by reference only
	reference := object{"type": "string", "pattern": `\$\{`}
	rules := object{"type": "object", "additionalProperties": object{"type": "string"}}
	switch t {
	case reflect.TypeFor[time.Duration]():
		return object{"type": "string", "examples": []string{"30s", "5m", "12h"}}
	case reflect.TypeFor[secret.Key](), reflect.TypeFor[*secret.Key](), reflect.TypeFor[secret.Text]():
		return secretText
	case reflect.TypeFor[netip.Prefix](), reflect.TypeFor[Value](), reflect.TypeFor[Subject](), reflect.TypeFor[ScopeList]():
		return text
	case reflect.TypeFor[Size]():
		return object{"type": []string{"string", "integer"}, "examples": []string{"10MiB"}}
	case reflect.TypeFor[Texts]():
		return object{"oneOf": []object{secretText, {"type": "array", "items": secretText}}}
	case reflect.TypeFor[Condition]():
		return object{"type": []string{"string", "boolean"}}
	case reflect.TypeFor[UserClaims]():
		return object{"oneOf": []object{{"type": "array", "items": text}, rules}}
	case reflect.TypeFor[ClaimRules]():
		return rules
	case reflect.TypeFor[Scopes]():
		return object{"oneOf": []object{{"const": "subject"}, {"type": "array", "items": text},
			{"type": "object", "additionalProperties": object{"type": []string{"string", "boolean"}}}}}
	case reflect.TypeFor[NoSession]():
		return object{"enum": []any{401, "401", "login"}}
	case reflect.TypeFor[RouteToken]():
		out := g.object(t)
		out["required"] = []string{"audience"}
		return object{"oneOf": []object{{"enum": []string{"access", "none"}}, out}}
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"oneOf": []object{{"type": "boolean"}, reference}}
	case reflect.Int:
		return object{"oneOf": []object{{"type": "integer", "minimum": 0}, reference}}
	case reflect.String:
		if values := strings.Fields(tag.Get("enum") + " " + tag.Get("each")); len(values) > 0 {
			return object{"anyOf": []object{{"enum": values}, reference}}
		}
		switch tag.Get("is") {
		case "origin", "issuer", "issuer-https", "url", "https":
			text["not"] = object{"pattern": "://[^/]*@"} // a user or password in it, as httpURL refuses
		}
		return text
	case reflect.Pointer:
		return g.value(t.Elem(), tag)
	case reflect.Slice:
		items := g.value(t.Elem(), tag)
		if strings.HasSuffix(tag.Get("yaml"), ",keyed") {
			return object{"type": "object", "additionalProperties": items}
		}
		return object{"type": "array", "items": items}
	case reflect.Map:
		out := object{"type": "object", "additionalProperties": g.value(t.Elem(), tag)}
		if keys := strings.Fields(tag.Get("keys")); len(keys) > 0 {
			out["propertyNames"] = object{"enum": keys}
		}
		return out
	}
	return g.object(t)
}

// fieldDocs reads the comment of every field: the schema's descriptions are those, and none is missing.
func fieldDocs(t *testing.T) map[string]string {
	t.Helper()
	docs := map[string]string{}
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			of, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range of.Fields.List {
				for _, name := range f.Names {
					doc := strings.Join(strings.Fields(f.Doc.Text()), " ")
					if f.Tag != nil && doc == "" && !strings.Contains(f.Tag.Value, `yaml:"-"`) {
						t.Errorf("%s.%s has no comment", spec.Name.Name, name.Name)
					}
					docs[spec.Name.Name+"."+name.Name] = doc
				}
			}
			return true
		})
	}
	return docs
}

// parsed reads a file of this package's test data as a tree, without looking at variables and files.
func parsed(t *testing.T, file string) *node {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &report{file: file, places: map[string]place{}}
	tr := tree{report: r, expand: expander{env: func(string) (string, bool) { return "", true }}, anchors: map[string]yaml.Node{}}
	top, whole := tr.parse(strings.ReplaceAll(string(source), "${", "$${"))
	if !whole {
		t.Fatal(r.faults)
	}
	return top
}

// plain is a tree as encoding/json has it.
func plain(n *node) any {
	switch n.kind {
	case kindMap:
		out := map[string]any{}
		for _, e := range n.entries {
			out[e.name] = plain(e.value)
		}
		return out
	case kindList:
		out := []any{}
		for _, item := range n.items {
			out = append(out, plain(item))
		}
		return out
	case kindNumber:
		return json.Number(n.text)
	case kindBool:
		return n.text == "true"
	case kindNull:
		return nil
	}
	return n.text
}
