package bff

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"cloakroom/exchange"
	"cloakroom/internal/telemetry"
	"cloakroom/provider"
	"cloakroom/secret"
	"cloakroom/session"
)

// callback is where the provider sends the browser back (OpenID Connect Core section 3.1.2.5). Nothing is redeemed before
// the response is known to belong to a sign-in that this very browser began, at this very provider, and has not ended yet.
func (s *Server) callback(c echo.Context, _ visitor) {
	w, r := c.Response(), c.Request()
	p, ok := s.providers[c.Param("provider")]
	if !ok {
		s.refuse(w, r, problem{name: problemNotFound})
		return
	}
	found, ok := s.ownCookies(w, r)
	if !ok {
		return
	}
	query, err := singleValues(r)
	if err != nil {
		s.refuse(w, r, refused(nil, err))
		return
	}
	t, seed, bad := s.resume(found, query.Get("state"), p.Name())
	if bad != nil {
		s.refuse(w, r, *bad)
		return
	}
	if err := checkResponse(p, query); err != nil {
		bad := failedSignIn(t, err)
		if bad.name == problemProviderUnavailable {
			bad.link = link{"", "try-again"} // nothing was redeemed
		}
		s.refuse(w, r, bad)
		return
	}
	mine, err := s.store.Claim(r.Context(), t.marker(), attempt(), loginLifetime+time.Minute)
	if err != nil {
		// Nothing was redeemed, so the same address may be asked for once more.
		s.refuse(w, r, problem{name: problemStoreUnavailable, err: fmt.Errorf("mark sign-in as used: %w", err), link: link{"", "try-again"}})
		return
	}
	if !mine {
		redirect(w, http.StatusSeeOther, t.ReturnTo) // a double click, or the browser's back button
		return
	}
	if query.Has("error") {
		s.declined(w, r, t, query.Get("error"))
		return
	}
	s.redeem(w, r, p, t, seed, query)
}

// resume opens the state and checks that the sign-in began in this browser, here, and not too long ago.
func (s *Server) resume(found carried, state, provider string) (*transaction, secret.Key, *problem) {
	var t transaction
	if err := unseal(s.secrets, loginState, state, &t); err != nil {
		bad := refused(nil, err)
		return nil, secret.Key{}, &bad
	}
	if t.Provider != provider {
		bad := refused(&t, errors.New("state is of a sign-in at another provider"))
		return nil, secret.Key{}, &bad
	}
	seed, ok := s.cookies.seed(found)
	if !ok || !t.boundTo(seed) || t.expired(s.now()) {
		bad := refused(&t, errors.New("state is of another browser, or too old"))
		bad.words = "login-failed.too-late"
		return nil, secret.Key{}, &bad
	}
	return &t, seed, nil
}

// refused is a callback that is not the answer to anything we asked. t is nil when not even that much is known.
func refused(t *transaction, err error) problem {
	return problem{name: problemLoginFailed, err: err, link: signInAgain(t)}
}

func signInAgain(t *transaction) link {
	if t == nil {
		return link{loginPath, "sign-in-again"}
	}
	return link{loginURL(t.ReturnTo, url.Values{"provider": {t.Provider}}), "sign-in-again"}
}

// anotherAccount is the way out for whom the provider knows and we do not let in: without being asked, it would send the same person again.
func anotherAccount(t *transaction) link {
	return link{loginURL(t.ReturnTo, url.Values{"provider": {t.Provider}, "prompt": {"login"}}), "another-account"}
}

// checkResponse checks the form of an authorization response (RFC 6749 section 4.1.2, RFC 9207 section 2.4).
func checkResponse(p LoginProvider, query url.Values) error {
	if err := p.CheckResponse(query.Get("iss"), query.Has("iss")); err != nil {
		return fmt.Errorf("check response: %w", err)
	}
	switch hasCode := query.Get("code") != ""; {
	case hasCode && query.Has("error"):
		return errors.New("response has both a code and an error")
	case !hasCode && query.Get("error") == "":
		return errors.New("response has neither a code nor an error")
	}
	return nil
}

// attempt tells the store one try of claiming from any other, so that it may retry for us without taking us for another.
func attempt() []byte {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw)
	return raw
}

// needsInteraction is what a provider answers to prompt=none when it would have to ask (OpenID Connect Core section 3.1.2.6).
var needsInteraction = []string{"login_required", "interaction_required", "consent_required", "account_selection_required"}

// providerErrors are the error codes that may be logged and counted as they came: whatever else a provider, or who
// pretends to be one, sends as a code is not ours to repeat.
var providerErrors = []string{
	"access_denied", "invalid_request", "invalid_scope", "server_error", "temporarily_unavailable", "unauthorized_client",
	"unsupported_response_type", "invalid_request_uri", "invalid_request_object", "request_not_supported",
	"request_uri_not_supported", "registration_not_supported", "unmet_authentication_requirements", "invalid_target",
}

// declined answers an error response. Nothing that came with it is shown.
func (s *Server) declined(w http.ResponseWriter, r *http.Request, t *transaction, code string) {
	if t.Silent && slices.Contains(needsInteraction, code) {
		redirect(w, http.StatusSeeOther, t.ReturnTo)
		return
	}
	if !slices.Contains(providerErrors, code) && !slices.Contains(needsInteraction, code) {
		code = "an unknown code"
	}
	p := problem{name: problemLoginFailed, err: errors.New("provider answered with error " + code), link: signInAgain(t)}
	switch code {
	case "access_denied":
		p.words = "login-failed.cancelled"
	case "server_error", "temporarily_unavailable":
		p.name = problemProviderUnavailable
	}
	s.notSignedIn(r, t, provider.Grant{}, "login", p.err)
	s.refuse(w, r, p)
}

// redeem turns the code into a session. From here on the transaction is used up, whatever comes of it.
func (s *Server) redeem(w http.ResponseWriter, r *http.Request, p LoginProvider, t *transaction, seed secret.Key, query url.Values) {
	ctx := r.Context()
	redemption := provider.Redemption{
		Code: query.Get("code"), Verifier: t.verifier(seed), Nonce: t.nonce(seed), RedirectURI: s.redirectURI(t.Provider), Iss: query.Get("iss"),
	}
	if t.MaxAge != nil {
		age := time.Duration(*t.MaxAge) * time.Second
		redemption.MaxAge = &age
	}
	grant, err := p.Redeem(ctx, redemption)
	var fromUserInfo []string
	if err == nil {
		fromUserInfo, err = s.completeIdentity(ctx, p, &grant)
	}
	if err != nil {
		s.revokeLater(p, grant.Refresh)
		s.notSignedIn(r, t, grant, "login", err)
		s.refuse(w, r, failedSignIn(t, err))
		return
	}
	if err := s.mayEnter(p, grant); err != nil {
		s.revokeLater(p, grant.Refresh)
		s.notSignedIn(r, t, grant, "login-refused", err)
		s.refuse(w, r, problem{name: problemLoginRefused, err: err, link: anotherAccount(t)})
		return
	}
	begun, err := s.open(w, r, p, t, grant, fromUserInfo)
	if err != nil {
		s.revokeLater(p, grant.Refresh)
		s.notSignedIn(r, t, grant, "login", err)
		s.refuse(w, r, notOpened(t, err))
		return
	}
	s.records.signedIn(ctx, begun, acrRemark(t, grant))
	redirect(w, http.StatusSeeOther, t.ReturnTo)
}

// notOpened is what a person is told whom the provider signed in, and who gets no session.
func notOpened(t *transaction, err error) problem {
	if errors.Is(err, session.ErrEnded) {
		return problem{name: problemLoginFailed, words: "login-failed.signed-out", err: err, link: signInAgain(t)}
	}
	return problem{name: problemStoreUnavailable, err: err, link: signInAgain(t)}
}

// failedSignIn is what a person is told when the provider's answer was none. Used up as it is, there is only one way: anew.
func failedSignIn(t *transaction, err error) problem {
	p := problem{name: problemLoginFailed, err: err, link: signInAgain(t)}
	switch {
	case errors.Is(err, provider.ErrUnavailable):
		p.name = problemProviderUnavailable
	case errors.Is(err, provider.ErrNonsense):
		p.status = http.StatusBadGateway
	}
	return p
}

// completeIdentity asks userinfo, once, for what a rule or a user claim reads and the ID token lacks. The ID token's
// own claims win. It returns the names of what was added.
func (s *Server) completeIdentity(ctx context.Context, p LoginProvider, grant *provider.Grant) (added []string, err error) {
	if !p.WantsUserInfo(grant.Identity, s.frontend.NeededIdentity) {
		return nil, nil
	}
	info, err := p.UserInfo(ctx, grant.Access, grant.Subject)
	if errors.Is(err, provider.ErrRefused) { // the ID token alone must do: what reads more finds it absent
		s.log.WarnContext(ctx, "userinfo refuses the access token", "provider", p.Name(), "error", err)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("ask userinfo: %w", err)
	}
	joined := maps.Clone(grant.Identity)
	for name, value := range info {
		if _, said := joined[name]; !said {
			joined[name] = value
			added = append(added, name)
		}
	}
	grant.Identity = joined
	return added, nil
}

var errNotAllowed = errors.New("the provider's allow rule says no")

func (s *Server) mayEnter(p LoginProvider, grant provider.Grant) error {
	if p.Allow == nil {
		return nil
	}
	subject := exchange.SessionSubject(exchange.Evidence{
		Issuer: p.Issuer(), Subject: grant.Subject, AuthTime: grant.AuthTime, AccessExpires: grant.Expiry,
		Access: grant.AccessClaims, Scope: responseScope(grant.AccessClaims, grant.Scope), ID: grant.Identity,
	})
	subject.Session = nil // there is none yet
	yes, err := p.Allow.Holds(ruleContext(subject, s.now()))
	switch {
	case err != nil:
		return fmt.Errorf("allow of provider %s: %w", p.Name(), err)
	case !yes:
		return errNotAllowed
	}
	return nil
}

// open starts the session, under a new ticket, and ends the one that this browser had: it is replaced, never merged. The new
// one comes first: a store that fails in between must not leave a person with neither.
func (s *Server) open(w http.ResponseWriter, r *http.Request, p LoginProvider, t *transaction, grant provider.Grant, fromUserInfo []string) (*session.Session, error) {
	ctx := r.Context()
	older := []string{t.Older}
	found, _ := s.cookies.read(r)
	if ticket, _, ok := s.cookies.ticket(found); ok && ticket.ID() != t.Older {
		older = append(older, ticket.ID()) // of a sign-in that another tab finished meanwhile
	}
	ticket, begun, err := s.sessions.Start(ctx, session.Login{
		Provider: p.Name(), Issuer: p.Issuer(), Subject: grant.Subject, ProviderSID: grant.SID, AuthTime: grant.AuthTime, Begun: t.Started,
		Tokens: tokens(grant), Access: grant.AccessClaims, Identity: grant.Identity, FromUserInfo: fromUserInfo,
		UserAgent: r.UserAgent(), Address: s.proxies.client(r).String(),
	})
	if err != nil {
		return nil, fmt.Errorf("start session: %w", err)
	}
	for _, id := range older {
		if id == "" {
			continue
		}
		if err := s.hasEnded(ctx, s.sessions.End(ctx, id, replaced)); err != nil {
			s.takeBack(ctx, begun)
			return nil, fmt.Errorf("end the older session: %w", err)
		}
	}
	if err := s.cookies.setSession(w, ticket); err != nil {
		s.takeBack(ctx, begun)
		return nil, fmt.Errorf("set cookie: %w", err)
	}
	return begun, nil
}

// takeBack ends a session that nobody will have the cookie of. If it cannot, time does.
func (s *Server) takeBack(ctx context.Context, begun *session.Session) {
	if err := s.sessions.End(context.WithoutCancel(ctx), begun.ID, "revoked"); err != nil {
		s.log.WarnContext(ctx, "the session of a failed sign-in is left behind", "error", err)
	}
}

// notSignedIn writes the audit line of a sign-in that came to nothing: `login` where it failed, `login-refused` where a person
// was recognised and turned away.
func (s *Server) notSignedIn(r *http.Request, t *transaction, grant provider.Grant, event string, err error) {
	outcome := "failed"
	if event == "login-refused" {
		outcome = "refused"
	}
	s.records.notSignedIn(r.Context(), telemetry.Event{
		Name: event, Outcome: outcome, Provider: t.Provider, Issuer: s.providers[t.Provider].Issuer(), Subject: grant.Subject, Reason: err.Error(),
	})
}

// acrRemark tells the operator when a provider did not meet what was asked. It is no failure: acr_values is a wish
// (OpenID Connect Core section 3.1.2.1), and the upstream that needs it will see for itself.
func acrRemark(t *transaction, grant provider.Grant) string {
	if len(t.ACR) == 0 || slices.Contains(t.ACR, grant.Identity.Text("acr")) {
		return ""
	}
	return "none of the acr_values asked for was met"
}
