package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// renewal is one renewal of the generation of a session that a caller saw. It goes on when the caller has gone.
//
// The provider may take each refresh token only once, and end everything when it sees one again. So: one replica at a time
// (a lease), which reads the session again before it asks; a note in the record before it asks (the intent), so that
// another one that finds itself with the lease all the same, because the store lost it or this replica did not get
// through, waits first; the answer written over the generation it came from and no other; and where the store does not
// take the answer, the answer kept and served from here, and the lease with it.
type renewal struct {
	*Manager
	ctx    context.Context // of the caller, for its values
	ticket Ticket
	key    Key
	seen   uint64 // generation
	lease  *lease // nil where another replica has it, or who saves the answer
}

// intent is what a record says of a renewal that was begun. It goes with the next generation, or with an answer that
// settles that there is none.
type intent struct {
	by    string    // the lease's holder; "": there is none
	until time.Time // when the answer has been written, or will not be
}

const (
	pollPause = 250 * time.Millisecond
	patience  = longPause + time.Second // with an intent that is over: who has the answer tries to write it this often
)

var errElsewhere = fmt.Errorf("%w: another replica has not finished renewing", ErrUnavailable)

func (m *Manager) renew(ctx context.Context, t Ticket, seen uint64) (*Session, error) {
	if !m.work.begin() {
		return nil, errClosing
	}
	defer m.work.done()
	r := &renewal{Manager: m, ctx: ctx, ticket: t, key: t.key(), seen: seen}
	defer func() {
		if r.lease != nil {
			r.lease.release(r.ctx)
		}
	}()
	s, done, err := r.turn()
	if err != nil || done {
		return s, err
	}
	return r.run(s)
}

// turn waits until this replica has the lease, and returns the session as it is then; done where somebody else has renewed
// it meanwhile.
func (r *renewal) turn() (s *Session, done bool, err error) {
	ctx, cancel := r.work.detached(r.ctx, r.turnTime())
	defer cancel()
	if s, done, err = r.look(ctx); err != nil || done {
		return s, done, err
	}
	changes, stop := r.Watch(r.key.String())
	defer stop()
	for {
		if r.lease, err = r.acquire(ctx, r.key); err != nil {
			return nil, false, err
		}
		if r.lease != nil {
			return r.lookUnder(ctx, changes)
		}
		if !r.pause(ctx, changes) {
			return nil, false, errElsewhere
		}
		if s, done, err = r.look(ctx); err != nil || done {
			return s, done, err
		}
	}
}

// turnTime is enough for another replica's renewal, and for finding that it came to nothing.
func (m *Manager) turnTime() time.Duration { return leaseLasts + 3*m.intentLasts() }

// intentLasts is how long asking once and writing the answer takes at most, where the store takes it.
func (m *Manager) intentLasts() time.Duration { return m.timeout + storeTime }

// look reads the session anew and tells whether there is nothing to do.
func (r *renewal) look(ctx context.Context) (s *Session, done bool, err error) {
	s, err = r.load(ctx, r.key, &r.ticket, whole)
	if err != nil {
		return nil, false, err
	}
	return s, s.Generation != r.seen || !s.Refreshable || r.unsaved.has(r.key), nil
}

// lookUnder is look with the lease. Where the record says that another replica is at it, it has lost the lease or its
// life: its answer is waited for.
func (r *renewal) lookUnder(ctx context.Context, changes <-chan Change) (*Session, bool, error) {
	s, done, err := r.look(ctx)
	if err != nil || done || s.intent.by == "" || r.isOurs(s.intent.by) {
		return s, done, err
	}
	// By this replica's clock alone, should the other's differ.
	left := min(max(s.intent.until.Sub(r.now()), patience), r.intentLasts())
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	for r.pause(waiting, changes) {
		if s, done, err = r.look(ctx); err != nil || done {
			return s, done, err
		}
	}
	if ctx.Err() != nil {
		return nil, false, errElsewhere
	}
	return r.look(ctx)
}

// pause waits a moment, or until something is heard of the session. It is false when ctx ended.
func (r *renewal) pause(ctx context.Context, changes <-chan Change) bool {
	timer := time.NewTimer(pollPause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case _, open := <-changes:
		if open {
			return true
		}
		// It has ended, which the next look tells.
		return wait(ctx, firstPause)
	case <-timer.C:
		return true
	}
}

// run renews what turn returned, with the lease. One answer that got lost is asked for once more.
func (r *renewal) run(s *Session) (*Session, error) {
	gate := r.gates.of(s.Provider)
	leave, waited, err := r.enter(gate)
	if err != nil {
		return nil, err
	}
	defer leave()
	if waited {
		next, done, err := r.lookAgain()
		switch {
		case err != nil || done:
			return next, err
		case next.intent.by != s.intent.by: // the lease was lost meanwhile
			return nil, errElsewhere
		}
		s = next
	}
	if err := gate.pass(); err != nil {
		return nil, err
	}
	again := s.intent.by == "" // otherwise this is the second time already
	for {
		if err := r.intend(s); err != nil {
			return nil, err
		}
		answer, err := r.ask(s, gate)
		if err == nil {
			return r.keep(s, s.with(answer, r.now().Truncate(time.Millisecond)))
		}
		if !again || !uncertain(err) || r.work.ctx.Err() != nil {
			return r.notRenewed(s, err)
		}
		again = false
		next, done, failed := r.lookAgain()
		if failed != nil {
			return r.notRenewed(s, errors.Join(err, failed))
		}
		if done {
			return next, nil
		}
		s = next
	}
}

// enter waits for a place at the gate. It comes last: whoever waits for another replica keeps nobody from the provider.
func (r *renewal) enter(g *gate) (leave func(), waited bool, err error) {
	ctx, cancel := r.work.detached(r.ctx, r.turnTime())
	defer cancel()
	return g.enter(ctx)
}

// intend notes in the record that the provider is about to be asked.
func (r *renewal) intend(s *Session) error {
	ctx, cancel := r.work.detached(r.ctx, storeTime)
	defer cancel()
	marked := *s
	marked.intent = intent{by: r.lease.holder, until: r.now().Add(r.intentLasts())}
	err := r.rewrite(ctx, &marked)
	if errors.Is(err, ErrConflict) {
		return errElsewhere
	}
	return err
}

// rewrite writes the session over its own generation.
func (r *renewal) rewrite(ctx context.Context, s *Session) error {
	record, err := r.keys().envelopes.seal(r.key, r.ticket, s, s.IdleExpires)
	if err != nil {
		return err
	}
	err = r.store.Replace(ctx, r.key, s.Generation, record)
	if err == nil || errors.Is(err, ErrConflict) {
		return err
	}
	return cannotTell(err)
}

func (r *renewal) ask(s *Session, g *gate) (Renewal, error) {
	ctx, cancel := r.work.detached(r.ctx, r.timeout)
	defer cancel()
	answer, err := r.refresh(ctx, s)
	g.heard(err)
	if err == nil && answer.Tokens.Access == "" {
		err = errors.New("renewal without an access token")
	}
	return answer, err
}

// lookAgain is look once more with the lease, if it still is ours: it may have ended while the provider did not answer.
func (r *renewal) lookAgain() (s *Session, done bool, err error) {
	ctx, cancel := r.work.detached(r.ctx, storeTime)
	defer cancel()
	mine, err := r.store.Acquire(ctx, r.key, []byte(r.lease.holder), leaseLasts)
	if err != nil {
		return nil, false, cannotTell(err)
	}
	if !mine {
		return nil, false, errElsewhere
	}
	return r.look(ctx)
}
