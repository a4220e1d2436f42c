package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"cloakroom/cmd/cloakroom/config"
)

// runHealthcheck is `cloakroom healthcheck`: for a container without curl.
func runHealthcheck(args []string, env Env) int {
	set := env.flags("healthcheck", "[--config FILE | --url URL]")
	path := set.String("config", "", "ask where admin.listen of this configuration `FILE` says")
	url := set.String("url", "", "ask this `URL` (default http://127.0.0.1:9090/healthz)")
	if code, ok := env.parse(set, args); !ok {
		return code
	}
	if *url == "" {
		listen := "127.0.0.1:9090"
		if *path != "" {
			// Faults do not matter here: a file that was broken after the start must not make a live process look dead.
			file, err := config.Load(*path, env.Lookup)
			if file == nil {
				return env.fail(err)
			}
			listen = file.Admin.Listen
		}
		*url = "http://" + reachable(listen) + "/healthz"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if err := healthy(ctx, *url); err != nil {
		return env.fail(fmt.Errorf("healthcheck: %w", err))
	}
	env.say("ok\n")
	return exitDone
}

// reachable is the address at which a listener of this machine answers.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen
	}
	if addr, err := netip.ParseAddr(host); host == "" || err == nil && addr.IsUnspecified() {
		host = "127.0.0.1"
		if addr.Is6() {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}

func healthy(ctx context.Context, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: it asks this machine
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<16))
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, resp.Status)
	}
	return nil
}
