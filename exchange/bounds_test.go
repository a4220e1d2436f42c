package exchange

import (
	"strings"
	"testing"
	"time"

	"cloakroom/token"
)

// What is just within a bound is granted; the tables of the other files have what is just beyond it.

func TestALifeOfJustFiveSecondsIsGranted(t *testing.T) {
	now := time.Unix(at.Unix(), 0)
	for left, granted := range map[time.Duration]bool{MinimumLeft: true, MinimumLeft - time.Second: false} {
		q := sessionQuestion(now, "archive")
		q.Subject.Expires = now.Add(left)
		d := mustPolicy(t, examplePolicy()).Decide(q)
		if d.Granted() != granted || granted && d.Expires.Sub(now) != left {
			t.Errorf("%v left: %s", left, say(d))
		}
	}
	cfg := examplePolicy()
	cfg.Audiences[3].Lifetime = MinimumLeft
	if _, err := NewPolicy(cfg); err != nil {
		t.Error(err)
	}
	if MinimumLeft != 5*time.Second {
		t.Errorf("the least is %v", MinimumLeft)
	}
}

func sessionQuestion(now time.Time, audience string) Question {
	return Question{Client: RouteClient, Route: true, Audience: []string{audience}, TokenID: "jti", Now: now, Subject: SessionSubject(aliceSession())}
}

func TestTheLongestNameOfASubject(t *testing.T) {
	for size, granted := range map[int]bool{maxSubject: true, maxSubject + 1: false} {
		e := aliceSession()
		e.ID["custom:user_id"] = strings.Repeat("x", size)
		q := sessionQuestion(at, "legacy")
		q.Subject = SessionSubject(e)
		if d := mustPolicy(t, examplePolicy()).Decide(q); d.Granted() != granted {
			t.Errorf("%d bytes: %s", size, say(d))
		}
	}
}

// A token from the cache has five seconds left, and half of its life.
func TestHowLongATokenServesFromTheCache(t *testing.T) {
	issued := time.Unix(at.Unix(), 0)
	for _, tc := range []struct {
		life, age time.Duration
		want      bool
	}{
		{20 * time.Second, 10 * time.Second, true},
		{20 * time.Second, 10*time.Second + 1, false},
		{10 * time.Second, 5 * time.Second, true}, // both at once
		{8 * time.Second, 3 * time.Second, true},
		{8 * time.Second, 3*time.Second + 1, false},
	} {
		m := Minted{Issued: issued, Expires: issued.Add(tc.life)}
		if got := fresh(m, issued.Add(tc.age)); got != tc.want {
			t.Errorf("%v after %v: %v", tc.life, tc.age, got)
		}
	}
}

func TestTheLettersOfABearerToken(t *testing.T) {
	for c := range rune(128) {
		want := strings.ContainsRune("-._~+/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", c)
		if got := isOpaque("a"+string(c)+"z", false); got != want {
			t.Errorf("%q: %v", c, got)
		}
	}
}

// Two replicas' clocks may be half a minute apart: a token of ours that seems to come from the future, or to be over, may
// still be verified for its revocation and as a subject.
func TestTheClocksOfReplicasMayBeApart(t *testing.T) {
	b := newBench(t)
	for _, tc := range []struct {
		name     string
		iat, exp time.Duration
		want     bool
	}{
		{"issued by a clock that is ahead", 30 * time.Second, 5 * time.Minute, true},
		{"issued by a clock that is far ahead", 32 * time.Second, 5 * time.Minute, false},
		{"over by our clock alone", -time.Minute, -29 * time.Second, true},
		{"over", -time.Minute, -31 * time.Second, false},
	} {
		raw, err := b.keys.Sign("", typeMinted, token.Claims{"iss": us, "aud": "orders", "sub": "alice", "iat": at.Add(tc.iat).Unix(), "exp": at.Add(tc.exp).Unix()})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := token.Verify(t.Context(), raw, b.rules([]string{"orders"}), b.keys, b.now); (err == nil) != tc.want {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}

// A scope that is not granted, or whose rule fails, says nothing about those after it.
func TestARuleDoesNotSpeakForTheNext(t *testing.T) {
	access := aliceAccess()
	access["scope"], access["groups"] = "orders-api/write", []any{"support"}
	for audience, want := range map[string]string{"orders": "orders:write", "payments": "payments:read.any"} {
		q := sessionQuestion(at, audience)
		q.Subject = ProviderSubject(verifiedAccess(access), verifiedID(aliceID()))
		if d := mustPolicy(t, examplePolicy()).Decide(q); d.Scope.String() != want {
			t.Errorf("%s: %s", audience, say(d))
		}
	}
}
