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
)

func (c *Cache[K, V]) loadOne(j *job[K, V], settled func()) {
	one := j.single()
	one.jobs[0] = j
	a := &one.attempt
	a.c, a.js, a.out, a.settled = c, one.jobs[:], one.loaded[:], settled
	a.run(func() {
		if c.gather.load != nil {
			one.loaded[0] = c.gather.load(a, j)
			return
		}
		one.loaded[0].v, one.loaded[0].err = c.Config.Load(a, j.k)
	})
}

func (c *Cache[K, V]) loadBatch(js jobs[K, V]) {
	ks := make([]K, len(js))
	for i, j := range js {
		ks[i] = j.k
	}
	a := &attempt[K, V]{c: c, js: js, out: make([]loaded[V], len(js))}
	a.run(func() {
		found, err := c.LoadMany(a, ks)
		var rows RowErrors[K]
		errors.As(err, &rows)
		for i, k := range ks {
			v, ok := found[k]
			switch {
			case ok:
				a.out[i] = loaded[V]{v: v}
			case rows[k] != nil:
				a.out[i] = loaded[V]{err: rows[k]}
			case err != nil && rows == nil:
				a.out[i] = loaded[V]{err: err}
			default:
				a.out[i] = loaded[V]{err: ErrNotFound}
			}
		}
	})
}

// loaded is what the loader said about one key.
type loaded[V any] struct {
	v       V
	err     error
	partial error           // of a collection: why not all of it has reached the store
	last    []store.Element // of a collection: what the fill is to bring
}

// attempt is one call of a loader, for one key or for several. It is the loader's context.
type attempt[K comparable, V any] struct {
	within
	c       *Cache[K, V]
	js      jobs[K, V]
	out     []loaded[V] // written by the loader
	settled func()      // called behind all; may be nil
	watch   watcher
	start   time.Time      // zero until run, unless it is known before
	over    atomic.Bool    // it is settled, or is being settled
	settles sync.WaitGroup // done when it is settled
}

// run calls the loader under the time limit of loads, and settles once: with what it said, or without it if it is deaf
// to its context, since its callers must not wait for it. A panic or a Goexit harm nobody but them.
func (a *attempt[K, V]) run(load func()) {
	c := a.c
	a.settles.Add(1)
	if a.start.IsZero() { // a look at the clock is a twentieth of a load while the store is away
		a.start = time.Now()
	}
	limit := c.limits.from(a.start)
	a.within = within{limit, a.js[0].ctx}
	began := c.slot(limit)
	for _, j := range a.js {
		j.began = j.call.Mark()
	}
	if !began {
		a.end(all[V](len(a.js), c.late(c.MaxLoads)))
		return
	}
	if c.slots != nil {
		a.start = time.Now() // it may have waited
	}
	for _, j := range a.js {
		traceOf(j.ctx).loadBegan(j.key)
	}
	a.watch.who = a
	limit.watch(&a.watch)
	returned := false
	defer func() {
		out := a.out
		if p := recover(); p != nil {
			stack := debug.Stack()
			c.Logger.Error("a loader panicked", "key", a.js[0].key, "panic", p, "stack", string(stack))
			out = all[V](len(a.js), &PanicError{Value: p, Stack: stack})
		} else if !returned {
			out = all[V](len(a.js), &PanicError{}) // Goexit
		}
		limit.unwatch(&a.watch)
		if c.slots != nil {
			<-c.slots // a loader that is deaf keeps its place: it still works for us
		}
		if limit.Err() != nil {
			for i := range out {
				if errors.Is(out[i].err, context.DeadlineExceeded) || c.Shared.ctx.Err() != nil && out[i].err != nil {
					out[i].err = c.late(0)
				}
			}
		}
		a.end(out)
	}()
	load()
	returned = true
	c.count.took(time.Since(a.start))
}

// late settles without the loader, which has not returned in its time.
func (a *attempt[K, V]) late() { a.end(all[V](len(a.js), a.c.late(0))) }

// end settles, once. The call that comes second returns when the first is done: at Close the deadline settles, in a goroutine
// that Close does not wait for, and the load that it waits for must not be over before its lease is given back.
func (a *attempt[K, V]) end(out []loaded[V]) {
	if !a.over.CompareAndSwap(false, true) {
		a.settles.Wait()
		return
	}
	defer a.settles.Done()
	if traced.Load() {
		took := time.Since(a.start)
		for i, j := range a.js {
			traceOf(j.ctx).loadEnded(j.key, took, out[i].err)
		}
	}
	a.c.settle(a.js, out)
	if a.settled != nil {
		a.settled()
	}
}

func all[V any](n int, err error) []loaded[V] {
	out := make([]loaded[V], n)
	for i := range out {
		out[i].err = err
	}
	return out
}

// slot waits for one of MaxLoads places, as long as the load has. False: there was none.
func (c *Cache[K, V]) slot(limit context.Context) bool {
	if c.slots == nil {
		return true
	}
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	select {
	case c.slots <- struct{}{}:
		return true
	case <-limit.Done():
		return false
	}
}

// late is the error of a load that was ended by us; queued behind so many others if it did not begin.
func (c *Cache[K, V]) late(queued int) error {
	switch {
	case c.Shared.ctx.Err() != nil:
		return ErrClosed
	case queued > 0:
		return fmt.Errorf("%w: %d loads were under way (MaxLoads), and none ended within %v", ErrOverloaded, queued, c.LoadTimeout)
	}
	return fmt.Errorf("took longer than its limit of %v: %w", c.LoadTimeout, context.DeadlineExceeded)
}
