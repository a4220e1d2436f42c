package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"cloakroom/internal/egress"
)

// shape checks a text by what its field's tag says it is, and returns it as the program uses it.
func (d *decoder) shape(shape, text string, n *node) (string, *trouble) {
	switch shape {
	case "file":
		full := d.expand.named(text)
		t := readable(full, n.named())
		if t != nil && n.foreign {
			t.remedy = "make it, let Cloakroom's user read it, or correct the path"
		}
		return full, t
	case "folder":
		return d.folder(text, n)
	case "origin":
		return originShape(text, n)
	case "issuer", "issuer-https":
		return text, issuerShape(text, shape == "issuer-https", n)
	case "url":
		_, t := httpURL(text, n)
		return text, t
	case "https":
		u, t := httpURL(text, n)
		if t == nil && u.Scheme != "https" && !egress.Loopback(u.Hostname()) {
			t = &trouble{n.shown() + " is not https", "use https://; plain http is for loopback hosts only"}
		}
		return text, t
	case "uri":
		u, err := url.Parse(text)
		if err != nil || !u.IsAbs() || u.Fragment != "" || strings.Contains(text, "#") {
			return "", &trouble{n.shown() + " is not an absolute URI without a fragment", "write it as https://orders.example.com"} // RFC 8707 section 2
		}
		return text, nil
	case "listen", "listen-or-off":
		return text, listenShape(text, shape == "listen-or-off", n)
	}
	panic("config: no shape " + shape)
}

func (d *decoder) folder(text string, n *node) (string, *trouble) {
	full := d.expand.path(text)
	if info, err := os.Stat(full); err != nil || !info.IsDir() {
		remedy := "build the SPA, or correct the path"
		if !n.foreign {
			remedy += "; it was looked for at " + full
		}
		return "", &trouble{"there is no folder " + n.named(), remedy}
	}
	if t := readable(filepath.Join(full, "index.html"), "index.html in "+n.named()); t != nil {
		if n.foreign {
			t.remedy = "build the SPA, or correct the path"
		}
		return "", t
	}
	return full, nil
}

// named is how a fault calls a file or folder; one whose name came from a variable is not shown.
func (n *node) named() string {
	if n.foreign {
		return "of the name that ${…} gives"
	}
	return n.text
}

// httpURL reads an http(s) URL with a host and without user information, query or fragment. A text with user
// information is never shown.
func httpURL(text string, n *node) (*url.URL, *trouble) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.Opaque != "" || badPort(u) {
		if strings.Contains(text, "@") {
			return nil, &trouble{"is not an http(s) URL", "write it as https://host:port"}
		}
		return nil, &trouble{n.shown() + " is not an http(s) URL", "write it as https://host:port"}
	}
	switch {
	case u.User != nil:
		return nil, &trouble{"has a user or password in the URL", "take it out"}
	case u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#"):
		return nil, &trouble{n.shown() + " has a query or a fragment", "take it off"}
	}
	return u, nil
}

func badPort(u *url.URL) bool {
	port, err := strconv.Atoi(u.Port())
	return u.Port() != "" && (err != nil || port < 1 || port > 65535) || strings.HasSuffix(u.Host, ":")
}

// originShape reads scheme, host and port, in the one spelling that a browser's Origin header has.
func originShape(text string, n *node) (string, *trouble) {
	u, t := httpURL(text, n)
	if t != nil {
		return "", t
	}
	if u.Path != "" && u.Path != "/" {
		return "", &trouble{n.shown() + " has a path", fmt.Sprintf("an origin has none: write %s://%s", u.Scheme, u.Host)}
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	} else {
		host = strings.TrimSuffix(host, ":80")
	}
	if host != u.Host {
		return "", &trouble{n.shown() + " is not spelt as a browser spells it", fmt.Sprintf("write %s://%s", u.Scheme, host)}
	}
	return u.Scheme + "://" + host, nil
}

// issuerShape: an issuer identifier has no query and no fragment (RFC 8414 section 2, OpenID Connect Core section 1.2).
func issuerShape(text string, https bool, n *node) *trouble {
	u, t := httpURL(text, n)
	if t != nil {
		return t
	}
	if https && u.Scheme != "https" && !egress.Loopback(u.Hostname()) {
		return &trouble{n.shown() + " is not https", "use the https:// issuer; plain http is for loopback hosts only"}
	}
	return nil
}

func listenShape(text string, mayBeOff bool, n *node) *trouble {
	remedy := `write it as ":8080" or "127.0.0.1:8080"`
	if mayBeOff {
		remedy += ", or off"
		if text == Off {
			return nil
		}
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return &trouble{n.shown() + " is not host:port", remedy}
	}
	if p, err := strconv.Atoi(port); err != nil || p < 0 || p > 65535 {
		return &trouble{n.shown() + " has no port from 0 to 65535", remedy}
	}
	if _, err := netip.ParseAddr(host); err != nil && host != "" && strings.ContainsAny(host, "/: ") {
		return &trouble{n.shown() + " has no host that can be one", remedy}
	}
	return nil
}
