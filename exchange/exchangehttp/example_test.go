package exchangehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"cloakroom/exchange"
	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
)

// One client for the whole process, and with it one http.Client for each service that is called.
func ExampleTransport() {
	cloakroom, payments := sampleExchange(), samplePayments()
	defer cloakroom.Close()
	defer payments.Close()

	client, err := exchangehttp.NewClient(exchangehttp.ClientConfig{
		Endpoint: cloakroom.URL + "/oauth2/token",
		ID:       "orders",
		Secret:   "s3cret", // secret.Text(os.Getenv("ORDERS_SECRET"))
	})
	if err != nil {
		log.Fatal(err)
	}
	toPayments := &http.Client{Transport: &exchangehttp.Transport{
		Client: client,
		Ask:    exchangehttp.Request{Audience: []string{"payments"}},
	}}

	// In the handler, once the token of the request has been verified: put it into the context, and make every call with that.
	orders := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verified := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		ctx := exchangehttp.WithSubject(r.Context(), secret.Text(verified))

		req, err := http.NewRequestWithContext(ctx, http.MethodGet, payments.URL, nil)
		if err != nil {
			http.Error(w, "request", http.StatusInternalServerError)
			return
		}
		resp, err := toPayments.Do(req)
		if err != nil {
			http.Error(w, "payments cannot be asked", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		_, _ = io.Copy(w, resp.Body)
	})

	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/orders", nil)
	r.Header.Set("Authorization", "Bearer alice-for-orders")
	orders.ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: payments got: Bearer alice-for-payments
}

// One exchange, and what to do when it is refused.
func ExampleClient_Exchange() {
	cloakroom := sampleExchange()
	defer cloakroom.Close()
	client, err := exchangehttp.NewClient(exchangehttp.ClientConfig{Endpoint: cloakroom.URL + "/oauth2/token", ID: "orders", Secret: "s3cret"})
	if err != nil {
		log.Fatal(err)
	}

	for _, audience := range []string{"payments", "ledger"} {
		got, err := client.Exchange(context.Background(), exchangehttp.Request{Subject: "alice-for-orders", Audience: []string{audience}})
		var refused *exchangehttp.Error
		switch {
		case err == nil:
			fmt.Println("granted:", got.Scope) // got.Value.Reveal() is what to send; nothing else prints it
		case errors.As(err, &refused) && !refused.Temporary():
			fmt.Println("refused:", refused.Code) // a mistake of the configuration, or policy says no: do not try again
		default:
			fmt.Println("later:", err) // after refused.RetryAfter, where it was answered
		}
	}
	// Output:
	// granted: payments:read
	// refused: invalid_target
}

// sampleExchange stands in for Cloakroom.
func sampleExchange() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		audience := r.PostFormValue("audience")
		if audience != "payments" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"error":"invalid_target","error_description":"audience and resource must name targets this client may ask for"}`)
			return
		}
		person := strings.TrimSuffix(r.PostFormValue("subject_token"), "-for-orders")
		_, _ = fmt.Fprintf(w, `{"access_token":"%s-for-%s","issued_token_type":"%s","token_type":"Bearer","scope":"payments:read"}`, person, audience, exchange.AccessToken)
	}))
}

func samplePayments() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprint(w, "payments got: ", r.Header.Get("Authorization"))
	}))
}
