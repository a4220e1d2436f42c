package bff

import (
	"net/http"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
)

// TestNoTokenReachesTheBrowserOrTheLog is A16: a whole life of a session, and a few mishaps, and then a search for everything
// that was secret.
func TestNoTokenReachesTheBrowserOrTheLog(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	back := b.atProvider("/bff/login?returnTo=/app", "alice")
	for _, res := range []*http.Response{
		b.arrive(back), b.arrive(back), b.navigate("/"), b.fetch("GET", "/bff/user"), b.fetch("GET", "/api/orders"), b.fetch("GET", "/api/legacy"),
		b.fetch("GET", "/api/closed"), h.browser().arrive(back), b.arrive(b.atProvider("/bff/login", "sam")),
	} {
		if res.StatusCode >= 500 {
			t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
		}
	}
	h.idp.Set(idptest.Misbehave{Answer: idptest.At(idptest.Status(400, `{"error":"invalid_grant"}`), idptest.Token)})
	b.arrive(b.atProvider("/bff/login", "alice"))
	b.fetch("POST", "/bff/logout")
	h.settle()

	secrets := append(h.idp.Issued(), idptest.DefaultClient().Secret, "minted-for-orders")
	for name, value := range b.cookies {
		if name == "__Host-Http-session" {
			secrets = append(secrets, value)
		}
	}
	if len(secrets) < 8 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}
	log := h.logs.String()
	for _, s := range secrets {
		for _, answer := range h.answers {
			if strings.Contains(answer, s) {
				t.Errorf("%.12s… is in the answer %.300s", s, answer)
			}
		}
		if strings.Contains(log, s) {
			t.Errorf("%.12s… is in the log", s)
		}
	}
	for _, personal := range []string{"alice@example.com", idptest.DefaultUsers()[0].Subject, "code=", "state="} {
		if strings.Contains(log, personal) {
			t.Errorf("%s is in the log", personal)
		}
	}
}
