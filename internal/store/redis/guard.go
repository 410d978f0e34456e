package redis

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/breaker"
	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// guard stands before the commands of one node: it counts what is not answered, and while the node is away it refuses at
// once what would be sent there. A prober of its own asks the node whether it is back.
type guard struct {
	store   *Store
	address string // of the node; empty: of whoever is the master
	slot    uint16 // one that the node serves
	breaker *breaker.Breaker
	cancel  context.CancelFunc        // ends the prober
	places  places                    // of the ordinary client
	tracked places                    // of the one that tracks
	settles atomic.Bool               // a goroutine asks by the one that tracks
	refusal atomic.Pointer[awayError] // what callers are told: built once, since it is told often
	broke   atomic.Int64              // when a broken connection was last counted; nanoseconds since the store was opened

	suspected atomic.Bool // a call of Suspect asks
	verifies  atomic.Bool // verify asks
	outages   outages     // what the log is told

	repeated atomic.Int64 // invalidations, since it was last told of
}

// awayError is what callers of a node are told that is not asked.
type awayError struct {
	address string
	since   time.Time // zero: it is not known any more, or not yet
	cause   error
}

func (e *awayError) Error() string {
	if e.since.IsZero() {
		return fmt.Sprintf("redis at %s: %v", e.address, store.ErrAway)
	}
	return fmt.Sprintf("redis at %s: %v since %s: %v", e.address, store.ErrAway, e.since.Format(time.TimeOnly), e.cause)
}

func (e *awayError) Unwrap() error { return store.ErrAway }

// newGuard returns a guard that lets everything through. probe asks the node.
func (s *Store) newGuard(address string, slot uint16, probe func(context.Context, *guard) error) *guard {
	g := &guard{store: s, address: address, slot: slot, places: newPlaces(maxPlaces), tracked: newPlaces(maxTrackedPlaces)}
	ctx, cancel := context.WithCancel(s.ctx)
	g.cancel = cancel
	g.refusal.Store(&awayError{address: g.where()})
	g.outages.logger, g.outages.where = s.logger, g.where
	g.breaker = breaker.New(ctx, &s.watching, breaker.Events{
		Probe:   func(ctx context.Context) error { return probe(ctx, g) },
		Opened:  g.opened,
		Closing: g.closing,
		Closed:  g.closed,
		Pause:   s.patience,
		Ran:     s.running.Now,
	})
	return g
}

// where is the node, for errors and logs.
func (g *guard) where() string {
	if g.address != "" {
		return g.address
	}
	if masters := g.store.Masters(); g.store.target.Mode == redisurl.Sentinels && len(masters) > 0 {
		return masters[0]
	}
	return g.store.target.String()
}

func (g *guard) opened(cause error) {
	g.refusal.Store(&awayError{g.where(), time.Now(), cause})
	g.outages.began(cause)
	g.store.LookSoon()
}

// closing has done what must come before anything else; see Recovered.
func (g *guard) closing(ctx context.Context, _ time.Duration) error {
	g.settle() // a probe was answered, so all that was sent before it is
	f := g.store.recovered.Load()
	if f == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, through{}, g), recoveryLimit)
	defer cancel()
	g.repeated.Add(int64((*f)(ctx)))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return g.store.ask(ctx, g) // it may have gone away again meanwhile
}

func (g *guard) closed(down time.Duration) {
	if g == g.store.first && g.store.target.Mode == redisurl.Cluster {
		g.store.stand(true) // each master has its own from now on
	}
	g.refusal.Store(&awayError{address: g.where()}) // of reads that are held back at first
	g.outages.over(down, g.repeated.Swap(0))
}

// repeated ends a sentence with how many invalidations were.
func repeated(n int64) string {
	switch n {
	case 0:
		return ""
	case 1:
		return ", 1 invalidation repeated"
	}
	return fmt.Sprintf(", %d invalidations repeated", n)
}

// recoveryLimit bounds what is done before a node is used again.
const recoveryLimit = 5 * time.Second

// through is the key of a context that carries the guard which lets its writes through, although it is open.
type through struct{}

// kind is how a command is treated by a guard that has been open.
type kind bool

const (
	read  kind = false // let through little by little, since somebody else can do its work: the loader
	write kind = true  // at once
)

// admits returns nil if a command may be sent. The error costs nothing.
func (g *guard) admits(ctx context.Context, k kind) error {
	if k == read && g.breaker.Read() || k == write && (g.breaker.Write() || ctx.Value(through{}) == g || g.returns(ctx, writersPatience)) {
		return nil
	}
	return g.refusal.Load()
}

// returns waits for a node that has been unavailable for less than patience, and reports whether it is back. Readers have the
// loader, but a write can be done by nothing else, and a node that has stopped for 30 ms is no reason for it to fail.
func (g *guard) returns(ctx context.Context, patience time.Duration) bool {
	for g.breaker.Open() {
		since := g.refusal.Load().since
		if !since.IsZero() && time.Since(since) > patience || !retry.Sleep(ctx, 5*time.Millisecond) {
			return false
		}
	}
	return true
}

const writersPatience = 250 * time.Millisecond // two probes

// moment is when a command was sent.
type moment struct {
	at  time.Time
	ran time.Duration // by the clock that stands still while this process does not run
}

func (s *Store) now() moment {
	at := time.Now()
	return moment{at, s.running.At(at)}
}

// enter lets a command in, and returns when it is sent. Whoever has entered must leave.
func (g *guard) enter(ctx context.Context, k kind) (began moment, err error) {
	return g.enterBy(ctx, &g.places, k)
}

// enterBy is enter for a command that takes one of certain places.
func (g *guard) enterBy(ctx context.Context, p *places, k kind) (began moment, err error) {
	if err := g.admits(ctx, k); err != nil {
		return began, err
	}
	waited, err := p.take(ctx)
	if err != nil {
		return began, fmt.Errorf("redis at %s: %d commands are under way, which are as many as there may be: %w", g.where(), p.most, err)
	}
	if waited {
		if err := g.admits(ctx, write); err != nil { // it went away meanwhile
			p.leave()
			return began, err
		}
	}
	return g.store.now(), nil
}

// leave counts how a command that has entered ended.
func (g *guard) leave(began moment, err error) { g.leaveBy(&g.places, began, err) }

func (g *guard) leaveBy(p *places, began moment, err error) {
	if err == nil {
		g.breaker.Succeeded()
		p.leave()
		return
	}
	if unanswered := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled); unanswered {
		p.abandon()
	} else {
		p.leave()
	}
	g.judge(began, err)
}

// judge counts the end of a command.
func (g *guard) judge(began moment, err error) {
	switch {
	case !reply.Unavailable(err):
		g.breaker.Succeeded()
	case errors.Is(err, rueidis.ErrClosing), errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded):
		// A caller's own deadline, or what was left of a budget, may have been too short for any server. The engine's
		// deadlines end up to a sixteenth early. Time in which this process did not run was not the server's.
		patience := g.store.patience()
		if waited := g.store.running.Now() - began.ran; waited >= patience-patience/8 {
			cause := fmt.Errorf("no answer within %v", waited.Round(time.Millisecond))
			if g.store.running.Pressed() {
				g.verify(cause)
			} else {
				g.fail(cause, (*breaker.Breaker).Failed)
			}
		}
	case reply.ReadOnly(err):
		// It goes on answering reads, with what may be old, so that there may never be five failures in a row.
		g.fail(err, (*breaker.Breaker).Trip)
	case reply.Answered(err):
		g.fail(err, (*breaker.Breaker).Failed)
	default:
		// A connection that breaks fails all that was under way on it: that is one failure.
		before := g.broke.Load()
		if began.at.Sub(g.store.began) >= time.Duration(before) && g.broke.CompareAndSwap(before, int64(time.Since(g.store.began))) {
			g.fail(err, (*breaker.Breaker).Failed)
		}
	}
}

// verify asks the node in the background whether it answers, with more patience than a read has, and opens the breaker if it does
// not. Where this process is short of processors, answers that come late say little.
func (g *guard) verify(cause error) {
	g.store.ending.RLock()
	defer g.store.ending.RUnlock()
	if g.store.closed.Load() || g.breaker.Open() || !g.verifies.CompareAndSwap(false, true) {
		return
	}
	g.store.watching.Go(func() {
		defer g.verifies.Store(false)
		if g.breaker.Answers(max(verifyLimit, g.store.patience())) {
			g.breaker.Succeeded()
		} else {
			g.breaker.Trip(cause)
		}
	})
}

const verifyLimit = 100 * time.Millisecond

func (g *guard) fail(cause error, how func(*breaker.Breaker, error)) {
	g.store.ending.RLock() // Close waits for probers: none may begin behind it
	defer g.store.ending.RUnlock()
	if !g.store.closed.Load() {
		how(g.breaker, cause)
	}
}

// send sends commands about the keys of this node alone.
func (g *guard) send(ctx context.Context, k kind, cmds rueidis.Commands) []rueidis.RedisResult {
	began, err := g.enter(ctx, k)
	if err != nil {
		return refused(len(cmds), err)
	}
	rs := g.store.c.DoMulti(ctx, cmds...)
	g.leave(began, reply.Worst(rs))
	return rs
}

func refused(n int, err error) []rueidis.RedisResult {
	out := make([]rueidis.RedisResult, n)
	for i := range out {
		out[i] = rueidis.NewErrorResult(err)
	}
	return out
}

// Gone is away for the error of a verb, which has wrapped what the server said.
func Gone(err error) bool {
	var said *rueidis.RedisError
	if errors.As(err, &said) {
		return reply.Unavailable(said)
	}
	for _, other := range []error{errMoved, conn.ErrDenied, store.ErrKey, context.Canceled} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil
}

// Recovered has f called each time that a node answers again, before reads are sent there. While f runs its context lets
// writes through to that node; it ends after 5 s, and a node that has gone away by then stays so.
func (s *Store) Recovered(f func(context.Context) (repeated int)) { s.recovered.Store(&f) }
