package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
)

// applied are the keys whose values may change while Cloakroom runs.
var applied = []string{"routes", "exchange", "issuers", "limits", "log", "secrets"}

// appliedFiles are those that may change to another file, but neither from none nor to none.
var appliedFiles = []string{"public.tls.cert_file", "public.tls.key_file", "internal.tls.cert_file", "internal.tls.key_file"}

// followedFiles are those that are read again for as long as Cloakroom runs, beside what is applied and appliedFiles.
var followedFiles = []string{"store.ca_file", "store.cert_file", "store.key_file", "public.pages.logo_file", "public.pages.strings_file"}

// Since tells what a Cloakroom that runs with an older configuration cannot take over from f: every key whose value has
// changed, or the file that it names, where f has it.
func (f *File) Since(old *File) Faults {
	c := changes{&report{file: f.read.file, places: maps.Clone(f.read.places)}, old.read, f.Files, old.Files}
	c.fields(reflect.ValueOf(*old), reflect.ValueOf(*f), "")
	return c.faults.sorted()
}

type changes struct {
	*report
	old *report

	files, oldFiles Files
}

func (c changes) fields(was, is reflect.Value, path string) {
	for _, k := range keysOf(is.Type()) {
		at := child(path, k.name)
		if slices.Contains(applied, at) {
			continue
		}
		tag := is.Type().Field(k.field).Tag
		_, options, _ := strings.Cut(tag.Get("yaml"), ",")
		c.value(was.Field(k.field), is.Field(k.field), at, options == "keyed")
		if name := is.Field(k.field); tag.Get("is") == "file" && name.Kind() == reflect.String && name.String() == was.Field(k.field).String() {
			c.content(name.String(), at)
		}
	}
}

func (c changes) value(was, is reflect.Value, path string, keyed bool) {
	switch {
	case keyed && slices.Equal(namesIn(was), namesIn(is)):
		for i, name := range namesIn(is) {
			c.fields(was.Index(i), is.Index(i), child(path, name))
		}
	case !keyed && is.Kind() == reflect.Struct && len(keysOf(is.Type())) > 0:
		c.fields(was, is, path)
	case slices.Contains(appliedFiles, path) && !was.IsZero() && !is.IsZero():
	case !c.given(path) && !c.old.given(path): // a default that follows from another key, which is told of
	case !same(was, is):
		c.at(path, "cannot change while Cloakroom runs", "restart Cloakroom to change it, or take the change back")
	}
}

// content is about a file that is the same by name.
func (c changes) content(name, path string) {
	if slices.Contains(appliedFiles, path) || slices.Contains(followedFiles, path) || c.files[name] == c.oldFiles[name] {
		return
	}
	c.at(path, "names a file that holds something else than when Cloakroom started", "restart Cloakroom to have it read, or take the change back")
}

// namesIn lists the names of a list that the file writes as a map; their order counts.
func namesIn(list reflect.Value) (names []string) {
	for i := range list.Len() {
		names = append(names, list.Index(i).FieldByName("Name").String())
	}
	return names
}

// same tells whether two values are. Of a rule its source is what counts.
func same(a, b reflect.Value) bool {
	switch x := a.Interface().(type) {
	case Condition:
		return x.Source == b.Interface().(Condition).Source
	case Value:
		return x.Source == b.Interface().(Value).Source
	}
	switch {
	case a.Kind() == reflect.Map && a.Len() == 0 && b.Len() == 0:
		return true // written or left out
	case a.Kind() == reflect.Slice && a.Len() == b.Len():
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case a.Kind() == reflect.Struct && a.Type() == reflect.TypeFor[ClaimRule]():
		return a.Field(0).String() == b.Field(0).String() && same(a.Field(1), b.Field(1))
	}
	return reflect.DeepEqual(a.Interface(), b.Interface())
}
