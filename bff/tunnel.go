package bff

import (
	"io"
	"time"
)

// tunnel is an open WebSocket: the connection to the browser and the one to the upstream, each passing on to the other.
type tunnel struct {
	browser, upstream io.ReadWriteCloser
	limit             int64         // bytes of one message from the browser; 0: none
	silence           time.Duration // of a side, before it is asked whether it is there
}

const (
	handshakeTime = 5 * time.Second        // for the other side to close as well, once one has
	farewellTime  = 500 * time.Millisecond // for both sides to close, once Cloakroom does: all of it is over within a second
	tunnelBuffer  = 8 << 10                // of each direction, for as long as the tunnel is open

	pingAfter  = 30 * time.Second // of silence
	unanswered = 2                // so many pings, and that side is gone
)

// run passes on until both sides have closed, or either is gone, or leave says that Cloakroom has to close. It returns when both
// connections are closed.
func (t *tunnel) run(leave <-chan goodbye) {
	refused := make(chan goodbye, 1)
	legs := [2]*leg{
		{to: t.browser},
		{to: t.upstream, masked: true, frames: frames{limit: t.limit}, refuse: func(g goodbye) { refused <- g }},
	}
	ended := make(chan bool, len(legs)) // whether a side closed as it should
	go func() { ended <- pump(legs[0], t.upstream) }()
	go func() { ended <- pump(legs[1], t.browser) }()
	watch := newVigil(legs, t.silence)
	defer watch.stop()
	open, leaving := len(legs), false
	var timeout <-chan time.Time
	bye := func(g goodbye) {
		if leaving {
			return
		}
		leaving, timeout = true, time.After(farewellTime)
		for _, l := range legs {
			go l.end(g) // a side that does not read cannot hold up the other; closing the connections frees it
		}
	}
	for clean := true; open > 0 && clean; {
		select {
		case clean = <-ended:
			if open--; timeout == nil {
				timeout = time.After(handshakeTime)
			}
		case g := <-leave:
			bye(g)
		case g := <-refused:
			bye(g)
		case <-watch.round:
			if !watch.look() {
				bye(noAnswer)
			}
		case <-timeout:
			clean = false
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

// vigil sees whether both sides of a tunnel are there: one that is silent is asked, by a ping that browsers and libraries answer by
// themselves (RFC 6455 section 5.5.2). It keeps the connections open through whatever drops silent ones on the way, and finds out
// about a side that went away without a word.
type vigil struct {
	legs  [2]*leg  // each hears one side, and writes to the other
	since [2]int64 // how many pings the side that a leg hears had been sent when it last spoke
	round <-chan time.Time
	stop  func()
}

func newVigil(legs [2]*leg, every time.Duration) *vigil {
	ticker := time.NewTicker(every)
	return &vigil{legs: legs, round: ticker.C, stop: ticker.Stop}
}

// look is one round. It is false when a side has not answered for so long that it must be gone. It waits for nobody.
func (v *vigil) look() bool {
	for i, hears := range v.legs {
		says := v.legs[1-i]
		switch sent := says.pinged.Load(); {
		case hears.heard.Swap(false):
			v.since[i] = sent
		case sent-v.since[i] >= unanswered:
			return false
		default:
			go says.ask() // may have to wait while that side takes no bytes; closing the connection frees it
		}
	}
	return true
}
