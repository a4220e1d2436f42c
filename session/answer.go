package session

import (
	"context"
	"errors"
	"fmt"
)

// keep writes the renewed session over the generation that it came from, and over no other.
func (r *renewal) keep(was, next *Session) (*Session, error) {
	ctx, cancel := r.work.detached(r.ctx, storeTime) // the provider has answered: this has a time of its own
	defer cancel()
	// When it is idle, the store judges: there may have been activity since it was read.
	if !r.now().Before(next.Expires) { // the provider's own session is over
		r.orphaned(next)
		if _, err := r.end(ctx, r.key, nil, reasonExpired); hasEnded(err) != nil {
			return nil, err
		}
		return nil, ErrNotFound
	}
	record, err := r.keys().envelopes.seal(r.key, r.ticket, next, was.IdleExpires)
	if err != nil {
		return r.notRenewed(was, err)
	}
	err = r.replace(ctx, was.Generation, record)
	switch {
	case err == nil:
		r.kept(ctx)
		return next, nil
	case errors.Is(err, ErrNotFound):
		r.orphaned(next)
		return nil, ErrNotFound // it was ended meanwhile, and stays ended
	case errors.Is(err, ErrConflict):
		r.cache.drop(r.key)
		return r.load(ctx, r.key, &r.ticket, whole)
	}
	// The provider may have made the old refresh token invalid, so these tokens are all there is: they are served from
	// here while the store is tried again, and nobody else gets the lease.
	r.unsaved.put(r.key, was.Generation, next)
	r.cache.drop(r.key)
	r.notKept(ctx, next, err)
	r.work.goOn()
	go r.save(r.lease, was.Generation, next, record, err)
	r.lease = nil
	return next, nil
}

// kept is what follows when the store has the next generation.
func (r *renewal) kept(ctx context.Context) {
	r.pauses.end(r.key)
	r.noteRenewed(r.key)
	_ = r.tell(ctx, message{kind: renewedMessage, key: r.key}) // or they find out when they read it
}

// orphaned hands back tokens whose session has ended: nobody will ever use them.
func (r *renewal) orphaned(next *Session) { r.revokeLater(r.ctx, next.Provider, next.Tokens.Refresh) }

// save tries to write what the store did not take because of err, for as long as saveTime.
func (r *renewal) save(held *lease, was uint64, next *Session, record Record, err error) {
	defer r.work.done()
	defer held.release(r.ctx)
	defer r.unsaved.drop(r.key)
	ctx, cancel := r.work.detached(r.ctx, saveTime)
	defer cancel()
	for pause := firstPause; wait(ctx, pause); pause = min(2*pause, longPause) {
		err = r.replace(ctx, was, record)
		switch {
		case err == nil, errors.Is(err, ErrConflict): // this very write, whose answer got lost, or somebody's later one
			r.kept(ctx)
			return
		case errors.Is(err, ErrNotFound):
			r.orphaned(next)
			return
		}
	}
	r.failed(ctx, next, fmt.Errorf("renewed tokens were not kept: %w", cannotTell(err)))
}

// replace is one attempt, with a time of its own, so that a store that hangs leaves time for others. What has ended stays
// ended, whatever a store says that failed over meanwhile.
func (r *renewal) replace(ctx context.Context, was uint64, record Record) error {
	if _, ended := r.graves.reason(r.key); ended {
		return ErrNotFound
	}
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	return r.store.Replace(ctx, r.key, was, record)
}

// notRenewed is what becomes of a session whose renewal failed.
func (r *renewal) notRenewed(was *Session, cause error) (*Session, error) {
	ctx, cancel := r.work.detached(r.ctx, storeTime)
	defer cancel()
	refused := errors.Is(cause, ErrRefused)
	if refused && was.intent.by != "" {
		cause = fmt.Errorf("after a renewal whose answer got lost: %w", cause)
	}
	r.failed(ctx, was, cause)
	if !refused {
		r.pauses.begin(r.key, cause)
		if !uncertain(cause) {
			_ = r.rewrite(ctx, was) // with the intent it had; otherwise whoever tries next waits in vain for a moment
		}
		return nil, cause
	}
	// What was refused may be a token that somebody used up since it was read.
	s, err := r.load(ctx, r.key, &r.ticket, whole)
	if err != nil {
		return nil, err
	}
	if s.Generation != was.Generation {
		return s, nil
	}
	if _, err := r.end(ctx, r.key, nil, reasonRefused); hasEnded(err) != nil {
		return nil, err
	}
	return nil, fmt.Errorf("%w: %w", ErrNotFound, cause)
}
