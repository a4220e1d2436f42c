package docs

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The page refers to requirements by number; each must be one of conformance.md's.
func TestTheSecurityModelRefersToRequirementsThatAreThere(t *testing.T) {
	page, err := os.ReadFile("security-model.md")
	if err != nil {
		t.Fatal(err)
	}
	all := required()
	text := string(page)
	for _, row := range all {
		if words, ok := strings.CutPrefix(row, "F4 "); ok && strings.Contains(text, row) {
			text = strings.ReplaceAll(text, "F4 "+words, "")
		}
	}
	found := 0
	for _, number := range regexp.MustCompile(`\b(?:C-\d+|E-\d+|P-\d+|S0\.\d+|F4|[A-D]\d+(?:\.\d+)?|G\d)\b`).FindAllString(text, -1) {
		found++
		if !slices.Contains(all, number) {
			t.Errorf("%s is no requirement", number)
		}
	}
	if found < 80 {
		t.Errorf("%d references found", found)
	}
}
