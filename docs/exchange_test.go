package docs

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"cloakroom/exchange/rule"
)

var rules = regexp.MustCompile("(?ms)^```cel( value)?\n(.*?)^```$")

// Every rule that is shown compiles: a reader copies it.
func TestEveryRuleInExchangeMDCompiles(t *testing.T) {
	text, err := os.ReadFile("exchange.md")
	if err != nil {
		t.Fatal(err)
	}
	compiled := 0
	for _, block := range rules.FindAllStringSubmatch(string(text), -1) {
		for line := range strings.Lines(block[2]) {
			if block[1] != "" {
				_, err = rule.CompileValue(strings.TrimSpace(line))
			} else {
				_, err = rule.CompileCondition(strings.TrimSpace(line))
			}
			if err != nil {
				t.Errorf("%s%v", line, err)
			}
			compiled++
		}
	}
	if compiled < 20 {
		t.Errorf("only %d rules were found", compiled)
	}
}
