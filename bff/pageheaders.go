package bff

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"cloakroom/provider"
)

// pageHeaders are the security headers of pages. They let the form of a page, which posts to /bff/logout, be led on to a
// provider's sign-out: browsers hold the redirects of a form against form-action too (CSP Level 3 section 6.4.1). Where that is, a
// provider's metadata tells, which may come late and may change.
type pageHeaders struct {
	cfg SecurityHeaders

	mu      sync.Mutex
	origins []string // that headers are made for
	headers *securityHeaders
}

func newPageHeaders(cfg SecurityHeaders) (*pageHeaders, error) {
	headers, err := newSecurityHeaders(cfg)
	if err != nil {
		return nil, err
	}
	return &pageHeaders{cfg: cfg, headers: headers}, nil
}

// apply sets the headers of a page whose forms may be led on to origins.
func (p *pageHeaders) apply(h http.Header, origins []string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Equal(p.origins, origins) {
		cfg := p.cfg
		cfg.CSPAdd = maps.Clone(cfg.CSPAdd)
		if cfg.CSPAdd == nil {
			cfg.CSPAdd = map[string][]string{}
		}
		cfg.CSPAdd["form-action"] = append(slices.Clone(cfg.CSPAdd["form-action"]), origins...)
		headers, err := newSecurityHeaders(cfg)
		if err != nil {
			return fmt.Errorf("headers of a page: %w", err)
		}
		p.origins, p.headers = origins, headers
	}
	p.headers.apply(h)
	return nil
}

// signOutOrigins is where the providers sign people out, as far as they are known.
func (s *Server) signOutOrigins() []string {
	var origins []string
	for _, p := range s.frontend.Providers {
		at, ok := p.LogoutURL(provider.Logout{ReturnURL: s.origin + loggedOutPath})
		if !ok {
			continue
		}
		u, err := url.Parse(at)
		if err != nil || strings.ContainsAny(u.Host, ";, ") {
			continue
		}
		if origin := u.Scheme + "://" + u.Host; !slices.Contains(origins, origin) {
			origins = append(origins, origin)
		}
	}
	return origins
}
