package rule

import (
	"fmt"
	"reflect"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// object is a Go value with named, typed members (see fields) as CEL meets it. It can be selected from and compared
// with null; it is no value of its own, so a rule cannot yield it.
type object struct {
	name  string
	value any
}

func (o object) Type() ref.Type { return cel.ObjectType(o.name) }
func (o object) Value() any     { return o.value }

func (o object) Equal(other ref.Val) ref.Val {
	theirs, ok := other.(object)
	return types.Bool(ok && theirs.value == o.value)
}

func (o object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("%s is not a value", o.name)
}

func (o object) ConvertToType(t ref.Type) ref.Val {
	if t == types.TypeType {
		return cel.ObjectType(o.name)
	}
	return types.NewErr("%s is not a value", o.name)
}

// provider tells the type checker and the evaluator of the members of objects; everything else is CEL's own.
type provider struct{ types.Provider }

func (p provider) FindStructType(name string) (*types.Type, bool) {
	if _, ours := fields[name]; ours {
		return types.NewTypeTypeWithParam(cel.ObjectType(name)), true
	}
	return p.Provider.FindStructType(name)
}

func (p provider) FindStructFieldType(name, member string) (*types.FieldType, bool) {
	members, ours := fields[name]
	if !ours {
		return p.Provider.FindStructFieldType(name, member)
	}
	f, ok := members[member]
	if !ok {
		return nil, false
	}
	get := func(target any) (any, bool) {
		if reflect.TypeOf(target) == nil || reflect.TypeOf(target) == nullType {
			return nil, false
		}
		return f.get(target)
	}
	return &types.FieldType{
		Type:  f.typ,
		IsSet: func(target any) bool { _, known := get(target); return known },
		GetFrom: func(target any) (any, error) {
			value, known := get(target)
			if !known {
				return nil, missing(member)
			}
			return value, nil
		},
	}, true
}

// NewValue refuses what a rule would build of our objects (`cloakroom.Client{id: "x"}`): they are only ever handed in.
func (p provider) NewValue(name string, members map[string]ref.Val) ref.Val {
	if _, ours := fields[name]; ours {
		return types.NewErr("%s cannot be made by a rule", name)
	}
	return p.Provider.NewValue(name, members)
}

var nullType = reflect.TypeOf(types.NullValue.Value())
