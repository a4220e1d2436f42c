package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"cloakroom/internal/idptest"
	page "cloakroom/web/demo"
)

// Options is what a demo needs from outside.
type Options struct {
	Port    int       // of Cloakroom's public listener; another one is taken when it is busy
	Out     io.Writer // the terminal
	Started time.Time // when the process started, for "ready in"
	// Serve starts Cloakroom the way `cloakroom serve` does: with a configuration file, the variables it names, and
	// where the log goes. It returns when Cloakroom answers; stop ends it and waits.
	Serve func(ctx context.Context, file string, env func(string) (string, bool), log io.Writer) (stop func() error, err error)
}

// Demo is a demo that runs.
type Demo struct {
	URL      string // what to open
	Internal string // the exchange's
	Admin    string
	Provider *idptest.Provider
	LogFile  string

	notes []string
	stops []func() error // last started, first stopped
}

// Run starts the demo, says so, and returns when ctx has ended and everything has stopped.
func Run(ctx context.Context, o Options) error {
	d, err := Start(ctx, o)
	if err != nil {
		return err
	}
	d.greet(o.Out, time.Since(o.Started))
	<-ctx.Done()
	return d.Stop()
}

// Start starts everything: the provider and the services first, then Cloakroom, which finds them answering.
func Start(ctx context.Context, o Options) (d *Demo, err error) {
	d = &Demo{}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.Stop())
		}
	}()
	folder, err := os.MkdirTemp("", "cloakroom-demo-")
	if err != nil {
		return d, fmt.Errorf("demo: %w", err)
	}
	d.stops = append(d.stops, func() error { return os.RemoveAll(folder) })
	on, own, err := d.ports(ctx, o.Port)
	if err != nil {
		return d, err
	}
	secrets := newCredentials()
	at := on.places()
	d.URL, d.Internal, d.Admin = at.public, at.internal, fmt.Sprintf("http://127.0.0.1:%d", on.admin)
	d.Provider = newProvider(at, secrets.client)
	if err := d.serve(ctx, at, own, secrets); err != nil {
		return d, err
	}

	spa := filepath.Join(folder, "spa")
	if err := os.CopyFS(spa, page.Files()); err != nil {
		return d, fmt.Errorf("demo: write the page: %w", err)
	}
	file := filepath.Join(folder, "cloakroom.yaml")
	if err := os.WriteFile(file, []byte(configuration(on, spa)), 0o600); err != nil {
		return d, fmt.Errorf("demo: write the configuration: %w", err)
	}
	d.LogFile = filepath.Join(folder, "cloakroom.log")
	log, err := os.OpenFile(d.LogFile, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return d, fmt.Errorf("demo: open the log: %w", err)
	}
	d.stops = append(d.stops, log.Close)
	stop, err := o.Serve(ctx, file, secrets.lookup, log)
	if err != nil {
		return d, fmt.Errorf("demo: start cloakroom: %w", err)
	}
	d.stops = append(d.stops, stop)
	return d, nil
}

// Stop ends everything in the reverse order of its start.
func (d *Demo) Stop() error {
	var errs []error
	for _, stop := range slices.Backward(d.stops) {
		errs = append(errs, stop())
	}
	d.stops = nil
	return errors.Join(errs...)
}

// listeners are the demo's own; Cloakroom opens its three itself.
type listeners struct{ provider, orders, payments net.Listener }

// ports settles every port. Cloakroom's three are held until all six are known, so that no two are the same, and let go
// then for Cloakroom to take.
func (d *Demo) ports(ctx context.Context, public int) (ports, listeners, error) {
	var on ports
	var own listeners
	var held []net.Listener
	defer func() {
		for _, listener := range held {
			_ = listener.Close()
		}
	}()
	for _, one := range []struct {
		name string
		want int
		is   *int
		keep *net.Listener
	}{
		{"Cloakroom", public, &on.public, nil},
		{"the exchange", 8081, &on.internal, nil},
		{"the admin listener", 9090, &on.admin, nil},
		{"the provider", 8090, &on.provider, &own.provider},
		{"orders", 8091, &on.orders, &own.orders},
		{"payments", 8092, &on.payments, &own.payments},
	} {
		listener, err := listen(ctx, one.want)
		if err != nil {
			return on, own, fmt.Errorf("demo: %s: %w", one.name, err)
		}
		*one.is = port(listener)
		if *one.is != one.want && one.want != 0 {
			d.notes = append(d.notes, fmt.Sprintf("Port %d is busy: %s took %d.", one.want, one.name, *one.is))
		}
		if one.keep == nil {
			held = append(held, listener)
			continue
		}
		*one.keep = listener
		d.stops = append(d.stops, func() error { return closed(listener.Close()) })
	}
	return on, own, nil
}

// serve answers for the provider and the two services.
func (d *Demo) serve(ctx context.Context, at places, own listeners, secrets credentials) error {
	orders, err := serveOrders(ctx, at, secrets.orders)
	if err != nil {
		return err
	}
	d.answer(own.payments, servePayments(ctx, at))
	d.answer(own.orders, orders)
	d.answer(own.provider, newReporter(d.Provider, at.orders, newCaller()))
	return nil
}

func (d *Demo) answer(listener net.Listener, handler http.Handler) {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	d.stops = append(d.stops, func() error {
		return errors.Join(server.Close(), closed(<-done))
	})
}

// closed makes no error of what was closed already.
func closed(err error) error {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

func (d *Demo) greet(out io.Writer, took time.Duration) {
	_, _ = fmt.Fprintf(out, "\n  Cloakroom demo\n\n  Open     %s\n  Sign in  alice / alice  (a customer)\n           sam / sam      (in support)\n\n", d.URL)
	for _, note := range d.notes {
		_, _ = fmt.Fprintf(out, "  %s\n", note)
	}
	_, _ = fmt.Fprintf(out, "  Log and configuration: %s\n  Ready in %d ms. Ctrl-C ends it.\n\n", filepath.Dir(d.LogFile), took.Milliseconds())
}
