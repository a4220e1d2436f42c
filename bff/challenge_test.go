package bff

import "testing"

func TestParseBearerChallenge(t *testing.T) {
	tests := []struct {
		name string
		in   []string
		want challenge
	}{
		{"none", nil, challenge{}},
		{"without parameters", []string{"Bearer"}, challenge{}},
		{"an error", []string{`Bearer realm="orders", error="invalid_token", error_description="expired, \"really\""`}, challenge{err: "invalid_token"}},
		{"an error as a token", []string{`bearer error=invalid_token`}, challenge{err: "invalid_token"}},
		{"step-up", []string{`Bearer error="insufficient_user_authentication", acr_values="gold silver", max_age="300"`}, challenge{"insufficient_user_authentication", "gold silver", "300"}},
		{"max_age as a token", []string{`Bearer error="insufficient_user_authentication", max_age=0`}, challenge{err: "insufficient_user_authentication", maxAge: "0"}},
		{"max_age that is no number", []string{`Bearer error="x", max_age="1&prompt=none"`}, challenge{err: "x"}},
		{"acr_values with a line break", []string{"Bearer error=\"x\", acr_values=\"a\tb\""}, challenge{err: "x"}},
		{"behind another scheme", []string{`Basic realm="a, error=no", Bearer error="invalid_token"`}, challenge{err: "invalid_token"}},
		{"before another scheme", []string{`Bearer error="invalid_token", Digest error="x"`}, challenge{err: "invalid_token"}},
		{"behind a token68", []string{`Negotiate YWJj/w==, Bearer error="invalid_token"`}, challenge{err: "invalid_token"}},
		{"in a second header", []string{`Basic realm="a"`, `Bearer error="invalid_token"`}, challenge{err: "invalid_token"}},
		{"another scheme's error", []string{`DPoP error="invalid_token"`}, challenge{}},
		{"white space around the equals sign", []string{`Bearer error = "invalid_token"`}, challenge{err: "invalid_token"}},
		{"broken quotes", []string{`Bearer error="invalid_token`}, challenge{}},
		{"nonsense", []string{`,,, = "`, `Bearer ====`}, challenge{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseBearerChallenge(tt.in); got != tt.want {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseBearerChallenge(f *testing.F) {
	f.Add(`Basic realm="a", Bearer error="invalid_token", acr_values="a b"`)
	f.Add(`Negotiate YWJj/w==, Bearer max_age=1`)
	f.Fuzz(func(t *testing.T, s string) {
		got := parseBearerChallenge([]string{s})
		if printable(got.acrValues) != got.acrValues || len(got.maxAge) > 10 {
			t.Errorf("%q gives %+v", s, got)
		}
	})
}
