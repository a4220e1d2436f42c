package bff

import (
	"math"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limiter bounds how many sign-ins an address begins, or how many bad logout tokens it sends. It is one replica's own.
type limiter struct {
	perMinute int
	now       func() time.Time

	mu      sync.Mutex
	buckets map[netip.Prefix]*rate.Limiter
}

// maxBuckets bounds the memory that strangers can make the limiter take.
const maxBuckets = 10_000

func newLimiter(perMinute int, now func() time.Time) *limiter {
	return &limiter{perMinute: perMinute, now: now, buckets: map[netip.Prefix]*rate.Limiter{}}
}

// allow tells whether the address may begin one more, and if not, after how many seconds it may.
func (l *limiter) allow(address netip.Addr) (ok bool, retry int) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	key := household(address)
	bucket := l.buckets[key]
	if bucket == nil {
		if len(l.buckets) >= maxBuckets {
			l.forget(now)
		}
		bucket = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
		l.buckets[key] = bucket
	}
	if bucket.AllowN(now, 1) {
		return true, 0
	}
	return false, untilNext(bucket, now)
}

// would tells what allow would, and begins nothing.
func (l *limiter) would(address netip.Addr) (ok bool, retry int) {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket := l.buckets[household(address)]
	if bucket == nil || bucket.TokensAt(now) >= 1 {
		return true, 0
	}
	return false, untilNext(bucket, now)
}

func untilNext(bucket *rate.Limiter, now time.Time) int {
	missing := 1 - bucket.TokensAt(now)
	return max(1, int(math.Ceil(missing/float64(bucket.Limit()))))
}

// forget drops the addresses that have been quiet long enough to have their whole allowance again, and where that is not
// enough, any: a flood from many addresses must not lock out the others.
func (l *limiter) forget(now time.Time) {
	for key, bucket := range l.buckets {
		if bucket.TokensAt(now) >= float64(l.perMinute) {
			delete(l.buckets, key)
		}
	}
	for key := range l.buckets {
		if len(l.buckets) < maxBuckets*9/10 {
			return
		}
		delete(l.buckets, key)
	}
}

// household is what counts as one address: a /64 of IPv6 is one customer's to choose from.
func household(address netip.Addr) netip.Prefix {
	bits := 32
	if address.Is6() {
		bits = 64
	}
	prefix, _ := address.Prefix(bits) // fails for the zero address only, which is one household too
	return prefix
}
