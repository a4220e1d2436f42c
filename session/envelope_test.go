package session

import (
	"encoding/hex"
	"math"
	"testing"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// A release reads the records of the one before it, so what version 1 is may not change.
func TestVersion1StaysAsItIs(t *testing.T) {
	at := func(n int64) time.Time { return time.UnixMilli(n) }
	s := &Session{
		Provider: "p", Issuer: "i", Subject: "s", ProviderSID: "d", UserAgent: "u", Address: "a", Scope: token.Scope{"x", "y"},
		Created: at(1), Expires: at(2), AuthTime: time.Time{}, AccessExpiry: at(3), renewed: at(200), Refreshable: true,
		intent: intent{"h", at(5)}, Access: nil, Identity: token.Claims{"sub": int64(1), "b": []any{"x", false, nil, -1.5, int64(-3), true}},
	}
	info, err := writeInfo(s)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(info), "017001690173016401750161"+"00"+"03782079"+"02030004c901"+"01"+"0168"+"06"+"00"+"0802"+"000162"+"0706"+"060178"+"01"+"00"+"0580808080808080fcbf01"+"0402"+"02"+"01"+"0301"; got != want {
		t.Errorf("info %s, want %s", got, want)
	}
	tokens := writeTokens(Tokens{Access: "aGk.YQ.-_8", Refresh: "", ID: secret.Text("not.base64.!")})
	if got, want := hex.EncodeToString(tokens), "03"+"026869"+"0161"+"02fbff"+"0000"+"00"+"0c6e6f742e6261736536342e21"; got != want {
		t.Errorf("tokens %s, want %s", got, want)
	}
	if got, want := hex.EncodeToString(binding(Key{0: 7, 31: 9}, 258)), "01"+"07"+"000000000000000000000000000000000000000000000000000000000000"+"09"+"0000000000000102"; got != want {
		t.Errorf("bound to %s, want %s", got, want)
	}
}

func TestContentThatIsNotWhatWasWrittenIsRefused(t *testing.T) {
	good, err := writeInfo(&Session{Provider: "p", Subject: "s", Identity: token.Claims{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	for size := range good {
		if err := readInfo(string(good[:size]), &Session{}); err == nil {
			t.Errorf("info cut after %d bytes was read", size)
		}
	}
	if err := readInfo(string(good)+"\x00", &Session{}); err == nil {
		t.Error("info with something after it was read")
	}
	if _, err := readTokens("\x00\x01a\x00\x01b", whole); err == nil {
		t.Error("two tokens were read")
	}
	if _, err := readTokens("\x00\xff\xff\xff\xff\xff\xff\xff\xff\x7fa", whole); err == nil {
		t.Error("a length beyond the end was read")
	}
}

// What the store answers for a record opens only as the session that was sealed into it, under its key and in its generation:
// everything else is an error, never another session.
func FuzzOpenRecord(f *testing.F) {
	pressed, err := newPress()
	if err != nil {
		f.Fatal(err)
	}
	e := envelopes{ring: fixedRing(f), press: pressed, revoke: true}
	ticket := Ticket{0: 1, 31: 2}
	key := ticket.key()
	sealed := &Session{
		Provider: "main", Issuer: "https://idp.example", Subject: "alice", Generation: 7, Created: time.UnixMilli(1000), Expires: time.UnixMilli(2_000_000), Identity: token.Claims{"email": "a@example.com"},
		Tokens: Tokens{Access: "aaa.bbb.ccc", Refresh: "refresh", ID: "ddd.eee.fff"}, Refreshable: true,
	}
	r, err := e.seal(key, ticket, sealed, time.UnixMilli(1_000_000))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(r.Info, r.Tokens, uint64(7), int64(2_000_000))
	f.Add(r.Tokens, r.Info, uint64(7), int64(2_000_000))
	f.Add(r.Info, r.Tokens, uint64(8), int64(2_000_000))
	f.Add(r.Info, r.Tokens, uint64(7), int64(3_000_000))
	f.Add(r.Info[:len(r.Info)-1], r.Tokens[:1], uint64(0), int64(0))
	f.Add([]byte{version, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, []byte{2}, uint64(7), int64(2_000_000))
	f.Fuzz(func(t *testing.T, info, tokens []byte, generation uint64, expires int64) {
		in := Record{Info: info, Tokens: tokens, Generation: generation, Expires: time.UnixMilli(expires)}
		for _, d := range []depth{bare, usual, whole} {
			s, err := e.open(key, &ticket, in, d)
			if err != nil {
				if s != nil {
					t.Fatalf("an error, and a session: %v", err)
				}
				continue
			}
			if s.Subject != "alice" || s.Issuer != sealed.Issuer || s.Generation != 7 || !s.Expires.Equal(sealed.Expires) || s.Identity.Text("email") != "a@example.com" ||
				d != bare && s.Tokens.Access != sealed.Tokens.Access || d == whole && (s.Tokens.Refresh != sealed.Tokens.Refresh || s.Tokens.ID != sealed.Tokens.ID) {
				t.Fatalf("opens as %+v", s)
			}
		}
		if refresh := e.refreshToken(key, in); refresh != "" && (refresh != sealed.Tokens.Refresh || generation != 7) {
			t.Fatal("another refresh token is revoked")
		}
		other := Ticket{0: 9}
		if _, err := e.open(key, &other, in, whole); err == nil {
			t.Fatal("the tokens open without the ticket")
		}
	})
}

func FuzzReadInfo(f *testing.F) {
	good, err := writeInfo(&Session{Provider: "p", Created: time.UnixMilli(1), Identity: token.Claims{"a": "b"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, plain []byte) {
		var s Session
		if readInfo(string(plain), &s) != nil {
			return
		}
		again, err := writeInfo(&s)
		if err != nil {
			t.Fatal(err)
		}
		var back Session
		if err := readInfo(string(again), &back); err != nil {
			t.Fatalf("what was read is not read once written: %v", err)
		}
	})
}

func TestTimesKeepTheirMilliseconds(t *testing.T) {
	for _, at := range []time.Time{{}, time.UnixMilli(0), time.UnixMilli(1), time.UnixMilli(1795593600123), time.UnixMilli(math.MaxInt32 * 1000 * 1000)} {
		var w writer
		w.time(at)
		r := reader{buf: string(w.buf)}
		if got := r.time(); !got.Equal(at) || got.IsZero() != at.IsZero() || r.end() != nil {
			t.Errorf("%v came back as %v, %v", at, got, r.end())
		}
	}
}
