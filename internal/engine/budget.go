package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/workers"
)

// defaultBudget is the budget over a store that has none of its own.
const defaultBudget = 25 * time.Millisecond

// budget returns how long one step of a read waits for the store: a look, a claim or a fill, of one key or of one piece of a
// batch (pieces.go). A read that misses takes at most three steps, so it waits for at most three budgets besides its load. If the
// look is not answered, the other two are left out.
func (s *Shared) budget() time.Duration { return s.steps().After() }

// step returns a context for one step that begins now. It does not end with a caller.
func (s *Shared) step() context.Context { return s.steps().From(time.Now()) }

// steps returns the deadlines of the budget that holds now. The budget is that of Shared, or the store's own, which grows with
// the round trip.
func (s *Shared) steps() *workers.Deadlines {
	d := s.budgets.Load()
	if s.paced == nil || s.Budget > 0 {
		return d
	}
	now := s.paced.Budget()
	if now == d.After() {
		return d
	}
	fresh := s.newSteps(now)
	if s.budgets.CompareAndSwap(d, fresh) {
		return fresh
	}
	return s.budgets.Load()
}

// follow learns whether the store is at a distance.
func (s *Shared) follow(st store.Store) { s.paced, _ = st.(store.Paced) }

// ownBudget returns the budget where none is set.
func (s *Shared) ownBudget() time.Duration {
	if s.paced == nil {
		return defaultBudget
	}
	return s.paced.Budget()
}

// newSteps returns deadlines of a budget. Time in which this process did not run is not counted, where the store knows of it.
func (s *Shared) newSteps(budget time.Duration) *workers.Deadlines {
	if s.paced == nil {
		return workers.NewDeadlines(context.Background(), budget, nil)
	}
	return workers.NewPatientDeadlines(budget, s.paced.Ran)
}
