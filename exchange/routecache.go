package exchange

import (
	"time"

	"github.com/maypok86/otter/v2"
)

// routeCache keeps tokens minted for routes, so that a page's hundred calls cost one signature.
type routeCache struct {
	tokens *otter.Cache[routeKey, Minted]
}

// routeKey is everything the token depends on. Two requests that differ in any of it never share a token: a key that
// left something out would be one user's token for another. It holds values, not hashes, so that there is no collision.
type routeKey struct {
	session         string
	generation      uint64
	issuer, subject string
	accessExpires   int64
	sessionEnds     int64
	audience, scope string
	asService       bool
	policy          string
	signingKey      string
}

// maxCached bounds the cache: at some 2 KiB a token, 32 MiB.
const maxCached = 16 << 10

func newRouteCache() *routeCache {
	return &routeCache{otter.Must(&otter.Options[routeKey, Minted]{
		MaximumSize: maxCached,
		// Whether a token may still be used is get's to say; this only frees the memory of those nobody asks for.
		ExpiryCalculator: otter.ExpiryWritingFunc(func(e otter.Entry[routeKey, Minted]) time.Duration {
			return e.Value.Expires.Sub(e.Value.Issued)
		}),
	})}
}

// cacheKey returns the key of a request, false where its answer is for this request alone.
func (s *Service) cacheKey(r *RouteRequest) (routeKey, bool) {
	if r.PerRequest || (!r.AsService && r.Evidence.SessionID == "") {
		return routeKey{}, false
	}
	k := routeKey{
		audience: r.Audience, scope: r.Scope.String(), asService: r.AsService,
		policy: s.cfg.Policy.version, signingKey: s.cfg.Keys.CurrentID(),
	}
	if !r.AsService {
		e := &r.Evidence
		k.session, k.generation, k.issuer, k.subject = e.SessionID, e.Generation, e.Issuer, e.Subject
		k.accessExpires, k.sessionEnds = e.AccessExpires.UnixNano(), e.SessionEnds.UnixNano()
	}
	return k, true
}

// get returns a token that has not passed half of its life and has MinimumLeft to live. What comes from the cache is so
// always good for at least as long as it has been there.
func (c *routeCache) get(k routeKey, now time.Time) (Minted, bool) {
	m, ok := c.tokens.GetIfPresent(k)
	if !ok || !fresh(m, now) {
		return Minted{}, false
	}
	return m, true
}

func (c *routeCache) put(k routeKey, m Minted, now time.Time) {
	if fresh(m, now) {
		c.tokens.Set(k, m)
	}
}

func fresh(m Minted, now time.Time) bool {
	return m.Expires.Sub(now) >= MinimumLeft && now.Sub(m.Issued) <= m.Expires.Sub(m.Issued)/2
}
