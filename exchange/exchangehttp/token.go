package exchangehttp

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
	"cloakroom/internal/span"
	"cloakroom/secret"
	"cloakroom/token"
)

// granted is the body of an answer with a token (RFC 8693 section 2.2.1).
type granted struct {
	Token     string             `json:"access_token"` // whatever was issued: the name is historical
	Issued    exchange.TokenType `json:"issued_token_type,omitempty"`
	Type      string             `json:"token_type"`
	ExpiresIn int64              `json:"expires_in"`
	Scope     string             `json:"scope,omitempty"`
}

// token answers POST /oauth2/token.
func (s *Server) token(c echo.Context) error {
	f, client, err := s.caller(c)
	if err != nil {
		return err
	}
	ctx := c.Request().Context()
	if wait, ok := s.limits.allow(client); !ok {
		s.tell(ctx, client, exchange.TemporarilyUnavailable, "over its rate")
		c.Response().Header().Set("Retry-After", seconds(wait))
		return answerError(c, http.StatusTooManyRequests, &exchange.Error{Code: exchange.TemporarilyUnavailable, Description: "too many requests"})
	}
	r, refused := parse(f, client)
	if refused == nil && c.Request().Header.Get("DPoP") != "" {
		// Ignored, it would get a bearer token for a client that believes its token bound.
		refused = bad("a DPoP proof cannot be taken here")
	}
	if refused != nil {
		s.tell(ctx, client, refused.Code, refused.Err.Error())
		return refused
	}
	ctx, step := span.Begin(ctx, "exchange for", client)
	m, err := s.cfg.Service.Exchange(ctx, r)
	step.End(exchange.Outcome(err), exchange.Outcome(err) != exchange.Granted)
	if err != nil {
		return err
	}
	out := granted{Token: m.Token.Reveal(), Type: m.TokenType, ExpiresIn: m.Expires.Unix() - m.Issued.Unix(), Scope: m.Scope.String()}
	if r.Grant == exchange.TokenExchange {
		out.Issued = m.Type
	}
	return answer(c, http.StatusOK, out)
}

// caller reads the form and finds out who sent it.
func (s *Server) caller(c echo.Context) (form, string, error) {
	f, refused := readForm(c)
	if refused != nil {
		return form{}, "", refused
	}
	client, refused := s.clients.authenticate(c.Request(), f)
	if refused != nil {
		s.tell(c.Request().Context(), "", refused.Code, refused.Err.Error())
		return form{}, "", refused
	}
	return f, client, nil
}

// tell is for what never reaches the service. The client is only named once it is known to be who it says: the count of
// metric series must not depend on callers.
func (s *Server) tell(ctx context.Context, client string, code exchange.Code, reason string) {
	s.cfg.Observe(ctx, exchange.Event{Client: client, Code: code, Reason: reason, Policy: s.cfg.Service.Policy().Version()})
}

// parse makes the request of an authenticated client, once and for all.
func parse(f form, client string) (exchange.Request, *exchange.Error) {
	r := exchange.Request{
		Client: client, Grant: exchange.Grant(f.text("grant_type")),
		RequestedType: exchange.TokenType(f.text("requested_token_type")),
	}
	var err *exchange.Error
	switch r.Grant {
	case "":
		return r, bad("grant_type is missing")
	case exchange.ClientCredentials:
		r.RequestedType = "" // a parameter of token exchange alone
	case exchange.TokenExchange:
		if err = tokens(f, &r); err != nil {
			return r, err
		}
	default:
		return r, &exchange.Error{Code: exchange.UnsupportedGrant, Description: "grant_type is not one that is supported", Err: errors.New("unknown grant_type")}
	}
	if r.Audience, r.Resource, err = targets(f); err != nil {
		return r, err
	}
	if r.Scope, err = scope(f.text("scope")); err != nil {
		return r, err
	}
	if details := f.text("request_details"); details != "" {
		object, invalid := token.DecodeClaims([]byte(details))
		if invalid != nil {
			return r, bad("request_details is not a JSON object")
		}
		r.Details = object
	}
	return r, nil
}

// tokens reads what RFC 8693 section 2.1 has about the subject and the actor.
func tokens(f form, r *exchange.Request) *exchange.Error {
	r.SubjectToken, r.SubjectType = secret.Text(f.text("subject_token")), exchange.TokenType(f.text("subject_token_type"))
	r.ActorToken, r.ActorType = secret.Text(f.text("actor_token")), exchange.TokenType(f.text("actor_token_type"))
	r.SubjectIDToken, r.SubjectIssuer = secret.Text(f.text("subject_id_token")), f.text("subject_issuer")
	switch {
	case r.SubjectToken == "":
		return bad("subject_token is missing")
	case r.SubjectType == "":
		return bad("subject_token_type is missing")
	case r.ActorToken != "" && r.ActorType == "":
		return bad("actor_token_type is missing")
	case r.ActorToken == "" && r.ActorType != "":
		return bad("actor_token_type without actor_token")
	}
	return nil
}

// targets reads audience and resource. A resource must be an absolute URI without a fragment (RFC 8707 section 2).
func targets(f form) (audience, resource []string, err *exchange.Error) {
	audience, resource = f.list("audience"), f.list("resource")
	if len(audience) > maxTargets || len(resource) > maxTargets {
		return nil, nil, bad("too many targets")
	}
	for _, name := range append(append([]string{}, audience...), resource...) {
		if len(name) > maxName {
			return nil, nil, &exchange.Error{Code: exchange.InvalidTarget, Description: "a target's name is too long", Err: errors.New("target over the limit")}
		}
	}
	for _, uri := range resource {
		u, invalid := url.Parse(uri)
		if invalid != nil || !u.IsAbs() || strings.Contains(uri, "#") {
			return nil, nil, &exchange.Error{Code: exchange.InvalidTarget, Description: "resource must be an absolute URI without a fragment", Err: errors.New("resource is no absolute URI")}
		}
	}
	return audience, resource, nil
}

func scope(text string) (token.Scope, *exchange.Error) {
	invalid := &exchange.Error{Code: exchange.InvalidScope, Description: "scope is malformed, or has too many or too long values", Err: errors.New("scope is malformed")}
	if strings.Count(text, " ") >= maxScopes {
		return nil, invalid
	}
	out := token.ParseScope(text)
	for _, one := range out {
		if len(one) > maxName || !exchange.ValidScope(one) {
			return nil, invalid
		}
	}
	return out, nil
}
