package provider

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"cloakroom/token"
)

const (
	keysFresh    = time.Hour        // older ones are fetched anew before use
	keysStale    = 24 * time.Hour   // and serve this long while they cannot be fetched (security.md B3.5)
	keysInterval = 10 * time.Second // between two fetches for key ids nobody knows (B3.4), and after a failure
)

// keySet is the provider's key set as it was last fetched. It implements token.Keys.
type keySet struct {
	now   func() time.Time
	fetch func(ctx context.Context) (token.Keys, error)

	mu      sync.Mutex
	set     *fetched  // nil: never had
	loading *fetching // nil: no fetch under way
	failure error     // of the last fetch, nil when it succeeded
	failed  time.Time // when that was
	unknown time.Time // the last time that somebody asked, in vain, for a key of a set just fetched, or had it fetched
}

type fetched struct {
	keys token.Keys
	at   time.Time
}

type fetching struct {
	done chan struct{} // closed when err is there
	err  error
}

// Candidates returns the keys a token of that key id and algorithm may be signed with. It returns token.ErrUnknownKey
// when the provider has none such, and an error that wraps token.ErrUnavailable when that cannot be told now.
func (s *keySet) Candidates(ctx context.Context, kid, alg string) ([]jose.JSONWebKey, error) {
	set, asked, err := s.current(ctx)
	if err != nil {
		return nil, err
	}
	found, err := set.keys.Candidates(ctx, kid, alg)
	if !errors.Is(err, token.ErrUnknownKey) {
		return found, err
	}
	if set, err = s.newer(ctx, set, asked); err != nil {
		return nil, err
	}
	return set.keys.Candidates(ctx, kid, alg)
}

// warm makes sure that there are keys at all. It is called before a code or refresh token is spent on an answer that
// could then not be verified.
func (s *keySet) warm(ctx context.Context) error {
	_, _, err := s.current(ctx)
	return err
}

// current returns keys that may serve, fetching them when there are none or they are old; asked tells that it did. It
// fails only when there are none.
func (s *keySet) current(ctx context.Context) (set *fetched, asked bool, err error) {
	s.mu.Lock()
	set = s.set
	now, failure := s.now(), s.failure
	if set != nil && now.Sub(set.at) < keysFresh {
		s.mu.Unlock()
		return set, false, nil
	}
	pause := keysInterval
	if set == nil {
		pause = retryFloor
	}
	if failure == nil || now.Sub(s.failed).Abs() >= pause {
		load := s.load(ctx)
		s.mu.Unlock()
		if failure = load.wait(ctx); failure == nil {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.set, true, nil
		}
	} else {
		s.mu.Unlock()
	}
	if set != nil && now.Sub(set.at) < keysStale {
		return set, false, nil
	}
	return nil, false, fmt.Errorf("%w: %w", token.ErrUnavailable, failure)
}

// newer is for a key id that the set does not have: the provider may have changed its keys. All who ask for unknown ones
// draw on the same allowance, so a flood of them makes one fetch in ten seconds. A set that was fetched for this very
// question is as new as the next would be.
func (s *keySet) newer(ctx context.Context, than *fetched, asked bool) (*fetched, error) {
	s.mu.Lock()
	if s.set != than {
		defer s.mu.Unlock()
		return s.set, nil
	}
	now, load := s.now(), s.loading
	switch {
	case asked:
		s.unknown = now
	case load == nil && (s.unknown.IsZero() || now.Sub(s.unknown).Abs() >= keysInterval):
		s.unknown = now
		load = s.load(ctx)
	}
	failure := s.failure
	s.mu.Unlock()
	if load == nil && failure == nil {
		return than, nil // there is no such key
	}
	if load != nil {
		failure = load.wait(ctx)
	}
	if failure != nil { // it may well be a new key
		return nil, fmt.Errorf("%w: %w", token.ErrUnavailable, failure)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set, nil
}

// load joins the fetch under way, or starts one that no caller can cancel. The caller holds the lock.
func (s *keySet) load(ctx context.Context) *fetching {
	if s.loading != nil {
		return s.loading
	}
	load := &fetching{done: make(chan struct{})}
	s.loading = load
	go func(ctx context.Context) { // ends with the request, which the client bounds
		keys, err := s.fetch(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.failure, s.loading = err, nil; err != nil {
			s.failed = s.now()
		} else {
			s.set = &fetched{keys, s.now()}
		}
		load.err = err
		close(load.done)
	}(context.WithoutCancel(ctx))
	return load
}

func (f *fetching) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.done:
		return f.err
	}
}

// fetchKeys asks the provider for its key set.
func (p *Provider) fetchKeys(ctx context.Context) (token.Keys, error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := p.askKeys(ctx, m.endpoints[EndpointJWKS])
	p.ended(ctx, EndpointJWKS, err)
	return keys, err
}

func (p *party) askKeys(ctx context.Context, endpoint string) (token.Keys, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint, nil)
	if err != nil {
		return nil, p.failed(EndpointJWKS, err)
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	a, err := p.client.do(ctx, EndpointJWKS, r)
	if err != nil {
		return nil, p.failed(EndpointJWKS, err)
	}
	keys, err := token.ParseJWKS(a.body)
	if err != nil {
		return nil, p.fail(ErrNonsense, EndpointJWKS, "not a key set, or no usable key in it")
	}
	return keys, nil
}
