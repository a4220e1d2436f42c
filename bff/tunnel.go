package bff

import (
	"io"
	"time"
)

// tunnel is an open WebSocket: the connection to the browser and the one to the upstream, each passing on to the other.
type tunnel struct {
	browser, upstream io.ReadWriteCloser
}

const (
	handshakeTime = 5 * time.Second        // for the other side to close as well, once one has
	farewellTime  = 500 * time.Millisecond // for both sides to close, once Cloakroom does: all of it is over within a second
	tunnelBuffer  = 8 << 10                // of each direction, for as long as the tunnel is open
)

// run passes on until both sides have closed, or either is gone, or leave says that Cloakroom has to close. It returns when both
// connections are closed.
func (t *tunnel) run(leave <-chan goodbye) {
	legs := [2]*leg{{to: t.browser}, {to: t.upstream, masked: true}}
	ended := make(chan bool, len(legs)) // whether a side closed as it should
	go func() { ended <- pump(legs[0], t.upstream) }()
	go func() { ended <- pump(legs[1], t.browser) }()
	open, patience := len(legs), handshakeTime
	var timeout <-chan time.Time
	for clean := true; open > 0 && clean; {
		select {
		case clean = <-ended:
			open--
		case g := <-leave:
			leave, patience, timeout = nil, farewellTime, nil
			for _, l := range legs {
				go l.end(g) // a side that does not read cannot hold up the other; closing the connections frees it
			}
		case <-timeout:
			clean = false
		}
		if timeout == nil && (open < len(legs) || leave == nil) {
			timeout = time.After(patience)
		}
	}
	_ = t.browser.Close()
	_ = t.upstream.Close()
	for ; open > 0; open-- {
		<-ended
	}
}

// pump passes on what from says until it has said its last word, which is true, or is gone.
func pump(to *leg, from io.Reader) bool {
	buf := make([]byte, tunnelBuffer)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return false
			}
			if to.finished() {
				return true
			}
		}
		if err != nil {
			return false
		}
	}
}
