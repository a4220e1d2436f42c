package redisstore

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"
)

// oneReply is an error that Redis answered.
type oneReply struct{}

func (oneReply) Error() string { return "OOM" }
func (oneReply) RedisError()   {}

func TestCircuit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := 0
		c := &circuit{failed: func() { told++ }}
		down, asked := errors.New("connection refused"), 0
		call := func(result error) error {
			return c.pass(t.Context(), func(context.Context) error { asked++; return result })
		}
		want := func(when string, reached int) {
			t.Helper()
			if asked != reached {
				t.Errorf("%s: Redis was asked %d times, want %d", when, asked, reached)
			}
			asked = 0
		}
		for range tripsAt - 1 {
			_ = call(down)
		}
		_ = call(oneReply{})
		_ = call(down)
		want("failures with an answer between", tripsAt+1)
		for range 2 * tripsAt {
			_ = call(down)
		}
		want("failures in a row", tripsAt-1)
		if err := call(nil); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("while open: %v", err)
		}
		want("while open", 0)
		time.Sleep(probeEvery)
		_ = call(down)
		_ = call(down)
		want("a probe that fails", 1)
		time.Sleep(probeEvery)
		_ = call(context.Canceled)
		_ = call(redis.ErrPoolTimeout)
		want("probes that tell nothing", 2)
		_ = c.pass(t.Context(), func(ctx context.Context) error {
			asked++
			_ = call(nil)
			want("others during a probe", 1)
			return c.pass(ctx, func(context.Context) error { asked++; return nil })
		})
		want("what a probe does within", 1)
		if err := call(nil); err != nil {
			t.Errorf("after a probe that worked: %v", err)
		}
		if want := (tripsAt - 1) + tripsAt + 1; told != want {
			t.Errorf("told of %d failures, want %d", told, want)
		}
	})
}

func TestWhoGoesAwaySaysNothingAboutRedis(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	hurried := context.WithValue(t.Context(), impatient{}, true)
	for name, tt := range map[string]struct {
		ctx  context.Context
		err  error
		want verdict
	}{
		"an answer":                   {t.Context(), nil, worked},
		"an error for an answer":      {t.Context(), oneReply{}, worked},
		"nothing in time":             {t.Context(), context.DeadlineExceeded, broke},
		"nothing in less time":        {hurried, context.DeadlineExceeded, unknown},
		"refused, in less time":       {hurried, errors.New("connection refused"), broke},
		"the caller went away":        {ended, errors.New("use of closed connection"), unknown},
		"no connection free":          {t.Context(), redis.ErrPoolTimeout, unknown},
		"a node that left the server": {t.Context(), redis.ErrClosed, unknown},
	} {
		if got := judge(tt.ctx, tt.err); got != tt.want {
			t.Errorf("%s: %d, want %d", name, got, tt.want)
		}
	}
}
