package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"cloakroom/cmd/cloakroom/config"
)

// adminClient asks the admin listener of a running Cloakroom.
type adminClient struct {
	base  string
	token string
}

// adminFlags are those of every command that asks the admin listener.
type adminFlags struct {
	path, url string
	json      bool
}

func (f *adminFlags) register(set *flag.FlagSet) {
	set.StringVar(&f.path, "config", "", "the configuration `FILE`, which says where the admin listener is and what its token is")
	set.StringVar(&f.url, "url", "", "ask at this `URL` instead of where the configuration says")
	set.BoolVar(&f.json, "json", false, "print the answer as it is, in JSON")
}

// connect reads the configuration. Faults in it do not matter here, as long as it says where and with what to ask.
func (f *adminFlags) connect(env Env) (*adminClient, error) {
	file, err := config.Load(f.path, env.Lookup)
	if file == nil {
		return nil, err
	}
	c := &adminClient{base: "http://" + reachable(file.Admin.Listen), token: file.Admin.Token.Reveal()}
	if f.url != "" {
		c.base = f.url
	}
	return c, nil
}

const (
	adminTimeout = 30 * time.Second
	maxAdmin     = 64 << 20 // of an answer: many sessions
)

// ask returns the answer's body; an answer that is no 200 is an error that says why.
func (c *adminClient) ask(method, path string, query url.Values) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), adminTimeout)
	defer cancel()
	if len(query) > 0 {
		path += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, nil)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true}, // no proxy: the token is for the admin listener alone
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAdmin))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		var problem struct{ Detail string }
		if json.Unmarshal(body, &problem) == nil && problem.Detail != "" {
			return nil, fmt.Errorf("%s: %s", resp.Status, problem.Detail)
		}
		return nil, errors.New(resp.Status)
	}
	return body, nil
}
