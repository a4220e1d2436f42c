// Package retryafter reads how long another server asks to be left alone.
package retryafter

import (
	"net/http"
	"strconv"
	"time"
)

// From reads both forms of Retry-After (RFC 9110 section 10.2.3), from 0, where there is none or it is over, to most. A time
// of day is measured from the answer's own Date where it has one, whose clock it is of, otherwise from now.
func From(h http.Header, now time.Time, most time.Duration) time.Duration {
	value := h.Get("Retry-After")
	var wait time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		wait = at.Sub(now)
	}
	return min(max(wait, 0), most)
}
