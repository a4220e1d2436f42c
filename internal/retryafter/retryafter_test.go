package retryafter

import (
	"net/http"
	"testing"
	"time"
)

func TestBothFormsAreReadAndBounded(t *testing.T) {
	now := time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for name, tt := range map[string]struct {
		said, date string
		want       time.Duration
	}{
		"nothing":                             {"", "", 0},
		"seconds":                             {"7", "", 7 * time.Second},
		"none":                                {"0", "", 0},
		"more than may be":                    {"3601", "", time.Hour},
		"more than a number holds":            {"99999999999999999999", "", 0},
		"less than nothing":                   {"-5", "", 0},
		"words":                               {"soon", "", 0},
		"a time":                              {at(9 * time.Second), "", 9 * time.Second},
		"a time that is over":                 {at(-9 * time.Second), "", 0},
		"a time by a clock that is ahead":     {at(99 * time.Second), at(90 * time.Second), 9 * time.Second},
		"a time beside a date that is broken": {at(9 * time.Second), "today", 9 * time.Second},
	} {
		h := http.Header{"Retry-After": {tt.said}, "Date": {tt.date}}
		if got := From(h, now, time.Hour); got != tt.want {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}
