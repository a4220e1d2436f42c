package rule

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
)

// Value is a rule that yields a value for a claim. It is safe for concurrent use.
type Value struct{ expression }

// CompileValue compiles a rule that may yield anything JSON can hold.
func CompileValue(src string) (*Value, error) {
	e, yields, err := compile(src)
	if err != nil {
		return nil, err
	}
	if _, ours := fields[yields.TypeName()]; ours || yields.Kind() == types.TypeKind {
		return nil, fmt.Errorf("yields %s, not a value", yields)
	}
	return &Value{e}, nil
}

// Of evaluates the rule to a value as token.Claims holds them; nil is absent, which null and an empty optional are too.
// An error, such as of a claim that is not there, means absent as well.
func (v *Value) Of(ctx *Context) (any, error) {
	out, err := v.evaluate(ctx)
	if err != nil {
		return nil, err
	}
	return native(out, 0)
}

// maxDepth bounds the nesting of a value, as token.DecodeClaims bounds that of what comes in.
const maxDepth = 32

// native converts a value of CEL to what JSON can hold. Timestamps become NumericDates (RFC 7519 section 2), durations
// seconds, bytes base64.
func native(v ref.Val, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	switch v := v.(type) {
	case types.Null:
		return nil, nil
	case *types.Optional:
		if !v.HasValue() {
			return nil, nil
		}
		return native(v.GetValue(), depth+1)
	case types.Bool:
		return bool(v), nil
	case types.String:
		return string(v), nil
	case types.Int:
		return int64(v), nil
	case types.Uint:
		if v > math.MaxInt64 {
			return nil, errors.New("a number too large")
		}
		return int64(v), nil
	case types.Double:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return nil, errors.New("not a finite number")
		}
		return float64(v), nil
	case types.Bytes:
		return base64.StdEncoding.EncodeToString(v), nil
	case types.Timestamp:
		return v.Unix(), nil
	case types.Duration:
		return int64(v.Duration / time.Second), nil
	case traits.Mapper:
		return nativeMap(v, depth)
	case traits.Lister:
		return nativeList(v, depth)
	}
	return nil, fmt.Errorf("yields %s, not a value", v.Type().TypeName())
}

func nativeList(v traits.Lister, depth int) (any, error) {
	size, _ := v.Size().(types.Int)
	out := make([]any, 0, size)
	for it := v.Iterator(); it.HasNext() == types.True; {
		one, err := native(it.Next(), depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func nativeMap(v traits.Mapper, depth int) (any, error) {
	out := map[string]any{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("a map with %s keys", key.Type().TypeName())
		}
		one, err := native(v.Get(key), depth+1)
		if err != nil {
			return nil, err
		}
		out[string(name)] = one
	}
	return out, nil
}
