package e2e

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom/internal/idptest"
)

func TestFaultIdPDown(t *testing.T) {
	t.Parallel()
	f := newFleet(t, plan{store: startRedis(t).url(), replicas: 2, provider: strict, inMain: "timeout: 1s"})
	app, late := f.replicas[0], f.replicas[1]
	app.serve(t)
	long := f.signIn(t)
	subject := want(t, time.Second, "the upstream gets the provider's token", app, "/own", long, works).body
	underWay, err := app.beginSignIn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	back, err := f.provider.SignIn(t.Context(), newBrowser(t), underWay.to, "alice", "alice")
	if err != nil {
		t.Fatal(err)
	}
	const lasts = 10 * time.Second // on a route, five less
	f.expireSoon(int(lasts.Seconds()))
	var short []string
	for range 10 {
		short = append(short, f.signIn(t))
	}
	f.provider.Set(idptest.Misbehave{})

	f.killProvider()
	crowd := gather(t, len(short), func(ctx context.Context, n int) reply {
		defer time.Sleep(20 * time.Millisecond)
		return app.try(ctx, http.MethodGet, "/api/orders", short[n])
	})
	late.serve(t) // it has never met the provider
	for _, r := range f.replicas {
		want(t, 5*time.Second, "a session works while its access token does", r, "/api/orders", long, works)
	}
	if status, body := app.asGateway(t, "/oauth2/token", url.Values{"grant_type": {tokenExchange}, "audience": {"orders"}, "subject_token": {subject}, "subject_token_type": {typeAccess}}); status != http.StatusOK {
		t.Errorf("the exchange of a token whose key is known: %d %s", status, body)
	}
	_, err = app.endSignIn(t.Context(), underWay, back)
	if got, _ := errors.AsType[errNoSession](err); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(got.header.Get("Content-Type"), "text/html") {
		t.Errorf("who comes back from the provider: %v", err)
	}
	if login := navigate(t, late, "/bff/login"); login.StatusCode != http.StatusServiceUnavailable || login.Header.Get("Retry-After") == "" || !strings.HasPrefix(login.Header.Get("Content-Type"), "text/html") {
		t.Errorf("the sign-in of a replica that does not know the provider: %d %v", login.StatusCode, login.Header)
	}
	for _, cookie := range short {
		a := want(t, 2*lasts, "the replica says that it cannot renew", app, "/api/orders", cookie, reply.cannotTell)
		if !strings.Contains(a.body, "urn:cloakroom:problem:provider-unavailable") {
			t.Errorf("with the access token expired: %s", a)
		}
		if a := app.try(t.Context(), http.MethodGet, "/bff/user", cookie); !works(a) {
			t.Errorf("what needs no access token: %s", a)
		}
	}
	asked := func() float64 {
		return app.metric(t, "cloakroom_provider_requests_total", `endpoint="token"`) - app.metric(t, "cloakroom_provider_requests_total", `endpoint="token"`, `outcome="ok"`)
	}
	before, from := asked(), time.Now()
	time.Sleep(3 * time.Second)
	probes, during := asked()-before, time.Since(from)
	t.Logf("%d sessions ask the provider %.0f times in %s", len(short), probes, during)
	if probes < 1 || probes > during.Seconds()+2 {
		t.Errorf("%.0f probes in %s, want one a second", probes, during)
	}
	f.reviveProvider(t)
	revived := time.Now()
	for _, cookie := range short {
		want(t, 10*time.Second, "the session works again", app, "/api/orders", cookie, works)
	}
	t.Logf("all are renewed %s after the provider was back", time.Since(revived))
	crowd.only(t, wellOrUnknown, http.StatusOK, http.StatusServiceUnavailable)
	t.Log(crowd.summary())
	if len(crowd.replies[http.StatusOK]) == 0 {
		t.Error("nobody was served with the access token there was")
	}
	nobodyWasSignedOut(t, f)
}
