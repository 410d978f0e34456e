// Package flight shares one call between the callers who want the same key, and keeps apart those who came before an
// event of the call (the read was sent, the load began, the fill was sent) from those who came after it. A result that
// was true at an event may be given to who came before; who came later could have seen a newer truth already.
package flight

import (
	"context"
	"math"
	"sync"
)

// Everyone, given to Finish, lets all who joined have the result.
const Everyone = math.MaxInt

// Group shares calls by key. The zero value is ready.
type Group[R any] struct {
	mu    sync.Mutex
	calls map[string]*Call[R] // the current call of a key
}

// Call is the work for one key. Whoever leads it runs it: Mark at each event, then Finish, Replace or Answer, once.
type Call[R any] struct {
	g    *Group[R]
	key  string
	kept bool          // it is run whether callers wait or not: it was led for none, or by a call before it
	rest bool          // the work of the call before, which goes on: who joined that one has joined this one as well, at the same event
	done chan struct{} // closed at the end; nil while nobody waits for the rest

	// Guarded by g.mu until done is closed, constant afterwards.
	tick  int // events so far
	last  int // the latest tick at which somebody joined; -1: nobody did
	until int
	wants int    // callers who have joined and not left; of no use if kept
	left  func() // called when the last of them leaves; may be nil
	res   *R
	next  *Call[R] // what those wait for who may not have res
}

// Ticket is a caller's place in a call.
type Ticket[R any] struct {
	call *Call[R]
	at   int // the tick at which the caller joined
}

// Join takes part in the key's call. A call that is not nil is new, and the caller must see to it that it is run.
func (g *Group[R]) Join(key string) (Ticket[R], *Call[R]) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, lead := g.calls[key], (*Call[R])(nil)
	if c == nil {
		c = g.start(key)
		lead = c
	}
	c.last = c.tick
	c.wants++
	if c.done == nil {
		c.done = make(chan struct{})
	}
	return Ticket[R]{c, c.tick}, lead
}

// Lead starts a call for nobody in particular. Nil: the key has a call already.
func (g *Group[R]) Lead(key string) *Call[R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[key] != nil {
		return nil
	}
	c := g.start(key)
	c.kept = true
	return c
}

// Forget makes the next caller of the key start a new call. The one under way goes on for those who wait for it.
func (g *Group[R]) Forget(key string) {
	g.mu.Lock()
	delete(g.calls, key)
	g.mu.Unlock()
}

// Settled waits for the rest of a call whose answer is known already. It takes part in nothing, and does not wait longer than ctx.
func (g *Group[R]) Settled(ctx context.Context, key string) {
	g.mu.Lock()
	c := g.calls[key]
	g.mu.Unlock()
	c.waitRest(ctx)
}

// waitRest waits for the end of c if it is the rest of a call.
func (c *Call[R]) waitRest(ctx context.Context) {
	if c == nil || !c.rest {
		return
	}
	c.g.mu.Lock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.res != nil {
			close(c.done)
		}
	}
	c.g.mu.Unlock()
	select {
	case <-c.done:
	case <-ctx.Done():
	}
}

func (g *Group[R]) start(key string) *Call[R] {
	if g.calls == nil {
		g.calls = make(map[string]*Call[R])
	}
	c := g.alone(key)
	g.calls[key] = c
	return c
}

func (g *Group[R]) alone(key string) *Call[R] {
	return &Call[R]{g: g, key: key, done: make(chan struct{}), last: -1}
}

// Mark records an event and returns its number: who joins from now on came after it.
func (c *Call[R]) Mark() int {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	c.tick++
	return c.tick
}

// Finish gives r to all who joined before the event until. If others are waiting they share the call that Finish
// returns, which the caller must run.
func (c *Call[R]) Finish(r *R, until int) *Call[R] { return c.finish(r, until, false) }

// Replace is Finish for a call that has more work to do: the call that it returns is never nil.
func (c *Call[R]) Replace(r *R, until int) *Call[R] { return c.finish(r, until, true) }

// Answer gives r to those who joined before the event until, and goes on: the call that it returns is the rest of this one, with
// its events, and whoever else has joined, or joins, is given what that is finished with.
func (c *Call[R]) Answer(r *R, until int) *Call[R] {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	rest := &Call[R]{g: c.g, key: c.key, kept: true, rest: true, tick: c.tick, last: -1}
	if c.last >= until {
		rest.last, rest.done = c.last, make(chan struct{})
	}
	if c.g.calls[c.key] == c {
		c.g.calls[c.key] = rest
	}
	c.end(r, until, rest)
	return rest
}

func (c *Call[R]) finish(r *R, until int, goOn bool) *Call[R] {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	current := c.g.calls[c.key]
	if current == c {
		delete(c.g.calls, c.key)
		current = nil
	}
	var next *Call[R]
	if goOn || c.last >= until {
		// A forgotten call may have a successor that has begun already: a third load for those who wait here. So
		// their next one is their own.
		if current == nil {
			next = c.g.start(c.key)
		} else {
			next = c.g.alone(c.key)
		}
	}
	if next != nil {
		next.kept = true // how many of its callers have moved on is not counted
	}
	c.end(r, until, next)
	return next
}

func (c *Call[R]) end(r *R, until int, next *Call[R]) {
	c.res, c.until, c.next = r, until, next
	if c.done != nil {
		close(c.done)
	}
}

// Wait returns the result that the caller may have: of this call, or of the one after it. All share it. The error is ctx's.
func (t Ticket[R]) Wait(ctx context.Context) (*R, error) {
	joined := true // so that the events of c tell who may have its result; what comes after it has begun later
	for c := t.call; ; c = c.next {
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if joined = joined && (c == t.call || c.rest); !joined || t.at < c.until {
			return c.res, nil
		}
	}
}

// WaitRest waits, after Wait, for the rest of a call that was answered and goes on. It does not wait longer than ctx.
func (t Ticket[R]) WaitRest(ctx context.Context) {
	if t.call.g == nil {
		return
	}
	t.call.g.mu.Lock()
	rest := t.call.next
	t.call.g.mu.Unlock()
	rest.waitRest(ctx)
}

// Leave says that the caller will not wait any more, as after an error of Wait. To be called once.
func (t Ticket[R]) Leave() {
	c := t.call
	if c.g == nil {
		return
	}
	c.g.mu.Lock()
	c.wants--
	left := c.left
	if c.wants > 0 || c.kept || c.res != nil {
		left = nil
	}
	c.g.mu.Unlock()
	if left != nil {
		left()
	}
}

// WhenLeft has f called each time that the last caller leaves; nil: nothing is called any more.
func (c *Call[R]) WhenLeft(f func()) {
	c.g.mu.Lock()
	c.left = f
	c.g.mu.Unlock()
}

// Deserted reports whether all callers have left.
func (c *Call[R]) Deserted() bool {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	return !c.kept && c.wants <= 0
}

// Abandon ends a call that is deserted, with r. It returns false if the call is not deserted, and then does nothing.
func (c *Call[R]) Abandon(r *R) bool {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	if c.kept || c.wants > 0 {
		return false
	}
	if c.g.calls[c.key] == c {
		delete(c.g.calls, c.key)
	}
	c.end(r, Everyone, nil)
	return true
}

// Done returns the ticket of a call that has ended with r.
func Done[R any](r *R) Ticket[R] {
	c := &Call[R]{done: make(chan struct{}), until: Everyone, res: r}
	close(c.done)
	return Ticket[R]{call: c}
}
