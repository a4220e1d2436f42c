package exchangehttp

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloakroom/exchange"
	"cloakroom/secret"
	"cloakroom/token"
)

// Request is what a service asks the exchange for (RFC 8693 section 2.1).
type Request struct {
	Subject        secret.Text        // on whose behalf: the token this service was called with
	SubjectType    exchange.TokenType // "" is exchange.AccessToken
	SubjectIDToken secret.Text        // the ID token issued beside a provider's access token; "" none
	SubjectIssuer  string             // whose an opaque Subject is, where more than one provider could have issued it

	Actor     secret.Text        // of who acts, for a client with `actor: optional` or `required`; "" none
	ActorType exchange.TokenType // "" is exchange.AccessToken

	Audience, Resource []string       // who the token is for; neither: the client's only audience
	Scope              token.Scope    // nil: all that policy grants
	Details            map[string]any // `request_details`, for policy
	Type               exchange.TokenType
}

// Token is what the exchange answered.
type Token struct {
	Value   secret.Text
	Type    exchange.TokenType
	Expires time.Time // zero: the exchange did not say
	Scope   token.Scope
}

// form is the request as it is sent. Where the order of values means nothing it is sorted, so that a request has one form
// only and the form can be its key in the cache.
func (r Request) form() (url.Values, error) {
	switch {
	case r.Subject == "":
		return nil, errors.New("no subject token")
	case r.Actor == "" && r.ActorType != "":
		return nil, errors.New("an actor's type without an actor")
	}
	form := url.Values{
		"grant_type":         {string(exchange.TokenExchange)},
		"subject_token":      {r.Subject.Reveal()},
		"subject_token_type": {string(orAccessToken(r.SubjectType))},
	}
	for name, all := range map[string][]string{"audience": r.Audience, "resource": r.Resource} {
		if len(all) > 0 {
			form[name] = slices.Sorted(slices.Values(all))
		}
	}
	for name, value := range map[string]string{
		"subject_id_token": r.SubjectIDToken.Reveal(), "subject_issuer": r.SubjectIssuer, "requested_token_type": string(r.Type),
		"actor_token": r.Actor.Reveal(), "scope": strings.Join(slices.Sorted(slices.Values(r.Scope)), " "),
	} {
		if value != "" {
			form.Set(name, value)
		}
	}
	if r.Actor != "" {
		form.Set("actor_token_type", string(orAccessToken(r.ActorType)))
	}
	if len(r.Details) > 0 {
		details, err := json.Marshal(r.Details)
		if err != nil {
			return nil, fmt.Errorf("details: %w", err)
		}
		form.Set("request_details", string(details))
	}
	return form, nil
}

func orAccessToken(t exchange.TokenType) exchange.TokenType {
	if t == "" {
		return exchange.AccessToken
	}
	return t
}

// requestKey is the digest of everything the answer depends on: who asks, and every parameter that is sent. It cannot leave
// one out, since it is made of what goes over the wire; and no token can be read out of it.
type requestKey [sha256.Size]byte

func keyOf(client string, form url.Values) requestKey {
	return sha256.Sum256([]byte(url.QueryEscape(client) + "?" + form.Encode()))
}
