package bff

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom/exchange/rule"
	"cloakroom/internal/idptest"
)

// userAnswer is what /bff/user says.
type userAnswer struct {
	Sub, Email, Name string
	Boss             string
	Nothing          *string
	Session          struct {
		ID            string    `json:"id"`
		Provider      string    `json:"provider"`
		CreatedAt     time.Time `json:"created_at"`
		ExpiresAt     time.Time `json:"expires_at"`
		IdleExpiresAt time.Time `json:"idle_expires_at"`
		ExpiresIn     int64     `json:"expires_in"`
		IdleExpiresIn int64     `json:"idle_expires_in"`
		AuthTime      int64     `json:"auth_time"`
	}
}

func (b *browser) who(target string) (u userAnswer) {
	b.t.Helper()
	res := b.fetch("GET", target)
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json" || res.Header.Get("Cache-Control") != "no-store" {
		b.t.Fatalf("%s: %d %v %s", target, res.StatusCode, res.Header, bodyOf(res))
	}
	if err := json.Unmarshal([]byte(bodyOf(res)), &u); err != nil {
		b.t.Fatal(err)
	}
	return u
}

func TestUser(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	u := b.who("/bff/user")
	alice := idptest.DefaultUsers()[0]
	if u.Sub != alice.Subject || u.Email != alice.Email {
		t.Errorf("person: %+v", u)
	}
	s := u.Session
	if s.ID == "" || s.Provider != "main" || s.ExpiresIn != 12*60*60 || s.IdleExpiresIn != 30*60 || s.AuthTime == 0 ||
		!s.ExpiresAt.Equal(s.CreatedAt.Add(12*time.Hour)) || !s.IdleExpiresAt.Equal(s.CreatedAt.Add(30*time.Minute)) {
		t.Errorf("session: %+v", s)
	}
	if s.ID == b.cookies["__Host-Http-session"] {
		t.Error("the handle is the cookie")
	}
}

func TestUserSlidesUnlessAskedNotTo(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	h.later(20 * time.Minute)
	if left := b.who("/bff/user?slide=false").Session.IdleExpiresIn; left > 10*60 {
		t.Errorf("%d s left after looking", left)
	}
	if left := b.who("/bff/user").Session.IdleExpiresIn; left < 29*60 {
		t.Errorf("%d s left after use", left)
	}
	for range 2 {
		h.later(20 * time.Minute)
		if res := b.fetch("GET", "/api/orders"); res.StatusCode != 200 {
			t.Fatalf("in use: %d", res.StatusCode)
		}
	}
	h.later(31 * time.Minute)
	wantProblem(t, b.fetch("GET", "/bff/user"), 401, "no-session")
}

// F4 Redis full, READONLY: what is read is served.
func TestAStoreThatTakesNoWritesRefusesNobody(t *testing.T) {
	h := open(t, idptest.Config{}, nil)
	b := h.browser()
	b.signIn("alice")
	h.later(10 * time.Minute)
	h.store.breakDown("Slide")
	attempts := func() int {
		h.store.mu.Lock()
		defer h.store.mu.Unlock()
		return h.store.slides
	}
	before := attempts()
	for range 3 {
		for _, target := range []string{"/api/orders", "/api/optional", "/bff/user", "/bff/sessions"} {
			if res := b.fetch("GET", target); res.StatusCode != http.StatusOK {
				t.Fatalf("%s: %d %s", target, res.StatusCode, bodyOf(res))
			}
		}
	}
	if n := attempts() - before; n != 1 {
		t.Errorf("within a second it is asked %d times", n)
	}
	if n := strings.Count(h.logs.String(), "session in use not extended"); n != 1 {
		t.Errorf("told of %d times", n)
	}
	if left := b.who("/bff/user").Session.IdleExpiresIn; left != 20*60 {
		t.Errorf("%d s left of what was not extended", left)
	}
	h.store.breakDown("")
	h.later(slidePause)
	if left := b.who("/bff/user").Session.IdleExpiresIn; left != 30*60 {
		t.Errorf("%d s left once it takes writes", left)
	}
	h.later(10 * time.Minute)
	h.store.breakDown("Slide")
	b.fetch("GET", "/api/orders")
	h.later(20 * time.Minute)
	wantProblem(t, b.fetch("GET", "/api/orders"), 401, "no-session")
}

func TestUserClaimsByRule(t *testing.T) {
	h := open(t, idptest.Config{}, func(_ *house, cfg *Config) {
		values := map[string]*rule.Value{}
		for name, src := range map[string]string{
			"boss": `id.email + "/" + session.id.substring(0, 0) + access.scope[0]`, "nothing": "id.nickname",
		} {
			v, err := rule.CompileValue(src)
			if err != nil {
				t.Fatal(err)
			}
			values[name] = v
		}
		cfg.Frontend.UserClaims = UserClaims{Values: values}
	})
	b := h.browser()
	b.signIn("alice")
	u := b.who("/bff/user")
	if u.Boss != "alice@example.com/openid" || u.Nothing != nil || u.Email != "" || u.Sub != idptest.DefaultUsers()[0].Subject {
		t.Errorf("got %+v", u)
	}
}
