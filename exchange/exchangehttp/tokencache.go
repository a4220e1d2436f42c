package exchangehttp

import (
	"sync"
	"time"
)

// tokenCache keeps answers by the whole request they answer. It is bounded, and safe for concurrent use.
type tokenCache struct {
	most int

	mu      sync.Mutex
	answers map[requestKey]cached
}

// cached is a token, or a refusal.
type cached struct {
	token   Token
	refused *Error
	until   time.Time // from then on it is not there
}

const (
	// headroom is how long before its end a token is replaced, so that the next hop still takes it when it arrives, its
	// clock being ahead. Of a short-lived token it is a fifth of its life.
	headroom = 10 * time.Second
	// refusedFor is how long a refusal is remembered: long enough that a burst of requests which must fail costs one, short
	// enough that nobody waits for a mended configuration.
	refusedFor = 2 * time.Second
)

func newTokenCache(most int) *tokenCache {
	return &tokenCache{most: most, answers: map[requestKey]cached{}}
}

func (c *tokenCache) find(k requestKey, now time.Time) (cached, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.answers[k]
	return a, ok && now.Before(a.until)
}

// keep remembers an answer to a request that was sent at that time.
func (c *tokenCache) keep(k requestKey, t Token, refused *Error, sent, now time.Time) {
	until := t.Expires
	switch {
	case refused != nil && refused.Temporary():
		return
	case refused != nil:
		until = now.Add(refusedFor)
	case t.Expires.IsZero():
		return // until when it is good is not known
	default:
		until = until.Add(-min(headroom, t.Expires.Sub(sent)/5))
	}
	if !now.Before(until) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.answers[k]; !there && len(c.answers) >= c.most {
		c.makeRoom(now)
	}
	c.answers[k] = cached{token: t, refused: refused, until: until}
}

// makeRoom drops what is over, and otherwise any one: what is dropped is asked for again.
func (c *tokenCache) makeRoom(now time.Time) {
	for k, a := range c.answers {
		if !now.Before(a.until) {
			delete(c.answers, k)
		}
	}
	for k := range c.answers {
		if len(c.answers) < c.most {
			return
		}
		delete(c.answers, k)
	}
}

// forget drops a token that did not do, unless another has taken its place.
func (c *tokenCache) forget(k requestKey, t Token) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.answers[k]; ok && a.token.Value == t.Value {
		delete(c.answers, k)
	}
}
