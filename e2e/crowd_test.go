package e2e

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd is people who ask at once, and what they were answered.
type crowd struct {
	mu      sync.Mutex
	all     sync.WaitGroup
	end     context.CancelFunc
	replies map[int][]reply // by status
}

// gather has so many workers do the same again and again until stop.
func gather(t *testing.T, workers int, do func(ctx context.Context, worker int) reply) *crowd {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	c := &crowd{end: cancel, replies: map[int][]reply{}}
	for n := range workers {
		c.all.Go(func() {
			for ctx.Err() == nil {
				a := do(ctx, n)
				if a.err != nil && ctx.Err() != nil {
					return
				}
				c.add(a)
			}
		})
	}
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *crowd) add(a reply) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replies[a.status] = append(c.replies[a.status], a)
}

func (c *crowd) stop() {
	c.end()
	c.all.Wait()
}

// so is how many answers there were so far.
func (c *crowd) so() (far int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, some := range c.replies {
		far += len(some)
	}
	return far
}

// only stops it and complains of every answer of another status, or that is not as it should be.
func (c *crowd) only(t *testing.T, good func(reply) bool, statuses ...int) {
	t.Helper()
	c.stop()
	complaints := 0
	for status, some := range c.replies {
		for _, a := range some {
			if slices.Contains(statuses, status) && good(a) {
				continue
			}
			if complaints++; complaints < 4 {
				t.Errorf("an answer: %s", a)
			}
		}
	}
	if complaints > 0 {
		t.Errorf("%d bad answers of %s", complaints, c.summary())
	}
}

func (c *crowd) summary() string {
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(c.replies)) {
		parts = append(parts, fmt.Sprintf("%d × %d", len(c.replies[status]), status))
	}
	return strings.Join(parts, ", ")
}

// took is how long all of them took, the shortest first.
func took(some []reply) []time.Duration {
	var all []time.Duration
	for _, a := range some {
		all = append(all, a.took)
	}
	slices.Sort(all)
	return all
}

func (c *crowd) everything() (all []reply) {
	for _, some := range c.replies {
		all = append(all, some...)
	}
	return all
}
