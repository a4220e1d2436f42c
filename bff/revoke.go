package bff

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"cloakroom/provider"
	"cloakroom/secret"
)

// Revoker is session.Config.Revoke: it hands refresh tokens back to the providers they came from.
func Revoker(providers []*provider.Provider, log *slog.Logger) func(ctx context.Context, name string, refresh secret.Text) {
	return func(ctx context.Context, name string, refresh secret.Text) {
		for _, p := range providers {
			if p.Name() == name {
				revoke(ctx, log, p, refresh)
			}
		}
	}
}

// revokeLater tells the provider that a refresh token is of no more use, without keeping the browser waiting.
func (s *Server) revokeLater(p LoginProvider, refresh secret.Text) {
	if refresh != "" {
		s.later(func(ctx context.Context) { revoke(ctx, s.log, p.Provider, refresh) })
	}
}

// revokePauses stand before each attempt to revoke: the provider may be down, which must not keep anyone from signing out.
var revokePauses = []time.Duration{0, time.Second, 5 * time.Second}

// revoke tells the provider that a refresh token is of no more use (RFC 7009), a few times.
func revoke(ctx context.Context, log *slog.Logger, p *provider.Provider, refresh secret.Text) {
	for _, pause := range revokePauses {
		select {
		case <-ctx.Done():
			log.WarnContext(ctx, "refresh token not revoked", "provider", p.Name(), "error", ctx.Err())
			return
		case <-time.After(pause):
		}
		err := p.Revoke(ctx, refresh)
		if err == nil {
			return
		}
		log.WarnContext(ctx, "revoke refresh token", "provider", p.Name(), "error", err)
		if !errors.Is(err, provider.ErrUnavailable) {
			return // it would say the same again
		}
	}
}
