package session

import (
	"errors"
	"sync"
	"time"
)

// pauses is the sessions whose last renewal failed, why, and until when there is no point in trying again.
type pauses struct {
	mu    sync.Mutex
	byKey map[Key]failure
}

type failure struct {
	until time.Time
	cause error
}

const (
	failedPause = time.Second
	askedPause  = 30 * time.Second // the most that a provider may ask for
	manyPauses  = 1024             // are remembered before those that are over are looked for
)

// retryAfter is an error that tells how long there is no point in trying again, as a provider may.
type retryAfter interface {
	error
	RetryAfter() time.Duration
}

func (p *pauses) begin(key Key, now time.Time, cause error) {
	pause := failedPause
	if asked, ok := errors.AsType[retryAfter](cause); ok {
		pause = min(max(pause, asked.RetryAfter()), askedPause)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byKey == nil {
		p.byKey = map[Key]failure{}
	}
	if len(p.byKey) >= manyPauses {
		for k, f := range p.byKey {
			if !now.Before(f.until) {
				delete(p.byKey, k)
			}
		}
	}
	p.byKey[key] = failure{now.Add(pause), cause}
}

func (p *pauses) end(key Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.byKey, key)
}

// on returns why there is a pause, nil where there is none.
func (p *pauses) on(key Key, now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.byKey[key]; now.Before(f.until) {
		return f.cause
	}
	return nil
}
