package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"cloakroom/exchange/exchangehttp"
	"cloakroom/internal/idptest"
	"cloakroom/secret"
)

// The demo's parties beside Cloakroom, each made from where the others are. They know nothing else of each other, so that
// one process can hold them all, or each one its own.

func newProvider(at places, clientSecret string) *idptest.Provider {
	return idptest.New(idptest.Config{
		URL:    at.provider,
		Issuer: at.issuer,
		Clients: []idptest.Client{{
			ID: clientID, Secret: clientSecret,
			RedirectURIs: []string{at.public + "/bff/callback/demo"},
			LogoutURIs:   []string{at.public + "/bff/logged-out"},
		}},
		AccessLifetime: 15 * time.Minute,
		IDLifetime:     15 * time.Minute,
		ShowUsers:      true,
	})
}

func serveOrders(ctx context.Context, at places, ordersSecret string) (http.Handler, error) {
	client := newCaller()
	exchange, err := exchangehttp.NewClient(exchangehttp.ClientConfig{
		Endpoint: at.internal + "/oauth2/token", ID: orders, Secret: secret.Text(ordersSecret), HTTP: client,
		PlainHTTP: true, // within one machine
	})
	if err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	return newOrders(guardOf(ctx, at, orders), exchange, at.payments, client), nil
}

func servePayments(ctx context.Context, at places) http.Handler {
	var customers []string
	for _, user := range idptest.DefaultUsers() {
		customers = append(customers, user.Subject)
	}
	return newPayments(guardOf(ctx, at, payments), customers)
}

func guardOf(ctx context.Context, at places, audience string) guard {
	return newGuard(ctx, at.internal, at.internal+"/.well-known/jwks.json", policyOf(audience), time.Now)
}

// newCaller is how one party calls another.
func newCaller() *http.Client { return &http.Client{Timeout: 5 * time.Second} }
