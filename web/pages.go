package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"regexp"
	"strings"
)

//go:embed pages
var pages embed.FS

// maxLogo bounds a logo: it is part of every page.
const maxLogo = 64 << 10

// Brand is how the pages look.
type Brand struct {
	Name  string // of the product; "" = none shown
	Color string // as #rgb or #rrggbb; "" = neutral
	Logo  []byte // SVG, PNG, JPEG, GIF or WebP; nil = none
}

// Message is what a page tells a person. Every field is text: it is escaped.
type Message struct {
	Title         string
	Text          string
	Link          string // where the one link leads: a path of our own, "" = this very page once more
	LinkText      string // "" = no link
	CorrelationID string // what the person tells support
}

// Pages renders Cloakroom's pages in one brand.
type Pages struct {
	message, bounce *template.Template
	brand           brand
	csp             string
}

type brand struct {
	Name  string
	Style template.CSS
	Logo  template.URL
}

var color = regexp.MustCompile(`^#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})$`)

// NewPages refuses a brand that the pages cannot show safely.
func NewPages(b Brand) (*Pages, error) {
	if b.Color == "" {
		b.Color = "#334"
	}
	if !color.MatchString(b.Color) {
		return nil, fmt.Errorf("page color %q: not #rgb or #rrggbb", b.Color)
	}
	if len(b.Logo) > maxLogo {
		return nil, fmt.Errorf("page logo: over %d KiB", maxLogo>>10)
	}
	raw, err := pages.ReadFile("pages/style.css")
	if err != nil {
		return nil, fmt.Errorf("read style: %w", err)
	}
	style := strings.ReplaceAll(string(raw), "#334", b.Color)
	sum := sha256.Sum256([]byte(style))
	p := &Pages{
		brand: brand{Name: b.Name, Style: template.CSS(style)}, //nolint:gosec // ours, with a colour that was checked
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
	if b.Logo != nil {
		kind, err := imageType(b.Logo)
		if err != nil {
			return nil, err
		}
		p.brand.Logo = template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Logo)) //nolint:gosec // an image of a known type
	}
	if p.message, err = template.ParseFS(pages, "pages/message.html"); err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	if p.bounce, err = template.ParseFS(pages, "pages/bounce.html"); err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	return p, nil
}

// ContentSecurityPolicy is what every page must be sent with: it admits the page's own style and logo, and nothing else.
func (p *Pages) ContentSecurityPolicy() string { return p.csp }

// Message renders the page that tells m.
func (p *Pages) Message(m Message) ([]byte, error) {
	var out bytes.Buffer
	err := p.message.Execute(&out, struct {
		Brand brand
		Message
	}{p.brand, m})
	return out.Bytes(), err
}

// Bounce renders the page that asks for its own address once more, this time as a request of our own origin.
func (p *Pages) Bounce() ([]byte, error) {
	var out bytes.Buffer
	err := p.bounce.Execute(&out, struct{ Brand brand }{p.brand})
	return out.Bytes(), err
}

// imageType names the media type of a logo. An SVG is shown as an image, where its scripts do not run.
func imageType(raw []byte) (string, error) {
	kind := http.DetectContentType(raw)
	switch {
	case kind == "image/png", kind == "image/jpeg", kind == "image/gif", kind == "image/webp":
		return kind, nil
	case strings.HasPrefix(kind, "text/") && bytes.Contains(raw, []byte("<svg")):
		return "image/svg+xml", nil
	}
	return "", errors.New("page logo: not an SVG, PNG, JPEG, GIF or WebP image")
}
