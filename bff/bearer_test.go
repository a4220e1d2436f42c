package bff

import (
	"net/http"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
	"cloakroom/secret"
)

// A token that no upstream would take in a header is not sent, and the log says why: not that the upstream is down.
func TestB3_12_AnAccessTokenTooLongForAHeaderIsNotSent(t *testing.T) {
	padding := 0
	h := open(t, idptest.Config{Misbehave: idptest.Misbehave{Token: func(kind idptest.Kind, _, claims map[string]any) {
		if kind == idptest.AccessToken {
			claims["padding"] = strings.Repeat("x", padding)
		}
	}}}, nil)
	for _, c := range []struct {
		name    string
		padding int
		target  string
		status  int
	}{
		{"a long one of the provider's passes", 8 << 10, "/api/legacy", 200},
		{"64 KiB of the provider's do not", 46 << 10, "/api/legacy", 502},
		{"the session is there all the same", 46 << 10, "/bff/user", 200},
		{"and where a minted one goes, it does", 46 << 10, "/api/orders", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			padding = c.padding
			b := h.browser()
			b.signIn("alice")
			res := b.fetch("GET", c.target)
			if res.StatusCode != c.status {
				t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
			}
			for _, value := range b.cookies {
				if len(value) > 1<<10 {
					t.Errorf("a cookie of %d bytes", len(value))
				}
			}
			if c.status == 502 {
				wantProblem(t, res, 502, "upstream-unavailable")
				if !strings.Contains(h.logs.String(), "too long for a header") {
					t.Error("the log does not say why")
				}
			}
		})
	}
	h.mint.next = []secret.Text{secret.Text(strings.Repeat("x", maxBearer)), secret.Text(strings.Repeat("x", maxBearer+1))}
	padding = 0
	b := h.browser()
	b.signIn("alice")
	if res := b.fetch("GET", "/api/orders"); res.StatusCode != http.StatusOK || len(h.last().Header.Get("Authorization")) != maxBearer+len("Bearer ") {
		t.Errorf("a minted one at the limit: %d", res.StatusCode)
	}
	wantProblem(t, b.fetch("GET", "/api/orders"), 502, "upstream-unavailable")
}
