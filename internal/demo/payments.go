package demo

import (
	"fmt"
	"net/http"
)

// Payment is one sample payment.
type Payment struct {
	ID     string `json:"id"`
	Amount string `json:"amount"`
	owner  string // the `sub` of the person who paid
}

// paymentsService lists payments: a person's own, or everybody's with payments:read.any.
type paymentsService struct {
	guard guard
	all   []Payment
}

// PaymentsAnswer is what payments says.
type PaymentsAnswer struct {
	Service  string     `json:"service"`
	Verified []Verified `json:"verified"`
	Payments []Payment  `json:"payments"`
	Whose    string     `json:"whose"`
}

func newPayments(g guard, customers []string) http.Handler {
	s := paymentsService{guard: g}
	for i, owner := range append(customers, "another-customer") {
		s.all = append(s.all,
			Payment{fmt.Sprintf("P%d", 701+2*i), fmt.Sprintf("%d.00 EUR", 129+i*17), owner},
			Payment{fmt.Sprintf("P%d", 702+2*i), fmt.Sprintf("%d.50 EUR", 24+i*9), owner})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /payments", s.list)
	return mux
}

func (s paymentsService) list(w http.ResponseWriter, r *http.Request) {
	_, claims, err := s.guard.verify(r)
	if err != nil {
		refuse(w, payments, err)
		return
	}
	out := PaymentsAnswer{Service: payments, Verified: s.guard.report(claims), Payments: []Payment{}}
	switch {
	case has(claims, "payments:read.any"):
		out.Payments, out.Whose = s.all, "everybody’s"
	case has(claims, "payments:read"):
		out.Whose = "their own"
		for _, one := range s.all {
			if one.owner == claims["sub"] {
				out.Payments = append(out.Payments, one)
			}
		}
	default:
		insufficient(w, payments, "payments:read")
		return
	}
	answer(w, http.StatusOK, out)
}
