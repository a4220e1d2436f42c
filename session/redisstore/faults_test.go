package redisstore

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom/session"
	"cloakroom/session/sessiontest"
)

// slack is what a busy machine may add to the time that an operation is given.
const slack = 3 * time.Second

func wantUnavailable(t *testing.T, s *Store, key session.Key) {
	t.Helper()
	for name, err := range everyOperation(t.Context(), s, key) {
		if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, session.ErrNotFound) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

// soon asks until the store answers, and returns how long that took.
func soon(t *testing.T, s *Store) time.Duration {
	t.Helper()
	began := time.Now()
	for {
		err := s.Ping(t.Context())
		if err == nil {
			return time.Since(began)
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("does not recover: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFaultRedisDown(t *testing.T) {
	server := sessiontest.StartRedis(t)
	server.Kill()
	s := open(t, Config{URL: "redis://" + server.Addr, Timeout: 250 * time.Millisecond})
	key := session.Key{1}
	wantUnavailable(t, s, key)
	server.Restart(t)
	soon(t, s)
	if err := s.Create(t.Context(), key, record(time.Hour), nil); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	began := time.Now()
	for range 200 { // many more failures than the pool has places: it must not lose its patience
		wantUnavailable(t, s, key)
	}
	if took := time.Since(began); took > slack {
		t.Errorf("with Redis down 200 times every operation took %v", took)
	}
	time.Sleep(3 * probeEvery) // a few probes fail too
	server.Restart(t)
	if took := soon(t, s); took > time.Second {
		t.Errorf("took %v to find out that Redis is back", took)
	}
	if _, err := s.Load(t.Context(), key); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("load after Redis lost everything: %v, want ErrNotFound", err)
	}
	if err := life(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestFaultRedisDownOverTLSCostsNoRequestAfterItIsBack(t *testing.T) {
	pki := sessiontest.NewPKI(t)
	server := sessiontest.Security{PKI: pki}.StartRedis(t)
	s := open(t, Config{URL: "rediss://" + server.Addr, CAFile: pki.File("ca.crt"), CertFile: pki.File("client.crt"), KeyFile: pki.File("client.key")})
	sessions := people(t, s, 3)
	var all sync.WaitGroup // so that there are many idle connections
	for range 40 {
		all.Go(func() {
			for key := range sessions {
				_, _ = s.Load(t.Context(), key)
			}
		})
	}
	all.Wait()
	server.Kill()
	server.Restart(t)
	for range 100 {
		if err := s.Ping(t.Context()); err != nil {
			t.Fatalf("Redis is back, but: %v", err)
		}
	}
}

func TestFaultRedisHung(t *testing.T) {
	server := sessiontest.StartRedis(t)
	proxy := sessiontest.StartProxy(t, server.Addr)
	const timeout, callers = 250 * time.Millisecond, 200
	s := open(t, Config{URL: "redis://" + proxy.Addr, Timeout: timeout})
	soon(t, s)
	sessions := people(t, s, 10)
	before := runtime.NumGoroutine()
	server.Suspend(t)
	stop := make(chan struct{})
	c := gather(t, s, sessions, callers, stop)
	for end := time.Now().Add(20 * time.Second); c.calls() < 20*callers && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	most := runtime.NumGoroutine()
	_, connections := proxy.Opened()
	close(stop)
	c.all.Wait()
	if worst := c.percentile(1); worst > timeout+slack {
		t.Errorf("a call took %v", worst)
	}
	waited := 0
	for _, err := range c.errs {
		if !strings.Contains(err.Error(), "not asked") {
			waited++
		}
	}
	if waited > len(c.took)/4 { // all callers once, and the probes
		t.Errorf("%d of %d calls waited for Redis: the circuit did not open", waited, len(c.took))
	}
	if c.answered > 0 {
		t.Errorf("a Redis that hangs gave %d answers", c.answered)
	}
	if connections > 64 {
		t.Errorf("%d connections", connections)
	}
	if most > before+callers+5*connections+50 { // the proxy has three for each
		t.Errorf("%d goroutines, before %d, with %d callers and %d connections", most, before, callers, connections)
	}
	server.Resume(t)
	if took := soon(t, s); took > time.Second+slack {
		t.Errorf("took %v to find out that Redis goes on", took)
	}
	for key, want := range sessions {
		if got, err := s.Load(t.Context(), key); err != nil || !same(got, want) {
			t.Errorf("a session is lost: %v", err)
		}
	}
}

func TestFaultRedisSlow(t *testing.T) {
	t.Parallel()
	server := sessiontest.StartRedis(t)
	for name, tt := range map[string]struct {
		timeout time.Duration
		answers bool
	}{
		"slower than we wait": {250 * time.Millisecond, false}, // a new connection takes two answers
		"not slower":          {4 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			const callers = 40
			proxy := sessiontest.StartProxy(t, server.Addr)
			sessions := people(t, open(t, Config{URL: "redis://" + server.Addr, Prefix: name}), 10)
			s := open(t, Config{URL: "redis://" + proxy.Addr, Prefix: name, Timeout: tt.timeout})
			soon(t, s)
			server.Do(t, "CONFIG", "RESETSTAT")
			proxy.Set(sessiontest.Weather{DelayMin: 100 * time.Millisecond, DelayMax: 300 * time.Millisecond})
			stop := make(chan struct{})
			c := gather(t, s, sessions, callers, stop)
			time.Sleep(2 * time.Second)
			close(stop)
			c.all.Wait()
			if late := c.percentile(.99); late > tt.timeout+slack {
				t.Errorf("1 call of 100 took %v", late)
			}
			if tt.answers && c.answered < len(c.errs) {
				t.Errorf("%d answers, %d errors such as %v", c.answered, len(c.errs), c.errs[0])
			}
			// Each call went to Redis once at most: nobody tried again by himself.
			for line := range strings.Lines(server.Do(t, "INFO", "commandstats")) {
				if rest, ok := strings.CutPrefix(line, "cmdstat_get:calls="); ok {
					number, _, _ := strings.Cut(rest, ",")
					if gets, err := strconv.Atoi(number); err != nil || gets > len(c.took) {
						t.Errorf("%d calls became %d commands, %v", len(c.took), gets, err)
					}
				}
			}
			if _, connections := proxy.Opened(); connections > 64 {
				t.Errorf("%d connections", connections)
			}
			proxy.Set(sessiontest.Weather{})
			soon(t, s)
			if _, err := s.Members(t.Context(), "everyone"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFaultRedisDropsMidReply(t *testing.T) {
	t.Parallel()
	server := sessiontest.StartRedis(t)
	for name, bad := range map[string]func(*sessiontest.Proxy){
		"cut":     func(p *sessiontest.Proxy) { p.Set(sessiontest.Weather{Cut: .3}) },
		"reset":   func(p *sessiontest.Proxy) { p.Reset() },
		"stalled": func(p *sessiontest.Proxy) { p.Set(sessiontest.Weather{Stalled: true}) },
		"slower than we wait": func(p *sessiontest.Proxy) {
			p.Set(sessiontest.Weather{DelayMin: 0, DelayMax: 100 * time.Millisecond})
		},
	} {
		t.Run(name, func(t *testing.T) {
			proxy := sessiontest.StartProxy(t, server.Addr)
			sessions := people(t, open(t, Config{URL: "redis://" + server.Addr, Prefix: name}), 10)
			s := open(t, Config{URL: "redis://" + proxy.Addr, Prefix: name, Timeout: 50 * time.Millisecond})
			stop := make(chan struct{})
			c := gather(t, s, sessions, 20, stop)
			for range 6 {
				bad(proxy)
				time.Sleep(100 * time.Millisecond)
				proxy.Set(sessiontest.Weather{})
				time.Sleep(50 * time.Millisecond)
			}
			soon(t, s)
			close(stop)
			c.all.Wait()
			if len(c.errs) == 0 {
				t.Error("nothing went wrong: the test did not test")
			}
			for key, want := range sessions {
				soon(t, s)
				if got, err := s.Load(t.Context(), key); err == nil && !same(got, want) || errors.Is(err, session.ErrNotFound) {
					t.Errorf("afterwards: %v", err)
				}
			}
		})
	}
}

// What a connection still owes after its operation was given up must never be taken for the answer to the next one.
func TestFaultCancelStorm(t *testing.T) {
	server := sessiontest.StartRedis(t)
	proxy := sessiontest.StartProxy(t, server.Addr)
	s := open(t, Config{URL: "redis://" + proxy.Addr})
	sessions := people(t, s, 20)
	proxy.Set(sessiontest.Weather{DelayMax: 4 * time.Millisecond})
	var cancelled, answered atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for key, want := range sessions {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(60))*time.Millisecond)
				if rand.IntN(2) == 0 {
					time.AfterFunc(time.Duration(rand.IntN(30))*time.Millisecond, cancel)
				}
				got, err := s.Load(ctx, key)
				cancel()
				switch {
				case err == nil && same(got, want):
					answered.Add(1)
				case err == nil:
					t.Error("a session got the record of another one")
				case errors.Is(err, session.ErrUnavailable) && !errors.Is(err, session.ErrNotFound):
					cancelled.Add(1)
				default:
					t.Errorf("load: %v", err)
				}
			}
		})
	}
	all.Wait()
	if cancelled.Load() == 0 || answered.Load() == 0 {
		t.Errorf("%d cancelled, %d answered: the test did not test", cancelled.Load(), answered.Load())
	}
	// Those who went away, or could not wait for as long as we do, said nothing about Redis: its circuit is closed.
	server.Suspend(t)
	for key := range sessions {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		_, err := s.Load(ctx, key)
		cancel()
		if err == nil {
			t.Error("a Redis that hangs answered")
		}
	}
	server.Resume(t)
	for key, want := range sessions {
		if got, err := s.Load(t.Context(), key); err != nil || !same(got, want) {
			t.Errorf("afterwards: %v", err)
		}
	}
}

func TestFaultRedisFull(t *testing.T) {
	server := sessiontest.StartRedis(t, "--maxmemory-policy", "noeviction")
	s := open(t, Config{URL: "redis://" + server.Addr})
	sessions := people(t, s, 10)
	server.Do(t, "CONFIG", "SET", "maxmemory", "1")
	for range 20 { // and not because it is not asked any more: it does answer
		if err := s.Create(t.Context(), newKey(), record(time.Hour), nil); !errors.Is(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
			t.Errorf("create: %v, want ErrUnavailable", err)
		}
	}
	if _, err := s.Claim(t.Context(), "sign-in", nil, time.Minute); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("claim: %v, want ErrUnavailable", err)
	}
	for key, want := range sessions {
		if got, err := s.Load(t.Context(), key); err != nil || !same(got, want) {
			t.Errorf("load: %v", err)
		}
		// What there is goes on, and can be ended.
		if mine, err := s.Acquire(t.Context(), key, key[:8], time.Minute); err != nil || !mine {
			t.Errorf("acquire: %t, %v", mine, err)
		}
		want.Generation, want.Idle = 2, want.Idle.Add(time.Minute)
		for what, err := range map[string]error{
			"replace": s.Replace(t.Context(), key, 1, want), "release": s.Release(t.Context(), key, key[:8]),
			"slide": s.Slide(t.Context(), key, want.Idle.Add(time.Minute)), "bury": s.Bury(t.Context(), session.Index(key.String()), time.Now(), time.Minute),
		} {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		if _, err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete: %v", err)
		}
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "0")
	if err := life(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestFaultRedisWiped(t *testing.T) {
	server := sessiontest.StartRedis(t)
	s := open(t, Config{URL: "redis://" + server.Addr})
	sessions := people(t, s, 3)
	server.Do(t, "FLUSHALL")
	server.Do(t, "SCRIPT", "FLUSH")
	for key, r := range sessions {
		_, loading := s.Load(t.Context(), key)
		for name, err := range map[string]error{
			"load": loading, "replace": s.Replace(t.Context(), key, 1, r), "slide": s.Slide(t.Context(), key, time.Now().Add(2*time.Hour)),
		} {
			if !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s: %v, want ErrNotFound", name, err)
			}
		}
	}
	if err := life(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestFaultWrongTypeOfKeyAtOurName(t *testing.T) {
	server := sessiontest.StartRedis(t)
	s := open(t, Config{URL: "redis://" + server.Addr, Prefix: "p:"})
	key := newKey()
	for _, name := range []string{s.record(key), s.lease(key), s.mark("mark"), s.tombstone("index")} {
		server.Do(t, "RPUSH", name, "not", "ours")
	}
	server.Do(t, "SET", s.index("index"), "not ours")
	if _, err := s.Load(t.Context(), key); !errors.Is(err, session.ErrBroken) {
		t.Errorf("load: %v, want ErrBroken", err)
	}
	_, claiming := s.Claim(t.Context(), "mark", nil, time.Minute)
	_, acquiring := s.Acquire(t.Context(), key, nil, time.Minute)
	_, asking := s.Buried(t.Context(), []session.Index{"index"})
	_, listing := s.Members(t.Context(), "index")
	for name, err := range map[string]error{
		"replace": s.Replace(t.Context(), key, 1, record(time.Hour)), "slide": s.Slide(t.Context(), key, time.Now().Add(2*time.Hour)),
		"create elsewhere": s.Create(t.Context(), newKey(), record(time.Hour), []session.Index{"index"}),
		"claim":            claiming, "acquire": acquiring, "release": s.Release(t.Context(), key, nil), "members": listing,
		"bury": s.Bury(t.Context(), "index", time.Now(), time.Minute), "buried": asking,
	} {
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
	if _, err := s.Delete(t.Context(), key); !errors.Is(err, session.ErrBroken) {
		t.Errorf("delete: %v, want ErrBroken", err)
	}
	if err := life(t.Context(), s); err != nil {
		t.Error(err)
	}
}

func TestFaultSubscriptionIsLost(t *testing.T) {
	t.Parallel()
	server := sessiontest.StartRedis(t)
	proxy := sessiontest.StartProxy(t, server.Addr)
	s := open(t, Config{URL: "redis://" + proxy.Addr, Timeout: 500 * time.Millisecond})
	join := func() *ear {
		t.Helper()
		for {
			if e, err := listen(t, s); err == nil {
				return e
			}
		}
	}
	for name, lose := range map[string]func(){
		"reset":   proxy.Reset,
		"stalled": func() { proxy.Set(sessiontest.Weather{Stalled: true}) },
		"killed":  server.Kill,
	} {
		e := join()
		if err := s.Publish(t.Context(), []byte(name)); err != nil {
			t.Fatal(err)
		}
		e.wantHeard(t, name)
		lose()
		e.wantLost(t, 4*silent+slack)
		proxy.Set(sessiontest.Weather{})
		if name == "killed" {
			if _, err := listen(t, s); !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("subscribed to a Redis that is down: %v", err)
			}
			server.Restart(t)
		}
		soon(t, s)
	}
	e := join()
	time.Sleep(3*silent + silent/2) // in silence, and still there
	if err := s.Publish(t.Context(), []byte("still")); err != nil {
		t.Fatal(err)
	}
	e.wantHeard(t, "still")
}
