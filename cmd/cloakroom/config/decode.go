package config

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"cloakroom/secret"
)

// decoder fills a File from the tree. Field tags say what a value must be: `yaml` its key (with `keyed` a list that the
// file writes as a map by name), `enum` and `each` the values there are, `keys` the keys of a map, `is` what a text must be
// (shapes.go).
type decoder struct {
	*report
	expand expander
}

// decodable is a type that reads itself, because the file may write it in several ways.
type decodable interface {
	decode(d *decoder, n *node, path string)
}

// mark notes where every path stands.
func (d *decoder) mark(n *node, path string, line, column int) {
	d.places[path] = place{line: line, column: column, broken: n.broken, foreign: n.foreign}
	for _, e := range n.entries {
		line, column := e.value.line, e.value.column
		if e.value.kind == kindMap || e.value.kind == kindList || e.value.kind == kindNull {
			line, column = e.line, e.column
		}
		d.mark(e.value, child(path, e.name), line, column)
	}
	for i, item := range n.items {
		d.mark(item, fmt.Sprintf("%s[%d]", path, i), item.line, item.column)
	}
}

func (d *decoder) value(v reflect.Value, n *node, path string, tag reflect.StructTag) {
	if n.broken {
		return
	}
	if n.kind == kindNull {
		d.at(path, "has no value", "give it one, or take the key out")
		return
	}
	if own, ok := reflect.TypeAssert[decodable](v.Addr()); ok {
		own.decode(d, n, path)
		return
	}
	switch into := v.Addr().Interface().(type) {
	case *time.Duration:
		*into = d.duration(n, path)
		if *into == 0 && tag.Get("is") == "positive" {
			d.at(path, "is 0", "write how long it is, such as 30s")
		}
	case *netip.Prefix:
		*into = d.prefix(n, path)
	case *secret.Key:
		if k, ok := d.key(n, path); ok {
			*into = k
		}
	case **secret.Key:
		if k, ok := d.key(n, path); ok {
			*into = &k
		}
	case *secret.Text:
		*into = secret.Text(d.text(n, path))
	default:
		d.general(v, n, path, tag)
	}
}

func (d *decoder) general(v reflect.Value, n *node, path string, tag reflect.StructTag) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(d.checked(n, path, tag))
	case reflect.Bool:
		v.SetBool(d.boolean(n, path))
	case reflect.Int:
		v.SetInt(int64(d.integer(n, path)))
		if v.Int() == 0 && tag.Get("is") == "positive" {
			d.at(path, "is 0", "write how many there may be")
		}
	case reflect.Slice:
		if strings.HasSuffix(tag.Get("yaml"), ",keyed") {
			d.keyed(v, n, path)
		} else {
			d.list(v, n, path, tag)
		}
	case reflect.Map:
		d.table(v, n, path, tag)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(v.Elem(), n, path, tag)
	case reflect.Struct:
		d.fields(v, n, path)
	default:
		panic("config: no way to read a " + v.Type().String())
	}
}

// want reports any other kind than k.
func (d *decoder) want(n *node, path string, k kind) bool {
	if n.kind == k {
		return true
	}
	remedy := map[kind]string{
		kindText: "put it in quotes",
		kindMap:  "write keys below it, or {key: value}",
		kindList: "write it as a list: [ … ], or one `- ` line each",
	}[k]
	if k == kindText && (n.kind == kindMap || n.kind == kindList) {
		remedy = "write one value"
	}
	d.at(path, n.kind.says()+" where "+k.says()+" is wanted", remedy)
	return false
}

// fields fills a struct from a map, and reports the keys it does not have.
func (d *decoder) fields(v reflect.Value, n *node, path string) {
	if !d.want(n, path, kindMap) {
		return
	}
	known := keysOf(v.Type())
	for _, e := range n.entries {
		i := slices.IndexFunc(known, func(k knownKey) bool { return k.name == e.name })
		if i < 0 {
			names := make([]string, len(known))
			for i, k := range known {
				names[i] = k.name
			}
			remedy := suggestion(e.name, names)
			if key, _, ok := strings.Cut(e.name, ":"); ok && slices.Contains(names, key) {
				remedy = "put a space after the colon"
			}
			d.fault(e.line, e.column, child(path, e.name), "is not a key", remedy)
			continue
		}
		f := v.Type().Field(known[i].field)
		d.value(v.Field(known[i].field), e.value, child(path, e.name), f.Tag)
	}
}

type knownKey struct {
	name  string
	field int
}

// keysOf lists the keys that the file may set in a struct.
func keysOf(t reflect.Type) []knownKey {
	var out []knownKey
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ",")
		if name != "" && name != "-" {
			out = append(out, knownKey{name, i})
		}
	}
	return out
}

func (d *decoder) list(v reflect.Value, n *node, path string, tag reflect.StructTag) {
	if !d.want(n, path, kindList) {
		return
	}
	out := reflect.MakeSlice(v.Type(), 0, len(n.items))
	for i, item := range n.items {
		at := fmt.Sprintf("%s[%d]", path, i)
		one := newElement(v.Type().Elem())
		d.value(one, item, at, tag)
		if text, ok := reflect.TypeAssert[string](one); ok && !d.broken(at) {
			switch {
			case text == "":
				d.at(at, "is empty", "write a value or take it out")
			case slices.Contains(out.Interface().([]string), text):
				d.at(at, "is listed twice", "keep one of them")
			}
		}
		out = reflect.Append(out, one)
	}
	v.Set(out)
}

// keyed fills a list of structs from a map, each with the map's key as its Name.
func (d *decoder) keyed(v reflect.Value, n *node, path string) {
	if !d.want(n, path, kindMap) {
		return
	}
	for _, e := range n.entries {
		one := newElement(v.Type().Elem())
		one.FieldByName("Name").SetString(e.name)
		d.value(one, e.value, child(path, e.name), "")
		v.Set(reflect.Append(v, one))
	}
}

// newElement makes an element with its defaults.
func newElement(t reflect.Type) reflect.Value {
	one := reflect.New(t)
	if with, ok := reflect.TypeAssert[interface{ setDefaults() }](one); ok {
		with.setDefaults()
	}
	return one.Elem()
}

func (d *decoder) table(v reflect.Value, n *node, path string, tag reflect.StructTag) {
	if !d.want(n, path, kindMap) {
		return
	}
	known := strings.Fields(tag.Get("keys"))
	out := reflect.MakeMapWithSize(v.Type(), len(n.entries))
	for _, e := range n.entries {
		if len(known) > 0 && !slices.Contains(known, e.name) {
			d.fault(e.line, e.column, child(path, e.name), "is not a key", suggestion(e.name, known))
			continue
		}
		one := reflect.New(v.Type().Elem()).Elem()
		d.value(one, e.value, child(path, e.name), tag)
		out.SetMapIndex(reflect.ValueOf(e.name), one)
	}
	v.Set(out)
}

// text reads a text. A number is not one: 010 and 1e3 would not be what they look like.
func (d *decoder) text(n *node, path string) string {
	if !d.want(n, path, kindText) {
		return ""
	}
	return n.text
}

// checked reads a text and checks it by its tags.
func (d *decoder) checked(n *node, path string, tag reflect.StructTag) string {
	text := d.text(n, path)
	if d.broken(path) {
		return ""
	}
	values := strings.Fields(tag.Get("enum") + " " + tag.Get("each"))
	if len(values) > 0 && !slices.Contains(values, text) {
		d.at(path, n.shown()+" is not one of its values", suggestion(text, values))
		return ""
	}
	if shape := tag.Get("is"); shape != "" && text != "" {
		out, t := d.shape(shape, text, n)
		if t != nil {
			d.at(path, t.problem, t.remedy)
			return ""
		}
		return out
	}
	return text
}

// shown is a value as a fault may show it: not when it came from a variable or a file, and bounded.
func (n *node) shown() string {
	if n.foreign {
		return "its value"
	}
	text := []rune(n.text)
	if len(text) > 60 {
		text = append(text[:60], '…')
	}
	return strconv.Quote(string(text))
}

// A variable's value is always a text; where a number or a boolean is wanted it is read as one.
func (n *node) mayBe(k kind) bool { return n.kind == k || n.kind == kindText && n.foreign }

func (d *decoder) boolean(n *node, path string) bool {
	if n.mayBe(kindBool) {
		switch n.text {
		case "true":
			return true
		case "false":
			return false
		}
	}
	d.at(path, n.kind.says()+" where true or false is wanted", "write true or false, without quotes")
	return false
}

func (d *decoder) integer(n *node, path string) int {
	if n.mayBe(kindNumber) {
		if i, err := strconv.Atoi(n.text); err == nil && i >= 0 && i <= 1<<31-1 && (n.text == "0" || n.text[0] != '0') {
			return i
		}
		d.at(path, n.shown()+" is not a whole number from 0", "write digits only")
		return 0
	}
	d.at(path, n.kind.says()+" where a whole number is wanted", "write digits only, without quotes")
	return 0
}

func (d *decoder) duration(n *node, path string) time.Duration {
	if n.kind == kindNumber && n.text != "0" {
		d.at(path, "has no unit", "write it as 30s, 5m or 12h")
		return 0
	}
	if n.kind != kindText && n.kind != kindNumber {
		d.want(n, path, kindText)
		return 0
	}
	out, err := time.ParseDuration(n.text)
	switch {
	case err != nil:
		d.at(path, n.shown()+" is not a duration", "write it as 30s, 5m or 12h (a day is 24h)")
	case out < 0:
		d.at(path, "is negative", "write how long it is")
	}
	return max(out, 0)
}

func (d *decoder) prefix(n *node, path string) netip.Prefix {
	text := d.text(n, path)
	if d.broken(path) {
		return netip.Prefix{}
	}
	out, err := netip.ParsePrefix(text)
	if err != nil {
		remedy := "write it as 10.0.0.0/8 or fd00::/8"
		if addr, err := netip.ParseAddr(text); err == nil {
			remedy = fmt.Sprintf("write %s/%d for this one address", text, addr.BitLen())
		}
		d.at(path, n.shown()+" is not a range of addresses (CIDR)", remedy)
		return netip.Prefix{}
	}
	if out.Masked() != out {
		d.at(path, n.shown()+" has bits set after its prefix", fmt.Sprintf("write %s, or a longer prefix", out.Masked()))
		return netip.Prefix{}
	}
	return out
}

func (d *decoder) key(n *node, path string) (secret.Key, bool) {
	text := d.text(n, path)
	if d.broken(path) {
		return secret.Key{}, false
	}
	k, err := secret.ParseKey(text)
	if err != nil {
		d.at(path, "is not base64 of 32 random bytes: "+err.Error(), "make one with `cloakroom secret`")
		return secret.Key{}, false
	}
	return k, true
}
