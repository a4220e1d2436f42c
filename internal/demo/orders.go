package demo

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
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
	exchange exchanger
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

func newOrders(g guard, x exchanger, paymentsURL string, client *http.Client) http.Handler {
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
	token, refusal, err := s.exchange.token(r.Context(), raw, payments, "")
	switch {
	case err != nil:
		answer(w, http.StatusBadGateway, Refusal{orders, []string{"the exchange cannot be reached"}})
		return
	case refusal != nil:
		out.Payments = refusal.Answer
	default:
		told, err := s.askPayments(r.Context(), token)
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
	_, refusal, err := s.exchange.token(r.Context(), raw, payments, "payments:read.any")
	switch {
	case err != nil:
		answer(w, http.StatusBadGateway, Refusal{orders, []string{"the exchange cannot be reached"}})
	case refusal != nil:
		answer(w, http.StatusOK, refusal)
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

func (s ordersService) askPayments(ctx context.Context, token string) (Attempt, error) {
	return call(ctx, s.client, http.MethodGet, s.payments+"/payments", token)
}

// maxAnswer bounds what one service reads of another's answer.
const maxAnswer = 256 << 10

// call sends a request with a bearer token and returns the JSON that came back, whatever its status.
func call(ctx context.Context, client *http.Client, method, url, token string) (Attempt, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return Attempt{}, fmt.Errorf("ask %s: %w", url, err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	return send(client, req)
}

func send(client *http.Client, req *http.Request) (Attempt, error) {
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
