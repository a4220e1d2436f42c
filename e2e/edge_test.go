package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// seenUser is what /bff/user said to a page.
type seenUser struct {
	Status  int
	Email   string
	Type    string
	Session struct{ ID string }
}

type seenCookie struct {
	Name, Value, SameSite, Path, Domain string
	HTTPOnly                            bool `json:"httpOnly"`
	Secure                              bool
}

// play is what node/edge.mjs reports.
type play struct {
	SignIn struct {
		User           seenUser
		Cookies, After []seenCookie
		Readable       string
	} `json:"sign-in"`
	Tossed struct {
		Before, After, Again seenUser
		Attackers            string
		Cookies              []seenCookie
	}
	SocketOwn          struct{ Said string }   `json:"socket-own"`
	SocketSibling      struct{ Said string }   `json:"socket-sibling"`
	SocketForeign      struct{ Said string }   `json:"socket-foreign"`
	ForgedSiblingAfter struct{ User seenUser } `json:"forged-sibling-after"`
	ForgedForeignAfter struct{ User seenUser } `json:"forged-foreign-after"`
	LoginCSRF          struct {
		Said    []string
		Cookies [][]seenCookie
		User    seenUser
	} `json:"login-csrf"`
	Prefetch struct{ Cookies []seenCookie }
	Workers  struct {
		Before, After int
		Plain         string
		Knowing       []string
	}
	Framed  struct{ Shown []string }
	SignOut struct {
		User       seenUser
		Complaints []string
	} `json:"sign-out"`
	Lax     struct{ Answers []string }
	Doubled struct {
		Before, Doubled, After, Again seenUser
		Left                          []string
	}
}

// One browser, and what people and hostile pages do in it; each case is a requirement of security.md.
func TestTheEdgeInARealBrowser(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	develop := s.develop(t)
	redeemed := s.provider.Count("token")
	var seen play
	chromium(t, "edge.mjs", &seen, "RESOLVE=MAP *.cloakroom.test 127.0.0.1, MAP *.attacker.test 127.0.0.1", "APP="+s.app.origin(),
		"SIBLING="+s.origin(sibling), "FOREIGN="+s.origin(foreign), "LURE="+s.lure(t), "DEV="+develop, "DEV_NEIGHBOUR="+strings.Replace(s.upstream.URL, "127.0.0.1", "localhost", 1))

	const session, login = "__Host-Http-session", "__Host-Http-login"
	has := func(e exchanged, name string) bool { _, there := e.cookie(name); return there }
	// sequence wants these exchanges, each as "path status", a query left out.
	sequence := func(t *testing.T, scene string, want ...string) []exchanged {
		t.Helper()
		all := s.of(scene)
		got := make([]string, len(all))
		for i, e := range all {
			path, _, _ := strings.Cut(e.path, "?")
			got[i] = fmt.Sprintf("%s %d", path, e.status)
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Fatalf("%s: %v, want %v", scene, all, want)
		}
		return all
	}

	t.Run("D2.1 D2.2 the login cookie is Lax, the session's Strict, over an interactive sign-in", func(t *testing.T) {
		all := sequence(t, "sign-in", "/reports/1 302", "/bff/login 302", "/bff/callback/main 303", "/reports/1 200", "/reports/1 200", "/ 200", "/bff/user 200", "/bff/user 200")
		callback, bounce, page := all[2], all[3], all[4]
		if callback.request.Get("Sec-Fetch-Site") != "cross-site" || !has(callback, login) || has(callback, session) {
			t.Errorf("the callback was %v", callback)
		}
		if has(bounce, session) || !has(page, session) || page.request.Get("Sec-Fetch-Site") != "same-origin" {
			t.Errorf("after it came %v, then %v", bounce, page)
		}
		if got := s.upstreamSaw("sign-in"); len(got) != 1 {
			t.Errorf("the upstream saw %v", got)
		}
		sameSite := map[string]string{session: "Strict", login: "Lax"}
		for _, c := range seen.SignIn.Cookies {
			if c.SameSite != sameSite[c.Name] || !c.HTTPOnly || !c.Secure || c.Path != "/" || c.Domain != host {
				t.Errorf("the browser keeps %+v", c)
			}
		}
	})
	t.Run("D2.2 a Lax session cookie comes along at once", func(t *testing.T) {
		if got := strings.Join(seen.Lax.Answers, ", "); got != "/reports/5 302, /bff/login 302, /bff/callback/main 303, /reports/5 200" {
			t.Errorf("%s", got)
		}
	})
	t.Run("S0.4 A4 no script reads or plants a cookie of ours", func(t *testing.T) {
		if len(seen.SignIn.Cookies) != 2 || fmt.Sprint(seen.SignIn.Cookies) != fmt.Sprint(seen.SignIn.After) || seen.SignIn.Readable != "" {
			t.Errorf("%v became %v; readable: %q", seen.SignIn.Cookies, seen.SignIn.After, seen.SignIn.Readable)
		}
	})
	t.Run("D2.2 a link from another site bounces once, and never signs out", func(t *testing.T) {
		all := sequence(t, "bounce-foreign", "/reports/2 200", "/reports/2 200")
		if has(all[0], session) || !has(all[1], session) || len(s.upstreamSaw("bounce-foreign")) != 1 {
			t.Errorf("%v", all)
		}
		if all := sequence(t, "bounce-sibling", "/reports/2 200"); !has(all[0], session) {
			t.Errorf("from a sibling: %v", all)
		}
		sequence(t, "bounce-anonymous", "/reports/3 200", "/reports/3 302", "/bff/login 302")
	})
	t.Run("D2.3 D2.4 E-48 a sibling's cookies neither sign in, nor sign out, nor fix a session", func(t *testing.T) {
		tossed := seen.Tossed
		if tossed.Before.Status != http.StatusUnauthorized || tossed.After.Email != "alice@example.com" || tossed.Again.Session.ID != tossed.After.Session.ID {
			t.Errorf("before signing in %+v, then %+v, then %+v", tossed.Before, tossed.After, tossed.Again)
		}
		arrived := 0
		for _, e := range s.of("tossed") {
			if value, there := e.cookie(session); there && value == tossed.Attackers || e.status == http.StatusBadRequest {
				t.Errorf("%v", e)
			}
			if strings.Contains(e.request.Get("Cookie"), tossed.Attackers) {
				arrived++
			}
		}
		if arrived < 10 {
			t.Errorf("only %d requests carried what was tossed", arrived)
		}
	})
	t.Run("D10 S0.10 E-58 a WebSocket of another origin is refused, with the cookie or without", func(t *testing.T) {
		own, ofSibling, ofForeign := sequence(t, "socket-own", "/ 200", "/bff/user 200", "/live/1 101"), sequence(t, "socket-sibling", "/live/1 403"), sequence(t, "socket-foreign", "/live/1 403")
		if seen.SocketOwn.Said != "hello" || seen.SocketSibling.Said != "refused" || seen.SocketForeign.Said != "refused" {
			t.Errorf("own %q, sibling %q, foreign %q", seen.SocketOwn.Said, seen.SocketSibling.Said, seen.SocketForeign.Said)
		}
		if !has(own[2], session) || !has(ofSibling[0], session) || has(ofForeign[0], session) || ofSibling[0].problem != "csrf" || ofForeign[0].problem != "csrf" {
			t.Errorf("%v, %v, %v", own, ofSibling, ofForeign)
		}
		if saw := append(s.upstreamSaw("socket-sibling"), s.upstreamSaw("socket-foreign")...); len(saw) != 0 {
			t.Errorf("the upstream saw %v", saw)
		}
	})
	t.Run("D3.1 D3.2 D3.4 D3.5 A11 A12 A13 nothing that another origin sends has an effect", func(t *testing.T) { s.forgeries(t, session, seen) })
	t.Run("B1.16 nobody is signed in as the attacker", func(t *testing.T) {
		sequence(t, "login-csrf", "/bff/login 302", "/bff/callback/main 400", "/bff/callback/main 400", "/bff/callback/main 400", "/bff/user 200")
		for _, said := range seen.LoginCSRF.Said {
			if said != "The sign-in did not succeed" {
				t.Errorf("a person is told %q", said)
			}
		}
		for _, cookies := range seen.LoginCSRF.Cookies {
			for _, c := range cookies {
				if c.Name != login {
					t.Errorf("a stranger got %+v", c)
				}
			}
		}
		if seen.LoginCSRF.User.Session.ID != seen.SignIn.User.Session.ID {
			t.Errorf("alice is now %+v", seen.LoginCSRF.User)
		}
		if n := s.provider.Count("token") - redeemed; n != 7 { // alice, sam, the victim of tossing, alice to sign out, alice three times in development
			t.Errorf("%d redemptions", n)
		}
	})
	t.Run("A18 a prefetch begins no sign-in", func(t *testing.T) {
		kinds := map[string]int{}
		for _, e := range s.of("prefetch") {
			kinds[e.request.Get("Sec-Purpose")]++
			if e.status != http.StatusNoContent || len(e.answer["Set-Cookie"]) > 0 {
				t.Errorf("%v", e)
			}
		}
		if kinds["prefetch"] < 2 || kinds["prefetch;prerender"] < 1 || len(seen.Prefetch.Cookies) != 0 {
			t.Errorf("purposes %v, cookies %v", kinds, seen.Prefetch.Cookies)
		}
	})
	t.Run("D5 no service worker comes of what an upstream serves", func(t *testing.T) {
		w := seen.Workers
		if w.Before != 0 || w.After != 0 || w.Plain != "refused: TypeError" || fmt.Sprint(w.Knowing) != "[refused: TypeError refused: SecurityError]" {
			t.Errorf("%+v; %v", w, s.of("workers"))
		}
		if all := sequence(t, "workers", "/api/orders/worker.js 403", "/files/worker.js 200"); all[0].problem != "csrf" {
			t.Errorf("%v", all)
		}
	})
	t.Run("D5 no other origin frames a page", func(t *testing.T) {
		if shown := seen.Framed.Shown; len(shown) != 2 || strings.HasPrefix(shown[1], s.app.origin()) || len(s.of("framed")) != 1 {
			t.Errorf("%v", shown)
		}
	})
	t.Run("C1 C3 a form signs out, at the provider too", func(t *testing.T) {
		sequence(t, "sign-out", "/bff/login 302", "/bff/callback/main 303", "/ 200", "/bff/user 200", "/bff/logout 303", "/bff/logged-out 303", "/goodbye 200", "/bff/user 401", "/bff/user 401")
		for _, complaint := range seen.SignOut.Complaints {
			if !strings.Contains(complaint, "Failed to load resource") { // the anonymous /bff/user
				t.Errorf("the browser complained: %s", complaint)
			}
		}
	})
	t.Run("D2.3 two cookies of one name are refused, and both are gone", func(t *testing.T) {
		d := seen.Doubled
		if d.Before.Email != "alice@example.com" || d.Doubled.Status != http.StatusBadRequest || d.Doubled.Type != "urn:cloakroom:problem:bad-request" ||
			len(d.Left) != 0 || d.After.Status != http.StatusUnauthorized || d.Again.Email != "alice@example.com" {
			t.Errorf("%+v", d)
		}
	})
}

// forgeries judges the scenes in which another origin's page sends all that a page can send.
func (s *stage) forgeries(t *testing.T, session string, seen play) {
	for _, from := range []string{"forged-sibling", "forged-foreign"} {
		ways := map[string]bool{}
		for _, e := range append(s.of(from), s.of(from+"-after")...) {
			if e.request.Get("Sec-Fetch-Site") == "same-origin" {
				continue // our own page looks what has become of it all
			}
			path := e.path[:strings.LastIndex(e.path, "/")]
			ways[e.method+" "+path+" "+e.request.Get("Sec-Fetch-Mode")+" "+e.request.Get("Sec-Fetch-Dest")] = true
			if e.answer.Get("Access-Control-Allow-Origin") != "" || e.answer.Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%v may be read: %v", e, e.answer)
			}
			_, carries := e.cookie(session)
			if preflight := e.method == http.MethodOptions; !preflight && carries != (from == "forged-sibling") {
				t.Errorf("the cookie: %v", e)
			}
			switch {
			case e.method == http.MethodOptions:
				if e.status < 400 {
					t.Errorf("%v", e)
				}
			case path == "/optional" && !carries: // anonymous, as anybody is
			case e.status != http.StatusForbidden || e.method != http.MethodHead && e.problem != "csrf":
				t.Errorf("%v", e)
			}
		}
		for _, path := range []string{"/bff", "/api/orders", "/files", "/optional"} {
			for _, way := range []string{
				"GET %s no-cors empty", "GET %s cors empty", "HEAD %s no-cors empty", "GET %s no-cors image", "GET %s no-cors script", "GET %s navigate iframe",
				"OPTIONS %s cors empty", "POST %s no-cors empty", "POST %s navigate iframe",
			} {
				if !ways[fmt.Sprintf(way, path)] {
					t.Errorf("%s: the browser did not send %s", from, fmt.Sprintf(way, path))
				}
			}
		}
		if !ways["GET /bff navigate document"] || !ways["POST /bff navigate document"] {
			t.Errorf("%s: nobody was led to an endpoint", from)
		}
		for _, one := range s.upstreamSaw(from) {
			if from == "forged-sibling" || !strings.Contains(one, " /optional/") {
				t.Errorf("the upstream saw %s", one)
			}
		}
	}
	for _, after := range []seenUser{seen.ForgedSiblingAfter.User, seen.ForgedForeignAfter.User} {
		if after.Session.ID != seen.SignIn.User.Session.ID || after.Status != http.StatusOK {
			t.Errorf("alice is now %+v", after)
		}
	}
}
