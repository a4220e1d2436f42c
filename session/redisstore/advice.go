package redisstore

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// askAgain is how often Advise asks a Redis that does not answer.
const askAgain = 2 * time.Second

// Advise asks Redis, as soon as it answers, whether it is set up to keep sessions, and tells what is wrong with it and what
// would be right. It ends when that is known, or with ctx.
func (s *Store) Advise(ctx context.Context, warn func(problem, remedy string)) {
	ticker := time.NewTicker(askAgain)
	defer ticker.Stop()
	for {
		problem, remedy, err := s.advice(ctx)
		if err == nil {
			if problem != "" {
				warn(problem, remedy)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// noEviction is the only policy under which a Redis that is full refuses what is new instead of dropping what it has.
const noEviction = "noeviction"

func (s *Store) advice(ctx context.Context) (problem, remedy string, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	var policies sync.Map // of the nodes
	ask := func(ctx context.Context, c *redis.Client) error {
		info, err := c.Info(ctx, "memory").Result()
		if err != nil {
			return err
		}
		policies.Store(policy(info), true)
		return nil
	}
	switch c := s.client.(type) {
	case *redis.ClusterClient:
		err = c.ForEachMaster(ctx, ask)
	case *redis.Client:
		err = ask(ctx, c)
	}
	if redis.IsPermissionError(err) || redis.HasErrorPrefix(err, "ERR unknown command") {
		return "Redis does not tell its maxmemory-policy: " + err.Error(), "allow its user INFO, or make sure that the policy is " + noEviction, nil
	}
	if err != nil {
		return "", "", err
	}
	policies.Range(func(name, _ any) bool {
		if name != noEviction {
			problem = fmt.Sprintf("Redis has maxmemory-policy %s: when it is full it drops sessions", name)
			remedy = "set maxmemory-policy to " + noEviction
		}
		return problem == ""
	})
	return problem, remedy, nil
}

// policy reads what INFO says.
func policy(info string) string {
	for line := range strings.Lines(info) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:"); ok {
			return name
		}
	}
	return "unknown"
}
