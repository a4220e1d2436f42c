package config

import (
	"strings"

	"cloakroom/exchange/rule"
)

// condition compiles a CEL condition.
func (d *decoder) condition(c *Condition, text string, n *node, path string) {
	c.Source = text
	if strings.TrimSpace(text) == "true" {
		return
	}
	compiled, err := rule.CompileCondition(text)
	if err != nil {
		d.badRule(err, n, path)
		return
	}
	c.Rule = compiled
}

// compile compiles a CEL value.
func (d *decoder) compile(v *Value, text string, n *node, path string) {
	v.Source = text
	compiled, err := rule.CompileValue(text)
	if err != nil {
		d.badRule(err, n, path)
		return
	}
	v.Rule = compiled
}

// badRule reports a rule that does not compile. The compiler's message repeats words of the rule, so it is kept back when
// the rule's text came from a variable or a file: it may be a secret by mistake.
func (d *decoder) badRule(err error, n *node, path string) {
	problem := "is no CEL rule that can be used: " + err.Error()
	if n.foreign {
		problem = "is no CEL rule that can be used (what is wrong is not shown, since its text comes from ${…})"
	}
	d.at(path, problem, "rules see access, id, subject, actor, client, request, session and now; a text inside a rule has quotes of its own")
}
