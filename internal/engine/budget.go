package engine

import (
	"cmp"
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// defaultBudget is the budget over a store that has none of its own.
const defaultBudget = 25 * time.Millisecond

// budget returns how long one step of a read waits for the store: a look, a claim or a fill, of one key or of one piece of a
// batch (pieces.go). A read that misses takes all three steps, so it waits for at most three budgets besides its load. If the
// look is not answered, the other two are left out.
func (s *Shared) budget() time.Duration { return s.steps().after }

// step returns a context for one step that begins now. It does not end with a caller.
func (s *Shared) step() context.Context { return s.steps().from(time.Now()) }

// steps returns the deadlines of the budget that holds now. The budget is that of Shared, or the store's own, which grows with
// the round trip.
func (s *Shared) steps() *deadlines {
	d := s.budgets.Load()
	if s.paced == nil || s.Budget > 0 {
		return d
	}
	now := s.paced.Budget()
	if now == d.after {
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
func (s *Shared) newSteps(budget time.Duration) *deadlines {
	d := newDeadlines(context.Background(), budget)
	if s.paced != nil {
		d.ran = s.paced.Ran
	}
	return d
}

// patient is a context without values that ends with its parent, or when this process has run for as long as was left at its start. An answer that
// is there, and that nothing of this process could read yet, is not given up that way. It ends after five budgets in any case.
type patient struct {
	context.Context // ends with the parent or at the deadline
	cancel          context.CancelFunc
	parent          context.Context
	ran             func() time.Duration
	until           time.Duration // by ran
	latest          time.Time
}

// mostPatience is how many budgets a step waits at most, however little the process ran.
const mostPatience = 5

func newPatient(parent context.Context, left, budget time.Duration, ran func() time.Duration) *patient {
	p := &patient{parent: parent, ran: ran, until: ran() + left, latest: time.Now().Add(left + (mostPatience-1)*budget)}
	var end context.CancelFunc
	p.Context, end = context.WithCancel(parent)
	timer := time.AfterFunc(left, func() { p.pass(end) })
	p.cancel = func() { timer.Stop(); end() }
	return p
}

// pass ends the context, or waits for the rest.
func (p *patient) pass(end context.CancelFunc) {
	rest := min(p.until-p.ran(), time.Until(p.latest))
	if rest <= 0 || p.Context.Err() != nil {
		end()
		return
	}
	time.AfterFunc(max(rest, time.Millisecond), func() { p.pass(end) })
}

func (p *patient) Deadline() (time.Time, bool) { return p.latest, true }

// Value hides the context that is embedded from the package context, which would take its Err for that of this one.
func (p *patient) Value(any) any { return nil }

func (p *patient) Err() error {
	if p.Context.Err() == nil {
		return nil
	}
	return cmp.Or(p.parent.Err(), context.DeadlineExceeded)
}

// AfterFunc is used by the package context, which would otherwise start a goroutine for each context derived from this one.
func (p *patient) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(p.Context, f) }
