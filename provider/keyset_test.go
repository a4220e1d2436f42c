package provider

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cloakroom/token"
)

// services makes the key set of a service whose keys f shows.
func (f *idp) services(observe func(endpoint, outcome string)) token.Keys {
	f.t.Helper()
	keys, err := NewKeySet(KeySetConfig{Name: "client reports", URI: f.issuer + "/jwks", Timeout: 2 * time.Second, Now: f.clock, Observe: observe})
	if err != nil {
		f.t.Fatal(err)
	}
	return keys
}

func TestTheKeysOfAServiceAreFetchedOnceAndKept(t *testing.T) {
	f := newIDP(t)
	var seen []string
	keys := f.services(func(endpoint, outcome string) { seen = append(seen, endpoint+" "+outcome) })
	if f.count("/jwks") != 0 {
		t.Error("fetched before anyone asked")
	}
	for range 3 {
		if found, err := keys.Candidates(background, "k1", "RS256"); err != nil || len(found) != 1 {
			t.Fatalf("%v %v", found, err)
		}
	}
	if _, err := keys.Candidates(background, "k1", "ES256"); !errors.Is(err, token.ErrUnknownKey) {
		t.Errorf("for another algorithm: %v", err)
	}
	if f.count("/jwks") != 2 || len(seen) != 2 || seen[0] != EndpointJWKS+" ok" { // the second for the key nobody knew
		t.Errorf("%d fetches, observed as %v", f.count("/jwks"), seen)
	}
}

func TestTheKeysOfAServiceThatDoesNotAnswerCannotBeHad(t *testing.T) {
	f := newIDP(t)
	for name, route := range map[string]http.HandlerFunc{
		"fails": status(500, ""), "redirects": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }, "is not there": http.NotFound,
	} {
		f.route("/jwks", route)
		if _, err := f.services(nil).Candidates(background, "k1", "RS256"); !errors.Is(err, token.ErrUnavailable) || !strings.Contains(err.Error(), "client reports") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.count("/elsewhere") != 0 {
		t.Error("a redirect was followed")
	}
}

func TestD9_TheKeysOfAServiceAreNotAtAMetadataServicesAddress(t *testing.T) {
	for _, uri := range []string{"https://169.254.169.254/jwks", "http://[fe80::1]/jwks", "ftp://a.example/jwks", "https://u:p@a.example/jwks", "/jwks", "https://a.example/%zz"} {
		if _, err := NewKeySet(KeySetConfig{Name: "client reports", URI: uri}); err == nil {
			t.Errorf("%s is taken", uri)
		}
	}
	if _, err := NewKeySet(KeySetConfig{Name: "client reports", URI: "https://169.254.169.254/jwks", Egress: []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16")}}); err != nil {
		t.Errorf("though egress_allow lists it: %v", err)
	}
}
