package exchange

import (
	"errors"
	"fmt"
)

// Error is a refusal, or a failure to tell. Description is for the caller: what to mend, without telling whether a
// token, a key or a client exists. Err is for the operator; it holds no token.
type Error struct {
	Code        Code
	Description string
	Err         error
}

// Code says what kind of refusal it is. At the token endpoint it is the `error` of the answer.
type Code string

// RFC 6749 section 5.2, RFC 8693 section 2.2.2, and 503's own.
const (
	InvalidRequest         Code = "invalid_request"
	InvalidClient          Code = "invalid_client"
	UnauthorizedClient     Code = "unauthorized_client"
	UnsupportedGrant       Code = "unsupported_grant_type"
	InvalidScope           Code = "invalid_scope"
	InvalidTarget          Code = "invalid_target"
	TemporarilyUnavailable Code = "temporarily_unavailable" // cannot tell: the store, a key set
	ServerError            Code = "server_error"            // a mistake of the program or its configuration
)

// Only MintForRoute answers with these.
const (
	Forbidden Code = "forbidden" // the audience's policy says no, or grants nothing
	Expired   Code = "expired"   // what the token would rest on has less than MinimumLeft left: refresh, and ask again
)

// Granted is the outcome of a question that was answered by a token.
const Granted = "granted"

// Outcome names what came of a question: Granted, or the Code of its refusal.
func Outcome(err error) string {
	if err == nil {
		return Granted
	}
	if refused, ok := errors.AsType[*Error](err); ok {
		return string(refused.Code)
	}
	return string(ServerError)
}

func (e *Error) Error() string {
	if e.Err == nil {
		return string(e.Code) + ": " + e.Description
	}
	return string(e.Code) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// ErrUnacceptable is what the refusal of a Verifier or of Cookies wraps: the token was examined and is not acceptable. A
// *token.Invalid says the same. Any other error means that it could not be examined.
var ErrUnacceptable = errors.New("exchange: not acceptable")

// ErrSessionGone is what Sessions and Cookies answer when the store said that there is no such session.
var ErrSessionGone = errors.New("exchange: the session is gone")

func refuse(code Code, description, reason string, args ...any) *Error {
	return &Error{Code: code, Description: description, Err: fmt.Errorf(reason, args...)}
}

func cannotTell(err error) *Error {
	return &Error{Code: TemporarilyUnavailable, Description: "try again", Err: err}
}
