package provider

import (
	"context"
	"errors"
	"time"
)

// troubleFor is how long a failed call counts, where none follows it.
const troubleFor = time.Minute

// trouble is a call that failed, and none since that did not.
type trouble struct {
	err error
	at  time.Time
}

// Ready says what is wrong with the provider: it was not discovered yet, or its last call within the last minute got no answer, or
// nonsense. A refusal is an answer.
func (p *Provider) Ready() error {
	if p.meta.Load() != nil {
		if t := p.trouble.Load(); t != nil && p.cfg.Now().Sub(t.at).Abs() < troubleFor {
			return t.err
		}
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lastErr != nil {
		return p.lastErr
	}
	return p.fail(ErrUnavailable, endpointDiscovery, "not discovered yet")
}

// ended tells of a call that has ended.
func (p *Provider) ended(ctx context.Context, endpoint string, err error) {
	p.cfg.Observe(endpoint, outcome(err))
	switch {
	case !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrNonsense):
		p.trouble.Store(nil)
	case ctx.Err() == nil: // or it was the caller who went away
		p.trouble.Store(&trouble{err, p.cfg.Now()})
	}
}
