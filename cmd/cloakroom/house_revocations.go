package main

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"cloakroom/session"
)

// revocations remembers in the sessions' store which minted tokens were revoked: there every replica sees it at once, and
// no longer than the token would have lived.
type revocations struct {
	store session.Store
	now   func() time.Time
}

func (r revocations) Revoke(ctx context.Context, id string, until time.Time) error {
	now := r.now()
	if !until.After(now) {
		return nil
	}
	return r.store.Bury(ctx, graveOf(id), now, until.Sub(now))
}

func (r revocations) IsRevoked(ctx context.Context, id string) (bool, error) {
	at, err := r.store.Buried(ctx, []session.Index{graveOf(id)})
	return !at.IsZero(), err
}

// graveOf names a token by its `jti`, apart from all that the sessions bury.
func graveOf(id string) session.Index {
	sum := sha256.Sum256([]byte("revoked token " + id))
	return session.Index(base64.RawURLEncoding.EncodeToString(sum[:]))
}
