package rule

import (
	"errors"
	"strings"

	"cel.dev/cel-go/common/types/ref"
)

// wordsOnly are the errors of an evaluation that hold no more than types and numbers of the rule's own.
var wordsOnly = []string{
	"type conversion error", "no such overload", "index out of bounds", "divide by zero", "modulus by zero", "overflow", "cost limit exceeded",
	"is not a value", "cannot be made by a rule", // ours
}

var (
	errNoSuchKey = errors.New("no such key")
	errThatValue = errors.New("cannot be evaluated on this value")
)

// evaluate runs the rule. CEL's errors quote values: a key that was looked up, a date, a pattern. They are claims of a person, who does not
// belong in a log, so an error tells no more than what stands in the rule.
func (e *expression) evaluate(ctx *Context) (ref.Val, error) {
	out, _, err := e.program.Eval(ctx)
	if err == nil {
		return out, nil
	}
	text := err.Error()
	if _, key, is := strings.Cut(text, errNoSuchKey.Error()+": "); is {
		if key == "scope" || strings.Contains(e.source, key) { // scope is what `granted` reads
			return nil, err
		}
		return nil, errNoSuchKey
	}
	for _, words := range wordsOnly {
		if strings.Contains(text, words) && !strings.ContainsAny(text, "\"`") {
			return nil, err
		}
	}
	return nil, errThatValue
}
