package bff

import (
	"io"
	"sync"
	"sync/atomic"
)

// leg is one direction of a WebSocket: what one side says is written to the other as it is, until Cloakroom has the last word. In
// between, Cloakroom may ask the other side whether it is there.
type leg struct {
	to     io.Writer
	masked bool
	refuse func(goodbye) // is told, once, that this side says too much

	heard  atomic.Bool  // something came from that side
	pinged atomic.Int64 // how many pings the other side was sent

	mu     sync.Mutex // held while writing, for as long as that takes
	frames frames
	ping   bool   // one is to follow the frame under way
	last   []byte // a close frame of ours, likewise
	over   bool   // ours was sent: nothing follows it
	out    []byte // what one Write passes on; kept for the next
}

// Write passes p on, or drops it once the last word was said.
func (l *leg) Write(p []byte) (int, error) {
	l.heard.Store(true)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.out = l.out[:0]
	was := l.frames.tooBig
	for rest := p; len(rest) > 0; {
		passed, n := l.frames.next(rest)
		rest = rest[n:]
		if !l.over {
			l.out = append(append(l.out, passed...), l.due()...)
		}
	}
	if l.frames.tooBig && !was && l.refuse != nil {
		l.refuse(messageTooBig)
	}
	if len(l.out) == 0 {
		return len(p), nil
	}
	if _, err := l.to.Write(l.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// due is what Cloakroom has to say here and now: nothing inside of a frame, nor after a side's own last word.
func (l *leg) due() []byte {
	switch {
	case l.over || l.frames.passedClose() || !l.frames.between():
		return nil
	case l.last != nil:
		l.over = true
		return l.last
	case l.ping:
		l.ping = false
		l.pinged.Add(1)
		return controlFrame(opPing, nil, l.masked)
	}
	return nil
}

// say writes what is due, where that need not wait for the end of a frame. A broken connection ends by itself.
func (l *leg) say() {
	if words := l.due(); words != nil {
		_, _ = l.to.Write(words)
	}
}

// end says goodbye, as soon as no frame is under way. A side that was told that the other closes is told nothing more.
func (l *leg) end(g goodbye) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		l.last = g.frame(l.masked)
		l.say()
	}
}

// ask pings the side that this leg writes to. The answer passes to the other side: a pong that nobody asked for means nothing
// there (RFC 6455 section 5.5.3).
func (l *leg) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ping = true
	l.say()
}

// finished tells whether the side that this leg passes on has said its own last word.
func (l *leg) finished() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frames.closed
}
