package bff

import "testing"

func TestNavigation(t *testing.T) {
	for name, c := range map[string]struct {
		method  string
		headers []string
		want    bool
	}{
		"a document":                       {"GET", navigating, true},
		"a document from another site":     {"GET", fromAfar, true},
		"an iframe":                        {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, false},
		"a fetch":                          {"GET", fetching, false},
		"a fetch that accepts HTML":        {"GET", append([]string{"Accept", "text/html"}, fetching...), false},
		"an old browser that accepts HTML": {"GET", []string{"Accept", "text/html,application/xhtml+xml"}, true},
		"an old browser's XHR":             {"GET", []string{"Accept", "*/*"}, false},
		"nothing said":                     {"GET", nil, false},
		"a POST of a form":                 {"POST", navigating, false},
		"a HEAD":                           {"HEAD", navigating, false},
		"a mode alone":                     {"GET", []string{"Sec-Fetch-Mode", "navigate", "Accept", "text/html"}, false},
		"two modes":                        {"GET", append([]string{"Sec-Fetch-Mode", "cors"}, navigating...), false},
		"a site alone, and a claim to accept HTML":  {"GET", []string{"Sec-Fetch-Site", "same-origin", "Accept", "text/html"}, false},
		"a user activation alone, and HTML":         {"GET", []string{"Sec-Fetch-User", "?1", "Accept", "text/html"}, false},
		"HTML spelled in capitals":                  {"GET", []string{"Accept", "TEXT/HTML"}, true},
		"a method that is spelled in lower case":    {"get", navigating, false},
		"a document asked for with an object's tag": {"GET", []string{"Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "object"}, false},
	} {
		if got := isNavigation(request(c.method, "/", c.headers...)); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestPrefetch(t *testing.T) {
	for _, c := range []struct {
		header, value string
		want          bool
	}{
		{"Sec-Purpose", "prefetch", true},
		{"Sec-Purpose", "prefetch;prerender", true},
		{"Purpose", "prefetch", true},
		{"X-Moz", "prefetch", true},
		{"Sec-Purpose", "", false},
		{"Sec-Purpose", "fetch", false},
	} {
		if got := isPrefetch(request("GET", "/", c.header, c.value)); got != c.want {
			t.Errorf("%s: %s: %v, want %v", c.header, c.value, got, c.want)
		}
	}
}

func TestLoginURLCarriesOnlyACleanReturnPath(t *testing.T) {
	for returnTo, want := range map[string]string{
		"/app?x=1&y=2": "/bff/login?returnTo=%2Fapp%3Fx%3D1%26y%3D2",
		"//evil":       "/bff/login",
		"/bff/logout":  "/bff/login",
		"":             "/bff/login",
	} {
		if got := loginURL(returnTo, nil); got != want {
			t.Errorf("%q: %s, want %s", returnTo, got, want)
		}
	}
}
