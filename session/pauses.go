package session

import (
	"errors"
	"sync"
	"time"
)

// pauses is the sessions whose last renewal failed, why, and until when there is no point in trying again: by the monotonic
// clock, or one that is set back would make a second an hour.
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
	manyPauses  = 1024 // are remembered before those that are over are looked for
)

// MostAsked is how long a provider is left alone at most, whatever it asks for.
const MostAsked = 30 * time.Second

// retryAfter is an error that tells how long there is no point in trying again, as a provider may.
type retryAfter interface {
	error
	RetryAfter() time.Duration
}

// askedFor is how long the error asks to wait, within bounds.
func askedFor(err error) (time.Duration, bool) {
	asked, ok := errors.AsType[retryAfter](err)
	if !ok || asked.RetryAfter() <= 0 {
		return 0, false
	}
	return min(asked.RetryAfter(), MostAsked), true
}

func (p *pauses) begin(key Key, cause error) {
	pause, now := failedPause, time.Now()
	if asked, ok := askedFor(cause); ok {
		pause = max(pause, asked)
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
func (p *pauses) on(key Key) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f, ok := p.byKey[key]; ok && time.Now().Before(f.until) {
		return f.cause
	}
	return nil
}
