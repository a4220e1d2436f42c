package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A line of conformance.md: | number | what | where |. Where is one or more `folder: TestName` (`folder: TestName/words of
// the case`), "n/a: why", or "open: issue N: what is missing" (or "a later issue"). Tests may be named in the latter two as well.
var line = regexp.MustCompile(`^\| ([A-Z][A-Za-z0-9.\-]*|F4 [^|]+) \| ([^|]+) \| (.+) \|$`)

var (
	reference = regexp.MustCompile("`([^`:]+): (Test[^`/]*|Fuzz[^`/]*|test)(?:/([^`]+))?`")
	tested    = regexp.MustCompile("^" + reference.String() + "(, " + reference.String() + ")*(; .+)?$")
	open      = regexp.MustCompile(`^open: (issue \d+|a later issue): .+`)
)

// required are the numbers of the lists, which are no part of the tree: exchange.md A.2 (C-), security.md 0 (S0), A to E and G,
// faults.md F4 by the words of its rows, peers.md D (P-).
func required() []string {
	var all []string
	add := func(format string, from, to int) {
		for i := from; i <= to; i++ {
			all = append(all, fmt.Sprintf(format, i))
		}
	}
	for _, r := range [][2]int{{1, 22}, {30, 50}, {60, 70}, {80, 87}, {90, 96}, {100, 110}, {120, 123}, {130, 135}, {140, 144}, {150, 154}} {
		add("C-%03d", r[0], r[1])
	}
	add("S0.%d", 1, 11)
	add("A%d", 1, 22)
	add("B1.%d", 1, 17)
	add("B2.%d", 1, 23)
	add("B3.%d", 1, 19)
	add("B4.%d", 1, 10)
	add("C%d", 1, 8)
	add("C%d", 10, 24)
	add("D2.%d", 1, 6)
	add("D3.%d", 1, 5)
	all = append(all, "D1", "D4", "D5", "D6", "D7", "D8", "D9", "D10")
	add("E-%02d", 1, 58)
	add("G%d", 1, 7)
	for _, row := range []string{
		"Redis down", "Redis hung", "Redis slow", "Redis drops mid-reply", "READONLY/failover", "Failover loses writes",
		"Cluster MOVED/ASK, slot migration", "Redis full (OOM)/evicting", "Redis wiped",
		"Redis tampered/ciphertext swapped between users", "Two replicas refresh at once", "Slow IdP > lock ttl",
		"BFF kill -9 between IdP reply and write", "Client abort during refresh", "IdP down", "IdP 429/503", "Thundering herd",
		"Clock skew ±90 s, jump", "SIGTERM under load + websockets", "SIGTERM during refresh", "Restart all replicas", "Key rotation",
		"Config reload broken", "Slowloris / slow body / slow read", "Upstream hangs / resets / 10 GiB body", "FD/memory limit",
		"DNS failure", "Disk full (logs)",
	} {
		all = append(all, "F4 "+row)
	}
	add("P-%02d", 1, 49)
	return all
}

func TestEachLineOfConformanceNamesATestThatIsThere(t *testing.T) {
	page, err := os.ReadFile("conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	missing := map[string]bool{}
	for _, number := range required() {
		missing[number] = true
	}
	sources := map[string]string{}
	seen := map[string]bool{}
	of := map[string]int{}
	for text := range strings.SplitSeq(string(page), "\n") {
		parts := line.FindStringSubmatch(text)
		if parts == nil {
			if strings.HasPrefix(text, "| ") && !strings.HasPrefix(text, "| number |") && !strings.HasPrefix(text, "| --- |") {
				t.Errorf("not a line of the form: %s", text)
			}
			continue
		}
		number, where := parts[1], parts[3]
		switch {
		case seen[number]:
			t.Errorf("%s stands there twice", number)
		case !missing[number]:
			t.Errorf("%s is no number of the lists", number)
		}
		seen[number] = true
		delete(missing, number)
		switch {
		case strings.HasPrefix(where, "n/a: "):
			of["n/a"]++
		case open.MatchString(where):
			of["open"]++
		case tested.MatchString(where):
			of["tested"]++
		default:
			t.Errorf("%s names no test, no reason and no issue: %s", number, where)
		}
		for _, r := range reference.FindAllStringSubmatch(where, -1) {
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
	for number := range missing {
		t.Errorf("%s is missing", number)
	}
	t.Logf("%d requirements: %d tested, %d not applicable, %d open", len(seen), of["tested"], of["n/a"], of["open"])
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
