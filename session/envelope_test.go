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
