package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom/secret"
	"cloakroom/session"
	"cloakroom/session/redisstore"
	"cloakroom/session/sessiontest"
)

// What Redis is told during a run (MONITOR, and its log of writes), and what it then has (--rdb), holds no token, person or cookie;
// and whoever has it and the server's secret, but no cookie, has no token.
func TestADumpOfRedisOfARealRunYieldsNoToken(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	redis := sessiontest.StartRedis(t, "--dir", dir, "--rdbcompression", "no", "--appendonly", "yes", "--appenddirname", "log")
	monitor := start(t, nil, "redis-cli", "-h", "127.0.0.1", "-p", redis.Port(), "MONITOR")
	eventually(t, 5*time.Second, "MONITOR is on", func() bool { return strings.Contains(monitor.printed(), "OK") })
	f := startFleet(t, plan{store: "redis://" + redis.Addr, provider: strict, settings: "session: {revoke_on_end: logout}"})
	app := f.replicas[0]

	var tickets [][]byte
	codec, ring := codecOf(t, app)
	secrets := map[string]bool{}
	enter := func(user string) string {
		t.Helper()
		cookie, err := f.enter(t.Context(), app, newBrowser(t), user)
		if err != nil {
			t.Fatal(err)
		}
		_, value, _ := strings.Cut(cookie, "=")
		ticket, _, err := codec.Decode(value)
		if err != nil {
			t.Fatal(err)
		}
		tickets = append(tickets, ticket)
		secrets[value], secrets[string(ticket)], secrets[value[strings.LastIndexByte(value, '.')+1:]] = true, true, true
		return cookie
	}
	f.expireSoon(1)
	renewed := enter("alice")
	refreshes := f.onRefresh(nil)
	ended, signedOut := enter("alice"), enter("sam")
	var subs []string
	for _, cookie := range []string{renewed, ended, signedOut} {
		minted := want(t, time.Second, "the session works", app, "/api/orders", cookie, works).body
		secrets[minted] = true
		who := want(t, time.Second, "the session works", app, "/bff/user", cookie, works).body
		for _, claim := range []string{"sub", "email", "name"} {
			if value := between(who, fmt.Sprintf(`%q:"`, claim), `"`); len(value) > 5 {
				secrets[value] = true
			} else if claim != "name" {
				t.Fatalf("%s is not known of %s", claim, who)
			}
		}
		subs = append(subs, between(who, `"sub":"`, `"`))
		want(t, time.Second, "the person's sessions are listed", app, "/bff/sessions", cookie, works)
		if status, body := app.asGateway(t, "/oauth2/introspect", url.Values{"token": {minted}}); status != http.StatusOK || !strings.Contains(body, `"active":true`) {
			t.Errorf("introspect: %d %s", status, body)
		}
	}
	if a := app.try(t.Context(), http.MethodPost, "/bff/logout", ended); !works(a) {
		t.Fatal(a)
	}
	if status := app.signOut(t, f.provider.LogoutToken(clientID, subs[2], "", nil)); status != http.StatusOK {
		t.Fatal(status)
	}
	if refreshes.Load() != 1 {
		t.Errorf("%d refreshes", refreshes.Load())
	}
	for _, token := range f.provider.Issued() {
		secrets[token] = true
	}

	rdb := filepath.Join(dir, "stolen.rdb")
	if out, err := exec.CommandContext(t.Context(), "redis-cli", "-h", "127.0.0.1", "-p", redis.Port(), "--rdb", rdb).CombinedOutput(); err != nil {
		t.Fatalf("--rdb: %v: %s", err, out)
	}
	logs, err := filepath.Glob(filepath.Join(dir, "log", "*"))
	if err != nil || len(logs) == 0 {
		t.Fatal(logs, err)
	}
	id := handleOf(t, app, renewed)
	var canaries [][]byte
	for known := range secrets {
		canaries = append(canaries, spellings(known)...)
	}
	for _, file := range append(logs, rdb) {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		holdsNone(t, filepath.Base(file), raw, canaries)
		if file == rdb && !bytes.Contains(raw, []byte(id)) {
			t.Error("the dump does not hold the session at all")
		}
	}
	heard := unquoted(monitor.printed())
	holdsNone(t, "MONITOR", heard, canaries)
	for _, said := range []string{id, "EVALSHA", "PUBLISH"} {
		if !bytes.Contains(bytes.ToUpper(heard), []byte(strings.ToUpper(said))) {
			t.Errorf("MONITOR did not hear %s", said)
		}
	}

	// With the server's secret: who it is, but no token.
	store, err := redisstore.New(redisstore.Config{URL: "redis://" + redis.Addr, Prefix: "cloakroom:", Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	thief, err := session.NewManager(session.Config{
		Store: store, Secrets: ring, Limits: session.Limits{Idle: time.Hour, Absolute: 12 * time.Hour}, Refresh: noRefresh,
	})
	if err != nil {
		t.Fatal(err)
	}
	stolen, err := thief.Find(t.Context(), id)
	if err != nil || stolen.Subject != subs[0] {
		t.Fatalf("with the secret the session itself opens: %v", err)
	}
	known, err := json.Marshal([]any{stolen.Access, stolen.Identity, stolen.Scope})
	if err != nil {
		t.Fatal(err)
	}
	for _, token := range f.provider.Issued() {
		if strings.Contains(string(known), token) {
			t.Error("a token is among the claims")
		}
	}
	if none := stolen.Tokens; none.Access != "" || none.Refresh != "" || none.ID != "" {
		t.Error("the server's secret alone opens the tokens")
	}
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	guesses := append([][]byte{nil, make([]byte, 32), raw}, tickets[1:]...)
	key := session.Key(raw)
	record, err := store.Load(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	const version = 1 // of an envelope, before what is sealed
	bound := slices.Concat([]byte{version}, key[:], []byte{0, 0, 0, 0, 0, 0, 0, byte(record.Generation)})
	for n, guess := range guesses {
		if _, err := ring.Open("session/tokens", guess, bound, record.Tokens[1:]); err == nil {
			t.Errorf("guess %d opens the tokens", n)
		}
	}
	if _, err := ring.Open("session/tokens", tickets[0], bound, record.Tokens[1:]); err != nil {
		t.Errorf("with the cookie they do not open either, so this test is not about them: %v", err)
	}
	own, err := thief.SignOut(t.Context(), session.Ticket(tickets[0]), "logout")
	if err != nil || !slices.Contains(f.provider.Issued(), own.Refresh.Reveal()) {
		t.Errorf("with the cookie there is no refresh token either: %v", err)
	}
}

// codecOf opens a replica's cookies, by its own secret.
func codecOf(t *testing.T, c *cloakroom) (*session.Codec, *secret.Ring) {
	t.Helper()
	key, err := secret.ParseKey(strings.TrimSpace(contentOf(t, filepath.Join(c.dir, "secret"))))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := secret.NewRing(key)
	if err != nil {
		t.Fatal(err)
	}
	return session.NewCodec("__Host-Http-session", time.Hour, ring), ring
}

func noRefresh(context.Context, *session.Session) (session.Renewal, error) {
	return session.Renewal{}, errors.New("a thief refreshes nothing")
}

// spellings are the forms in which something secret may be kept: as it is, and encoded; of a JWT also its parts, decoded.
func spellings(known string) [][]byte {
	raw := []byte(known)
	all := [][]byte{
		raw, []byte(hex.EncodeToString(raw)), []byte(base64.StdEncoding.EncodeToString(raw)), []byte(base64.RawURLEncoding.EncodeToString(raw)),
	}
	parts := strings.Split(known, ".")
	if len(parts) != 3 {
		return all
	}
	for _, part := range parts[1:] {
		if len(part) < 16 {
			continue // a cookie's second part, the id of the server's secret, is none
		}
		all = append(all, []byte(part))
		if decoded, err := base64.RawURLEncoding.DecodeString(part); err == nil {
			all = append(all, decoded)
		}
	}
	return all
}

func holdsNone(t *testing.T, what string, raw []byte, canaries [][]byte) {
	t.Helper()
	for _, canary := range canaries {
		if bytes.Contains(raw, canary) {
			t.Errorf("%s holds %.60q", what, canary)
		}
	}
}

var quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)

// unquoted is what MONITOR says, its escapes undone.
func unquoted(said string) []byte {
	var out []byte
	for _, word := range quoted.FindAllString(said, -1) {
		plain, err := strconv.Unquote(word)
		if err != nil {
			plain = word
		}
		out = append(append(out, plain...), '\n')
	}
	return out
}
