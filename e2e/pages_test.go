package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
)

// Pages are for everyone who has to read them, and their policies stand up to those who look for holes.
func TestOwnPagesAreAccessibleAndTheirPoliciesStrict(t *testing.T) {
	t.Parallel()
	provider := idptest.New(idptest.Config{Persona: idptest.Generic, Clients: []idptest.Client{{ID: clientID, Secret: clientSecret}}})
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	app := newCloakroom(t)
	app.write(t, "logo.svg", `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><rect width="40" height="20" rx="4" fill="#0b5"/></svg>`)
	app.write(t, "words.yaml", "language: de\nlogin-failed.title: Die Anmeldung ist nicht gelungen\n")
	app.configure(t, "memory:", provider.Start(t), fmt.Sprintf(`    allow: '"support" in id.groups'
  down: {issuer: "http://localhost:9", client_id: x, client_secret: "${CLIENT_SECRET}"}
routes:
  - {path: /reports, upstream: "%s", token: none, no_session: login}
  - {path: /, spa: %s}
`, upstream.URL, spa(t)))
	app.write(t, "cloakroom.yaml", strings.Replace(contentOf(t, app.config), "\ninternal:", `
  pages: {name: Example & Sons, color: "#0b5", logo_file: logo.svg, strings_file: words.yaml}
internal:`, 1))
	app.serve(t)

	var seen map[string]struct {
		Status                        int
		Policy, Title, Language, Text string
		Findings                      []struct {
			Severity               int
			Description, Directive string
		}
		Accessibility, Complaints []string
	}
	chromium(t, "pages.mjs", &seen, "RESOLVE=MAP "+host+" 127.0.0.1", "APP="+app.origin(), "FOREIGN="+provider.URL(idptest.Login))
	if title := seen["login-failed"].Title; title != "Die Anmeldung ist nicht gelungen · Example & Sons" {
		t.Errorf("the title is %q", title)
	}
	for name, status := range map[string]int{"app": 200, "login-failed": 400, "provider-unavailable": 503, "login-refused": 403, "bounce": 200} {
		page := seen[name]
		if page.Status != status || name != "app" && !strings.HasSuffix(page.Title, " · Example & Sons") || page.Language != map[bool]string{true: "en", false: "de"}[name == "app"] {
			t.Errorf("%s: %+v", name, page)
		}
		for _, fault := range page.Accessibility {
			if strings.HasPrefix(fault, "critical") || strings.HasPrefix(fault, "serious") || name != "app" { // the smallest app there can be is not ours to judge further
				t.Errorf("%s: %s", name, fault)
			}
		}
		for _, finding := range page.Findings {
			if finding.Severity <= 20 || name != "app" { // HIGH is 10, a mistake in the syntax 20
				t.Errorf("%s: the policy: %+v", name, finding)
			}
		}
		if len(page.Complaints) > 0 {
			t.Errorf("%s: the browser complained: %q", name, page.Complaints)
		}
	}
}
