package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"

	"cloakroom/bff"
	"cloakroom/cmd/cloakroom/config"
	"cloakroom/exchange/rule"
	"cloakroom/internal/roots"
	"cloakroom/token"
	"cloakroom/web"
)

// drawFrontend says what the one browser origin has: its URL, cookie, providers and routes.
func (h *house) drawFrontend() error {
	public := h.file.Public
	origin, err := url.Parse(public.URL)
	if err != nil {
		return fmt.Errorf("public.url: %w", err)
	}
	front := bff.Frontend{
		URL:            origin,
		AllowedOrigins: public.AllowedOrigins,
		CookieName:     h.file.Session.Cookie.Name,
		CookieSameSite: map[string]http.SameSite{"strict": http.SameSiteStrictMode, "lax": http.SameSiteLaxMode}[h.file.Session.Cookie.SameSite],

		SessionAbsolute: h.file.Session.Absolute,
		UserClaims:      userClaims(h.file.Session.UserClaims),
		NeededIdentity:  h.neededIdentity(),
		Headers: bff.SecurityHeaders{
			HSTS: public.HSTS, CSPAdd: public.ContentSecurityPolicy.Add, ReportOnly: public.ContentSecurityPolicy.ReportOnly,
		},
		Pages: web.Brand{Name: public.Pages.Name, Color: public.Pages.Color},
	}
	if public.Pages.LogoFile != "" {
		if front.Pages.Logo, err = os.ReadFile(public.Pages.LogoFile); err != nil {
			return fmt.Errorf("public.pages.logo_file: %w", err)
		}
	}
	if public.Pages.StringsFile != "" {
		if front.Pages.Words, err = config.ReadWords(public.Pages.StringsFile); err != nil {
			return fmt.Errorf("public.pages.strings_file: %w", err)
		}
	}
	for i, p := range h.providers {
		front.Providers = append(front.Providers, bff.LoginProvider{
			Provider: p, LoginParams: h.file.Providers[i].LoginParams, Allow: h.file.Providers[i].Allow.Rule,
		})
	}
	for _, r := range h.file.Routes {
		route, err := frontRoute(r)
		if err != nil {
			return fmt.Errorf("route %s: %w", r.Path, err)
		}
		front.Routes = append(front.Routes, route)
	}
	h.frontend = front
	return nil
}

// faceBrowser makes the browser's side, where it is opened.
func (h *house) faceBrowser() (err error) {
	public := h.file.Public
	if public.Listen == config.Off {
		return nil
	}
	if public.PublishKeys {
		h.frontend.Published = h.services.Published()
	}
	var after *bff.Server
	if h.before != nil {
		after = h.before.browser
	}
	h.browser, err = bff.New(bff.Config{
		After:    after,
		Frontend: h.frontend, Sessions: h.sessions, Store: h.store, Mint: h.exchange, Secrets: h.secrets, Records: h.records, HTTP: h.http,
		Log: h.log, TrustedProxies: public.TrustedProxies, EgressAllow: h.file.Limits.EgressAllow, LoginPerMinute: h.file.Limits.LoginPerMinute,
	})
	return err
}

func frontRoute(r config.Route) (bff.Route, error) {
	out := bff.Route{
		Path: r.Path, StripPrefix: r.StripPrefix,
		Token: bff.TokenPlan{
			Kind:     map[config.TokenKind]bff.TokenKind{config.TokenMinted: bff.TokenMinted, config.TokenAccess: bff.TokenAccess}[r.Token.Kind],
			Audience: r.Token.Audience, Scope: token.Scope(r.Token.Scope), PerRequest: r.Token.Per == "request", AsService: r.Token.As == "service",
		},
		Session:          map[string]bff.Need{"required": bff.Required, "optional": bff.Optional, "none": bff.None}[r.Session],
		LoginOnNoSession: r.NoSession == config.NoSessionLogin,
		Allow:            r.Allow.Rule, Methods: r.Methods, CSRFFetchMetadata: r.CSRF == "fetch-metadata",
		Timeout: r.Timeout, MaxBody: int64(r.MaxBody), KeepEncodedPath: r.EncodedPath == "keep", WebSocket: r.WebSocket,
	}
	var err error
	if r.SPA != "" {
		out.Methods = nil // a folder is read
		out.SPA, err = openFolder(r.SPA)
		return out, err
	}
	if r.SPADev != "" {
		out.Methods, out.DevServer = nil, true
	}
	if out.Upstream, err = url.Parse(cmp.Or(r.Upstream, r.SPADev)); err != nil {
		return out, err
	}
	out.TLS, err = upstreamTLS(r.TLS)
	return out, err
}

// openFolder opens a folder such that no link in it leads out of it.
func openFolder(name string) (fs.FS, error) {
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	return root.FS(), nil
}

// upstreamTLS is nil where the system's roots and no client certificate will do.
func upstreamTLS(t config.RouteTLS) (*tls.Config, error) {
	if t == (config.RouteTLS{}) {
		return nil, nil
	}
	authorities, err := roots.Read(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("tls.ca_file: %w", err)
	}
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, RootCAs: authorities}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		out.Certificates = []tls.Certificate{pair}
	}
	return out, nil
}

// userClaims are claims by name where the configuration lists names, otherwise rules.
func userClaims(claims config.UserClaims) bff.UserClaims {
	var out bff.UserClaims
	for _, c := range claims {
		if c.Value.Rule == nil {
			out.Names = append(out.Names, c.Name)
			continue
		}
		if out.Values == nil {
			out.Values = map[string]*rule.Value{}
		}
		out.Values[c.Name] = c.Value.Rule
	}
	return out
}

// neededIdentity are the claims about the person that anything reads: for those that the ID token lacks, userinfo is
// asked at login.
func (h *house) neededIdentity() []string {
	var all []string
	condition := func(c config.Condition) {
		if c.Rule != nil {
			all = append(all, c.Rule.IdentityClaims()...)
		}
	}
	value := func(v config.Value) {
		if v.Rule != nil {
			all = append(all, v.Rule.IdentityClaims()...)
		}
	}
	for _, c := range h.file.Session.UserClaims {
		if c.Value.Rule == nil {
			all = append(all, c.Name)
		}
		value(c.Value)
	}
	for _, p := range h.file.Providers {
		condition(p.Allow)
	}
	for _, r := range h.file.Routes {
		condition(r.Allow)
	}
	for _, a := range h.audiences() {
		condition(a.Allow)
		value(a.Subject.Rule)
		for _, s := range a.Scopes.Rules {
			condition(s.When)
		}
		for _, c := range a.Claims {
			value(c.Value)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
