package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"cloakroom/internal/idptest"
)

// visitor is a browser without its pages: it sends the headers of one, and keeps the cookies that the app gives it.
type visitor struct {
	app     *cloakroom
	atIdP   *http.Client // with its cookies at the providers
	cookies map[string]string
}

func (c *cloakroom) visitor(t *testing.T) *visitor {
	t.Helper()
	return &visitor{c, newBrowser(t), map[string]string{}}
}

// navigate opens an address of the app as a page, led there by another site.
func (v *visitor) navigate(t *testing.T, address string) (*http.Response, string) {
	t.Helper()
	return v.send(t, http.MethodGet, address, "Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "Sec-Fetch-Site", "cross-site")
}

// fetch asks as the SPA does.
func (v *visitor) fetch(t *testing.T, method, path string) (*http.Response, string) {
	t.Helper()
	return v.send(t, method, v.app.origin()+path, "X-CSRF", "1", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty", "Sec-Fetch-Site", "same-origin")
}

func (v *visitor) send(t *testing.T, method, address string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	for name, value := range v.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := v.app.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		if v.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	return res, string(body)
}

// begin starts a sign-in and returns where the provider is asked.
func (v *visitor) begin(t *testing.T, login string) string {
	t.Helper()
	res, body := v.navigate(t, v.app.origin()+login)
	if res.StatusCode != http.StatusFound {
		t.Fatalf("%s: %d %s", login, res.StatusCode, body)
	}
	return res.Header.Get("Location")
}

// signIn begins a sign-in, lets alice through at the provider, and opens the address that she comes back by.
func (v *visitor) signIn(t *testing.T, login string, provider *idptest.Provider) (*http.Response, string) {
	t.Helper()
	back, err := provider.SignIn(t.Context(), v.atIdP, v.begin(t, login), "alice", "alice")
	if err != nil {
		t.Fatal(err)
	}
	return v.navigate(t, back)
}

// session is the session's cookie, as a browser would send it; "" without one.
func (v *visitor) session() string {
	for name, value := range v.cookies {
		if strings.HasSuffix(name, "session") {
			return name + "=" + value
		}
	}
	return ""
}
