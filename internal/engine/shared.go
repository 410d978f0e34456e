package engine

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
)

// Shared is what all caches of a client have in common.
type Shared struct {
	Store       store.Store
	Budget      time.Duration // what one read waits for the store, all its trips together
	WriteBudget time.Duration // what each step of a write waits for the store
	Logger      *slog.Logger
	NearBytes   uint64 // of all near tiers without a bound of their own in bytes; zero: none
	MaxPending  int    // keys whose invalidation is kept until it can be delivered; 10,000 if zero
	MaxInDoubt  int    // keys whose writes are in doubt; 10,000 if zero

	ctx     context.Context // ends at Close
	cancel  context.CancelFunc
	budgets *deadlines
	workers workers // who load, and the like
	near    tiers
	pending pending
	doubts  doubts

	mu sync.Mutex // guards near.shared, and changes of near.all
}

// NewShared returns what the caches of one client share.
func NewShared(st store.Store, budget, writeBudget time.Duration, logger *slog.Logger) *Shared {
	s := &Shared{Store: st, Budget: budget, WriteBudget: writeBudget, Logger: logger}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.budgets = newDeadlines(context.Background(), budget) // not s.ctx: loads that Close ends give back their leases
	s.near.clock, s.near.tells = near.NewClock(), make(chan struct{})
	s.pending.init()
	s.doubts.init()
	st.Recovered(s.recovered)
	return s
}

// Close stops the loads under way, delivers the invalidations that are pending, asks for the outcomes of writes in doubt, waits
// for all of that, but not longer than ctx, and closes the store. Its error says what was left. Without an end of ctx it may wait until what is pending has expired.
func (s *Shared) Close(ctx context.Context) error {
	if !s.workers.close() {
		return nil
	}
	began := time.Now()
	s.cancel()
	s.lost()
	ended := make(chan struct{})
	go func() { s.workers.tasks.Wait(); close(ended) }()
	doubt := make(chan error, 1)
	go func() { doubt <- s.endDoubts(ctx) }()
	behind := s.drain(ctx)
	open := <-doubt
	if behind == nil { // the ends of the last doubts may have failed
		behind = s.drain(ctx)
	}
	var running error
	select {
	case <-ended:
	case <-ctx.Done():
		select {
		case <-ended: // so had they, while others were delivered
		default:
			running = fmt.Errorf("loads are still running after %v: %w", time.Since(began).Round(time.Millisecond), context.Cause(ctx))
		}
	}
	s.Store.Close()
	for _, err := range []error{open, running} {
		if behind != nil && err != nil {
			behind = fmt.Errorf("%w; %w", behind, err)
		} else {
			behind = cmp.Or(behind, err)
		}
	}
	return behind
}

// spawn runs f in a goroutine that Close waits for. False: the client is closed.
func (s *Shared) spawn(f func()) bool { return s.workers.run(taskFunc(f)) }

// CheckKeys looks, in the background, whether the store lets us at the keys that match a glob.
func (s *Shared) CheckKeys(glob string) {
	s.spawn(func() {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		s.Store.CheckKeys(ctx, glob)
	})
}

// read returns the context of a read of the store, which ends with until or with its caller. To hear of a caller who
// leaves costs more than the little that he waits for the end of a short budget.
func (s *Shared) read(ctx context.Context, until time.Time) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		return ctx, func() {}
	}
	if ctx.Done() != nil && s.Budget > shortBudget {
		return context.WithDeadline(ctx, until)
	}
	return s.budgets.at(until), func() {}
}

const shortBudget = 50 * time.Millisecond

// rest returns a context for what is left of a read's budget: a little at least, so that a slow claim need not lose its
// fill.
func (s *Shared) rest(until time.Time) context.Context {
	if least := time.Now().Add(s.Budget / 8); least.After(until) {
		until = least
	}
	return s.budgets.at(until)
}

// detached returns a context for a command that must not end with its caller, with the values of ctx.
func (s *Shared) detached(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
