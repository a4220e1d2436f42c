package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"cloakroom/exchange/exchangehttp"
	"cloakroom/secret"
	"cloakroom/token"
)

// Order is one sample order.
type Order struct {
	ID   string `json:"id"`
	Item string `json:"item"`
}

// ordersService lists orders, and asks payments about them with a token of its own that it gets at the exchange: it never
// passes on the one it was sent, which is for orders alone.
type ordersService struct {
	guard    guard
	exchange *exchangehttp.Client
	payments string // where payments listens
	client   *http.Client
}

// OrdersAnswer is what orders says, with what payments said to it.
type OrdersAnswer struct {
	Service  string          `json:"service"`
	Verified []Verified      `json:"verified"`
	Orders   []Order         `json:"orders"`
	Payments json.RawMessage `json:"payments"`
}

// Attempt is what became of something that must not work.
type Attempt struct {
	Status int             `json:"status"` // what the other party answered
	Answer json.RawMessage `json:"answer"`
}

func newOrders(g guard, x *exchangehttp.Client, paymentsURL string, client *http.Client) http.Handler {
	s := ordersService{guard: g, exchange: x, payments: paymentsURL, client: client}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /orders", s.list)
	mux.HandleFunc("POST /orders/try/scope", s.tryScope)
	mux.HandleFunc("POST /orders/try/forward", s.tryForward)
	return mux
}

func (s ordersService) list(w http.ResponseWriter, r *http.Request) {
	raw, claims, err := s.guard.verify(r)
	if err != nil {
		refuse(w, orders, err)
		return
	}
	if !has(claims, "orders:read") {
		insufficient(w, orders, "orders:read")
		return
	}
	out := OrdersAnswer{
		Service: orders, Verified: s.guard.report(claims),
		Orders: []Order{{"O2041", "Wool coat"}, {"O2042", "Umbrella, black"}},
	}
	exchanged, refused, err := s.forPayments(r.Context(), raw, nil)
	switch {
	case err != nil:
		answer(w, http.StatusBadGateway, Refusal{orders, []string{"the exchange cannot be reached"}})
		return
	case refused != nil:
		out.Payments = refused.Answer
	default:
		told, err := s.askPayments(r.Context(), exchanged)
		if err != nil {
			answer(w, http.StatusBadGateway, Refusal{orders, []string{"payments cannot be reached"}})
			return
		}
		out.Payments = told.Answer
	}
	answer(w, http.StatusOK, out)
}

// tryScope asks the exchange for what only people in support may do.
func (s ordersService) tryScope(w http.ResponseWriter, r *http.Request) {
	raw, _, err := s.guard.verify(r)
	if err != nil {
		refuse(w, orders, err)
		return
	}
	_, refused, err := s.forPayments(r.Context(), raw, token.Scope{"payments:read.any"})
	switch {
	case err != nil:
		answer(w, http.StatusBadGateway, Refusal{orders, []string{"the exchange cannot be reached"}})
	case refused != nil:
		answer(w, http.StatusOK, refused)
	default:
		answer(w, http.StatusOK, Attempt{http.StatusOK, json.RawMessage(`{"granted":"payments:read.any"}`)})
	}
}

// tryForward sends payments the token that was minted for orders.
func (s ordersService) tryForward(w http.ResponseWriter, r *http.Request) {
	raw, _, err := s.guard.verify(r)
	if err != nil {
		refuse(w, orders, err)
		return
	}
	told, err := s.askPayments(r.Context(), raw)
	if err != nil {
		answer(w, http.StatusBadGateway, Refusal{orders, []string{"payments cannot be reached"}})
		return
	}
	answer(w, http.StatusOK, told)
}

// forPayments exchanges the token orders was sent for one that speaks to payments. A refusal of Cloakroom's is not an error:
// it says why.
func (s ordersService) forPayments(ctx context.Context, sent string, scope token.Scope) (string, *Attempt, error) {
	got, err := s.exchange.Exchange(ctx, exchangehttp.Request{Subject: secret.Text(sent), Audience: []string{payments}, Scope: scope})
	if refused, ok := errors.AsType[*exchangehttp.Error](err); ok {
		told, err := json.Marshal(struct {
			Error       string `json:"error"`
			Description string `json:"error_description"`
		}{string(refused.Code), refused.Description})
		return "", &Attempt{refused.Status, told}, err
	}
	return got.Value.Reveal(), nil, err
}

func (s ordersService) askPayments(ctx context.Context, bearer string) (Attempt, error) {
	return call(ctx, s.client, http.MethodGet, s.payments+"/payments", bearer)
}

// maxAnswer bounds what one service reads of another's answer.
const maxAnswer = 256 << 10

// call sends a request with a bearer token and returns the JSON that came back, whatever its status.
func call(ctx context.Context, client *http.Client, method, url, bearer string) (Attempt, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return Attempt{}, fmt.Errorf("ask %s: %w", url, err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	resp, err := client.Do(req)
	if err != nil {
		return Attempt{}, fmt.Errorf("ask %s: %w", req.URL.Path, err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Attempt{}, fmt.Errorf("read the answer of %s: %w", req.URL.Path, err)
	}
	if !json.Valid(raw) {
		return Attempt{}, fmt.Errorf("%s answered %d without JSON", req.URL.Path, resp.StatusCode)
	}
	return Attempt{resp.StatusCode, raw}, nil
}
