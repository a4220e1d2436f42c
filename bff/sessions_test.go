package bff

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// listed is what a browser is told of its person's sessions.
func (b *browser) listed() []ownSession {
	b.t.Helper()
	res := b.fetch("GET", "/bff/sessions")
	var body struct{ Sessions []ownSession }
	if err := json.Unmarshal([]byte(bodyOf(res)), &body); err != nil || res.StatusCode != http.StatusOK {
		b.t.Fatalf("sessions: %d %s", res.StatusCode, bodyOf(res))
	}
	return body.Sessions
}

func (b *browser) signedIn() bool {
	return b.fetch("GET", "/bff/user?slide=false").StatusCode == http.StatusOK
}

func TestAPersonSeesTheirOwnSessions(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	alice, phone, sam := h.browser(), h.browser(), h.browser()
	alice.signIn("alice")
	sam.signIn("sam")
	h.later(time.Minute)
	phone.signIn("alice")
	list := phone.listed()
	if len(list) != 2 {
		t.Fatalf("%d sessions: %+v", len(list), list)
	}
	if !list[0].Current || list[1].Current || list[0].ID == list[1].ID {
		t.Errorf("which is this one: %+v", list)
	}
	for _, one := range list {
		for _, at := range []string{one.CreatedAt, one.LastSeenAt, one.ExpiresAt} {
			if _, err := time.Parse(time.RFC3339, at); err != nil {
				t.Errorf("time %q", at)
			}
		}
		if one.Provider != "main" || one.Address == "" {
			t.Errorf("%+v", one)
		}
	}
	h.store.breakDown("Members")
	wantProblem(t, phone.fetch("GET", "/bff/sessions"), 503, "store-unavailable")
}

func TestAPersonEndsTheirOwnSessions(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	alice, phone, tablet, sam := h.browser(), h.browser(), h.browser(), h.browser()
	for _, b := range []*browser{alice, phone, tablet} {
		b.signIn("alice")
	}
	sam.signIn("sam")
	handle := func(b *browser) string {
		for _, one := range b.listed() {
			if one.Current {
				return one.ID
			}
		}
		t.Fatal("no current session")
		return ""
	}
	wantProblem(t, alice.fetch("DELETE", "/bff/sessions/"+handle(sam)), 404, "not-found")
	wantProblem(t, alice.fetch("DELETE", "/bff/sessions/nothing"), 404, "not-found")
	wantProblem(t, alice.fetch("DELETE", "/bff/sessions"), 400, "bad-request")
	wantProblem(t, alice.fetch("DELETE", "/bff/sessions?others=yes"), 400, "bad-request")
	wantProblem(t, alice.do("DELETE", "/bff/sessions?others=true"), 403, "csrf")
	if !sam.signedIn() || !phone.signedIn() {
		t.Fatal("something was ended")
	}

	if res := alice.fetch("DELETE", "/bff/sessions/"+handle(phone)); res.StatusCode != http.StatusNoContent || touches(res, "__Host-Http-session") {
		t.Errorf("ending another device: %d", res.StatusCode)
	}
	if phone.signedIn() || !alice.signedIn() || !tablet.signedIn() {
		t.Error("ended another than was meant")
	}
	phone.signIn("alice")
	if res := alice.fetch("DELETE", "/bff/sessions?others=true"); res.StatusCode != http.StatusNoContent {
		t.Errorf("ending the others: %d %s", res.StatusCode, bodyOf(res))
	}
	if phone.signedIn() || tablet.signedIn() || !alice.signedIn() || !sam.signedIn() {
		t.Error("others: not exactly the person's others have ended")
	}
	if res := alice.fetch("DELETE", "/bff/sessions/"+handle(alice)); res.StatusCode != http.StatusNoContent || !clears(res, "__Host-Http-session") {
		t.Errorf("ending this one: %d", res.StatusCode)
	}
	if alice.signedIn() {
		t.Error("still signed in")
	}
}

func TestEndingWithTheStoreDownClaimsNothing(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	alice, phone := h.browser(), h.browser()
	alice.signIn("alice")
	phone.signIn("alice")
	for _, method := range []string{"Delete", "all"} {
		h.store.breakDown(method)
		wantProblem(t, alice.fetch("DELETE", "/bff/sessions?others=true"), 503, "store-unavailable")
		h.store.breakDown("")
		if !alice.signedIn() {
			t.Fatal("signed out")
		}
	}
}
