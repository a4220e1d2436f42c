package web

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
)

func TestMessageIsEscapedAndItsStyleAdmitted(t *testing.T) {
	p, err := NewPages(Brand{Name: `<Example> & "Sons"`, Color: "#0b5", Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.Message(Message{
		Title: "<script>title</script>", Text: `"text" <b>`, Link: "javascript:alert(1)", LinkText: "<i>link", CorrelationID: "<u>id",
	})
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for _, evil := range []string{"<script", "<b>", "<i>", "<u>", "javascript:", "<Example>", "alert"} {
		if strings.Contains(page, evil) {
			t.Errorf("page has %q: %s", evil, page)
		}
	}
	style := regexp.MustCompile(`(?s)<style>(.*)</style>`).FindStringSubmatch(page)
	if style == nil || !strings.Contains(style[1], "--brand: #0b5;") {
		t.Fatalf("page has no style: %s", page)
	}
	sum := sha256.Sum256([]byte(style[1]))
	if hash := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(p.ContentSecurityPolicy(), hash) {
		t.Errorf("policy %s does not admit %s", p.ContentSecurityPolicy(), hash)
	}
	if !strings.Contains(page, `<img src="data:image/svg`) {
		t.Errorf("page has no logo: %s", page)
	}
}

func TestEmptyLinkIsThePageItself(t *testing.T) {
	p, err := NewPages(Brand{})
	if err != nil {
		t.Fatal(err)
	}
	for m, want := range map[Message]bool{{LinkText: "Try again"}: true, {Link: "/x"}: false} {
		raw, err := p.Message(m)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(raw), `<a class="action" href="">Try again</a>`); got != want {
			t.Errorf("%+v: %s", m, raw)
		}
	}
}

func TestBounceAsksForItsOwnAddress(t *testing.T) {
	p, err := NewPages(Brand{Name: "Example"})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.Bounce()
	if err != nil || !strings.Contains(string(raw), `<meta http-equiv="refresh" content="0">`) {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestBrandThatCannotBeShownSafely(t *testing.T) {
	for name, b := range map[string]Brand{
		"a color with a rule":  {Color: "#0b5;}"},
		"a color by name":      {Color: "red"},
		"a logo that is a PDF": {Logo: []byte("%PDF-1.7")},
		"a logo of a megabyte": {Logo: make([]byte, 1<<20)},
	} {
		if _, err := NewPages(b); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}
