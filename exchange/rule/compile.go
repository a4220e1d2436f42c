package rule

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"
)

const (
	// MaxSource bounds a rule's text.
	MaxSource = 8 << 10
	// maxCost bounds one evaluation, in CEL's cost units. A dozen tests of strings and lists as claims hold them cost
	// some hundreds; the limit is where a rule would take milliseconds.
	maxCost = 200_000
	// maxInput is the size assumed of any text, list or map a rule reads, for the estimate at load: token.DecodeClaims
	// lets no claims beyond 64 KiB in.
	maxInput = 64 << 10
)

// expression is a compiled rule of either kind.
type expression struct {
	source   string
	program  cel.Program
	identity []string
}

// IdentityClaims lists the claims read as `id.X` or `id["X"]`, sorted: what userinfo may be needed for.
func (e *expression) IdentityClaims() []string { return e.identity }

// environment is made once: it is immutable, and making it costs more than all rules of a configuration.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	claims := cel.MapType(cel.StringType, cel.DynType)
	if err := registry.RegisterType(types.OptionalType); err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.OptionalTypes(), // before the provider, which it would extend, and cannot
		cel.CustomTypeProvider(provider{registry}),
		cel.CustomTypeAdapter(registry),
		cel.Variable("access", claims),
		cel.Variable("id", claims),
		cel.Variable("subject", claims),
		cel.Variable("actor", cel.DynType), // claims or null
		cel.Variable("client", cel.ObjectType("cloakroom.Client")),
		cel.Variable("request", cel.ObjectType("cloakroom.Request")),
		cel.Variable("session", cel.ObjectType("cloakroom.Session")),
		cel.Variable("now", cel.TimestampType),
		cel.Macros(cel.GlobalMacro("granted", 1, expandGranted)),
		ext.Strings(),
		ext.Sets(),
		cel.ParserRecursionLimit(50),
		cel.ParserExpressionSizeLimit(MaxSource),
	)
})

// expandGranted makes granted(s) what it is short for: `s in access.scope`.
func expandGranted(f cel.MacroExprFactory, _ ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
	return f.NewCall(operators.In, args[0], f.NewSelect(f.NewIdent("access"), "scope")), nil
}

// compile parses, checks and plans src. The error is one line per mistake, each with its column.
func compile(src string) (expression, *cel.Type, error) {
	if strings.TrimSpace(src) == "" {
		return expression{}, nil, errors.New("an empty rule")
	}
	if len(src) > MaxSource {
		return expression{}, nil, fmt.Errorf("%d bytes, more than %d", len(src), MaxSource)
	}
	env, err := environment()
	if err != nil {
		return expression{}, nil, err
	}
	checked, issues := env.Compile(src)
	if issues.Err() != nil {
		return expression{}, nil, mistakes(issues)
	}
	worst, err := env.EstimateCost(checked, inputs{})
	if err != nil {
		return expression{}, nil, err
	}
	if worst.Min > maxCost {
		return expression{}, nil, fmt.Errorf("costs at least %d units at every evaluation, more than %d", worst.Min, maxCost)
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if worst.Max > maxCost { // only then is counting worth its price, which is more than that of a usual rule
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := env.Program(checked, options...)
	if err != nil {
		return expression{}, nil, err
	}
	return expression{src, program, identityClaims(checked.NativeRep())}, checked.OutputType(), nil
}

func mistakes(issues *cel.Issues) error {
	var lines []string
	for _, e := range issues.Errors() {
		at := fmt.Sprintf("column %d", e.Location.Column()+1)
		if e.Location.Line() > 1 {
			at = fmt.Sprintf("line %d, %s", e.Location.Line(), at)
		}
		lines = append(lines, at+": "+strings.Join(strings.Fields(e.Message), " "))
	}
	return errors.New(strings.Join(lines, "; "))
}

// identityClaims finds every `id.X`, `has(id.X)`, `id.?X`, `id["X"]` and `"X" in id`.
func identityClaims(tree *ast.AST) []string {
	var names []string
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			if s := e.AsSelect(); isIdentity(s.Operand()) {
				names = append(names, s.FieldName())
			}
		case ast.CallKind:
			call := e.AsCall()
			if len(call.Args()) != 2 {
				return
			}
			of, name := call.Args()[0], call.Args()[1]
			switch call.FunctionName() {
			case operators.In:
				of, name = name, of
			case operators.Index, operators.OptIndex, operators.OptSelect:
			default:
				return
			}
			if isIdentity(of) && name.Kind() == ast.LiteralKind {
				if s, ok := name.AsLiteral().Value().(string); ok {
					names = append(names, s)
				}
			}
		}
	}))
	slices.Sort(names)
	return slices.Compact(names)
}

func isIdentity(e ast.Expr) bool { return e.Kind() == ast.IdentKind && e.AsIdent() == "id" }

// inputs bounds the size of what a rule reads.
type inputs struct{}

func (inputs) EstimateSize(cost.AstNode) *cost.SizeEstimate {
	return &cost.SizeEstimate{Min: 0, Max: maxInput}
}

func (inputs) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}
