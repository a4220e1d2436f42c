package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A line of conformance.md: | number | what | where |. Where is one or more `folder: TestName` (`folder: TestName/words of
// the case`), "n/a: why", or "open: issue".
var line = regexp.MustCompile(`^\| ([A-Z][A-Za-z0-9.\-]*|F4 [^|]+) \| ([^|]+) \| (.+) \|$`)

var reference = regexp.MustCompile("`([^`:]+): (Test[^`/]*|Fuzz[^`/]*|test)(?:/([^`]+))?`")

func TestEachLineOfConformanceNamesATestThatIsThere(t *testing.T) {
	page, err := os.ReadFile("conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := map[string]string{}
	seen := map[string]bool{}
	for _, text := range strings.Split(string(page), "\n") {
		parts := line.FindStringSubmatch(text)
		if parts == nil || parts[1] == "number" {
			continue
		}
		number, where := parts[1], parts[3]
		if seen[number] {
			t.Errorf("%s stands there twice", number)
		}
		seen[number] = true
		if strings.HasPrefix(where, "n/a: ") || strings.HasPrefix(where, "open: ") {
			continue
		}
		references := reference.FindAllStringSubmatch(where, -1)
		if references == nil {
			t.Errorf("%s names no test: %s", number, where)
		}
		for _, r := range references {
			folder, test, words := r[1], r[2], r[3]
			if _, read := sources[folder]; !read {
				sources[folder] = testsOf(t, folder)
			}
			if !strings.Contains(sources[folder], "func "+test+"(") && test != "test" {
				t.Errorf("%s: %s has no %s", number, folder, test)
			}
			if words != "" && !strings.Contains(sources[folder], words) {
				t.Errorf("%s: no case of %s says %q", number, folder, words)
			}
		}
	}
	if len(seen) < 100 {
		t.Errorf("only %d numbered lines were understood", len(seen))
	}
}

// testsOf returns the test sources of a folder of the tree, in one string.
func testsOf(t *testing.T, folder string) string {
	t.Helper()
	var all strings.Builder
	for _, pattern := range []string{"*_test.go", "*.test.mjs", "testdata/*.txt", "testdata/*.txtar"} {
		files, err := filepath.Glob(filepath.Join("..", folder, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(source)
		}
	}
	if all.Len() == 0 {
		t.Errorf("no tests in %s", folder)
	}
	return all.String()
}
