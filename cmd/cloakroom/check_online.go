package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"cloakroom/cmd/cloakroom/config"
	"cloakroom/provider"
)

// probeTimeout bounds each question of `check --online`.
const probeTimeout = 5 * time.Second

// probe asks one thing that a running Cloakroom depends on. What it returns is the problem and the remedy, or "" twice.
type probe struct {
	what string
	ask  func(ctx context.Context) (problem, remedy string)
}

// checkOnline asks everything at once and says what each answered, in order. It tells whether all is well.
func checkOnline(h *house, env Env) bool {
	probes := h.probes()
	said := make([]string, len(probes))
	var all sync.WaitGroup
	for i, p := range probes {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
			defer cancel()
			if problem, remedy := p.ask(ctx); problem != "" {
				said[i] = problem + "; " + remedy
			}
		})
	}
	all.Wait()
	for i, p := range probes {
		if said[i] == "" {
			env.say("online: %s: fine\n", p.what)
		} else {
			env.say("online: %s: %s\n", p.what, said[i])
		}
	}
	return !slices.ContainsFunc(said, func(s string) bool { return s != "" })
}

func (h *house) probes() []probe {
	out := []probe{{"store", h.askStore}}
	for i, p := range h.providers {
		c := h.file.Providers[i]
		out = append(out, probe{"provider " + c.Name, func(ctx context.Context) (string, string) { return askProvider(ctx, p, c) }})
		out = append(out, probe{"clock against provider " + c.Name, func(ctx context.Context) (string, string) { return askClock(ctx, p, c.ClockSkew, time.Now) }})
	}
	seen := map[string]bool{}
	for _, r := range h.file.Routes {
		if r.Upstream != "" && !seen[r.Upstream] {
			seen[r.Upstream] = true
			out = append(out, probe{"upstream " + r.Upstream, func(ctx context.Context) (string, string) { return askUpstream(ctx, r) }})
		}
	}
	return out
}

func (h *house) askStore(ctx context.Context) (problem, remedy string) {
	if err := h.store.Ping(ctx); err != nil {
		return fmt.Sprintf("does not answer: %v", err), "check store.url, its password, and that this machine may reach it"
	}
	return "", ""
}

// askProvider does what a sign-in would begin with: discovery, and the keys its tokens are verified with.
func askProvider(ctx context.Context, p *provider.Provider, c config.Provider) (problem, remedy string) {
	request := provider.AuthRequest{State: "check", Nonce: "check", Verifier: strings.Repeat("check", 10), RedirectURI: "http://localhost/"}
	if _, err := p.AuthURL(ctx, request); err != nil {
		return fmt.Sprintf("no sign-in could begin: %v", err), "check issuer: its metadata must be at " + p.MetadataURL() + " and name that very issuer"
	}
	if _, err := p.Keys().Candidates(ctx, "", c.Algorithms[0]); err != nil {
		return fmt.Sprintf("its keys for %s cannot be had: %v", c.Algorithms[0], err), "check algorithms, and that this machine may reach its jwks_uri"
	}
	return "", ""
}

// askClock compares this machine's clock with the provider's. A provider that does not answer is another probe's finding.
func askClock(ctx context.Context, p *provider.Provider, skew time.Duration, now func() time.Time) (problem, remedy string) {
	began := now()
	theirs, err := p.Clock(ctx)
	if err != nil {
		return "", ""
	}
	ended := now()
	// Theirs was read at some moment between, and cut to the second.
	ahead := began.Sub(theirs.Add(time.Second))
	behind := theirs.Sub(ended)
	if off := max(ahead, behind); off > skew {
		return fmt.Sprintf("this machine's clock is %s off, more than clock_skew (%s)", off.Round(time.Second), skew), "run a time service such as chrony here"
	}
	return "", ""
}

// askUpstream opens a connection as the proxy would, and sends nothing over it.
func askUpstream(ctx context.Context, r config.Route) (problem, remedy string) {
	u, err := url.Parse(r.Upstream)
	if err != nil {
		return "is not a URL", "write it as http://host:port"
	}
	address := u.Host
	if u.Port() == "" {
		address = net.JoinHostPort(u.Hostname(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	}
	var dialer interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	} = &net.Dialer{}
	if u.Scheme == "https" {
		settings, err := upstreamTLS(r.TLS)
		if err != nil {
			return err.Error(), "check the route's tls keys"
		}
		dialer = &tls.Dialer{Config: settings}
	}
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Sprintf("cannot be reached: %v", err), "start it, or correct the route's upstream (or its tls keys)"
	}
	_ = conn.Close()
	return "", ""
}
