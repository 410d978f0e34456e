package redis

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// A read that waits for less than a round trip is never answered, however well the servers are. So the round trip to each
// master is measured, by the looks at the topology, and the budget of reads grows with it where none was set. The shortest of
// the last few round trips counts: a longer one has load in it, or a pause, and neither is a reason to wait for longer.

const (
	leastBudget = 25 * time.Millisecond
	mostBudget  = 250 * time.Millisecond
	budgetStep  = 5 * time.Millisecond // budgets are multiples of it, so that they seldom change
	roundTrips  = 4                    // that a budget is long
	measured    = 5                    // round trips that are known of each master
)

// distance is how far away the servers are.
type distance struct {
	set    bool         // the budget is Options.Budget
	budget atomic.Int64 // nanoseconds

	pacing sync.Mutex // guards slow
	slow   string     // the problem that was said; empty: none

	mu   sync.Mutex                  // guards the rest
	seen map[string]*[measured]int64 // the latest round trips to each address, in nanoseconds
	n    map[string]int              // how many were measured
}

func newDistance(budget time.Duration) *distance {
	d := &distance{set: budget > 0, seen: make(map[string]*[measured]int64), n: make(map[string]int)}
	if budget <= 0 {
		budget = leastBudget
	}
	d.budget.Store(int64(budget))
	return d
}

// Budget implements store.Paced.
func (s *Store) Budget() time.Duration { return time.Duration(s.distance.budget.Load()) }

// Ran implements store.Paced.
func (s *Store) Ran() time.Duration { return s.running.Now() }

// patience is how long a command must have waited to count as one that the server failed.
func (s *Store) patience() time.Duration { return min(s.Budget(), time.Second) }

// timed measures the round trip of a command to a master.
func (s *Store) timed(ctx context.Context, address string, c rueidis.Client, do func() error) error {
	d := s.distance
	d.mu.Lock()
	first := d.n[address] == 0
	d.mu.Unlock()
	began := time.Now()
	err := do()
	took := time.Since(began)
	if err != nil {
		return err
	}
	for range measured - 1 {
		if !first { // one round trip may have a pause in it, and nothing else is known yet
			break
		}
		began := time.Now()
		if c.Do(ctx, c.B().Ping().Build()).Error() != nil {
			break
		}
		took = min(took, time.Since(began))
	}
	d.add(address, took)
	return nil
}

// add notes a round trip.
func (d *distance) add(address string, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ring := d.seen[address]
	if ring == nil {
		ring = new([measured]int64)
		for i := range ring {
			ring[i] = math.MaxInt64
		}
		d.seen[address] = ring
	}
	ring[d.n[address]%measured] = int64(took)
	d.n[address]++
}

// farthest returns the master with the longest round trip, of those that are known now. Others are forgotten.
func (d *distance) farthest(masters []string) (address string, trip time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for known, ring := range d.seen {
		if !slices.Contains(masters, known) {
			delete(d.seen, known)
			delete(d.n, known)
			continue
		}
		if least := time.Duration(slices.Min(ring[:])); least > trip {
			address, trip = known, least
		}
	}
	return address, trip
}

// needed is the budget that a round trip wants.
func needed(trip time.Duration) time.Duration {
	return max((roundTrips*trip + budgetStep - 1).Truncate(budgetStep), leastBudget)
}

// BudgetFor returns the budget of a read, where none was set, for the shortest of some round trips.
func BudgetFor(trip time.Duration) time.Duration { return min(needed(trip), mostBudget) }

// pace sets the budget for the distance of the masters, and says so if no budget is long enough.
func (s *Store) pace() {
	d := s.distance
	d.pacing.Lock()
	defer d.pacing.Unlock()
	address, trip := d.farthest(s.Masters())
	if trip == 0 {
		return
	}
	needed := needed(trip)
	if !d.set {
		d.budget.Store(int64(min(needed, mostBudget)))
	}
	budget := s.Budget()
	switch {
	case d.slow == "" && trip > budget*3/4:
		how := fmt.Sprintf("Options.Budget is %v", budget)
		if !d.set {
			how = fmt.Sprintf("a read waits for %v at most, unless Options.Budget is set", budget)
		}
		d.slow = fmt.Sprintf("a round trip to %s takes %v, and %s: most reads load from the database, and little is stored; use a server that is nearer, or set Options.Budget to at least %v",
			address, trip.Round(time.Millisecond), how, needed)
		s.problems.Add("%s", d.slow)
	case d.slow != "" && trip < budget/2:
		s.problems.Forget(d.slow)
		d.slow = ""
		s.logger.Info("redis: a round trip is shorter than the budget of a read again", "address", address, "round trip", trip.Round(time.Millisecond), "budget", budget)
	}
}
