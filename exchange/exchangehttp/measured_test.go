package exchangehttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"cloakroom/docs"
	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/internal/telemetry"
)

// The number of series does not depend on what callers ask for.
func TestRequestsAreCountedByEndpoint(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(_ *exchange.PolicyConfig, cfg *exchangehttp.Config) { cfg.HTTP = telemetry.NewHTTP(registry) })
	w.token("gateway", w.ask(nil))
	w.token("nobody", w.ask(nil))
	w.get("/oauth2/token", "")
	for _, path := range []string{"/nowhere", "/nowhere/else", "/.well-known/jwks.json"} {
		w.get(path, "")
	}
	const want = `
# HELP cloakroom_http_requests_total HTTP requests answered.
# TYPE cloakroom_http_requests_total counter
cloakroom_http_requests_total{code="200",listener="internal",route="/.well-known/jwks.json"} 1
cloakroom_http_requests_total{code="200",listener="internal",route="/oauth2/token"} 1
cloakroom_http_requests_total{code="401",listener="internal",route="/oauth2/token"} 1
cloakroom_http_requests_total{code="404",listener="internal",route="none"} 2
cloakroom_http_requests_total{code="405",listener="internal",route="/oauth2/token"} 1
`
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "cloakroom_http_requests_total"); err != nil {
		t.Error(err)
	}
}

// The internal listener believes a service whose trace it is: it goes on in ours.
func TestATraceGoesOnInside(t *testing.T) {
	const theirs = "0af7651916cd43dd8448eb211c80319c"
	var trace string
	w := newWorld(t, func(_ *exchange.PolicyConfig, cfg *exchangehttp.Config) {
		cfg.Observe = func(ctx context.Context, _ exchange.Event) { trace = telemetry.Traceparent(ctx) }
	})
	r := httptest.NewRequest(http.MethodPost, "/oauth2/token", strings.NewReader(w.ask(nil).Encode()))
	r.Header.Set("Content-Type", formKind)
	r.Header.Set("Traceparent", "00-"+theirs+"-b7ad6b7169203331-01")
	r.SetBasicAuth("nobody", "x")
	w.handler.ServeHTTP(httptest.NewRecorder(), r)
	if !strings.HasPrefix(trace, "00-"+theirs+"-") {
		t.Errorf("the trace is %s", trace)
	}
}

func TestAPanicIsAnsweredAndLogged(t *testing.T) {
	w := newWorld(t, func(_ *exchange.PolicyConfig, cfg *exchangehttp.Config) {
		cfg.Observe = func(context.Context, exchange.Event) { panic("a mistake") }
	})
	a := w.token("nobody", w.ask(nil))
	w.refused(a, 500, "server_error")
	if log := w.log.String(); !strings.Contains(log, "handler panicked") || !strings.Contains(log, "a mistake") || strings.Contains(a.raw, "mistake") {
		t.Errorf("answered %s, logged %s", a.raw, log)
	}
}

func TestAnAnswerThatIsGivenUpIsGivenUp(t *testing.T) {
	w := newWorld(t, func(_ *exchange.PolicyConfig, cfg *exchangehttp.Config) {
		cfg.Observe = func(context.Context, exchange.Event) { panic(http.ErrAbortHandler) }
	})
	defer func() {
		if p := recover(); p != http.ErrAbortHandler { //nolint:errorlint // a sentinel to be compared
			t.Errorf("net/http is not told: %v", p)
		}
	}()
	w.token("nobody", w.ask(nil))
}

// docs/openapi.yaml has every endpoint of the services' side, and the reverse.
func TestOpenAPIHasEveryEndpoint(t *testing.T) {
	described, err := docs.Endpoints("/oauth2/", "/.well-known/")
	if err != nil {
		t.Fatal(err)
	}
	var mounted []string
	router, ok := newWorld(t).handler.(*echo.Echo)
	if !ok {
		t.Fatal("the handler is no router that can be asked for its routes")
	}
	paths := map[string]bool{}
	for _, route := range router.Routes() {
		paths[route.Path] = true
	}
	for path := range paths {
		rec := httptest.NewRecorder()
		router.ServeHTTP(rec, httptest.NewRequest(http.MethodPatch, path, nil))
		for method := range strings.SplitSeq(rec.Header().Get("Allow"), ", ") {
			if method != "" && method != http.MethodHead { // what GET has
				mounted = append(mounted, method+" "+path)
			}
		}
	}
	slices.Sort(mounted)
	if !slices.Equal(described, mounted) {
		t.Errorf("described\n%s\nmounted\n%s", strings.Join(described, "\n"), strings.Join(mounted, "\n"))
	}
}
