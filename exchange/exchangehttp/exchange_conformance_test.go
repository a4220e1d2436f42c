package exchangehttp_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom/exchange"
)

func TestC009_TheLogStaysWellFormed(t *testing.T) {
	w := newWorld(t)
	w.issuers[idp].down = true // so that every exchange is logged
	for _, with := range []url.Values{
		nil, {"audience": {"a\nb\"\x7f"}}, {"scope": {"\u2028\x1b[31m"}}, {"request_details": {"{\"a\":\"\xff\"}"}}, {"subject_token": {"a\x00b"}},
	} {
		w.token("gateway", w.ask(with))
	}
	lines := strings.Split(strings.TrimSuffix(w.log.String(), "\n"), "\n")
	if len(lines) < 2 {
		t.Fatalf("only %d lines were logged", len(lines))
	}
	for _, line := range lines {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("not one JSON object: %v\n%q", err, line)
		}
	}
}

func TestC110_AnUnknownClientTakesNoOtherTime(t *testing.T) {
	w := newWorld(t)
	body := w.ask(nil).Encode()
	ask := func(client string) time.Duration {
		r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(body))
		r.Header.Set("Content-Type", formKind)
		r.SetBasicAuth(client, "wrong")
		rec := httptest.NewRecorder()
		began := time.Now()
		w.handler.ServeHTTP(rec, r)
		took := time.Since(began)
		if rec.Code != http.StatusUnauthorized {
			t.Fatalf("%s: %d", client, rec.Code)
		}
		return took
	}
	const tries = 1000
	known, unknown := make([]time.Duration, tries), make([]time.Duration, tries)
	for i := range tries { // in turns, so that both meet the same machine
		known[i], unknown[i] = ask("gateway"), ask("nobody-at-all")
	}
	slices.Sort(known)
	slices.Sort(unknown)
	if apart := (known[tries/2] - unknown[tries/2]).Abs(); apart > time.Millisecond {
		t.Errorf("medians of %v and %v are %v apart", known[tries/2], unknown[tries/2], apart)
	}
}

func TestC133_IntrospectionTellsWhoActs(t *testing.T) {
	w := newWorld(t, func(p *exchange.PolicyConfig, _ *exchangehttpConfig) {
		for i := range p.Clients {
			if p.Clients[i].ID == "batch" {
				p.Clients[i].SubjectAudiences = []string{"payments"}
			}
		}
	})
	minted := w.signIn("alice", "orders").Reveal()
	delegated, _ := w.token("orders", w.ask(url.Values{"subject_token": {minted}, "audience": nil})).body["access_token"].(string)
	r := w.send("batch", secrets["batch"], "/oauth2/introspect", url.Values{"token": {delegated}})
	act, _ := r.body["act"].(map[string]any)
	if r.body["active"] != true || r.body["sub"] != "alice" || act["sub"] != "orders" || act["iss"] != us {
		t.Errorf("%d %s", r.status, r.raw)
	}
}

// An identity assertion grant (ID-JAG) is not offered: neither is one issued, nor is one taken back.
func TestC141_C142_AnIdentityAssertionGrantIsNeitherIssuedNorTaken(t *testing.T) {
	const jag = "urn:ietf:params:oauth:token-type:id-jag"
	w := newWorld(t)
	w.refused(w.token("gateway", w.ask(url.Values{"requested_token_type": {jag}})), 400, "invalid_request")
	w.refused(w.token("gateway", w.ask(url.Values{"subject_token_type": {jag}})), 400, "invalid_request")
	own, err := w.keys.Sign("", "oauth-id-jag+jwt", w.accessClaims("alice"))
	if err != nil {
		t.Fatal(err)
	}
	w.refused(w.token("gateway", w.ask(url.Values{"subject_token": {own}})), 400, "invalid_request")
	assertion := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:jwt-bearer"}, "assertion": {own}}
	w.refused(w.token("gateway", assertion), 400, "unsupported_grant_type")
}

// Only a token may be exchanged or renewed into a token: what is no grant here gets none, whatever it brings (CVE-2026-101023).
func TestB4_8_NoTokenPassesForARefreshToken(t *testing.T) {
	w := newWorld(t)
	access := w.access(nil).Reveal()
	minted := w.signIn("alice", "orders").Reveal()
	for _, raw := range []string{access, minted} {
		form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {raw}}
		w.refused(w.token("gateway", form), 400, "unsupported_grant_type")
	}
}

// A token of ours that is longer or shorter than it was is none (CVE-2026-27840).
func TestB4_9_ATokenThatWasCutOrExtendedIsNone(t *testing.T) {
	w := newWorld(t)
	minted := w.signIn("alice", "orders").Reveal()
	ask := func(raw string) reply {
		return w.token("orders", w.ask(url.Values{"subject_token": {raw}, "audience": nil}))
	}
	w.claims(ask(minted))
	for _, changed := range []string{minted[:len(minted)-1], minted[:len(minted)-4], minted + "A", minted + "AAAA", minted + "=", minted + ".", minted[1:]} {
		w.refused(ask(changed), 400, "invalid_request")
		if r := w.send("orders", secrets["orders"], "/oauth2/introspect", url.Values{"token": {changed}}); r.raw != `{"active":false}` {
			t.Errorf("introspected as %s", r.raw)
		}
	}
}
