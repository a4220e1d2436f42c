package session

import (
	"sync"
	"time"
)

// pauses is the sessions whose last renewal failed, until when there is no hurry to try again.
type pauses struct {
	mu    sync.Mutex
	until map[Key]time.Time
}

// manyPauses is how many are remembered before those that are over are looked for.
const manyPauses = 1024

func (p *pauses) begin(key Key, until time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.until == nil {
		p.until = map[Key]time.Time{}
	}
	if len(p.until) >= manyPauses {
		for k, end := range p.until {
			if !until.Before(end.Add(failedPause)) {
				delete(p.until, k)
			}
		}
	}
	p.until[key] = until
}

func (p *pauses) end(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.until, key)
}

func (p *pauses) on(key Key, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.until[key])
}
