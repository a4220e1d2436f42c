package bff

import (
	"fmt"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

// F4 "Clock skew ±90 s, jump": a replica's clock may be a minute off the provider's.
func TestSignInThoughTheClockIsAMinuteOff(t *testing.T) {
	for _, c := range []struct {
		ahead time.Duration // the provider's clock, of ours
		ok    bool
	}{{55 * time.Second, true}, {-55 * time.Second, true}, {-90 * time.Second, true}, {90 * time.Second, false}} {
		t.Run(fmt.Sprint(c.ahead), func(t *testing.T) {
			t.Parallel()
			h := open(t, idptest.Config{}, nil)
			h.idp.Set(idptest.Misbehave{Token: func(_ idptest.Kind, _, claims map[string]any) {
				for _, name := range []string{"iat", "exp", "auth_time"} {
					if at, there := claims[name].(int64); there {
						claims[name] = at + int64(c.ahead/time.Second)
					}
				}
			}})
			b := h.browser()
			res := b.arrive(b.atProvider("/bff/login?returnTo=/app", "alice"))
			switch {
			case c.ok && res.StatusCode != 303:
				t.Fatalf("got %d %s", res.StatusCode, bodyOf(res))
			case !c.ok && (res.StatusCode < 400 || res.StatusCode == 500 || touches(res, "__Host-Http-session")):
				t.Fatalf("got %d, cookies %v", res.StatusCode, res.Cookies())
			case c.ok:
				if res := b.fetch("GET", "/api/orders"); res.StatusCode != 200 {
					t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
				}
			}
		})
	}
}

// A sign-in that begins at one replica may end at another, whose clock is another.
func TestSignInOverTwoReplicasWhoseClocksDiffer(t *testing.T) {
	for _, between := range []time.Duration{90 * time.Second, -90 * time.Second} {
		t.Run(fmt.Sprint(between), func(t *testing.T) {
			h := open(t, idptest.Config{}, nil)
			own := h.server.now
			b := h.browser()
			h.server.now = func() time.Time { return own().Add(between) }
			back := b.atProvider("/bff/login?returnTo=/app", "alice")
			h.server.now = own
			if res := b.arrive(back); res.StatusCode != 303 {
				t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
			}
			if res := b.fetch("GET", "/bff/user"); res.StatusCode != 200 {
				t.Errorf("got %d %s", res.StatusCode, bodyOf(res))
			}
		})
	}
}
