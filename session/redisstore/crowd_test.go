package redisstore

import (
	"bytes"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom/session"
)

// people makes sessions, each of a record that no other one has, as large as a usual one.
func people(t *testing.T, s *Store, many int) map[session.Key]session.Record {
	t.Helper()
	out := map[session.Key]session.Record{}
	for range many {
		key, r := newKey(), record(time.Hour)
		r.Info, r.Tokens = bytes.Repeat(key[:], 40), bytes.Repeat(key[:], 100)
		if err := s.Create(t.Context(), key, r, []session.Index{"everyone"}); err != nil {
			t.Fatal(err)
		}
		out[key] = r
	}
	return out
}

func same(a, b session.Record) bool {
	return a.Generation == b.Generation && bytes.Equal(a.Info, b.Info) && bytes.Equal(a.Tokens, b.Tokens)
}

// crowd is many callers who load sessions at once: what was not answered, how long each call took, how many were answered.
type crowd struct {
	mu       sync.Mutex
	errs     []error
	took     []time.Duration
	answered int
	all      sync.WaitGroup
}

// gather sets them to work until stop is closed. Whatever is answered must be the session asked for.
func gather(t *testing.T, s *Store, sessions map[session.Key]session.Record, many int, stop <-chan struct{}) *crowd {
	c := &crowd{}
	for range many {
		c.all.Go(func() {
			for {
				for key, want := range sessions {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					got, err := s.Load(t.Context(), key)
					c.mu.Lock()
					c.took = append(c.took, time.Since(began))
					if err != nil {
						c.errs = append(c.errs, err)
					} else {
						c.answered++
					}
					c.mu.Unlock()
					if err == nil && !same(got, want) {
						t.Errorf("session %v got the record of another one", key)
					}
					if err != nil && !errors.Is(err, session.ErrUnavailable) {
						t.Errorf("load: %v, want ErrUnavailable or an answer", err)
					}
					if err != nil {
						time.Sleep(time.Millisecond) // as a client that was told to come back, only sooner
					}
				}
			}
		})
	}
	return c
}

func (c *crowd) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.took)
}

func (c *crowd) percentile(p float64) time.Duration {
	slices.Sort(c.took)
	return c.took[int(p*float64(len(c.took)-1))]
}
