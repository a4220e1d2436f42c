package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/internal/telemetry"
	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// adminHouse is a house with two providers and an admin listener, and what it wrote to its log.
type adminHouse struct {
	*house
	t    *testing.T
	url  string
	file string
	logs *bytes.Buffer
}

func newAdminHouse(t *testing.T, admin string) *adminHouse {
	t.Helper()
	dir := t.TempDir()
	server := httptest.NewUnstartedServer(nil)
	a := &adminHouse{t: t, file: filepath.Join(dir, "c.yaml"), url: "http://" + server.Listener.Addr().String(), logs: &bytes.Buffer{}}
	content := strings.ReplaceAll(admin, "LISTEN", server.Listener.Addr().String()) + `
public: {url: "http://localhost:8080"}
providers:
  main: {issuer: "https://idp.example.com", client_id: app, client_secret: s}
  other: {issuer: "https://other.example.com", client_id: app, client_secret: s}
`
	if err := os.WriteFile(a.file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := config.Load(a.file, os.LookupEnv)
	if err != nil {
		t.Fatal(err)
	}
	log, err := telemetry.NewLogger(a.logs, "info", "json")
	if err != nil {
		t.Fatal(err)
	}
	if a.house, err = assemble(file, log); err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = a.operators()
	server.Start()
	t.Cleanup(server.Close)
	return a
}

// begin starts a session as if somebody had signed in.
func (a *adminHouse) begin(issuer, subject string) string {
	a.t.Helper()
	_, s, err := a.sessions.Start(a.t.Context(), session.Login{
		Provider: "main", Issuer: issuer, Subject: subject, Tokens: session.Tokens{Access: "access", Refresh: "refresh", Expiry: time.Now().Add(time.Hour)},
		UserAgent: "Browser \x1b[31mred", Address: "192.0.2.1", Begun: time.Now(),
	})
	if err != nil {
		a.t.Fatal(err)
	}
	return s.ID
}

// newAdminHouseOver keeps its sessions in Redis.
func newAdminHouseOver(t *testing.T, redis *sessiontest.Redis) *adminHouse {
	t.Helper()
	a := newAdminHouse(t, fmt.Sprintf(`
admin: {listen: "LISTEN"}
store: {url: "redis://%s", timeout: 5s}
secrets: [AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=]
`, redis.Addr))
	t.Cleanup(func() { _ = a.store.Close() })
	return a
}

func (a *adminHouse) ask(method, path string, headers ...string) (int, http.Header, string) {
	a.t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = "127.0.0.1:9090"
	for i := 0; i < len(headers); i += 2 {
		if r.Header.Set(headers[i], headers[i+1]); headers[i] == "Host" {
			r.Host = headers[i+1]
		}
	}
	w := httptest.NewRecorder()
	a.again().ServeHTTP(w, r)
	return w.Code, w.Header(), w.Body.String()
}

// again is the admin handler once more: metrics are registered once only.
func (a *adminHouse) again() http.Handler {
	mux := http.NewServeMux()
	a.administer(mux)
	return mux
}

const (
	mainIssuer  = "https://idp.example.com"
	otherIssuer = "https://other.example.com"
)

func TestAdminNeedsTheTokenWheneverOneIsConfigured(t *testing.T) {
	const token = "a long admin token"
	a := newAdminHouse(t, `admin: {listen: "LISTEN", token: "`+token+`"}`)
	for _, path := range []string{"/admin/sessions?sub=alice", "/admin/keys"} {
		for name, headers := range map[string][]string{
			"none": nil, "another": {"Authorization", "Bearer another"}, "a part of it": {"Authorization", "Bearer a long admin"},
			"another scheme": {"Authorization", "Basic " + token}, "empty": {"Authorization", "Bearer "},
		} {
			code, header, body := a.ask("GET", path, headers...)
			if code != 401 || !strings.HasPrefix(header.Get("WWW-Authenticate"), "Bearer") || strings.Contains(body, token) {
				t.Errorf("%s with %s token: %d %s", path, name, code, body)
			}
		}
		if code, header, _ := a.ask("GET", path, "Authorization", "bearer "+token); code != 200 || header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s with the token: %d %v", path, code, header)
		}
	}
	if strings.Contains(a.logs.String(), token) || strings.Count(a.logs.String(), `"event":"admin","outcome":"refused"`) != 10 {
		t.Errorf("log: %s", a.logs)
	}
	if code := get(t, a.url+"/healthz"); code != 200 {
		t.Errorf("/healthz without the token: %d", code)
	}
}

func get(t *testing.T, url string) int {
	t.Helper()
	res, err := http.Get(url) //nolint:gosec,noctx // a test's own server
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestAdminWithoutATokenIsNotForBrowsers(t *testing.T) {
	a := newAdminHouse(t, `admin: {listen: "LISTEN"}`)
	a.begin(mainIssuer, "alice")
	for name, headers := range map[string][]string{
		"of a page": {"Sec-Fetch-Site", "same-origin"}, "of another page": {"Origin", "https://evil.example"}, "of a page, rebound": {"Host", "evil.example:9090"},
	} {
		if code, _, body := a.ask("DELETE", "/admin/sessions?sub=alice", headers...); code != 403 {
			t.Errorf("%s: %d %s", name, code, body)
		}
	}
	if code, _, body := a.ask("DELETE", "/admin/sessions?sub=alice"); code != 200 || strings.TrimSpace(body) != `{"ended":1}` {
		t.Errorf("of an operator: %d %s", code, body)
	}
	for _, host := range []string{"localhost", "LOCALHOST:9090", "cloakroom.localhost:9090", "[::1]:9090", "::1", "127.0.0.2"} {
		if code, _, body := a.ask("GET", "/admin/keys", "Host", host); code != 200 {
			t.Errorf("of an operator, at %s: %d %s", host, code, body)
		}
	}
}

func TestAdminSelectsSessionsExactly(t *testing.T) {
	a := newAdminHouse(t, `admin: {listen: "LISTEN"}`)
	past, future := "2001-01-01T00:00:00Z", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, c := range []struct {
		name, method, query string
		code, ended         int
	}{
		{"list without a selector", "GET", "", 400, 0},
		{"list by before", "GET", "before=" + future, 400, 0},
		{"end without a selector", "DELETE", "", 400, 0},
		{"issuer without sub", "DELETE", "issuer=" + mainIssuer, 400, 0},
		{"id with sub", "DELETE", "id=x&sub=alice", 400, 0},
		{"sub twice", "DELETE", "sub=alice&sub=sam", 400, 0},
		{"an empty sub", "DELETE", "sub=", 400, 0},
		{"an empty sub beside before", "DELETE", "sub=&before=" + future, 400, 0},
		{"a misspelt selector beside a good one", "DELETE", "issuers=" + otherIssuer + "&sub=alice", 400, 0},
		{"a time that is none", "DELETE", "before=yesterday", 400, 0},
		{"a query that cannot be read", "DELETE", "sub=%zz", 400, 0},
		{"nobody's", "DELETE", "sub=nobody", 200, 0},
		{"no such id", "DELETE", "id=x", 200, 0},
		{"before they began", "DELETE", "before=" + past, 200, 0},
		{"a person's before they began", "DELETE", "sub=alice&before=" + past, 200, 0},
		{"a person's at one issuer", "DELETE", "sub=alice&issuer=" + mainIssuer, 200, 2},
		{"a person's at every issuer", "DELETE", "sub=alice", 200, 3},
		{"one", "DELETE", "id=ID", 200, 1},
		{"everyone's", "DELETE", "before=" + future, 200, 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			a.begin(mainIssuer, "alice")
			id := a.begin(mainIssuer, "alice")
			a.begin(otherIssuer, "alice")
			a.begin(mainIssuer, "sam")
			code, _, body := a.ask(c.method, "/admin/sessions?"+strings.ReplaceAll(c.query, "ID", id))
			var answer struct{ Ended int }
			if code != c.code || json.Unmarshal([]byte(body), &answer) != nil || answer.Ended != c.ended {
				t.Errorf("%d %s, want %d and %d ended", code, body, c.code, c.ended)
			}
			_, _, body = a.ask("DELETE", "/admin/sessions?before="+future)
			if err := json.Unmarshal([]byte(body), &answer); err != nil || answer.Ended != 4-c.ended {
				t.Errorf("%s were left, not %d", body, 4-c.ended)
			}
		})
	}
	if !strings.Contains(a.logs.String(), `"event":"admin"`) || strings.Contains(a.logs.String(), "alice") {
		t.Errorf("audit: %s", a.logs)
	}
}

func TestAdminListsWhatAnOperatorMayKnow(t *testing.T) {
	a := newAdminHouse(t, `admin: {listen: "LISTEN"}`)
	id := a.begin(mainIssuer, "alice")
	for _, query := range []string{"sub=alice", "sub=alice&issuer=" + mainIssuer, "id=" + id} {
		code, _, body := a.ask("GET", "/admin/sessions?"+query)
		var answer struct{ Sessions []adminSession }
		if err := json.Unmarshal([]byte(body), &answer); err != nil || code != 200 || len(answer.Sessions) != 1 {
			t.Fatalf("%s: %d %s", query, code, body)
		}
		if s := answer.Sessions[0]; s.ID != id || s.Subject != "alice" || s.Issuer != mainIssuer || s.Address != "192.0.2.1" || strings.Contains(body, "refresh\"") {
			t.Errorf("%s: %s", query, body)
		}
	}
	code, _, body := a.ask("GET", "/admin/keys")
	var keys struct {
		Epoch int64
		Keys  []adminKey
	}
	if err := json.Unmarshal([]byte(body), &keys); err != nil || code != 200 || len(keys.Keys) != 3 || keys.Epoch == 0 {
		t.Fatalf("keys: %d %s", code, body)
	}
	for _, k := range keys.Keys {
		if k.Signs != (k.ID == a.keys.CurrentID()) || k.Signs != (k.Epoch == keys.Epoch) || k.Algorithm != "ES256" {
			t.Errorf("%+v in epoch %d", k, keys.Epoch)
		}
	}
}

func TestTheAdminCommandsSayWhatTheListenerSays(t *testing.T) {
	t.Setenv("ADMIN_TOKEN", "a long admin token")
	a := newAdminHouse(t, `admin: {listen: "LISTEN", token: "${ADMIN_TOKEN}"}`)
	id := a.begin(mainIssuer, "alice")
	cloakroom := func(command string) (code int, out, errs string) {
		var stdout, stderr bytes.Buffer
		code = run(strings.Fields(strings.ReplaceAll(command, "FILE", a.file)), Env{Stdout: &stdout, Stderr: &stderr, Lookup: os.LookupEnv})
		return code, stdout.String(), stderr.String()
	}
	for _, c := range []struct {
		command string
		code    int
		says    string
	}{
		{"sessions", exitUsage, "sessions list"},
		{"sessions end", exitUsage, "sessions list"},
		{"sessions list --config FILE", exitUsage, "--sub"},
		{"sessions list --config FILE --before 2026-01-01T00:00:00Z", exitUsage, "before"},
		{"sessions revoke --config FILE", exitUsage, "--before"},
		{"sessions list --sub alice", exitUsage, "--config"},
		{"keys", exitUsage, "keys list"},
		{"keys list", exitUsage, "--config"},
		{"sessions list --config FILE --sub alice", exitDone, id},
		{"sessions list --config FILE --sub alice", exitDone, `Browser \x1b[31mred`},
		{"sessions list --config FILE --sub alice --json", exitDone, `"id":"` + id + `"`},
		{"sessions list --config FILE --sub nobody", exitDone, "SUBJECT"},
		{"keys list --config FILE", exitDone, "signs"},
		{"keys list --config FILE", exitDone, "previous"},
		{"keys list --config FILE --json", exitDone, `"signs":true`},
		{"sessions revoke --config FILE --issuer " + mainIssuer, exitFailed, "issuer goes with sub"},
		{"sessions revoke --config FILE --sub alice --json", exitDone, `{"ended":1}`},
		{"sessions revoke --config FILE --sub alice", exitDone, "0 sessions ended"},
		{"keys list --config FILE --url http://127.0.0.1:1", exitFailed, "connection refused"},
		{"keys list --config none.yaml", exitFailed, "no such file"},
	} {
		code, out, errs := cloakroom(c.command)
		if code != c.code || !strings.Contains(out+errs, c.says) {
			t.Errorf("`cloakroom %s` ends with %d, not %d, and says %q", c.command, code, c.code, out+errs)
		}
	}
	t.Setenv("ADMIN_TOKEN", "not the one it was started with")
	if code, _, errs := cloakroom("keys list --config FILE"); code != exitFailed || !strings.Contains(errs, "401") {
		t.Errorf("with another token: %d %s", code, errs)
	}
}

// What has ended has ended, though nobody could be told: an operator who had to ask again would find nothing.
func TestAdminEndsThoughNotEveryReplicaIsTold(t *testing.T) {
	server := sessiontest.StartRedis(t)
	a := newAdminHouseOver(t, server)
	a.begin(mainIssuer, "alice")
	a.begin(otherIssuer, "alice")
	server.Do(t, "ACL", "SETUSER", "default", "-publish")
	if code, _, body := a.ask("DELETE", "/admin/sessions?sub=alice"); code != 200 || strings.TrimSpace(body) != `{"ended":2}` {
		t.Errorf("%d %s", code, body)
	}
	if !strings.Contains(a.logs.String(), "has ended for some seconds") {
		t.Errorf("the log does not tell: %s", a.logs)
	}
}
