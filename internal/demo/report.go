package demo

import (
	"net/http"
	"strings"

	"cloakroom/internal/idptest"
)

// reporter is the provider's word to the page: what it issued, as claims and never as a token. It is reached through
// Cloakroom with the person's access token, and knows by it whose tokens are meant. The one misuse that needs a token, the ID
// token sent to a service, is played here too, so that the token stays among servers.
type reporter struct {
	idp    *idptest.Provider
	orders string // where orders listens
	client *http.Client
}

// ProviderAnswer is what the provider says.
type ProviderAnswer struct {
	Service string         `json:"service"`
	Access  map[string]any `json:"access"`
	ID      map[string]any `json:"id"`
}

func newReporter(idp *idptest.Provider, ordersURL string, client *http.Client) http.Handler {
	s := reporter{idp: idp, orders: ordersURL, client: client}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /demo/issued", s.issued)
	mux.HandleFunc("POST /demo/try/id-token", s.tryIDToken)
	mux.Handle("/", idp.Handler())
	return mux
}

func (s reporter) issued(w http.ResponseWriter, r *http.Request) {
	access, id, _, ok := s.idp.Behind(bearer(r))
	if !ok {
		refuse(w, "provider", &refused{[]string{"this is no access token of mine"}})
		return
	}
	// What binds an ID token to its sign-in was for Cloakroom to check; nobody else has a use for it.
	delete(id, "nonce")
	delete(id, "at_hash")
	answer(w, http.StatusOK, ProviderAnswer{"provider", access, id})
}

// tryIDToken does what teams are tempted to do: it sends the ID token to an API.
func (s reporter) tryIDToken(w http.ResponseWriter, r *http.Request) {
	_, _, idToken, ok := s.idp.Behind(bearer(r))
	if !ok {
		refuse(w, "provider", &refused{[]string{"this is no access token of mine"}})
		return
	}
	told, err := call(r.Context(), s.client, http.MethodGet, s.orders+"/orders", idToken)
	if err != nil {
		answer(w, http.StatusBadGateway, Refusal{"provider", []string{"orders cannot be reached"}})
		return
	}
	answer(w, http.StatusOK, told)
}

func bearer(r *http.Request) string {
	raw, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return raw
}
