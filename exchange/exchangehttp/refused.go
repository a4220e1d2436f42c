package exchangehttp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloakroom/exchange"
	"cloakroom/internal/retryafter"
)

// Error is an answer of the exchange without a token. An exchange that could not be reached is not an Error.
type Error struct {
	Status      int
	Code        exchange.Code // "" where the answer was none of OAuth's, as a proxy in between would give
	Description string        // what to mend, for a developer
	RetryAfter  time.Duration // when to try again; 0: it was not said
}

func (e *Error) Error() string {
	text := fmt.Sprintf("exchange answered %d", e.Status)
	if e.Code != "" {
		text += " " + string(e.Code)
	}
	if e.Description != "" {
		text += ": " + e.Description
	}
	return text
}

// Temporary tells whether the same request may well be granted later: the exchange could not tell, or was asked too often.
// Otherwise it will be refused again.
func (e *Error) Temporary() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return true
	}
	return e.Status >= 500
}

const (
	maxCode        = 64
	maxDescription = 512
	maxRetryAfter  = time.Hour
)

// errorOf reads an answer that is not 200. What it says is bounded and printable, since it goes to logs.
func errorOf(status int, h http.Header, body []byte, now time.Time) *Error {
	e := &Error{Status: status, RetryAfter: retryafter.From(h, now, maxRetryAfter)}
	var said refusal
	if json.Unmarshal(body, &said) != nil || len(said.Error) > maxCode || !exchange.ValidScope(string(said.Error)) {
		return e
	}
	e.Code = said.Error
	if len(said.Description) <= maxDescription {
		e.Description = strings.Map(func(c rune) rune {
			if c < ' ' || c > '~' { // RFC 6749 section 5.2 allows no others
				return '?'
			}
			return c
		}, said.Description)
	}
	return e
}
