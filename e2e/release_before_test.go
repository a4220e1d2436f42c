package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// While a release rolls out, its replicas share Redis with those of the release before: whoever signed in at either goes on at
// either, sessions are refreshed by either, and ended at either. PREVIOUS_RELEASE names another revision than the latest tag.
func TestTheReleaseBeforeSharesRedis(t *testing.T) {
	release := releaseBefore(t)
	if release == "" {
		t.Skip("there is no release before this one yet (no tag v* behind this commit), so none to share Redis with")
	}
	old := buildRevision(t, release)
	f := newFleet(t, plan{
		store: startRedis(t).url(), replicas: 2, provider: idptest.Config{RotateRefresh: true},
		settings: "session: {refresh_before: 1s, refresh_every: 1s}",
	})
	f.replicas[0].program, f.replicas[0].older = old, true
	f.serve(t)
	p := &pair{f, f.replicas[0], f.replicas[1]}
	for name, way := range map[string][2]*cloakroom{release + ", then this one": {p.a, p.b}, "this one, then " + release: {p.b, p.a}} {
		t.Run(name, func(t *testing.T) {
			here, there := way[0], way[1]
			cookie, err := f.enter(t.Context(), here, newBrowser(t), "alice")
			if err != nil {
				t.Fatal(err)
			}
			status, minted := p.ask(t, here, http.MethodGet, "/api/orders", cookie)
			if status != http.StatusOK {
				t.Fatalf("where alice signed in: %d %s", status, minted)
			}
			if !p.active(t, there, minted) {
				t.Error("a token of the one is not active at the other")
			}
			first := want(t, 5*time.Second, "the session lives at the other", there, "/own", cookie, works).body
			renewed := want(t, 10*time.Second, "the other renews the provider's tokens", there, "/own", cookie, func(a reply) bool {
				return works(a) && a.body != first
			}).body
			want(t, 10*time.Second, "the first goes on from what the other renewed, and renews again", here, "/own", cookie, func(a reply) bool {
				return works(a) && a.body != first && a.body != renewed
			})
			if _, sessions := p.ask(t, there, http.MethodGet, "/bff/sessions", cookie); strings.Count(sessions, `"current":true`) != 1 {
				t.Errorf("the other lists %s", sessions)
			}
			if status, body := p.ask(t, there, http.MethodPost, "/bff/logout", cookie); status != http.StatusOK {
				t.Fatalf("logout answers %d %s", status, body)
			}
			want(t, 2*time.Second, "what ended at the other is over at the first", here, "/bff/user", cookie, reply.signInAgain)
			if p.active(t, here, minted) {
				t.Error("the minted token outlives the session")
			}
		})
	}
}

// releaseBefore is the latest tag that this commit comes after; "" where there is none.
func releaseBefore(t *testing.T) string {
	t.Helper()
	if revision := os.Getenv("PREVIOUS_RELEASE"); revision != "" {
		return revision
	}
	if _, err := os.Stat("../.git"); err != nil {
		return "" // the source without its history
	}
	here := git(t, "tag", "--points-at", "HEAD")
	for tag := range strings.Lines(git(t, "tag", "--list", "v*", "--merged", "HEAD", "--sort=-version:refname")) {
		if tag = strings.TrimSpace(tag); !strings.Contains("\n"+here+"\n", "\n"+tag+"\n") {
			return tag
		}
	}
	return ""
}

// buildRevision builds cloakroom from another revision of this repository.
func buildRevision(t *testing.T, revision string) string {
	t.Helper()
	source := t.TempDir()
	archive := filepath.Join(source, "source.tar")
	git(t, "-C", "..", "archive", "--output", archive, revision)
	for _, command := range [][]string{{"tar", "-xf", archive}, {"go", "build", "-o", "previous", "./cmd/cloakroom"}} {
		cmd := exec.CommandContext(t.Context(), command[0], command[1:]...) //nolint:gosec // fixed commands
		cmd.Dir = source
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s of %s: %v\n%s", command[0], revision, err, out)
		}
	}
	return filepath.Join(source, "previous")
}

func git(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "git", args...).Output()
	if err != nil {
		t.Fatalf("git %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}
