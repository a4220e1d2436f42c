package redisstore

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// open makes a store with some patience, so that a busy machine does not look like a Redis that is down.
func open(t *testing.T, cfg Config) *Store {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 20 * time.Second
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStoreKeepsTheContractOnMiniredis(t *testing.T) {
	server := miniredis.RunT(t)
	sessiontest.Run(t, sessiontest.Engine{
		Open: func(t *testing.T, now func() time.Time) session.Store {
			return open(t, Config{URL: "redis://" + server.Addr(), Prefix: t.Name() + ":", Now: now})
		},
		Age: func(_ *testing.T, d time.Duration) { server.FastForward(d) },
	})
}

func TestStoreKeepsTheContractOnRedis(t *testing.T) {
	server := sessiontest.StartRedis(t)
	admin := redis.NewClient(&redis.Options{Addr: server.Addr, DB: 3})
	t.Cleanup(func() { _ = admin.Close() })
	sessiontest.Run(t, sessiontest.Engine{
		Open: func(t *testing.T, now func() time.Time) session.Store {
			return open(t, Config{URL: "redis://" + server.Addr + "/3", Prefix: t.Name() + ":", Now: now})
		},
		Age: func(t *testing.T, d time.Duration) { age(t, d, admin) },
	})
	if n := server.Do(t, "DBSIZE"); n != "0" {
		t.Errorf("%s keys in a database that is not ours", n)
	}
}

func record(life time.Duration) session.Record {
	now := time.Now().Truncate(time.Millisecond)
	return session.Record{Generation: 1, Tokens: []byte("tokens"), Info: []byte("info"), Idle: now.Add(life), Expires: now.Add(life)}
}

func TestEveryKeyBearsThePrefixAndExpires(t *testing.T) {
	server := sessiontest.StartRedis(t)
	s := open(t, Config{URL: "redis://" + server.Addr, Prefix: "house:"})
	ctx, key := t.Context(), session.Key{1}
	r := record(time.Hour)
	if err := s.Create(ctx, key, r, []session.Index{"a", "b"}); err != nil {
		t.Fatal(err)
	}
	r.Generation = 2
	if err := s.Replace(ctx, key, 1, r); err != nil {
		t.Fatal(err)
	}
	if err := s.Slide(ctx, key, r.Idle.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Claim(ctx, "mark", []byte("me"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Acquire(ctx, key, []byte("me"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := s.Bury(ctx, "a", time.Now(), time.Hour); err != nil {
		t.Fatal(err)
	}
	admin := redis.NewClient(&redis.Options{Addr: server.Addr})
	defer admin.Close()
	keys, err := admin.Keys(ctx, "*").Result()
	if err != nil || len(keys) != 6 {
		t.Fatalf("keys %v, %v; want 6", keys, err)
	}
	for _, name := range keys {
		if !strings.HasPrefix(name, "house:") || strings.Count(name, "{") != 1 {
			t.Errorf("key %s: not the prefix and one hash tag", name)
		}
		if left := admin.PTTL(ctx, name).Val(); left <= 0 || left > time.Hour+time.Minute {
			t.Errorf("key %s lives for %v", name, left)
		}
	}
}

func TestTheIndexOfABusyPersonDoesNotGrowForEver(t *testing.T) {
	server := miniredis.RunT(t)
	clock := sessiontest.NewClock()
	s := open(t, Config{URL: "redis://" + server.Addr(), Now: clock.Now})
	for i := range 200 {
		r := session.Record{Generation: 1, Idle: clock.Now().Add(time.Hour), Expires: clock.Now().Add(time.Hour)}
		if err := s.Create(t.Context(), session.Key{byte(i)}, r, []session.Index{"robot"}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(10 * time.Minute)
		server.FastForward(10 * time.Minute)
	}
	entries, err := server.ZMembers("index:{robot}")
	if err != nil || len(entries) > 7 {
		t.Errorf("%d entries, %v", len(entries), err)
	}
}

func TestABurialIsNotDatedBack(t *testing.T) {
	server := miniredis.RunT(t)
	s := open(t, Config{URL: "redis://" + server.Addr()})
	at := time.Now().Truncate(time.Millisecond).Add(1)
	if err := s.Bury(t.Context(), "a", at, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Buried(t.Context(), []session.Index{"a"}); err != nil || got.Before(at) || got.After(at.Add(time.Microsecond)) {
		t.Errorf("buried at %v, %v; want %v", got, err, at)
	}
}

func TestOperationsAreObserved(t *testing.T) {
	server := miniredis.RunT(t)
	var mu sync.Mutex
	var seen []string
	s := open(t, Config{URL: "redis://" + server.Addr(), Observe: func(op, outcome string, took time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, op+" "+outcome)
		if took <= 0 {
			t.Errorf("%s took %v", op, took)
		}
	}})
	ctx, key := t.Context(), session.Key{1}
	_ = s.Ping(ctx)
	_ = s.Create(ctx, key, record(time.Hour), nil)
	_ = s.Create(ctx, key, record(time.Hour), nil)
	_, _ = s.Load(ctx, key)
	_, _ = s.Load(ctx, session.Key{2})
	_ = s.Replace(ctx, key, 7, record(time.Hour))
	_ = s.Slide(ctx, key, time.Now().Add(time.Hour))
	_, _ = s.Delete(ctx, key)
	_, _ = s.Members(ctx, "a")
	_, _ = s.Claim(ctx, "a", nil, time.Minute)
	_, _ = s.Acquire(ctx, key, nil, time.Minute)
	_ = s.Release(ctx, key, nil)
	_ = s.Bury(ctx, "a", time.Now(), time.Minute)
	_, _ = s.Buried(ctx, []session.Index{"a"})
	_ = s.Publish(ctx, nil)
	server.Set("session:{"+session.Key{3}.String()+"}", "")
	_, _ = s.Load(ctx, session.Key{3})
	server.SetError("LOADING Redis is loading the dataset in memory")
	_, _ = s.Load(ctx, key)
	want := "ping ok, create ok, create conflict, load ok, load not-found, replace conflict, slide ok, delete ok, members ok, claim ok, acquire ok, release ok, bury ok, buried ok, publish ok, load broken, load unavailable"
	if got := strings.Join(seen, ", "); got != want {
		t.Errorf("observed %s\nwant %s", got, want)
	}
}

func TestWhatIsStoredIsARecordOrSaidNotToBe(t *testing.T) {
	server := miniredis.RunT(t)
	s := open(t, Config{URL: "redis://" + server.Addr(), Prefix: "p:"})
	good := string(encode(record(time.Hour)))
	for _, tt := range []struct {
		name, stored string
		want         error
	}{
		{"what was written", good, nil},
		{"the layout of another release", "\x02" + good[1:], session.ErrNextRelease},
		{"a later layout that is shorter", "\x02", session.ErrNextRelease},
		{"nothing", "", session.ErrBroken},
		{"half a head", good[:20], session.ErrBroken},
		{"a head alone, that promises tokens", good[:headLen], session.ErrBroken},
		{"a length beyond the end", good[:25] + "\xff\xff\xff\xff" + good[29:], session.ErrBroken},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := server.Set("p:session:{"+session.Key{1}.String()+"}", tt.stored); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Load(t.Context(), session.Key{1}); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

// Whatever stands there: what is to end does.
func TestWhatIsNoRecordIsRemovedToo(t *testing.T) {
	server := miniredis.RunT(t)
	s := open(t, Config{URL: "redis://" + server.Addr(), Prefix: "p:"})
	name := "p:session:{" + session.Key{1}.String() + "}"
	for what, put := range map[string]func(){
		"nothing in it":              func() { _ = server.Set(name, "") },
		"of the next release":        func() { _ = server.Set(name, "\x02something") },
		"a list":                     func() { _, _ = server.Push(name, "something") },
		"shorter than it says it is": func() { _ = server.Set(name, "\x01something") },
	} {
		put()
		if _, err := s.Delete(t.Context(), session.Key{1}); !errors.Is(err, session.ErrBroken) {
			t.Errorf("%s: %v, want ErrBroken", what, err)
		}
		if server.Exists(name) {
			t.Errorf("%s: it is still there", what)
		}
	}
}

func TestAForeignEntryOfAnIndexIsPassedOver(t *testing.T) {
	server := miniredis.RunT(t)
	s := open(t, Config{URL: "redis://" + server.Addr()})
	if err := s.Create(t.Context(), session.Key{1}, record(time.Hour), []session.Index{"a"}); err != nil {
		t.Fatal(err)
	}
	if _, err := server.ZAdd("index:{a}", 1e15, "not a key"); err != nil {
		t.Fatal(err)
	}
	keys, err := s.Members(t.Context(), "a")
	if err != nil || len(keys) != 1 || keys[0] != (session.Key{1}) {
		t.Errorf("members %v, %v", keys, err)
	}
}

func TestAnyTroubleIsNotAnAnswer(t *testing.T) {
	server := miniredis.RunT(t)
	s := open(t, Config{URL: "redis://" + server.Addr()})
	key := session.Key{1}
	if err := s.Create(t.Context(), key, record(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	for _, trouble := range []string{
		"LOADING Redis is loading the dataset in memory", "READONLY You can't write against a read only replica.",
		"OOM command not allowed when used memory > 'maxmemory'.", "NOAUTH Authentication required.",
		"NOPERM this user has no permissions", "MASTERDOWN Link with MASTER is down", "ERR something new",
	} {
		server.SetError(trouble)
		for name, err := range everyOperation(t.Context(), s, key) {
			if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s at %q: %v, want ErrUnavailable", name, trouble, err)
			}
		}
	}
}

func everyOperation(ctx context.Context, s *Store, key session.Key) map[string]error {
	_, loading := s.Load(ctx, key)
	_, deleting := s.Delete(ctx, key)
	_, listing := s.Members(ctx, "index")
	_, claiming := s.Claim(ctx, "name", []byte("me"), time.Minute)
	_, acquiring := s.Acquire(ctx, key, []byte("me"), time.Minute)
	_, asking := s.Buried(ctx, []session.Index{"index", "other"})
	return map[string]error{
		"load": loading, "delete": deleting, "members": listing, "claim": claiming, "ping": s.Ping(ctx),
		"create":  s.Create(ctx, session.Key{9}, record(time.Hour), []session.Index{"index"}),
		"replace": s.Replace(ctx, key, 1, record(time.Hour)),
		"slide":   s.Slide(ctx, key, time.Now().Add(2*time.Hour)),
		"acquire": acquiring, "release": s.Release(ctx, key, []byte("me")),
		"bury": s.Bury(ctx, "index", time.Now(), time.Minute), "buried": asking, "publish": s.Publish(ctx, []byte("hello")),
	}
}
