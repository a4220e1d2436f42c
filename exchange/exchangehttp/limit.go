package exchangehttp

import (
	"time"

	"golang.org/x/time/rate"
)

// limits is how often each client may ask, on this replica.
type limits struct {
	clients map[string]*rate.Limiter // nil: as often as it likes
	now     func() time.Time
}

func newLimits(perSecond int, of []Caller, now func() time.Time) *limits {
	l := &limits{now: now}
	if perSecond <= 0 {
		return l
	}
	l.clients = map[string]*rate.Limiter{}
	for _, c := range of {
		// A second's worth may come at once: services ask in bursts.
		l.clients[c.ID] = rate.NewLimiter(rate.Limit(perSecond), perSecond)
	}
	return l
}

// allow tells whether an authenticated client may ask now, and otherwise after how long.
func (l *limits) allow(client string) (wait time.Duration, ok bool) {
	limiter := l.clients[client]
	if limiter == nil {
		return 0, true
	}
	now := l.now()
	reserved := limiter.ReserveN(now, 1)
	if wait = reserved.DelayFrom(now); wait > 0 {
		reserved.CancelAt(now)
		return wait, false
	}
	return 0, true
}
