package exchangehttp

import (
	"testing"
	"time"

	"cloakroom/secret"
)

func TestTokenCacheIsBounded(t *testing.T) {
	c, now := newTokenCache(3), time.Unix(1_800_000_000, 0)
	put := func(i byte, life time.Duration) {
		c.keep(requestKey{i}, Token{Value: "t", Expires: now.Add(life)}, nil, now, now)
	}
	has := func(i byte) bool { _, ok := c.find(requestKey{i}, now); return ok }
	put(1, time.Minute)
	put(2, time.Hour)
	put(3, time.Hour)
	put(3, time.Hour) // what is there takes no more room
	now = now.Add(time.Minute)
	put(4, time.Hour)
	if !has(2) || !has(3) || !has(4) || has(1) || len(c.answers) != 3 {
		t.Errorf("what was over did not make room: %d", len(c.answers))
	}
	for i := byte(5); i < 100; i++ {
		put(i, time.Hour)
		if !has(i) || len(c.answers) != 3 {
			t.Fatalf("%d kept, the latest: %v", len(c.answers), has(i))
		}
	}
}

func TestTokenCacheForgetsWhatItIsTold(t *testing.T) {
	c, now, k := newTokenCache(3), time.Unix(1_800_000_000, 0), requestKey{1}
	t1, t2 := Token{Value: secret.Text("one"), Expires: now.Add(time.Hour)}, Token{Value: secret.Text("two"), Expires: now.Add(time.Hour)}
	c.keep(k, t2, nil, now, now)
	c.forget(k, t1) // somebody was here before
	if _, ok := c.find(k, now); !ok {
		t.Error("another token was forgotten")
	}
	c.forget(k, t2)
	if _, ok := c.find(k, now); ok {
		t.Error("it is still there")
	}
}
