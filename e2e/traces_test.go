package e2e

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	traces "go.opentelemetry.io/proto/otlp/trace/v1"

	"cloakroom/internal/idptest"
)

// One request of a browser, whose access token has to be renewed first, is one trace: through the store, the refresh at the provider, the
// exchange and the upstream. So is a service's request to the exchange.
func TestOneTraceGoesThroughBrowserRefreshExchangeAndUpstream(t *testing.T) {
	t.Parallel()
	trusting := func(configuration string) string {
		return strings.Replace(patient(configuration), "\npublic:\n", "\npublic:\n  trusted_proxies: [127.0.0.1/32]\n", 1)
	}
	s := newExchangeStack(t, startRedis(t).url(), nil, exchangePolicy, trusting)
	const trace, called = "11111111111111112222222222222222", "33333333333333334444444444444444"
	collected.keep(trace)
	collected.keep(called)
	s.alice = s.signIn(t, "alice")

	s.pool.Set(idptest.Misbehave{KeySet: s.publishForged, TokenResponse: func(body map[string]any) { body["expires_in"] = 8 }})
	soon := s.signIn(t, "alice")
	s.pool.Set(idptest.Misbehave{KeySet: s.publishForged})
	refreshes := s.pool.Count(idptest.Token)
	time.Sleep(4 * time.Second) // less than what a minted token has to live for is left
	a := s.try(t.Context(), http.MethodGet, "/api/orders/7?secret=of-the-browser", soon.cookie, "traceparent", "00-"+trace+"-5555555555555555-01", "X-Forwarded-For", "192.0.2.1")
	if a.status != http.StatusOK || s.pool.Count(idptest.Token) != refreshes+1 {
		t.Fatalf("%s, %d refreshes", a, s.pool.Count(idptest.Token)-refreshes)
	}
	_, headers := s.api.last(t)

	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.issuer()+"/oauth2/token", strings.NewReader(s.form(nil).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", formKind)
	request.Header.Set("Traceparent", "00-"+called+"-5555555555555555-01")
	request.SetBasicAuth("gateway", url.QueryEscape(secretsOf["gateway"]))
	s.granted(t, s.do(t, request))

	browser := collectedSpans{t, trace}
	root := browser.named("GET /api/orders")
	if hex.EncodeToString(root.ParentSpanId) != "5555555555555555" || attribute(root, "http.route") != "/api/orders" || attribute(root, "cloakroom.listener") != "public" {
		t.Errorf("%v", root)
	}
	browser.within(root, "store load")
	refresh := browser.within(root, "refresh main")
	call := browser.within(refresh, "provider token")
	if attribute(call, "provider") != "main" || attribute(refresh, "outcome") != "ok" {
		t.Errorf("%v\n%v", refresh, call)
	}
	browser.within(root, "store replace")
	browser.within(root, "exchange orders")
	upstream := browser.within(root, "upstream /api/orders")
	if got, want := headers.Get("Traceparent"), "00-"+trace+"-"+hex.EncodeToString(upstream.SpanId)+"-01"; got != want {
		t.Errorf("the upstream got %s, want %s", got, want)
	}
	service := collectedSpans{t, called}
	service.within(service.named("POST /oauth2/token"), "exchange for gateway")

	for _, id := range []string{trace, called} {
		for _, one := range collected.of(id) {
			if text := one.String(); strings.Contains(text, "of-the-browser") || strings.Contains(text, "192.0.2.1") || strings.Contains(text, "alice") {
				t.Errorf("what the request said is in %s", text)
			}
		}
		audited := 0
		for line := range strings.Lines(s.printed()) {
			if strings.Contains(line, `"msg":"audit"`) && strings.Contains(line, `"trace_id":"`+id+`"`) {
				audited++
			}
		}
		if audited == 0 {
			t.Errorf("no audit line of the trace %s", id)
		}
	}
}

// collectedSpans is one trace, as the collector has it.
type collectedSpans struct {
	t  *testing.T
	id string
}

// named waits for the span of that name.
func (c collectedSpans) named(name string) *traces.Span {
	c.t.Helper()
	return c.find(name, func(*traces.Span) bool { return true })
}

// within waits for one that is part of another.
func (c collectedSpans) within(of *traces.Span, name string) *traces.Span {
	c.t.Helper()
	return c.find(name, func(s *traces.Span) bool { return string(s.ParentSpanId) == string(of.SpanId) })
}

func (c collectedSpans) find(name string, is func(*traces.Span) bool) (found *traces.Span) {
	c.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var names []string
		for _, s := range collected.of(c.id) {
			if s.Name == name && is(s) {
				return s
			}
			names = append(names, s.Name)
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("no span %s where it belongs, among %v", name, names)
		}
	}
}

func attribute(s *traces.Span, key string) string {
	for _, a := range s.Attributes {
		if a.Key == key {
			if text, is := a.Value.Value.(*common.AnyValue_StringValue); is {
				return text.StringValue
			}
		}
	}
	return ""
}
