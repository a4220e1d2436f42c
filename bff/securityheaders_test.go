package bff

import (
	"net/http"
	"strings"
	"testing"
)

const builtIn = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'; object-src 'none'; require-trusted-types-for 'script'"

func TestContentSecurityPolicy(t *testing.T) {
	tests := []struct {
		name string
		add  map[string][]string
		want string
	}{
		{"built-in", nil, builtIn},
		{"widened", map[string][]string{"img-src": {"https:"}}, strings.Replace(builtIn, "img-src 'self' data:", "img-src 'self' data: https:", 1)},
		{"'none' gives way", map[string][]string{"frame-ancestors": {"https://a.example"}}, strings.Replace(builtIn, "frame-ancestors 'none'", "frame-ancestors https://a.example", 1)},
		{"what is there already", map[string][]string{"img-src": {"data:"}}, builtIn},
		{"nothing added", map[string][]string{"object-src": {}}, builtIn},
		{"a directive of default-src", map[string][]string{"worker-src": {"blob:"}}, builtIn + "; worker-src 'self' blob:"},
		{"trusted types policies", map[string][]string{"trusted-types": {"lit-html"}}, builtIn + "; trusted-types lit-html"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := contentSecurityPolicy(builtInCSP, tt.add); err != nil || got != tt.want {
				t.Errorf("got %s\n%v", got, err)
			}
		})
	}
	for _, add := range []map[string][]string{
		{"img-scr": {"https:"}}, {"require-trusted-types-for": {"'none'"}}, {"sandbox": {"allow-scripts"}},
		{"img-src": {"https: data:"}}, {"img-src": {"https:; script-src *"}}, {"img-src": {"a,b"}}, {"img-src": {""}}, {"img-src": {"é"}},
	} {
		if got, err := contentSecurityPolicy(builtInCSP, add); err == nil {
			t.Errorf("%v gives %s", add, got)
		}
	}
	if got, _ := contentSecurityPolicy(builtInCSP, nil); got != builtIn {
		t.Error("the built-in policy has changed: ", got)
	}
}

func TestSecurityHeaders(t *testing.T) {
	tests := []struct {
		name string
		cfg  SecurityHeaders
		want map[string]string // of those that depend on the configuration
	}{
		{"https", SecurityHeaders{HSTS: 31536000}, map[string]string{cspHeader: builtIn, cspReportHeader: "", "Strict-Transport-Security": "max-age=31536000; includeSubDomains"}},
		{"http on loopback", SecurityHeaders{}, map[string]string{cspHeader: builtIn, cspReportHeader: "", "Strict-Transport-Security": ""}},
		{"report only", SecurityHeaders{ReportOnly: true}, map[string]string{cspHeader: "", cspReportHeader: builtIn, "Strict-Transport-Security": ""}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := newSecurityHeaders(tt.cfg)
			if err != nil {
				t.Fatal(err)
			}
			h := http.Header{}
			s.apply(h)
			for name, want := range map[string]string{
				"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cross-Origin-Opener-Policy": "same-origin",
				"Cross-Origin-Resource-Policy": "same-origin", "Permissions-Policy": permissions,
			} {
				if h.Get(name) != want {
					t.Errorf("%s: %q", name, h.Get(name))
				}
			}
			for name, want := range tt.want {
				if h.Get(name) != want {
					t.Errorf("%s: got %q, want %q", name, h.Get(name), want)
				}
			}
			h.Add("X-Content-Type-Options", "changed")
			again := http.Header{}
			if s.apply(again); len(again["X-Content-Type-Options"]) != 1 || again.Get("Referrer-Policy") != "same-origin" {
				t.Error("one response changed the next")
			}
		})
	}
}
