package sessiontest

import (
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a bad network before a server: it carries TCP connections, and breaks them as told. It ends with its test.
type Proxy struct {
	Addr string

	listener net.Listener
	done     sync.WaitGroup

	mu      sync.Mutex
	target  string
	weather Weather
	changed chan struct{} // closed when the weather changes
	pairs   map[*pair]struct{}
	opened  int
	closed  bool
}

// Weather is how bad it is. The zero value is fine.
type Weather struct {
	// Delay holds each piece of an answer back for a random time between the two.
	DelayMin, DelayMax time.Duration
	// Cut is how likely a piece of an answer is to be cut at a random place, and its connection broken there.
	Cut float64
	// Stalled lets nothing through, either way, and no new connection to the server. What was on its way arrives later.
	Stalled bool
}

type pair struct{ client, server net.Conn }

// StartProxy starts one in fine weather.
func StartProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), target: target, listener: l, changed: make(chan struct{}), pairs: map[*pair]struct{}{}}
	p.done.Go(p.accept)
	t.Cleanup(p.close)
	return p
}

// Set changes the weather for the connections there are and those to come.
func (p *Proxy) Set(w Weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	close(p.changed)
	p.changed = make(chan struct{})
}

// Aim has the connections to come go to another server.
func (p *Proxy) Aim(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
}

// Reset breaks every connection there is, the hard way.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.pairs {
		c.reset()
	}
}

// Opened tells how many connections were made so far, and how many are open.
func (p *Proxy) Opened() (ever, now int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opened, len(p.pairs)
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Reset()
	p.Set(Weather{})
	p.done.Wait()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.carry(client) })
	}
}

// carry takes a connection through, until either end has had enough.
func (p *Proxy) carry(client net.Conn) {
	defer client.Close()
	p.fine()
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer server.Close()
	c := &pair{client, server}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.pairs[c] = struct{}{}
	p.opened++
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.pump(c, server, client, false) })
	both.Go(func() { p.pump(c, client, server, true) })
	both.Wait()
	p.mu.Lock()
	delete(p.pairs, c)
	p.mu.Unlock()
}

// piece is what was read at once, and when it may be handed on.
type piece struct {
	data []byte
	due  time.Time
}

func (p *Proxy) pump(c *pair, to, from net.Conn, answers bool) {
	defer to.Close()
	underway := make(chan piece, 1024)
	defer func() { // whoever fills it must be able to end
		_ = from.Close()
		for range underway {
		}
	}()
	p.done.Go(func() {
		defer close(underway)
		for {
			data := make([]byte, 16<<10)
			n, err := from.Read(data)
			if n > 0 {
				w := p.fine()
				due := time.Now()
				if answers && w.DelayMax > 0 {
					due = due.Add(w.DelayMin + rand.N(w.DelayMax-w.DelayMin+1))
				}
				underway <- piece{data[:n], due}
			}
			if err != nil {
				return
			}
		}
	})
	for next := range underway {
		time.Sleep(time.Until(next.due))
		if w := p.fine(); answers && rand.Float64() < w.Cut {
			_, _ = to.Write(next.data[:rand.IntN(len(next.data))])
			if rand.IntN(2) == 0 {
				c.reset()
			}
			return
		}
		if _, err := to.Write(next.data); err != nil {
			return
		}
	}
}

// fine waits until nothing is stalled any more, and returns the weather.
func (p *Proxy) fine() Weather {
	for {
		p.mu.Lock()
		w, changed := p.weather, p.changed
		p.mu.Unlock()
		if !w.Stalled {
			return w
		}
		<-changed
	}
}

// reset closes both ends such that they get an RST, and lose what they have not read.
func (c *pair) reset() {
	for _, end := range []net.Conn{c.client, c.server} {
		if tcp, ok := end.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = end.Close()
	}
}
