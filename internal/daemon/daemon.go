package daemon

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// Listener is one address and what answers on it.
type Listener struct {
	Name    string
	Address string
	TLS     *Certificate // nil: plain HTTP
	Handler http.Handler

	// Closing is called once the listener takes no more connections, for the Handler to end requests that would never end
	// by themselves. nil: there are none.
	Closing func()

	// Patience is how long a client may take for the next piece of what it sends or is sent. 0: 30 s.
	Patience time.Duration
	// MaxConnections bounds those open at a time; further ones wait. 0: a share of the process's file descriptors.
	MaxConnections int
	// Busy answers those that have waited in vain for a second, and what comes after them. nil: they go on waiting.
	Busy http.Handler
}

// Options is what a daemon runs.
type Options struct {
	Listeners []Listener
	Health    *Health

	// Background work starts once every socket is open; its context ends after the last request has been answered.
	Background []func(context.Context)
	// Drained are called in order when no request and no background work is left; each gets what remains of the drain, of which
	// requests leave a share.
	Drained []func(context.Context) error

	Delay   time.Duration // not ready, but still answering, for this long: load balancers notice first
	Timeout time.Duration // then at most this long for what is in flight
	Log     *slog.Logger
}

// Daemon is a running process. It ends when the context given to Start does.
type Daemon struct {
	options Options
	servers []*http.Server
	addrs   map[string]net.Addr
	done    chan struct{}
	err     error
}

// Start opens every socket, or none, and serves. It returns once connections are accepted.
func Start(ctx context.Context, o Options) (*Daemon, error) {
	d := &Daemon{options: o, addrs: map[string]net.Addr{}, done: make(chan struct{})}
	var sockets []net.Listener
	for _, l := range o.Listeners {
		socket, err := new(net.ListenConfig).Listen(ctx, "tcp", l.Address)
		if err != nil {
			for _, open := range sockets {
				_ = open.Close()
			}
			return nil, fmt.Errorf("open the %s listener: %w", l.Name, err)
		}
		d.addrs[l.Name] = socket.Addr()
		sockets = append(sockets, socket)
	}
	background, endBackground := context.WithCancel(context.WithoutCancel(ctx))
	var working sync.WaitGroup
	for _, work := range o.Background {
		working.Go(func() { work(background) })
	}
	failed := make(chan error, len(sockets))
	for i, l := range o.Listeners {
		l.Patience = cmp.Or(l.Patience, patience)
		guarded, config := guard(sockets[i], l)
		server := newServer(l, guarded, config, o.Log)
		d.servers = append(d.servers, server)
		go func() { failed <- serve(server, guarded) }() // ends with the server, which drain ends
	}
	o.Health.begin()
	go func() {
		defer close(d.done)
		select {
		case <-ctx.Done():
			d.err = d.drain(func() { endBackground(); working.Wait() }) //nolint:contextcheck // begins when ctx has ended
		case err := <-failed:
			d.err = errors.Join(err, d.drain(func() { endBackground(); working.Wait() })) //nolint:contextcheck // likewise
		}
	}()
	return d, nil
}

// Address is where a listener really listens, nil for a name that was not started.
func (d *Daemon) Address(name string) net.Addr { return d.addrs[name] }

// Wait blocks until everything has ended, and says what did not end well.
func (d *Daemon) Wait() error {
	<-d.done
	return d.err
}

// lastShare is which part of the drain is kept for what comes after the requests: a download without an end must not take from
// refreshes and sign-outs the time to be written down.
const lastShare = 5

// drain is the one way down: not ready, requests, background work, then what was kept for last.
func (d *Daemon) drain(endBackground func()) error {
	d.options.Health.drain()
	d.options.Log.Info("draining", "delay", d.options.Delay, "timeout", d.options.Timeout)
	time.Sleep(d.options.Delay)
	ctx, cancel := context.WithTimeout(context.Background(), d.options.Timeout)
	defer cancel()
	requests, cancelRequests := context.WithTimeout(ctx, d.options.Timeout-d.options.Timeout/lastShare)
	defer cancelRequests()
	errs := make([]error, len(d.servers))
	var stopping sync.WaitGroup
	for i, server := range d.servers {
		stopping.Go(func() {
			if err := server.Shutdown(requests); err != nil {
				errs[i] = fmt.Errorf("requests still in flight on %s: %w", server.Addr, errors.Join(err, server.Close()))
			}
		})
	}
	stopping.Wait()
	endBackground()
	for _, last := range d.options.Drained {
		errs = append(errs, last(ctx))
	}
	return errors.Join(errs...)
}

func newServer(l Listener, guarded *listener, config *tls.Config, log *slog.Logger) *http.Server {
	s := &http.Server{
		Addr:              l.Address,
		Handler:           guarded.shed(paced(l.Handler, l.Patience), l.Busy),
		TLSConfig:         config,
		ConnContext:       mark,
		ConnState:         turn,
		ReadHeaderTimeout: min(10*time.Second, l.Patience),
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		// `OPTIONS *` is the handlers' to refuse, like any other request.
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelDebug), // peers' faults: broken handshakes, resets
	}
	if l.Closing != nil {
		s.RegisterOnShutdown(l.Closing)
	}
	return s
}

// guard puts our own connections between the socket, or TLS over it, and the server.
func guard(socket net.Listener, l Listener) (*listener, *tls.Config) {
	var config *tls.Config
	if l.TLS != nil {
		config = l.TLS.Config()
		socket = tls.NewListener(socket, config)
	}
	return newListener(socket, l), config
}

func serve(s *http.Server, socket net.Listener) error {
	err := s.Serve(socket)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve %s: %w", s.Addr, err)
}
