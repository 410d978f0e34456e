package engine

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/workers"
)

// load calls the loader: of one key, of many at once, or of many one by one. Each call ends in complete.
func (c *Cache) load(js jobs) {
	switch {
	case len(js) == 0:
	case len(js) == 1:
		c.loadOne(js[0])
	case c.strategy.loadsMany():
		c.loadBatch(js)
	default:
		c.loadEach(js)
	}
}

// attemptOf returns the attempt of a job that is read by itself.
func (c *Cache) attemptOf(j *job) *attempt {
	one := j.ensureScratch()
	a := &one.attempt
	if a.js == nil {
		one.jobs[0] = j
		a.c, a.js, a.out = c, one.jobs[:], one.loaded[:]
	}
	return a
}

func (c *Cache) loadOne(j *job) {
	a, one := c.attemptOf(j), j.scratch
	a.run(func() { one.loaded[0] = c.strategy.load(a, j) })
}

// readEach reads jobs one by one, some at the same time. It returns when the last has begun.
func (c *Cache) loadEach(js jobs) {
	b := js[0].batch
	if b == nil {
		b = c.newBatch()
	}
	var begun sync.WaitGroup
	begun.Add(len(js))
	for _, j := range js {
		a := c.attemptOf(j)
		waited := false
		begin := func(got place) {
			defer begun.Done()
			a.batched = got
			a.after = func() {
				if got == own {
					b.places.leave()
				}
			}
			if waited && len(c.abandon(a.js)) == 0 { // its callers have left meanwhile
				a.after()
			} else if !c.spawn(func() { c.loadOne(j) }) {
				c.failClosed(j)
				a.after()
			}
		}
		if !b.places.try() {
			waited = true
			b.places.enqueue(a, begin)
		} else {
			begin(own)
		}
	}
	begun.Wait()
}

func (c *Cache) loadBatch(js jobs) {
	a := &attempt{c: c, js: js, out: make([]Loaded, len(js))}
	a.run(func() { c.strategy.loadMany(a, a.js, a.out) }) // of a.js: callers may have left while it waited for its place
}

// Loaded is what the loader said about one key.
type Loaded struct {
	Value any
	Err   error

	partial error           // of a collection: why not all of it has reached the store
	last    []store.Element // of a collection: what the fill is to bring
}

// attempt is one call of a loader, for one key or for several. It is the loader's context.
type attempt struct {
	workers.Within
	c       *Cache
	js      jobs
	out     []Loaded // written by the loader
	after   func()   // called in the end; nil: nothing is
	watch   workers.Watcher
	start   time.Time      // zero until run, unless it is known before
	over    atomic.Bool    // it is completed, or is being completed
	ended   sync.WaitGroup // done when it is completed
	place   place          // among MaxLoads
	batched place          // among the loads of its batch
}

// run calls the loader under the time limit of loads, and completes once: with what the loader returned, or without it if it
// ignores its context, since its callers must not wait for it. A panic or a Goexit harms only them.
func (a *attempt) run(load func()) {
	c := a.c
	a.ended.Add(1)
	if a.start.IsZero() { // a look at the clock is a twentieth of a load while the store is away
		a.start = time.Now()
	}
	limit := c.limits.From(a.start)
	a.Within = workers.Within{Context: limit, Values: a.js[0].ctx}
	if a.place = a.findPlace(limit); a.place == abandoned {
		if a.after != nil {
			a.after()
		}
		return
	}
	for _, j := range a.js {
		j.loadMark = j.call.Mark()
	}
	if a.place == none {
		a.end(failAll(len(a.js), c.timeoutError(c.MaxLoads)))
		return
	}
	if c.places != nil {
		a.start = time.Now() // it may have waited
	}
	for _, j := range a.js {
		traceOf(j.ctx).loadBegan(j.key)
	}
	a.watch.Task = a
	limit.Watch(&a.watch)
	returned := false
	defer func() {
		out := a.out
		if p := recover(); p != nil {
			stack := debug.Stack()
			c.ails.panics("a loader panicked", a.js[0].key, p, stack)
			out = failAll(len(a.js), NewPanicError(p, stack))
		} else if !returned {
			out = failAll(len(a.js), NewPanicError(nil, nil)) // Goexit
		}
		limit.Unwatch(&a.watch)
		if a.place == own {
			c.places.leave() // a loader that ignores its context keeps its place: it still works for us
		}
		if limit.Err() != nil {
			for i := range out {
				if errors.Is(out[i].Err, context.DeadlineExceeded) || c.Shared.ctx.Err() != nil && out[i].Err != nil {
					out[i].Err = c.timeoutError(0)
				}
			}
		}
		a.end(out)
	}()
	load()
	returned = true
	c.ails.good(panicked)
	c.count.LoadTook(time.Since(a.start))
}

// DeadlinePassed completes without the loader, which has not returned in its time.
func (a *attempt) DeadlinePassed() { a.end(failAll(len(a.js), a.c.timeoutError(0))) }

// end completes, once. The call that comes second returns when the first is done: at Close the deadline completes, in a goroutine
// that Close does not wait for, and the load that it waits for must not be over before its lease is given back.
func (a *attempt) end(out []Loaded) {
	if !a.over.CompareAndSwap(false, true) {
		a.ended.Wait()
		return
	}
	defer a.ended.Done()
	if traced.Load() {
		took := time.Since(a.start)
		for i, j := range a.js {
			traceOf(j.ctx).loadEnded(j.key, took, out[i].Err)
		}
	}
	a.c.complete(a.js, out)
	if a.after != nil {
		a.after()
	}
}

// failAll returns the same error for n keys.
func failAll(n int, err error) []Loaded {
	out := make([]Loaded, n)
	for i := range out {
		out[i].Err = err
	}
	return out
}

// findPlace takes a place of MaxLoads. A load whose callers have all left while it waited for one is not run.
func (a *attempt) findPlace(limit context.Context) place {
	p := a.c.places
	if p == nil {
		return unlimited
	}
	if p.try() {
		return own
	}
	for {
		got := p.wait(limit, a, func(leave func()) {
			left := func() {
				if a.deserted() {
					leave()
				}
			}
			for _, j := range a.js {
				j.call.WhenLeft(left)
			}
			left() // it may have been before
		})
		for _, j := range a.js {
			j.call.WhenLeft(nil)
		}
		if got != abandoned {
			return got
		}
		if a.js = a.c.abandon(a.js); len(a.js) == 0 {
			return abandoned
		}
		a.out = a.out[:len(a.js)] // somebody has come meanwhile
	}
}

// deserted reports whether nobody waits for any of the keys.
func (a *attempt) deserted() bool {
	for _, j := range a.js {
		if !j.call.Deserted() {
			return false
		}
	}
	return true
}

var errDeserted = errors.New("not loaded: its callers have left before it had a place among MaxLoads")

// abandon ends the jobs for which nobody waits, gives back their leases, and returns the others.
func (c *Cache) abandon(js jobs) (left jobs) {
	var held []store.Lease
	for i, j := range js {
		if !j.call.Abandon(&result{err: errDeserted}) {
			left = append(left, j)
			continue
		}
		c.letGo(js[i : i+1])
		traceOf(j.ctx).loadEnded(j.key, 0, errDeserted)
		if j.leased || j.unresolved {
			held = append(held, c.leaseOf(j))
		}
	}
	if len(held) > 0 {
		c.release(js[0].ctx, held)
	}
	return left
}

// Value returns the attempt itself for loadingKey, so that a read of its loader is known.
func (a *attempt) Value(key any) any {
	if _, ok := key.(loadingKey); ok {
		return a
	}
	return a.Within.Value(key)
}

func (a *attempt) placed() bool { return a.place.held() || a.batched.held() }

func (a *attempt) covers(of *Cache, key string) bool {
	if of != a.c {
		return false
	}
	for _, j := range a.js {
		if j.key == key {
			return true
		}
	}
	return false
}

func (a *attempt) keys() []string {
	keys := make([]string, len(a.js))
	for i, j := range a.js {
		keys[i] = j.key
	}
	return keys
}

// noteWait notes that the load whose loader reads with ctx, if there is one, waits for a key. The wait must be ended by leave.
func (c *Cache) noteWait(ctx context.Context, key string) (l *attempt, err error) {
	if l = loadingOf(ctx); l != nil {
		err = waits.enter(l, resource{c, key})
	}
	return l, err
}

// timeoutError is the error of a load that was ended by its limit. queued is how many loads it waited for if it did not begin, or zero.
func (c *Cache) timeoutError(queued int) error {
	switch {
	case c.Shared.ctx.Err() != nil:
		return ErrClosed
	case queued > 0:
		return fmt.Errorf("%w: %d loads were under way (MaxLoads), and none ended within %v", ErrOverloaded, queued, c.LoadTimeout)
	}
	return fmt.Errorf("took longer than its limit of %v: %w", c.LoadTimeout, context.DeadlineExceeded)
}
