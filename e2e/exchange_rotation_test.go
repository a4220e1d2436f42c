package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lestrrat-go/jwx/v3/jwk"
	"github.com/lestrrat-go/jwx/v3/jwt"
)

// The rotation of a secret as DESIGN.md section 6 has it, on two replicas under load, while the epoch changes every thirty
// seconds. The APIs are the strictest there may be: they keep the key set for exactly its max-age and never look up a key
// that is not in it, so every token must be signed with a key they were shown before.
func TestASecretIsRotatedUnderLoadWithoutOneFailedVerification(t *testing.T) {
	t.Parallel()
	const longest, absolute = 12 * time.Second, 20 * time.Second
	settings := strings.NewReplacer("absolute: 10m, idle: 10m", "absolute: 20s, idle: 20s", "defaults: {", "defaults: {lifetime: 12s, ", "lifetime: 20m", "lifetime: 12s", "signing: {", "signing: {rotate: 30s, ").Replace(exchangePolicy)
	house := newTwoReplicas(t, settings)
	s := house.exchangeStack
	house.rollOut(t, "old")
	s.alice = s.signIn(t, "alice") // her tokens are the load's, whatever becomes of the session
	before, maxAge := house.derivedKeys(t)
	if maxAge != 15*time.Second {
		t.Fatalf("max-age %s, want half of `rotate`", maxAge)
	}
	load := &rotationLoad{house: house, kids: map[any]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	for range 4 {
		working.Go(func() { load.run(ctx) })
	}
	defer working.Wait()
	defer stop()

	house.rollOut(t, "old", "new") // append
	wait(t, maxAge)
	early := s.signIn(t, "sam")
	house.accepts(t, early, "from before the promotion")
	house.rollOut(t, "new", "old") // promote
	house.accepts(t, early, "from before the promotion, after it")
	wait(t, max(longest, absolute))
	late := s.signIn(t, "sam")
	house.rollOut(t, "new") // remove
	house.accepts(t, late, "from after the promotion, when the old secret is gone")
	after, _ := house.derivedKeys(t)
	for kid := range before {
		if after[kid] {
			t.Errorf("key %s of the removed secret is still published", kid)
		}
	}
	wait(t, 2*time.Second)
	stop()
	working.Wait()
	load.judge(t, 500, 6)
}

func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// twoReplicas get their secrets one after the other.
type twoReplicas struct {
	*exchangeStack
	base     string // the configuration
	replicas []*cloakroom
	gaps     atomic.Int64 // requests that a replica had no answer for
}

func newTwoReplicas(t *testing.T, settings string) *twoReplicas {
	t.Helper()
	h := &twoReplicas{exchangeStack: newExchangeStack(t, startRedis(t).url(), nil, settings, patient)}
	for _, name := range []string{"old", "new"} {
		key, err := exec.Command(binary, "secret").Output()
		if err != nil {
			t.Fatal(err)
		}
		h.write(t, name, string(key))
	}
	h.base = h.written(t)
	h.replicas = []*cloakroom{h.cloakroom, h.replica(t)}
	return h
}

// rollOut restarts both replicas with those secrets, the one before the other.
func (h *twoReplicas) rollOut(t *testing.T, secrets ...string) {
	t.Helper()
	for _, r := range h.replicas {
		h.give(t, r, secrets)
		r.stop()
		r.serve(t)
	}
	t.Logf("both replicas have the secrets %v", secrets)
}

// give writes a replica's configuration with those secrets.
func (h *twoReplicas) give(t *testing.T, r *cloakroom, secrets []string) {
	t.Helper()
	var list []string
	for _, name := range secrets {
		list = append(list, fmt.Sprintf(`"${file:%s}"`, name))
	}
	configuration := strings.Replace(h.base, `["${file:secret}"]`, "["+strings.Join(list, ", ")+"]", 1)
	if r != h.cloakroom {
		configuration = h.elsewhere(configuration, r)
	}
	h.write(t, filepath.Base(r.config), configuration)
}

// accepts: both replicas take the session's cookie.
func (h *twoReplicas) accepts(t *testing.T, p person, what string) {
	t.Helper()
	for n, r := range h.replicas {
		form := h.form(url.Values{"subject_token": {p.session}, "subject_token_type": {typeSession}})
		if status, a := h.ask(t.Context(), r, "gateway", form); status != http.StatusOK {
			t.Errorf("replica %d does not accept a session %s: %d %s", n+1, what, status, a.raw)
		}
	}
}

// derivedKeys are the ids of the keys that come from a secret, and how long an API may keep the set.
func (h *twoReplicas) derivedKeys(t *testing.T) (map[string]bool, time.Duration) {
	t.Helper()
	a := h.keySet(t, h.issuer())
	kids := map[string]bool{}
	keys, _ := a.body["keys"].([]any)
	for _, one := range keys {
		key, _ := one.(map[string]any)
		if kid, _ := key["kid"].(string); key["kty"] != "RSA" {
			kids[kid] = true
		}
	}
	return kids, maxAgeOf(a.header)
}

func maxAgeOf(header http.Header) time.Duration {
	seconds, _ := strconv.Atoi(between(header.Get("Cache-Control"), "max-age=", ","))
	return time.Duration(seconds) * time.Second
}

// ask sends a form to one replica; status 0 is no answer.
func (h *twoReplicas) ask(ctx context.Context, r *cloakroom, client string, form url.Values) (status int, body answer) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, fmt.Sprintf("https://127.0.0.1:%d/oauth2/token", r.intern), strings.NewReader(form.Encode()))
	if err != nil {
		return 0, answer{}
	}
	request.Header.Set("Content-Type", formKind)
	request.SetBasicAuth(url.QueryEscape(client), url.QueryEscape(secretsOf[client]))
	return h.try(request)
}

func (h *twoReplicas) try(request *http.Request) (int, answer) {
	got, err := h.http.Do(request)
	if err != nil {
		return 0, answer{}
	}
	defer got.Body.Close()
	a, err := read(got)
	if err != nil {
		return 0, answer{}
	}
	return got.StatusCode, a
}

// anyReplica asks until one answers, as a load balancer in front of both would; one that restarts does not count.
func (h *twoReplicas) anyReplica(ctx context.Context, client string, form url.Values) (int, answer) {
	for n := rand.IntN(2); ctx.Err() == nil; n++ {
		if status, a := h.ask(ctx, h.replicas[n%2], client, form); status != 0 && status != http.StatusServiceUnavailable {
			return status, a
		}
		if ctx.Err() == nil {
			h.gaps.Add(1)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return 0, answer{}
}

// strictAPI verifies with a key set it fetches only when the last one's max-age is over.
type strictAPI struct {
	house   *twoReplicas
	keys    jwk.Set
	expires time.Time
}

func (api *strictAPI) verify(ctx context.Context, raw string) error {
	for ctx.Err() == nil && !time.Now().Before(api.expires) {
		r := api.house.replicas[rand.IntN(2)]
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("https://127.0.0.1:%d/.well-known/jwks.json", r.intern), nil)
		if err != nil {
			return err
		}
		asked := time.Now()
		status, a := api.house.try(request)
		if status != http.StatusOK {
			continue // restarting
		}
		if api.keys, err = jwk.ParseString(a.raw); err != nil {
			return err
		}
		api.expires = asked.Add(maxAgeOf(a.header))
	}
	if ctx.Err() != nil {
		return nil // the test is over: nothing can be said
	}
	_, err := jwt.ParseString(raw, jwt.WithKeySet(api.keys), jwt.WithIssuer(api.house.issuer()), jwt.WithAcceptableSkew(10*time.Second))
	return err
}

// rotationLoad mints, verifies at once and shortly before each token ends, and has the house itself verify what it minted.
type rotationLoad struct {
	house *twoReplicas

	mu                             sync.Mutex
	minted, verified, late, onward int
	kids                           map[any]bool
	failures                       []string
}

func (l *rotationLoad) run(ctx context.Context) {
	api := &strictAPI{house: l.house}
	type seen struct {
		raw string
		due time.Time
	}
	var pending []seen
	for n := 0; ctx.Err() == nil; n++ {
		audience := []string{"relay", "ledger"}[n%2] // ES256, EdDSA
		status, a := l.house.anyReplica(ctx, "gateway", l.house.form(url.Values{"audience": {audience}}))
		if ctx.Err() != nil {
			return
		}
		raw := a.text("access_token")
		if status != http.StatusOK {
			l.failed("minting: %d %s", status, a.raw)
			continue
		}
		l.count(raw, &l.minted)
		if err := api.verify(ctx, raw); err != nil {
			l.failed("a token of %v: %v", part(raw, 0), err)
		}
		l.count(raw, &l.verified)
		exp, _ := part(raw, 1)["exp"].(float64)
		pending = append(pending, seen{raw, time.Unix(int64(exp), 0).Add(-time.Second)})
		for len(pending) > 0 && time.Now().After(pending[0].due) {
			if err := api.verify(ctx, pending[0].raw); err != nil {
				l.failed("a token of %v, at its end: %v", part(pending[0].raw, 0), err)
			}
			l.count(pending[0].raw, &l.late)
			pending = pending[1:]
		}
		if audience == "relay" {
			if status, a := l.house.anyReplica(ctx, "relay", l.house.form(url.Values{"subject_token": {raw}, "audience": nil})); status != http.StatusOK && ctx.Err() == nil {
				l.failed("onward: %d %s", status, a.raw)
			}
			l.count(raw, &l.onward)
		}
		select {
		case <-time.After(30 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (l *rotationLoad) count(raw string, what *int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	*what++
	l.kids[part(raw, 0)["kid"]] = true
}

func (l *rotationLoad) failed(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failures = append(l.failures, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// judge wants so many tokens of so many keys, and no failure.
func (l *rotationLoad) judge(t *testing.T, tokens, keys int) {
	t.Helper()
	t.Logf("%d minted, %d verified at once, %d at their end, %d by the house; %d keys signed", l.minted, l.verified, l.late, l.onward, len(l.kids))
	if l.minted < tokens || l.late < tokens/2 || l.onward < tokens/3 || len(l.kids) < keys {
		t.Error("too little was seen")
	}
	for n, failure := range l.failures {
		if n == 20 {
			t.Errorf("and %d more", len(l.failures)-n)
			break
		}
		t.Error(failure)
	}
}
