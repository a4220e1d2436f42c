package session

import (
	"sync"
	"time"
)

// alarms keeps a record that does not open from being told of at every request that asks for it.
type alarms struct {
	mu    sync.Mutex
	began time.Time
	rung  map[alarm]struct{}
}

type alarm struct {
	key     Key
	lasting bool
}

const (
	alarmsLast = time.Minute
	manyAlarms = 1024
)

// ring tells whether it is new.
func (a *alarms) ring(one alarm) bool {
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rung == nil || now.Sub(a.began) >= alarmsLast {
		a.began, a.rung = now, map[alarm]struct{}{}
	}
	if _, old := a.rung[one]; old || len(a.rung) >= manyAlarms {
		return false
	}
	a.rung[one] = struct{}{}
	return true
}
