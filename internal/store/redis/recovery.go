package redis

import (
	"context"
	"sync"
)

// recovery is what is to be done when the servers answer again, before reads are let through: invalidations that could not
// be delivered go first.
type recovery struct {
	mu sync.Mutex // guards f
	f  func(context.Context)
}

// Recovered names what is called when the store answers again after it did not.
func (s *Store) Recovered(f func(context.Context)) {
	s.recovery.mu.Lock()
	defer s.recovery.mu.Unlock()
	s.recovery.f = f
}
