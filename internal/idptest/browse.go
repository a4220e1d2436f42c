package idptest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// SignIn plays the person at the browser: it opens an authorization URL, signs in on the page where one is shown, and
// returns where the provider sends the browser in the end: the client's callback with its parameters, not yet opened.
// client carries the browser's cookies in its Jar; without one every time is the first.
func (p *Provider) SignIn(ctx context.Context, client *http.Client, authURL, user, password string) (string, error) {
	stay := *client
	stay.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	at, form := authURL, url.Values(nil)
	for range 4 {
		next, err := p.step(ctx, &stay, at, form)
		if err != nil {
			return "", err
		}
		switch {
		case next == "": // the page is shown: fill it in, once
			if form != nil {
				return "", errors.New("idptest: sign in: the page is shown again")
			}
			form = url.Values{"username": {user}, "password": {password}}
		case strings.HasPrefix(next, p.cfg.URL+"/"):
			at = next
		default:
			return next, nil
		}
	}
	return "", errors.New("idptest: sign in: the provider redirects in circles")
}

// step is one request; it returns the redirect's target, or "" for a page.
func (p *Provider) step(ctx context.Context, client *http.Client, at string, form url.Values) (string, error) {
	method, body := http.MethodGet, io.Reader(nil)
	if form != nil {
		method, body = http.MethodPost, strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at, body)
	if err != nil {
		return "", fmt.Errorf("idptest: sign in: %w", err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("idptest: sign in: %w", err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusFound:
		to, err := resp.Location()
		if err != nil {
			return "", fmt.Errorf("idptest: sign in: %w", err)
		}
		return to.String(), nil
	case http.StatusOK:
		return "", nil
	}
	return "", fmt.Errorf("idptest: sign in: %s answered %s", req.URL.Path, resp.Status)
}
