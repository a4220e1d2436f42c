package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

// Part is one of the demo's parties as a process of its own, for a container: it answers on every interface, at the port
// of the URL under which the others know it.
type Part struct {
	Name string                      // one of Parts
	Env  func(string) (string, bool) // where the others are, and where the secrets lie; see its variables below
	Out  io.Writer                   // is told once that it answers
}

// Parts are the names there are.
func Parts() []string { return []string{"provider", orders, payments} }

// Where everybody is, and the files that hold a secret each.
const (
	publicVariable   = "PUBLIC_URL"   // Cloakroom, as the browser knows it
	exchangeVariable = "EXCHANGE_URL" // Cloakroom, as the services know it
	providerVariable = "PROVIDER_URL" // also the browser's
	ordersVariable   = "ORDERS_URL"
	paymentsVariable = "PAYMENTS_URL"

	clientFileVariable = "CLIENT_SECRET_FILE" // Cloakroom's secret at the provider
	ordersFileVariable = "ORDERS_SECRET_FILE" // orders' secret at the exchange
)

// ServePart runs one party until ctx ends. Beside what the party answers in the demo there is GET /healthz.
func ServePart(ctx context.Context, p Part) error {
	address, handler, err := p.open(ctx)
	if err != nil {
		return fmt.Errorf("demo: %s: %w", p.Name, err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("demo: %s: %w", p.Name, err)
	}
	_, _ = fmt.Fprintf(p.Out, "%s answers at %s\n", p.Name, listener.Addr())
	d := &Demo{}
	d.answer(listener, healthy(handler))
	<-ctx.Done()
	return d.Stop()
}

// open makes the party from its surroundings. It reports everything that they lack at once.
func (p Part) open(ctx context.Context) (address string, handler http.Handler, err error) {
	around := surroundings{env: p.Env}
	at := places{
		public: around.url(publicVariable), internal: around.url(exchangeVariable), provider: around.url(providerVariable),
		orders: around.url(ordersVariable), payments: around.url(paymentsVariable),
	}
	at.issuer = at.provider + pool
	var own, secret string
	switch p.Name {
	case "provider":
		own, secret = at.provider, around.secret(clientFileVariable)
	case orders:
		own, secret = at.orders, around.secret(ordersFileVariable)
	case payments:
		own = at.payments
	default:
		return "", nil, fmt.Errorf("there is none of that name, but %s", strings.Join(Parts(), ", "))
	}
	if len(around.lacks) > 0 {
		return "", nil, errors.Join(around.lacks...)
	}
	switch p.Name {
	case orders:
		handler, err = serveOrders(ctx, at, secret)
	case payments:
		handler = servePayments(ctx, at)
	default:
		handler = newReporter(newProvider(at, secret), at.orders, newCaller())
	}
	return own[strings.LastIndexByte(own, ':'):], handler, err
}

// surroundings are the environment of a process, and what it lacks.
type surroundings struct {
	env   func(string) (string, bool)
	lacks []error
}

// url reads one that names its port: whoever it belongs to answers there.
func (s *surroundings) url(name string) string {
	value, _ := s.env(name)
	u, err := url.Parse(value)
	if err != nil || u.Port() == "" || u.Path != "" {
		s.lacks = append(s.lacks, fmt.Errorf("set %s to a URL such as http://orders:8091", name))
	}
	return value
}

// secret reads the file that a variable names.
func (s *surroundings) secret(name string) string {
	file, _ := s.env(name)
	if file == "" {
		s.lacks = append(s.lacks, fmt.Errorf("set %s to the file of the secret", name))
		return ""
	}
	raw, err := os.ReadFile(file)
	value := strings.TrimSpace(string(raw))
	if err == nil && value == "" {
		err = fmt.Errorf("%s is empty", file)
	}
	if err != nil {
		s.lacks = append(s.lacks, fmt.Errorf("%s: %w", name, err))
	}
	return value
}

func healthy(party http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = io.WriteString(w, "ok\n") // the asker has gone: nobody is left to tell
	})
	mux.Handle("/", party)
	return mux
}
