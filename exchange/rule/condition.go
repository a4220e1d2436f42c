package rule

import (
	"errors"
	"fmt"

	"cel.dev/cel-go/cel"
)

// Condition is a rule that says yes or no. It is safe for concurrent use.
type Condition struct{ expression }

// CompileCondition compiles a rule that must yield a bool (one whose type only its input tells is checked when it runs).
func CompileCondition(src string) (*Condition, error) {
	e, yields, err := compile(src)
	if err != nil {
		return nil, err
	}
	if !yields.IsExactType(cel.BoolType) && !yields.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("yields %s, not a bool", yields)
	}
	return &Condition{e}, nil
}

// Holds evaluates the rule. Whatever keeps it from an answer, such as a claim that is not there, is false and the error.
func (c *Condition) Holds(ctx *Context) (bool, error) {
	out, err := c.evaluate(ctx)
	if err != nil {
		return false, err
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return false, errors.New("does not yield a bool")
	}
	return holds, nil
}
