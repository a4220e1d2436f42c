package redisstore

import (
	"context"
	"time"

	"cloakroom/session"
)

func (s *Store) lease(key session.Key) string { return s.prefix + "lease:{" + key.String() + "}" }

// Acquire implements session.Store.
func (s *Store) Acquire(ctx context.Context, key session.Key, holder []byte, ttl time.Duration) (mine bool, err error) {
	err = s.do(ctx, "acquire", func(ctx context.Context) error {
		answer, err := acquireScript.Run(ctx, s.client, []string{s.lease(key)}, holder, max(ttl.Milliseconds(), 1)).Int()
		mine = answer == 1
		return err
	})
	return mine, err
}

// Release implements session.Store.
func (s *Store) Release(ctx context.Context, key session.Key, holder []byte) error {
	return s.do(ctx, "release", func(ctx context.Context) error {
		return releaseScript.Run(ctx, s.client, []string{s.lease(key)}, holder).Err()
	})
}
