package memstore

import (
	"bytes"
	"context"
	"sync"
)

// hearer is one subscription. Messages wait for it: nobody is held up by one that is slow.
type hearer struct {
	mu      sync.Mutex
	waiting [][]byte
	more    chan struct{} // holds something while there may be messages
}

// Publish implements session.Store.
func (s *Store) Publish(ctx context.Context, message []byte) error {
	defer s.lock()()
	if err := alive(ctx); err != nil {
		return err
	}
	message = bytes.Clone(message)
	for h := range s.hearers {
		h.hear(message)
	}
	return nil
}

// Subscribe implements session.Store.
func (s *Store) Subscribe(ctx context.Context, joined func(), heard func(message []byte)) error {
	if err := alive(ctx); err != nil {
		return err
	}
	h := &hearer{more: make(chan struct{}, 1)}
	s.enter(h)
	defer s.leave(h)
	joined()
	for {
		select {
		case <-ctx.Done():
			return alive(ctx)
		case <-h.more:
		}
		for _, message := range h.take() {
			heard(message)
		}
	}
}

func (s *Store) enter(h *hearer) {
	defer s.lock()()
	s.hearers[h] = struct{}{}
}

func (s *Store) leave(h *hearer) {
	defer s.lock()()
	delete(s.hearers, h)
}

func (h *hearer) hear(message []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = append(h.waiting, message)
	select {
	case h.more <- struct{}{}:
	default:
	}
}

func (h *hearer) take() [][]byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	messages := h.waiting
	h.waiting = nil
	return messages
}
