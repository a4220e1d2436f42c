package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Bounds of a configuration file: far beyond any that a person writes, near enough that aliases cannot multiply.
const (
	maxFile  = 1 << 20
	maxNodes = 50_000
	maxDepth = 24
)

type kind int

const (
	kindNull kind = iota
	kindText
	kindNumber
	kindBool
	kindMap
	kindList
)

// says is how a kind is called in a fault.
func (k kind) says() string {
	return [...]string{"nothing", "a text", "a number", "true or false", "a map", "a list"}[k]
}

// node is one value of the file, with aliases resolved and ${…} replaced.
type node struct {
	kind         kind
	text         string // of scalars; a number or boolean as it is spelt
	foreign      bool   // some of the text came from a variable or a file: never shown
	broken       bool   // at fault already
	line, column int
	entries      []entry
	items        []*node
}

// entry is one key of a map and its value.
type entry struct {
	name         string
	line, column int
	value        *node
}

// find returns the value of a key, nil where there is none.
func (n *node) find(name string) *node {
	for _, e := range n.entries {
		if e.name == name {
			return e.value
		}
	}
	return nil
}

// tree turns the text of a file into nodes.
type tree struct {
	*report
	expand  expander
	anchors map[string]ast.Node
	count   int
}

// parse returns the file's top map. whole is false where some of it could not be read for its syntax: then what is
// missing says nothing.
func (t *tree) parse(source string) (top *node, whole bool) {
	// An unquoted ${…} in flow style is told, and read as it is meant, to find the other faults too.
	source, references := markFlow(source)
	for _, p := range references {
		t.fault(p.line, p.column, "", "an unquoted ${…} inside { } or [ ]: YAML reads its brace as a map", `put it in quotes: "${…}"`)
	}
	docs, err := t.documents(source)
	if err == nil {
		return t.top(docs), true
	}
	return t.pieces(source), false
}

func (t *tree) documents(source string) ([]*ast.DocumentNode, error) {
	f, err := parser.ParseBytes([]byte(source), 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, err
	}
	return f.Docs, nil
}

func (t *tree) top(docs []*ast.DocumentNode) *node {
	top := &node{kind: kindMap, line: 1, column: 1}
	var body ast.Node
	for i, d := range docs {
		if i > 0 {
			line, column := position(d.Body)
			t.fault(line, column, "", "a second YAML document", "keep one document to a file, without ---")
			break
		}
		body = d.Body
	}
	if body == nil {
		return top
	}
	n := t.node(body, "", 0)
	if n.kind != kindMap {
		if !n.broken && n.kind != kindNull {
			t.fault(n.line, n.column, "", n.kind.says()+" where the configuration's keys are wanted", "begin with `public:`; `cloakroom config example` shows a whole file")
		}
		return top
	}
	n.line, n.column = 1, 1
	return n
}

// pieces reads every top-level key for itself, so that a mistake in one hides none in another.
func (t *tree) pieces(source string) *node {
	top := &node{kind: kindMap, line: 1, column: 1}
	lines := strings.SplitAfter(source, "\n")
	for from := 0; from < len(lines); {
		to := from + 1
		for to < len(lines) && !topLevel.MatchString(lines[to]) {
			to++
		}
		docs, err := t.documents(strings.Repeat("\n", from) + strings.Join(lines[from:to], ""))
		if err != nil {
			t.syntax(err, from+1)
		} else {
			for _, e := range t.top(docs).entries {
				t.add(top, e, "")
			}
		}
		from = to
	}
	return top
}

var (
	topLevel   = regexp.MustCompile(`^[A-Za-z_"'][^#]*:`)
	fileDetail = regexp.MustCompile(`:? ?"[^"]*"`) // what the parser repeats of the file, which may be a secret
)

func (t *tree) syntax(err error, line int) {
	column, problem := 1, "is not YAML"
	if se, ok := errors.AsType[*yaml.SyntaxError](err); ok {
		problem = "is not YAML: " + strings.ReplaceAll(fileDetail.ReplaceAllString(se.Message, ""), "\t", `\t`)
		if se.Token != nil && se.Token.Position != nil {
			line, column = se.Token.Position.Line, se.Token.Position.Column
		}
	}
	t.fault(line, column, "", problem, "check quotes, brackets and indentation (spaces, no tabs) here and just before")
}

// node converts one value. Every fault it finds is reported with the path.
func (t *tree) node(from ast.Node, path string, depth int) *node {
	n := &node{}
	n.line, n.column = position(from)
	if t.count++; t.count > maxNodes || depth > maxDepth {
		if t.count <= maxNodes+1 {
			t.fault(n.line, n.column, path, "too large or nested too deep", "repeat aliases less")
		}
		n.broken = true
		return n
	}
	switch v := from.(type) {
	case *ast.AnchorNode:
		t.anchors[v.Name.GetToken().Value] = v.Value
		return t.node(v.Value, path, depth+1)
	case *ast.AliasNode:
		name := v.Value.GetToken().Value
		to, ok := t.anchors[name]
		if !ok {
			return t.broken(n, path, fmt.Sprintf("no anchor &%s above", name), "define it above its use, or quote a text that begins with *")
		}
		return t.node(to, path, depth+1)
	case *ast.MappingNode:
		n.kind = kindMap
		for _, e := range v.Values {
			t.pair(n, e, path, depth)
		}
	case *ast.MappingValueNode:
		n.kind = kindMap
		t.pair(n, v, path, depth)
	case *ast.SequenceNode:
		n.kind = kindList
		for i, item := range v.Values {
			n.items = append(n.items, t.node(item, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
	case *ast.NullNode, nil:
		n.kind = kindNull
	case *ast.BoolNode:
		n.kind, n.text = kindBool, strings.ToLower(v.GetToken().Value)
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		n.kind, n.text = kindNumber, v.GetToken().Value
	case *ast.StringNode:
		t.scalar(n, v.Value, path)
	case *ast.LiteralNode:
		t.scalar(n, v.Value.Value, path)
	default:
		return t.broken(n, path, "a YAML feature that is not supported here (tags and merge keys are not)", "write the value out")
	}
	return n
}

func (t *tree) broken(n *node, path, problem, remedy string) *node {
	n.broken = true
	t.fault(n.line, n.column, path, problem, remedy)
	return n
}

func (t *tree) pair(into *node, from *ast.MappingValueNode, path string, depth int) {
	e := entry{}
	e.line, e.column = position(from.Key)
	switch k := from.Key.(type) {
	case *ast.StringNode:
		e.name = unmark.Replace(k.Value)
	case *ast.IntegerNode, *ast.BoolNode, *ast.NullNode, *ast.FloatNode:
		e.name = unmark.Replace(k.GetToken().Value)
	default:
		t.fault(e.line, e.column, path, "a key that is not a plain word (no merge keys, tags or `? `)", "write the keys out")
		return
	}
	e.value = t.node(from.Value, child(path, e.name), depth+1)
	t.add(into, e, path)
}

func (t *tree) add(into *node, e entry, path string) {
	for _, there := range into.entries {
		if there.name == e.name {
			t.fault(e.line, e.column, child(path, e.name), fmt.Sprintf("is set twice (first in line %d)", there.line), "keep one of them")
			return
		}
	}
	into.entries = append(into.entries, e)
}

func (t *tree) scalar(n *node, text, path string) {
	n.kind = kindText
	text = unmark.Replace(text)
	var problems []trouble
	n.text, n.foreign, problems = t.expand.text(text)
	for _, p := range problems {
		t.broken(n, path, p.problem, p.remedy)
	}
}

// position is where a value begins. The parser gives a block map the position of its first colon; its first key is meant.
func position(n ast.Node) (line, column int) {
	switch v := n.(type) {
	case nil:
		return 1, 1
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return position(v.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return position(v.Key)
	}
	if tk := n.GetToken(); tk != nil && tk.Position != nil {
		return tk.Position.Line, tk.Position.Column
	}
	return 1, 1
}
