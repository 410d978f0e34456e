package health

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/conn"
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

// Distance is how far away the servers are, and the budget of a read that follows from it.
type Distance struct {
	set      bool         // the budget is the caller's
	budget   atomic.Int64 // nanoseconds
	logger   *slog.Logger
	problems *conn.Problems
	trips    trips

	mu   sync.Mutex // guards slow; comes before that of trips, and of problems
	slow string     // the problem that was said; empty: none
}

// trips are the latest round trips.
type trips struct {
	mu   sync.Mutex                  // guards the rest
	seen map[string]*[measured]int64 // the latest round trips to each address, in nanoseconds
	n    map[string]int              // how many were measured
}

// NewDistance returns the distance of servers that are not known yet. If budget is zero, it follows from the distance.
func NewDistance(budget time.Duration, logger *slog.Logger, problems *conn.Problems) *Distance {
	d := &Distance{set: budget > 0, logger: logger, problems: problems}
	d.trips.seen, d.trips.n = make(map[string]*[measured]int64), make(map[string]int)
	if budget <= 0 {
		budget = leastBudget
	}
	d.budget.Store(int64(budget))
	return d
}

// Budget is how long a step of a read waits for Redis.
func (d *Distance) Budget() time.Duration { return time.Duration(d.budget.Load()) }

// Patience is how long a command must have waited to count as one that the server failed.
func (d *Distance) Patience() time.Duration { return min(d.Budget(), time.Second) }

// Timed measures the round trip of a command to a master.
func (d *Distance) Timed(ctx context.Context, address string, c rueidis.Client, do func() error) error {
	first := d.trips.none(address)
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
	d.trips.add(address, took)
	return nil
}

// none reports whether no round trip to an address is known.
func (t *trips) none(address string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.n[address] == 0
}

// add notes a round trip.
func (t *trips) add(address string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ring := t.seen[address]
	if ring == nil {
		ring = new([measured]int64)
		for i := range ring {
			ring[i] = math.MaxInt64
		}
		t.seen[address] = ring
	}
	ring[t.n[address]%measured] = int64(took)
	t.n[address]++
}

// farthest returns the master with the longest round trip, of those that are known now. Others are forgotten.
func (t *trips) farthest(masters []string) (address string, trip time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for known, ring := range t.seen {
		if !slices.Contains(masters, known) {
			delete(t.seen, known)
			delete(t.n, known)
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

// Pace sets the budget for the distance of the masters, and says so if no budget is long enough.
func (d *Distance) Pace(masters []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	address, trip := d.trips.farthest(masters)
	if trip == 0 {
		return
	}
	needed := needed(trip)
	if !d.set {
		d.budget.Store(int64(min(needed, mostBudget)))
	}
	budget := d.Budget()
	switch {
	case d.slow == "" && trip > budget*3/4:
		how := fmt.Sprintf("Options.Budget is %v", budget)
		if !d.set {
			how = fmt.Sprintf("a read waits for %v at most, unless Options.Budget is set", budget)
		}
		d.slow = fmt.Sprintf("a round trip to %s takes %v, and %s: most reads load from the database, and little is stored; use a server that is nearer, or set Options.Budget to at least %v",
			address, trip.Round(time.Millisecond), how, needed)
		d.problems.Add("%s", d.slow)
	case d.slow != "" && trip < budget/2:
		d.problems.Forget(d.slow)
		d.slow = ""
		d.logger.Info("redis: a round trip is shorter than the budget of a read again", "address", address, "round trip", trip.Round(time.Millisecond), "budget", budget)
	}
}
