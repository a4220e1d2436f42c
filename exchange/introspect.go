package exchange

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom/secret"
	"cloakroom/token"
)

// Revocations remembers which tokens of ours were revoked before they ended.
type Revocations interface {
	// Revoke marks a `jti`, until the token would have ended.
	Revoke(ctx context.Context, id string, until time.Time) error
	// IsRevoked tells whether it was marked; an error means that it cannot tell.
	IsRevoked(ctx context.Context, id string) (bool, error)
}

// Introspect returns the claims of a live token of our own that is for one of the client's subject_audiences, nil for
// everything else (RFC 7662 section 2.2): who asks about a token that is not for it learns nothing. An error means that
// it cannot be told, or that the client is not configured.
func (s *Service) Introspect(ctx context.Context, client string, raw secret.Text) (token.Claims, error) {
	rights := s.cfg.Policy.clients[client]
	if rights == nil {
		return nil, refuse(InvalidClient, "client authentication failed", "client: not configured")
	}
	presented, err := token.Read(raw.Reveal())
	if err != nil {
		return nil, nil
	}
	claims, _, err := s.own(ctx, presented, rights.SubjectAudiences)
	switch {
	case err == nil:
	case unacceptable(err), errors.Is(err, ErrSessionGone):
		return nil, nil
	default:
		return nil, cannotTell(fmt.Errorf("introspect: %w", err))
	}
	// Verify lets a token live on for the clocks' sake; whoever asks is told by ours.
	if ends, ok := claims.Time("exp"); !ok || !s.cfg.Now().Before(ends) {
		return nil, nil
	}
	return claims, nil
}

// CanRevoke tells whether tokens can be revoked here.
func (s *Service) CanRevoke() bool { return s.cfg.Revoked != nil }

// Revoke ends a token before its time (RFC 7009). A token that is not ours, or not alive, is no error: it is as good as
// revoked. A client may revoke only what was issued to it.
func (s *Service) Revoke(ctx context.Context, client string, raw secret.Text) error {
	if s.cfg.Revoked == nil {
		return &Error{Code: ServerError, Description: "revocation is not available", Err: errors.New("no revocations configured")}
	}
	_, claims, err := token.Verify(ctx, raw.Reveal(), s.rules(nil), s.cfg.Keys, s.cfg.Now())
	if unacceptable(err) {
		return nil
	}
	if err != nil {
		return cannotTell(fmt.Errorf("revoke: %w", err))
	}
	if claims.Text("client_id") != client {
		return refuse(UnauthorizedClient, "a client may revoke only its own tokens", "revoke: issued to another client")
	}
	ends, _ := claims.Time("exp")
	if err := s.cfg.Revoked.Revoke(ctx, claims.Text("jti"), ends.Add(ownSkew)); err != nil {
		return cannotTell(fmt.Errorf("revoke: %w", err))
	}
	return nil
}
