package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The demo, as its reader sees it: from the process's start to four filled boxes.
func TestTheDemoShowsWhatEachPartySees(t *testing.T) {
	began := time.Now()
	demo := start(t, nil, binary, "demo", "--port", fmt.Sprint(freePort(t)))
	var app string
	eventually(t, 10*time.Second, "the terminal shows one URL and is ready", func() bool {
		urls := regexp.MustCompile(`https?://\S+`).FindAllString(demo.printed(), -1)
		if len(urls) == 1 {
			app = urls[0]
		}
		return app != "" && strings.Contains(demo.printed(), "Ready in")
	})
	t.Logf("from the process's start to the URL: %v (a binary with the race detector on)", time.Since(began).Round(time.Millisecond))
	for _, person := range []string{"alice", "sam"} {
		if !strings.Contains(demo.printed(), person+" / "+person) {
			t.Errorf("the terminal does not name %s:\n%s", person, demo.printed())
		}
	}

	var seen struct {
		SignedIn      int
		Boxes, Tries  map[string]string
		Bodies        []struct{ URL, Body string }
		Errors        []string
		Accessibility map[string][]string
	}
	chromium(t, "demo.mjs", &seen, "APP="+app)
	for state, faults := range seen.Accessibility {
		for _, fault := range faults {
			if strings.HasPrefix(fault, "critical") || strings.HasPrefix(fault, "serious") {
				t.Errorf("%s: %s", state, fault)
			}
		}
	}
	if len(seen.Accessibility) != 3 {
		t.Errorf("examined: %v", seen.Accessibility)
	}
	t.Logf("from there to signed in, with every box filled: %d ms", seen.SignedIn)
	for box, words := range map[string][]string{
		"provider": {"no e-mail", "orders-api/read", "alice@example.com", "1example23456789"},
		"browser":  {"0", "tokens seen in", "document.cookie", "localStorage"},
		"orders":   {"orders:read", "alice@example.com", "access token", "ID token"},
		"payments": {"act", "orders", "payments:read"},
	} {
		for _, word := range words {
			if !strings.Contains(seen.Boxes[box], word) {
				t.Errorf("the box of %s does not say %q:\n%s", box, word, seen.Boxes[box])
			}
		}
	}
	for button, words := range map[string][]string{
		"Send the ID token to orders":       {"Refused", "401", "aud is 1example23456789, not orders"},
		"Ask for payments:read.any":         {"Refused", "400", "invalid_scope"},
		"Call orders without X-CSRF":        {"Refused", "403", "urn:cloakroom:problem:csrf"},
		"Pass orders’ token on to payments": {"Refused", "401"},
	} {
		for _, word := range words {
			if !strings.Contains(seen.Tries[button], word) {
				t.Errorf("%s does not end with %q:\n%s", button, word, seen.Tries[button])
			}
		}
	}
	if len(seen.Errors) > 0 {
		t.Errorf("the page complained: %v", seen.Errors)
	}
	jwt := regexp.MustCompile(`eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}`)
	for _, one := range seen.Bodies {
		if found := jwt.FindString(one.Body); found != "" {
			t.Errorf("%s sent the browser something like a token", one.URL)
		}
	}
}
