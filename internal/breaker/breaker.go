// Package breaker decides whether a server is asked at all. After some failures in a row it is not: its callers are told so
// at once, in some nanoseconds, instead of waiting for a time limit each. A prober of its own, never a caller's request,
// finds out when the server is back; reads are then let through little by little.
//
// The breakers of sony/gobreaker and failsafe-go were looked at: both let a caller's request be the probe, which costs that
// caller his time limit.
package breaker

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// Failures is how many calls in a row must fail until the breaker opens.
	Failures = 5

	hiccup     = 25 * time.Millisecond // a nearby server that answers so soon, when many waited, has paused and was not away
	hiccups    = time.Second           // between two of them: one that pauses more often is treated as one that was away
	firstProbe = 50 * time.Millisecond // after that, doubling
	lastProbe  = 500 * time.Millisecond
	probeLimit = 500 * time.Millisecond // of one probe
	stalls     = 2                      // how often a probe is sent whose limit passed while this process did not run
	ramp       = 5 * time.Second        // from a tenth of the reads to all of them, at most
	rampTimes  = 10                     // and at most so many times the outage: after a hiccup there is nothing to be gentle with
	rampFrom   = 0.1
)

// Events are what a breaker tells. They are called by its prober, and by no caller.
type Events struct {
	// Probe asks the server. Required.
	Probe func(context.Context) error
	// Opened is told why the server is not asked any more.
	Opened func(cause error)
	// Closing is called when the server answers again, before calls are let through: what must come first is done here. An
	// error means that it is away after all.
	Closing func(ctx context.Context, down time.Duration) error
	// Closed is told that calls are let through again.
	Closed func(down time.Duration)
	// Pause is how soon a server answers that has only paused. 25 ms if nil.
	Pause func() time.Duration
	// Ran returns for how long this process has run. A probe whose limit passed while it did not run is repeated. If nil, the
	// process is taken to run always.
	Ran func() time.Duration
}

// state of a breaker.
const (
	closed int32 = iota
	open
	ramping // reads are let through by chance
)

// Breaker stands before one server. It is safe for concurrent use.
type Breaker struct {
	state  atomic.Int32
	failed atomic.Int32 // in a row
	since  atomic.Int64 // when ramping began, Unix nanoseconds
	ramp   atomic.Int64 // how long it takes, nanoseconds
	paused atomic.Int64 // when the server last was taken for one that had paused, Unix nanoseconds; zero: never
	events Events

	ctx    context.Context
	prober *sync.WaitGroup // of whoever owns the breaker
}

// New returns a closed breaker. Its prober ends with ctx, and is counted in owner.
func New(ctx context.Context, owner *sync.WaitGroup, e Events) *Breaker {
	return &Breaker{events: e, ctx: ctx, prober: owner}
}

// Read reports whether a read may be sent.
func (b *Breaker) Read() bool {
	switch b.state.Load() {
	case closed:
		return true
	case open:
		return false
	}
	passed := time.Duration(time.Now().UnixNano() - b.since.Load())
	whole := time.Duration(b.ramp.Load())
	if passed >= whole {
		b.state.CompareAndSwap(ramping, closed)
		return true
	}
	return rand.Float64() < rampFrom+(1-rampFrom)*float64(passed)/float64(whole)
}

// Write reports whether a write may be sent: always, but while the server is away. Invalidations are not held back by the
// ramp, since nobody can do their work in its place.
func (b *Breaker) Write() bool { return b.state.Load() != open }

// State is one word: closed, open: the server is away and not asked, or ramping: it is back, and reads are let through little by
// little.
func (b *Breaker) State() string {
	return [...]string{closed: "closed", open: "open", ramping: "ramping"}[b.state.Load()]
}

// Closed reports whether all calls are let through.
func (b *Breaker) Closed() bool { return b.state.Load() == closed }

// Open reports whether the server is away.
func (b *Breaker) Open() bool { return b.state.Load() == open }

// Succeeded counts a call that the server answered.
func (b *Breaker) Succeeded() {
	if b.failed.Load() != 0 {
		b.failed.Store(0)
	}
}

// Failed counts a call that the server did not answer.
func (b *Breaker) Failed(cause error) {
	if b.failed.Add(1) >= Failures {
		b.trip(cause, true)
	}
}

// Trip opens the breaker without further failures: it is known that nobody answers.
func (b *Breaker) Trip(cause error) { b.trip(cause, false) }

// Ramp lets reads through little by little, as after an outage: the server is new, or was away before there was a breaker.
func (b *Breaker) Ramp() {
	b.since.Store(time.Now().UnixNano())
	b.ramp.Store(int64(ramp))
	b.state.CompareAndSwap(closed, ramping)
}

func (b *Breaker) trip(cause error, paused bool) {
	for {
		was := b.state.Load()
		if was == open || b.ctx.Err() != nil {
			return
		}
		if b.state.CompareAndSwap(was, open) {
			b.prober.Go(func() { b.probe(cause, paused) })
			return
		}
	}
}

// probe asks until the server answers. One that has perhaps only paused is asked at once: a pause of one time limit is five failures
// where as many callers wait, and is over by now.
func (b *Breaker) probe(cause error, paused bool) {
	began := time.Now()
	if b.events.Opened != nil {
		b.events.Opened(cause)
	}
	if last := b.paused.Load(); paused && (last == 0 || began.UnixNano()-last > int64(hiccups)) && b.Answers(b.pause()) && b.settled(time.Since(began)) {
		b.paused.Store(time.Now().UnixNano())
		b.close(closed, began)
		return
	}
	for pause := firstProbe; ; pause = min(2*pause, lastProbe) {
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-b.ctx.Done():
			timer.Stop()
			return
		}
		if b.Answers(probeLimit) && b.settled(time.Since(began)) {
			b.close(ramping, began)
			return
		}
	}
}

func (b *Breaker) pause() time.Duration {
	if b.events.Pause == nil {
		return hiccup
	}
	return max(hiccup, b.events.Pause())
}

func (b *Breaker) close(into int32, began time.Time) {
	b.failed.Store(0)
	b.ramp.Store(int64(min(ramp, rampTimes*time.Since(began))))
	b.since.Store(time.Now().UnixNano())
	b.state.Store(into)
	if b.events.Closed != nil {
		b.events.Closed(time.Since(began))
	}
}

// Answers reports whether the server answers a probe within limit, in time during which this process ran.
func (b *Breaker) Answers(limit time.Duration) bool {
	for range stalls {
		began := b.ran()
		ctx, cancel := context.WithTimeout(b.ctx, limit)
		err := b.events.Probe(ctx)
		late := ctx.Err() != nil
		cancel()
		if err == nil {
			return true
		}
		if !late || b.ran()-began >= limit-limit/8 {
			return false
		}
	}
	return false
}

func (b *Breaker) ran() time.Duration {
	if b.events.Ran == nil {
		return time.Since(start)
	}
	return b.events.Ran()
}

var start = time.Now()

func (b *Breaker) settled(down time.Duration) bool {
	return b.events.Closing == nil || b.events.Closing(b.ctx, down) == nil
}
