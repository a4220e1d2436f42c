package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"cloakroom/session"
)

func (s *Store) channel() string { return s.prefix + "events" }

// Publish implements session.Store. It takes the way of every other operation: that it works proves that they do.
func (s *Store) Publish(ctx context.Context, message []byte) error {
	return s.do(ctx, "publish", func(ctx context.Context) error {
		node, err := s.node(ctx)
		if err != nil {
			return err
		}
		return node.Publish(ctx, s.channel(), message).Err()
	})
}

// node is the server to publish at. Any node of a cluster would do, but only what is said at one node is heard in order.
func (s *Store) node(ctx context.Context) (redis.Cmdable, error) {
	if c, ok := s.client.(*redis.ClusterClient); ok {
		return c.MasterForKey(ctx, s.channel())
	}
	return s.client, nil
}

// silent is how long a subscription is heard nothing of before it is asked whether it lives, and again before it is given up.
const silent = time.Second

var errLost = errors.New("the connection was lost")

// Subscribe implements session.Store, over a connection of its own.
func (s *Store) Subscribe(ctx context.Context, joined func(), heard func(message []byte)) error {
	if err := s.listen(ctx, joined, heard); ctx.Err() == nil {
		return fmt.Errorf("redis subscribe: %w: %w", session.ErrUnavailable, err)
	}
	return ctx.Err()
}

// listen never lets the library connect again by itself: what was said meanwhile would be missing, and nobody would know.
func (s *Store) listen(ctx context.Context, joined func(), heard func([]byte)) error {
	sub := s.client.Subscribe(ctx) // to nothing: it does not connect yet
	defer func() { _ = sub.Close() }()
	opening, cancel := context.WithTimeout(ctx, s.timeout)
	err := sub.Subscribe(opening, s.channel())
	cancel()
	if err != nil {
		return err
	}
	var last atomic.Int64 // when something was heard
	last.Store(time.Now().UnixNano())
	watching, stop := context.WithCancel(ctx)
	defer stop()
	go s.watch(watching, sub, &last)
	for begun := false; ; {
		message, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		last.Store(time.Now().UnixNano())
		switch m := message.(type) {
		case *redis.Subscription:
			if begun {
				return errLost
			}
			begun = true
			joined()
		case *redis.Message:
			heard([]byte(m.Payload))
		}
	}
}

// watch closes a subscription that is over or that does not answer, which ends the wait for its next message.
func (s *Store) watch(ctx context.Context, sub *redis.PubSub, last *atomic.Int64) {
	ticker := time.NewTicker(silent)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			_ = sub.Close()
			return
		case <-ticker.C:
		}
		switch quiet := time.Since(time.Unix(0, last.Load())); {
		case quiet >= 3*silent:
			_ = sub.Close()
			return
		case quiet >= silent:
			asking, cancel := context.WithTimeout(ctx, s.timeout)
			_ = sub.Ping(asking) // a failure breaks the connection, and so the wait
			cancel()
		}
	}
}
