package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// F4 "Key rotation": append, wait, promote, wait, remove, by reload on two replicas under load. Services verify with key sets that they
// keep for exactly their max-age, browsers keep the cookie that they were last given, and nobody is without an answer for one request.
func TestASecretIsRotatedByReloadUnderLoad(t *testing.T) {
	t.Parallel()
	const longest, absolute = 8 * time.Second, 16 * time.Second
	settings := strings.NewReplacer("absolute: 10m, idle: 10m", "absolute: 16s, idle: 16s", "defaults: {", "defaults: {lifetime: 8s, ",
		"lifetime: 20m", "lifetime: 8s", "lifetime: 10s", "lifetime: 8s", "signing: {", "signing: {rotate: 30s, ").Replace(exchangePolicy)
	house := newTwoReplicas(t, settings)
	house.rollOut(t, "old")
	house.alice = house.exchangeStack.signIn(t, "alice") // her tokens are the services' load, whatever becomes of the session
	before, maxAge := house.derivedKeys(t)
	if maxAge != 15*time.Second {
		t.Fatalf("max-age %s, want half of `rotate`", maxAge)
	}
	services := &rotationLoad{house: house, kids: map[any]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for range 2 {
		working.Go(func() { services.run(ctx) })
	}
	defer working.Wait()
	defer stop()
	people := &visitors{house: house, lasts: absolute}
	people.enter(t)
	browsers := gather(t, 2, people.visit)

	house.reload(t, "old", "new") // append
	people.enterFor(t, maxAge)
	house.reload(t, "new", "old") // promote
	people.enterFor(t, max(longest, absolute))
	house.reload(t, "new") // remove
	people.enterFor(t, 2*time.Second)
	after, _ := house.derivedKeys(t)
	for kid := range before {
		if after[kid] {
			t.Errorf("key %s of the removed secret is still published", kid)
		}
	}
	stop()
	working.Wait()
	browsers.stop()
	services.judge(t, 200, 4)
	browsers.only(t, works, http.StatusOK)
	if n := browsers.so(); n < 200 || people.anew == 0 {
		t.Errorf("browsers asked %d times, and %d cookies were encoded anew", n, people.anew)
	}
	t.Logf("browsers asked %d times, and %d cookies were encoded anew", browsers.so(), people.anew)
	if gaps := house.gaps.Load(); gaps > 0 {
		t.Errorf("%d requests were without an answer", gaps)
	}
}

// reload gives both replicas those secrets, the one before the other, while they run: the first is told, the second sees it.
func (h *twoReplicas) reload(t *testing.T, secrets ...string) {
	t.Helper()
	for n, r := range h.replicas {
		before := r.reloads(t)
		h.give(t, r, secrets)
		if n == 0 {
			if err := r.cmd.Process.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, 10*time.Second, fmt.Sprintf("replica %d has taken over its configuration", n+1), func() bool { return r.reloads(t) != before })
	}
	t.Logf("both replicas have the secrets %v", secrets)
}

// reloads is how often the replica took over a changed configuration.
func (c *cloakroom) reloads(t *testing.T) float64 {
	t.Helper()
	return c.metric(t, "cloakroom_config_reloads_total", `outcome="applied"`)
}

// visitors are browsers that are signed in, each with the cookie that it was last given.
type visitors struct {
	house *twoReplicas
	lasts time.Duration // a session

	mu   sync.Mutex
	all  []*guest
	anew int // cookies that were encoded under another secret
}

type guest struct {
	mu      sync.Mutex
	cookie  string
	entered time.Time
}

// enter signs somebody in.
func (v *visitors) enter(t *testing.T) {
	t.Helper()
	began := time.Now()
	p := v.house.exchangeStack.signIn(t, "sam")
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all = append(v.all, &guest{cookie: p.cookie, entered: began})
}

// enterFor signs people in for a while.
func (v *visitors) enterFor(t *testing.T, d time.Duration) {
	t.Helper()
	for until := time.Now().Add(d); time.Now().Before(until); {
		v.enter(t)
		wait(t, min(2*time.Second, max(time.Until(until), 0)))
	}
}

// visit asks either replica, as somebody whose session goes on for longer than any answer takes.
func (v *visitors) visit(ctx context.Context, _ int) reply {
	who := v.pick()
	for ; who == nil && ctx.Err() == nil; who = v.pick() {
		time.Sleep(20 * time.Millisecond)
	}
	if who == nil {
		return reply{err: ctx.Err()}
	}
	who.mu.Lock()
	defer who.mu.Unlock()
	a := v.house.replicas[rand.IntN(2)].try(ctx, http.MethodGet, []string{"/bff/user", "/api/echo"}[rand.IntN(2)], who.cookie)
	if next := cookieIn(a, "__Host-Http-session"); next != "" && keyOf(next) != keyOf(who.cookie) {
		who.cookie = next
		v.mu.Lock()
		v.anew++
		v.mu.Unlock()
	}
	select {
	case <-time.After(20 * time.Millisecond):
	case <-ctx.Done():
	}
	return a
}

// pick chooses anyone whose session is not near its end, nil for nobody.
func (v *visitors) pick() *guest {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, n := range rand.Perm(len(v.all)) {
		if time.Since(v.all[n].entered) < v.lasts/2 {
			return v.all[n]
		}
	}
	return nil
}

// keyOf is the id of the secret that a cookie is encoded under.
func keyOf(cookie string) string { return between(cookie, "=v1.", ".") }
