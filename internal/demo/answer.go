package demo

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// Refusal is what a service answers to a token it does not accept.
type Refusal struct {
	Service string   `json:"service"`
	Refused []string `json:"refused"`
}

func answer(w http.ResponseWriter, status int, body any) {
	raw, err := json.Marshal(body)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(raw) // the reader has gone: nobody is left to tell
}

// refuse answers 401 as RFC 6750 section 3 has it.
func refuse(w http.ResponseWriter, service string, err error) {
	body := Refusal{service, []string{"the token cannot be checked"}}
	if no, ok := errors.AsType[*refused](err); ok {
		body.Refused = no.reasons
	}
	described := strings.Map(func(r rune) rune {
		if r == '"' || r == '\\' || r < ' ' || r > '~' {
			return '\''
		}
		return r
	}, strings.Join(body.Refused, "; "))
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="`+described+`"`)
	answer(w, http.StatusUnauthorized, body)
}

func insufficient(w http.ResponseWriter, service, scope string) {
	w.Header().Set("WWW-Authenticate", `Bearer error="insufficient_scope", scope="`+scope+`"`)
	answer(w, http.StatusForbidden, Refusal{service, []string{"scope does not hold " + scope}})
}
