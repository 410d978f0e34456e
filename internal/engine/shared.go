package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/recovery"
	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/workers"
)

// Shared is what all caches of a client have in common.
type Shared struct {
	Store       store.Store
	Budget      time.Duration // what one step of a read waits for the store; zero: the store's own budget (budget.go)
	WriteBudget time.Duration // what each step of a write waits for the store
	Logger      *slog.Logger
	NearBytes   uint64        // of all near tiers without a bound of their own in bytes; zero: none
	LeaseLife   time.Duration // how long leases last; store.LeaseLife if zero. Tests shorten it
	MaxInDoubt  int           // keys whose writes are in doubt; 10,000 if zero

	ctx      context.Context // ends at Close
	ended    chan struct{}   // closed at the end of Close
	left     error           // what Close returned; read it when ended is closed
	cancel   context.CancelFunc
	budgets  atomic.Pointer[workers.Deadlines] // of steps; see steps
	paced    store.Paced                       // nil: the store is in this process
	workers  workers.Pool                      // who load, and the like
	near     tiers
	deferred *recovery.Invalidations
	leases   leases
	doubts   doubts

	mu   sync.Mutex // guards near.shared, changes of near.all, and ails
	ails []*complaints
}

// NewShared returns what the caches of one client share.
func NewShared(st store.Store, budget, writeBudget time.Duration, logger *slog.Logger) *Shared {
	budget, writeBudget = store.Bounded(budget), store.Bounded(writeBudget)
	s := &Shared{Store: st, Budget: budget, WriteBudget: writeBudget, Logger: logger}
	s.ended = make(chan struct{})
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.follow(st)
	s.budgets.Store(s.newSteps(cmp.Or(budget, s.ownBudget()))) // not of s.ctx: loads that Close ends give back their leases
	s.near.clock, s.near.tells = near.NewClock(), make(chan struct{})
	s.deferred = recovery.New(s.ctx, recovery.Options{Store: st, WriteBudget: writeBudget, Logger: logger, Spawn: s.spawn, ResetNear: s.lost})
	s.doubts.init()
	st.Recovered(s.deferred.Recovered)
	return s
}

// Close stops the loads under way, delivers the invalidations that are pending, asks for the outcomes of writes in doubt, waits
// for all of that, but not longer than ctx, and closes the store. Its error says what was left. Without an end of ctx it may wait
// until what is pending has expired. A second call waits for the first, and returns the same.
func (s *Shared) Close(ctx context.Context) error {
	if !s.workers.Close() {
		select {
		case <-s.ended:
			return s.left
		case <-ctx.Done():
			select {
			case <-s.ended: // both are
				return s.left
			default:
			}
			return fmt.Errorf("another call of Close has not ended: %w", context.Cause(ctx))
		}
	}
	defer close(s.ended)
	s.left = s.close(ctx)
	return s.left
}

func (s *Shared) close(ctx context.Context) error {
	began := time.Now()
	s.cancel()
	s.lost()
	s.deferred.Leave()
	ended := make(chan struct{})
	go func() { s.workers.Wait(); close(ended) }()
	doubt := make(chan error, 1)
	go func() { doubt <- s.endDoubts(ctx) }()
	behind := s.deferred.Drain(ctx)
	open := <-doubt
	if behind == nil { // the ends of the last doubts may have failed
		behind = s.deferred.Drain(ctx)
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
func (s *Shared) spawn(f func()) bool { return s.workers.Run(workers.Func(f)) }

// Recovery counts the invalidations that could not be delivered at once.
func (s *Shared) Recovery() recovery.Counts { return s.deferred.Counts() }

// SetMaxPending bounds how many deferred invalidations are kept. Tests lower it.
func (s *Shared) SetMaxPending(n int) { s.deferred.Max = n }

// Ping returns nil if the store answers.
func (s *Shared) Ping(ctx context.Context) error {
	if s.ctx.Err() != nil {
		return ErrClosed
	}
	return s.Store.Ping(ctx)
}

// CheckKeys looks, in the background, whether the store lets us at the keys that match a glob.
func (s *Shared) CheckKeys(glob string) {
	s.spawn(func() {
		ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
		defer cancel()
		s.Store.CheckKeys(ctx, glob)
	})
}

// readContext returns the context of a read of the store, which ends with until or with its caller. To hear of a caller who
// leaves costs more than the little that he waits for the end of a short budget.
func (s *Shared) readContext(ctx context.Context, until time.Time) (context.Context, context.CancelFunc) {
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		return ctx, func() {}
	}
	if ctx.Done() != nil && s.budget() > shortBudget {
		if s.paced == nil {
			return context.WithDeadline(ctx, until)
		}
		return workers.Patient(ctx, time.Until(until), s.budget(), s.paced.Ran)
	}
	return s.steps().At(until), func() {}
}

const shortBudget = 50 * time.Millisecond

// Retry runs an idempotent operation on the store until it succeeds or WriteBudget ends. It is for values that no loader brings
// back.
func (s *Shared) Retry(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.WriteBudget)
	defer cancel()
	err := retry.Send(ctx, s.WriteBudget, retry.Equal, func(a retry.Attempt) error {
		try, stop := a.Context()
		defer stop()
		return do(try)
	})
	if errors.Is(err, store.ErrClosed) {
		return ErrClosed
	}
	return err
}

// detached returns a context for a command that must not end with its caller, with the values of ctx.
func (s *Shared) detached(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
