package idptest

import (
	"maps"
	"net/http"
	"net/url"
)

// Request is one request as it came in.
type Request struct {
	Method string
	Form   url.Values // query and body together
	Header http.Header
}

// record is what a test may ask afterwards.
type record struct {
	count   map[Endpoint]int
	last    map[Endpoint]Request
	secrets map[string]bool
}

func newRecord() record {
	return record{count: map[Endpoint]int{}, last: map[Endpoint]Request{}, secrets: map[string]bool{}}
}

func (p *Provider) note(endpoint Endpoint, r *http.Request) {
	form := url.Values{}
	maps.Copy(form, r.Form)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.count[endpoint]++
	p.record.last[endpoint] = Request{Method: r.Method, Form: form, Header: r.Header.Clone()}
}

func (p *Provider) issued(secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.record.secrets[secret] = true
}

// Count returns how many requests an endpoint has had, misbehaved answers included.
func (p *Provider) Count(endpoint Endpoint) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.record.count[endpoint]
}

// Last returns the latest request of an endpoint.
func (p *Provider) Last(endpoint Endpoint) (Request, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.record.last[endpoint]
	return r, ok
}

// Issued returns every secret the provider ever gave out: codes, access, ID and refresh tokens, and what Sign signed. No
// browser, URL or log may hold one of them (the code apart, in the browser's redirect).
func (p *Provider) Issued() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]string, 0, len(p.record.secrets))
	for secret := range p.record.secrets {
		out = append(out, secret)
	}
	return out
}
