package provider

import (
	"context"
	"errors"
	"time"
)

// troubleFor is how long that counts, where no other call follows.
const troubleFor = time.Minute

// trouble is a call without an answer, and none since that had one.
type trouble struct {
	err error
	at  time.Time
}

// Ready says what is wrong with the provider: it was not discovered yet, or the last call within the last minute got no answer.
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
	case !errors.Is(err, ErrUnavailable):
		p.trouble.Store(nil)
	case ctx.Err() == nil: // or it was the caller who went away
		p.trouble.Store(&trouble{err, p.cfg.Now()})
	}
}
