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

// Call is the work for one key. Whoever leads it runs it: Mark at each event, then Finish or Replace, once.
type Call[R any] struct {
	g    *Group[R]
	key  string
	done chan struct{} // closed by finish

	// Guarded by g.mu until done is closed, constant afterwards.
	tick  int // events so far
	last  int // the latest tick at which somebody joined; -1: nobody did
	until int
	res   R
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
	return Ticket[R]{c, c.tick}, lead
}

// Lead starts a call for nobody in particular. Nil: the key has a call already.
func (g *Group[R]) Lead(key string) *Call[R] {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.calls[key] != nil {
		return nil
	}
	return g.start(key)
}

// Forget makes the next caller of the key start a new call. The one under way goes on for those who wait for it.
func (g *Group[R]) Forget(key string) {
	g.mu.Lock()
	delete(g.calls, key)
	g.mu.Unlock()
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
func (c *Call[R]) Finish(r R, until int) *Call[R] { return c.finish(r, until, false) }

// Replace is Finish for a call that has more work to do: the call that it returns is never nil.
func (c *Call[R]) Replace(r R, until int) *Call[R] { return c.finish(r, until, true) }

func (c *Call[R]) finish(r R, until int, goOn bool) *Call[R] {
	c.g.mu.Lock()
	defer c.g.mu.Unlock()
	current := c.g.calls[c.key]
	if current == c {
		delete(c.g.calls, c.key)
		current = nil
	}
	c.res, c.until = r, until
	if goOn || c.last >= until {
		// A forgotten call may have a successor that has begun already: a third load for those who wait here. So
		// their next one is their own.
		if current == nil {
			c.next = c.g.start(c.key)
		} else {
			c.next = c.g.alone(c.key)
		}
	}
	close(c.done)
	return c.next
}

// Wait returns the result that the caller may have: of this call, or of the one after it. All share it. The error is ctx's.
func (t Ticket[R]) Wait(ctx context.Context) (*R, error) {
	for c := t.call; ; c = c.next {
		select {
		case <-c.done:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if c != t.call || t.at < c.until {
			return &c.res, nil
		}
	}
}
