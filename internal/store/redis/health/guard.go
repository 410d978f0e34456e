// Package health decides what is sent to a server at all: a breaker for each node, places on each connection, and the budget of a
// read. It sends commands of others, and knows none of its own.
package health

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
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// Guard stands before the commands of one node: it counts what is not answered, and while the node is away it refuses at
// once what would be sent there. A prober of its own asks the node whether it is back.
type Guard struct {
	of      *Guards
	address string // of the node; empty: of the present master
	slot    uint16 // one that the node serves
	breaker *breaker.Breaker
	cancel  context.CancelFunc // ends the prober
	places  [2]places          // of each Line
	direct  direct
	settles atomic.Bool                 // a goroutine asks by the one that tracks
	refusal atomic.Pointer[unavailable] // what callers are told: built once, since it is told often
	broke   atomic.Int64                // when a broken connection was last counted; nanoseconds since the guards were made

	suspected atomic.Bool // a call of Suspect asks
	verifies  atomic.Bool // verify asks
	outages   outages     // what the log is told

	repeated atomic.Int64 // invalidations, since it was last told of
}

// unavailable is what callers of a node are told that is not asked.
type unavailable struct {
	address string
	since   time.Time // zero: it is not known any more, or not yet
	cause   error
}

func (e *unavailable) Error() string {
	if e.since.IsZero() {
		return fmt.Sprintf("redis at %s: %v", e.address, store.ErrAway)
	}
	return fmt.Sprintf("redis at %s: %v since %s: %v", e.address, store.ErrAway, e.since.Format(time.TimeOnly), e.cause)
}

func (e *unavailable) Unwrap() error { return store.ErrAway }

// newGuard returns a guard that lets everything through. probe asks the node.
func (s *Guards) newGuard(address string, slot uint16, probe func(ctx context.Context, address string, slot uint16) error) *Guard {
	g := &Guard{of: s, address: address, slot: slot, places: [2]places{Ordinary: newPlaces(maxPlaces), Tracked: newPlaces(maxTrackedPlaces)}}
	ctx, cancel := context.WithCancel(s.config.Ctx)
	g.cancel = cancel
	g.refusal.Store(&unavailable{address: g.where()})
	g.outages.logger, g.outages.where = s.config.Logger, g.where
	g.breaker = breaker.New(ctx, s.config.Goroutines, breaker.Events{
		Probe:   func(ctx context.Context) error { return probe(ctx, g.address, g.slot) },
		Opened:  g.opened,
		Closing: g.closing,
		Closed:  g.closed,
		Pause:   s.config.Patience,
		Ran:     s.config.Clock.Now,
	})
	return g
}

// where is the node, for errors and logs.
func (g *Guard) where() string {
	if g.address != "" {
		return g.address
	}
	if masters := g.of.config.Servers.Masters(); g.of.config.Target.Mode == redisurl.Sentinels && len(masters) > 0 {
		return masters[0]
	}
	return g.of.config.Target.String()
}

func (g *Guard) opened(cause error) {
	g.refusal.Store(&unavailable{g.where(), time.Now(), cause})
	g.outages.began(cause)
	g.of.config.Look()
}

// closing has done what must come before anything else; see Recovered.
func (g *Guard) closing(ctx context.Context, _ time.Duration) error {
	g.settle() // a probe was answered, so all that was sent before it is
	f := g.of.recovered.Load()
	if f == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, through{}, g), recoveryLimit)
	defer cancel()
	g.repeated.Add(int64((*f)(ctx)))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return g.of.config.Ask(ctx, g.address, g.slot) // it may have gone away again meanwhile
}

func (g *Guard) closed(down time.Duration) {
	if g == g.of.first && g.of.cluster() {
		g.of.Stand(true) // each master has its own from now on
	}
	g.refusal.Store(&unavailable{address: g.where()}) // of reads that are held back at first
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

// Kind is how a command is treated by a guard that has been open.
type Kind bool

const (
	Read  Kind = false // let through little by little, since the loader can do its work
	Write Kind = true  // at once
)

// Admits returns nil if a command may be sent. The error costs nothing.
func (g *Guard) Admits(ctx context.Context, k Kind) error {
	if k == Read && g.breaker.Read() || k == Write && (g.breaker.Write() || ctx.Value(through{}) == g || g.returns(ctx, writersPatience)) {
		return nil
	}
	return g.refusal.Load()
}

// returns waits for a node that has been unavailable for less than patience, and reports whether it is back. Readers have the
// loader, but a write can be done by nothing else, and a node that has stopped for 30 ms is no reason for it to fail.
func (g *Guard) returns(ctx context.Context, patience time.Duration) bool {
	for g.breaker.Open() {
		since := g.refusal.Load().since
		if !since.IsZero() && time.Since(since) > patience || !retry.Sleep(ctx, 5*time.Millisecond) {
			return false
		}
	}
	return true
}

const writersPatience = 250 * time.Millisecond // two probes

// Moment is when a command was sent.
type Moment struct {
	at  time.Time
	ran time.Duration // by the clock that stands still while this process does not run
}

// Add returns the time that comes d later.
func (m Moment) Add(d time.Duration) time.Time { return m.at.Add(d) }

// Now is the present moment.
func (g *Guard) Now() Moment {
	at := time.Now()
	return Moment{at, g.of.config.Clock.At(at)}
}

// Line is one of the two connections to a node, each with places of its own.
type Line int

const (
	Ordinary Line = iota
	Tracked       // of the client that asks to be told of changes
)

// Enter lets a command in, and returns when it is sent. Leave must follow if the error is nil.
func (g *Guard) Enter(ctx context.Context, l Line, k Kind) (began Moment, err error) {
	p := &g.places[l]
	if err := g.Admits(ctx, k); err != nil {
		return began, err
	}
	waited, err := p.take(ctx)
	if err != nil {
		return began, fmt.Errorf("redis at %s: %d commands are under way, which are as many as there may be: %w", g.where(), p.most, err)
	}
	if waited {
		if err := g.Admits(ctx, Write); err != nil { // it went away meanwhile
			p.leave()
			return began, err
		}
	}
	return g.Now(), nil
}

// Leave counts how a command that has entered ended.
func (g *Guard) Leave(l Line, began Moment, err error) {
	p := &g.places[l]
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
	g.Judge(began, err)
}

// Judge counts the end of a command.
func (g *Guard) Judge(began Moment, err error) {
	switch {
	case !reply.Unavailable(err):
		g.breaker.Succeeded()
	case errors.Is(err, rueidis.ErrClosing), errors.Is(err, context.Canceled):
	case errors.Is(err, context.DeadlineExceeded):
		// A caller's own deadline, or what was left of a budget, may have been too short for any server. The engine's
		// deadlines end up to a sixteenth early. Time in which this process did not run was not the server's.
		patience := g.of.config.Patience()
		if waited := g.of.config.Clock.Now() - began.ran; waited >= patience-patience/8 {
			cause := fmt.Errorf("no answer within %v", waited.Round(time.Millisecond))
			if g.of.config.Clock.Pressed() {
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
		if began.at.Sub(g.of.began) >= time.Duration(before) && g.broke.CompareAndSwap(before, int64(time.Since(g.of.began))) {
			g.fail(err, (*breaker.Breaker).Failed)
		}
	}
}

// verify asks the node in the background whether it answers, with more patience than a read has, and opens the breaker if it does
// not. Where this process is short of processors, answers that come late say little.
func (g *Guard) verify(cause error) {
	g.of.gate.pass(func() {
		if g.breaker.Open() || !g.verifies.CompareAndSwap(false, true) {
			return
		}
		g.of.config.Goroutines.Go(func() {
			defer g.verifies.Store(false)
			if g.breaker.Answers(max(verifyLimit, g.of.config.Patience())) {
				g.breaker.Succeeded()
			} else {
				g.breaker.Trip(cause)
			}
		})
	})
}

const verifyLimit = 100 * time.Millisecond

func (g *Guard) fail(cause error, how func(*breaker.Breaker, error)) {
	g.of.gate.pass(func() { how(g.breaker, cause) }) // which begins a prober
}

// Send sends commands about the keys of this node alone.
func (g *Guard) Send(ctx context.Context, c rueidis.Client, l Line, k Kind, cmds rueidis.Commands) []rueidis.RedisResult {
	began, err := g.Enter(ctx, l, k)
	if err != nil {
		return refused(len(cmds), err)
	}
	rs := c.DoMulti(ctx, cmds...)
	g.Leave(l, began, reply.Worst(rs))
	return rs
}

func refused(n int, err error) []rueidis.RedisResult {
	out := make([]rueidis.RedisResult, n)
	for i := range out {
		out[i] = rueidis.NewErrorResult(err)
	}
	return out
}
