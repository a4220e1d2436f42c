package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// circuit stands before one server, or before the one that Sentinels name. It keeps a Redis that hangs from costing every
// request its timeout: after some failures without a success between, all but a probe now and then fail at once.
type circuit struct {
	failed func() // told of each failure; nil: nobody needs to know

	mu       sync.Mutex
	failures int // in a row
	last     string
	probe    time.Time // when open: not before that
	probing  bool
}

const (
	tripsAt    = 5
	probeEvery = 200 * time.Millisecond
)

type verdict int

const (
	unknown verdict = iota // whoever asked went away, or there was no connection free
	worked
	broke
)

// impatient marks a context that ends before an operation's time is over: then its end says nothing about Redis.
type impatient struct{}

func judge(ctx context.Context, err error) verdict {
	var reply redis.Error
	var slow net.Error
	switch {
	case err == nil || errors.As(err, &reply):
		return worked
	case errors.Is(err, redis.ErrPoolTimeout), errors.Is(err, redis.ErrClosed), errors.Is(err, context.Canceled), errors.Is(ctx.Err(), context.Canceled):
		return unknown
	case ctx.Value(impatient{}) != nil && (errors.Is(err, context.DeadlineExceeded) || errors.As(err, &slow) && slow.Timeout()):
		return unknown
	}
	return broke
}

// noAnswer is an error that the library's cluster client does not take for a reason to send the command again: it may have
// been carried out.
type noAnswer struct{ text string }

func (e noAnswer) Error() string { return e.text }

// within marks the context of what a circuit let pass. The library greets a server on a new connection by commands of their
// own, which come by here too.
type within struct{}

func (c *circuit) pass(ctx context.Context, do func(context.Context) error) error {
	if ctx.Value(within{}) == c {
		return do(ctx)
	}
	probe, err := c.enter()
	if err != nil {
		return err
	}
	v := unknown
	defer func() { c.leave(probe, v, err) }()
	err = do(context.WithValue(ctx, within{}, c))
	v = judge(ctx, err)
	if v == worked || errors.Is(err, redis.ErrClosed) { // by ErrClosed it learns that a node has left the cluster
		return err
	}
	return noAnswer{err.Error()}
}

func (c *circuit) enter() (probe bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failures < tripsAt {
		return false, nil
	}
	if c.probing || time.Now().Before(c.probe) {
		return false, noAnswer{fmt.Sprintf("not asked: it failed %d times in a row, last with: %s", c.failures, c.last)}
	}
	c.probing = true
	return true, nil
}

func (c *circuit) leave(probe bool, v verdict, err error) {
	c.mu.Lock()
	if probe {
		c.probing = false
	}
	switch v {
	case worked:
		c.failures = 0
	case broke:
		c.failures++
		c.last, c.probe = err.Error(), time.Now().Add(probeEvery)
	}
	c.mu.Unlock()
	if v == broke && c.failed != nil {
		c.failed()
	}
}

// DialHook implements redis.Hook.
func (c *circuit) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (c *circuit) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		return c.pass(ctx, func(ctx context.Context) error { return next(ctx, cmd) })
	}
}

// ProcessPipelineHook implements redis.Hook.
func (c *circuit) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return c.pass(ctx, func(ctx context.Context) error { return next(ctx, cmds) })
	}
}
