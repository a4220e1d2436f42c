package web

import (
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
)

func TestMessageIsEscapedAndItsStyleAdmitted(t *testing.T) {
	p, err := NewPages(Brand{
		Name: `<Example> & "Sons"`, Color: "#0b5", Logo: []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`),
		Words: map[string]string{"login-failed.title": "<script>title</script>", "login-failed.text": `"text" <b>`, "sign-in-again": "<i>link", "reference": "<em>"},
	})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := p.Message(Message{
		Title: "login-failed.title", Text: "login-failed.text", Link: "javascript:alert(1)", LinkText: "sign-in-again", CorrelationID: "<u>id",
	})
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	for _, evil := range []string{"<script", "<b>", "<i>", "<u>", "<em>", "javascript:", "<Example>", "alert"} {
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
	for m, want := range map[Message]bool{{LinkText: "try-again"}: true, {Link: "/x"}: false} {
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

func TestPagesSpeakOtherWords(t *testing.T) {
	german := map[string]string{"language": "de", "one-moment": "Einen Moment", "login-failed.title": "Die Anmeldung ist nicht gelungen", "reference": "Nummer:"}
	p, err := NewPages(Brand{Words: german})
	if err != nil {
		t.Fatal(err)
	}
	message, err := p.Message(Message{Title: "login-failed.title", Text: "login-failed.text", CorrelationID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	bounce, err := p.Bounce()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`<html lang="de"`, "<h1>Die Anmeldung", "Please sign in again.", "Nummer: <code>x"} { // what the file leaves out stays English
		if !strings.Contains(string(message), want) {
			t.Errorf("no %q in %s", want, message)
		}
	}
	if !strings.Contains(string(bounce), `<html lang="de"`) || !strings.Contains(string(bounce), "<title>Einen Moment</title>") {
		t.Errorf("%s", bounce)
	}
	for name, words := range map[string]map[string]string{
		"no name": {"login-faild.title": "x"}, "is empty": {"try-again": " "}, "over 1024 bytes": {"try-again": strings.Repeat("x", 2000)}, "not a language tag": {"language": "German!"},
	} {
		if _, err := NewPages(Brand{Words: words}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: %v", words, err)
		}
	}
}

func TestTextOnTheBrandsColorCanBeRead(t *testing.T) {
	for color, want := range map[string]string{"#0b5": "#000", "#00bb55": "#000", "#334": "#fff", "#fff": "#000", "#000": "#fff", "#777777": "#000", "#767676": "#000", "#0969da": "#fff", "#Ff0": "#000"} {
		p, err := NewPages(Brand{Color: color})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := p.Message(Message{LinkText: "try-again"})
		if err != nil || !strings.Contains(string(raw), "background: var(--brand); color: "+want) {
			t.Errorf("on %s: %s, %v", color, raw, err)
		}
	}
}
