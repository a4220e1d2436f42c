package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"math"
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
	Name  string            // of the product; "" = none shown
	Color string            // as #rgb or #rrggbb; "" = neutral
	Logo  []byte            // SVG, PNG, JPEG, GIF or WebP; nil = none
	Words map[string]string // in place of those of English, by the same names
}

// Message is what a page tells a person. Title, Text and LinkText are names of words.
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
	words           map[string]string
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
	raw, err := pages.ReadFile("pages/style.css")
	if err != nil {
		return nil, fmt.Errorf("read style: %w", err)
	}
	if faults := CheckWords(b.Words); len(faults) > 0 {
		return nil, fmt.Errorf("words of the pages: %s", strings.Join(faults, "; "))
	}
	style := strings.NewReplacer("#334", b.Color, "#fff", readableOn(b.Color)).Replace(string(raw))
	sum := sha256.Sum256([]byte(style))
	p := &Pages{
		words: b.Words,
		brand: brand{Name: b.Name, Style: template.CSS(style)}, //nolint:gosec // ours, with a colour that was checked
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
	if b.Logo != nil {
		kind, err := LogoType(b.Logo)
		if err != nil {
			return nil, fmt.Errorf("page logo: %w", err)
		}
		p.brand.Logo = template.URL("data:" + kind + ";base64," + base64.StdEncoding.EncodeToString(b.Logo)) //nolint:gosec // an image of a known type
	}
	for name, page := range map[string]**template.Template{"message.html": &p.message, "bounce.html": &p.bounce} {
		if *page, err = template.New(name).Funcs(template.FuncMap{"say": p.Say}).ParseFS(pages, "pages/"+name); err != nil {
			return nil, fmt.Errorf("parse page: %w", err)
		}
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

// readableOn is black or white, whichever is told better from a colour (WCAG 2.2, contrast ratio): one of them always is by 4.5 to 1.
func readableOn(color string) string {
	digits := color[1:]
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	raw, _ := hex.DecodeString(digits)
	var luminance float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		if part := float64(raw[i]) / 255; part <= 0.04045 {
			luminance += weight * part / 12.92
		} else {
			luminance += weight * math.Pow((part+0.055)/1.055, 2.4)
		}
	}
	if (luminance+0.05)/0.05 > 1.05/(luminance+0.05) {
		return "#000"
	}
	return "#fff"
}

// LogoType names the media type of a logo, and refuses what cannot be one. An SVG is shown as an image, where its scripts do
// not run.
func LogoType(raw []byte) (string, error) {
	kind := http.DetectContentType(raw)
	switch {
	case len(raw) > maxLogo:
		return "", fmt.Errorf("is over %d KiB", maxLogo>>10)
	case kind == "image/png", kind == "image/jpeg", kind == "image/gif", kind == "image/webp":
		return kind, nil
	case strings.HasPrefix(kind, "text/") && bytes.Contains(raw, []byte("<svg")):
		return "image/svg+xml", nil
	}
	return "", errors.New("is not an SVG, PNG, JPEG, GIF or WebP image")
}
