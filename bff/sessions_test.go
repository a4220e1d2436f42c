package bff

import (
	"encoding/json"
	"net/http"
	"strings"
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

// Where refresh tokens are revoked without the cookie, those of one device that another ends are too.
func TestTheRefreshTokenOfAnotherDeviceIsRevokedWhereThatIsConfigured(t *testing.T) {
	for name, always := range map[string]bool{"revoke_on_end: logout": false, "revoke_on_end: always": true} {
		t.Run(name, func(t *testing.T) {
			h := open(t, idptest.Config{}, func(h *house, _ *Config) { h.revokeOnEnd = always })
			alice, phone, tablet := h.browser(), h.browser(), h.browser()
			alice.signIn("alice")
			back := tablet.atProvider("/bff/login?returnTo=/app", "alice")
			phone.signIn("alice")
			for _, one := range alice.listed() {
				if !one.Current && alice.fetch("DELETE", "/bff/sessions/"+one.ID).StatusCode != http.StatusNoContent {
					t.Fatal("not ended")
				}
			}
			if phone.signedIn() || !alice.signedIn() {
				t.Error("ended another than was meant")
			}
			if tablet.arrive(back); !tablet.signedIn() {
				t.Error("a sign-in that was under way came to nothing")
			}
			if err := h.sessions.Close(t.Context()); err != nil { // waits for what goes on in the background
				t.Fatal(err)
			}
			if asked := h.idp.Count(idptest.Revoke); asked > 0 != always {
				t.Errorf("revoked: %d", asked)
			}
		})
	}
}

// What was ended has ended, though a replica could not be told yet.
func TestEndingGoesOnThoughOthersWereNotTold(t *testing.T) {
	h := open(t, idptest.Config{Persona: idptest.Generic}, nil)
	alice, phone, tablet := h.browser(), h.browser(), h.browser()
	for _, b := range []*browser{alice, phone, tablet} {
		b.signIn("alice")
	}
	var handle string
	for _, one := range phone.listed() {
		if one.Current {
			handle = one.ID
		}
	}
	h.store.breakDown("Publish")
	if res := alice.fetch("DELETE", "/bff/sessions/"+handle); res.StatusCode != http.StatusNoContent || phone.signedIn() || !tablet.signedIn() {
		t.Errorf("ending one: %d", res.StatusCode)
	}
	if res := alice.fetch("DELETE", "/bff/sessions?others=true"); res.StatusCode != http.StatusNoContent || tablet.signedIn() {
		t.Errorf("ending the others: %d", res.StatusCode)
	}
	res := alice.fetch("POST", "/bff/logout")
	if at := logoutURL(t, res); at.Host == "" || !clears(res, "__Host-Http-session") {
		t.Errorf("goes on at %s, and not at the provider", at)
	}
	if alice.signedIn() || !strings.Contains(h.logs.String(), "a replica may serve a session that has ended") {
		t.Error("signed in, or the operator is told nothing")
	}
}
