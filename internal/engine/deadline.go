package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// deadlines hands out contexts that end after a fixed time, shared by all who ask within a sixteenth of it: a context
// with a deadline of its own costs a timer and an entry in its parent, a tenth of a hit on Redis. They end up to a
// sixteenth early, never late.
type deadlines struct {
	parent context.Context
	after  time.Duration
	step   time.Duration
	tasks  *sync.WaitGroup      // what watchers are told in; nil: there are none
	ran    func() time.Duration // for how long this process has run; nil: time passes for it as for anything
	start  time.Time            // steps are counted from here, by the monotonic clock
	ring   [32]atomic.Pointer[deadline]
}

type deadline struct {
	context.Context
	cancel context.CancelFunc // never called: it ends by itself
	step   int64
	tasks  *sync.WaitGroup

	mu       sync.Mutex // guards all below, and the links of the watchers
	told     bool       // when it passes, pass is called
	passed   bool       // the watchers have been told
	watchers *watcher   // the first of a list
}

// watcher is told in a goroutine of its own that a deadline has passed. It is a link of the deadline's list: a map of them cost
// a twentieth of a load.
type watcher struct {
	who        interface{ late() }
	prev, next *watcher
}

// watch has w told when d has passed, until unwatch: what context.AfterFunc does, for many at the price of one.
func (d *deadline) watch(w *watcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed {
		d.tasks.Go(w.who.late)
		return
	}
	if !d.told {
		d.told = true
		context.AfterFunc(d, d.pass)
	}
	if w.next = d.watchers; w.next != nil {
		w.next.prev = w
	}
	d.watchers = w
}

func (d *deadline) unwatch(w *watcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed {
		return
	}
	if w.next != nil {
		w.next.prev = w.prev
	}
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		d.watchers = w.next
	}
}

func (d *deadline) pass() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.passed = true
	for w := d.watchers; w != nil; w = w.next {
		d.tasks.Go(w.who.late) // its task has not ended, since that ends with unwatch: so the group is not waited for in vain
	}
	d.watchers = nil
}

func newDeadlines(parent context.Context, after time.Duration) *deadlines {
	return &deadlines{parent: parent, after: after, step: max(after/16, 1), start: time.Now()}
}

// from returns the context that ends after the whole time, which began at a time that is not later than now.
func (d *deadlines) from(began time.Time) *deadline { return d.until(began.Sub(d.start) + d.after) }

// at returns the context that ends at a time, which must not be later than what from returns.
func (d *deadlines) at(end time.Time) *deadline { return d.until(end.Sub(d.start)) }

// until is at for a time since the start.
func (d *deadlines) until(end time.Duration) *deadline {
	step := int64(end / d.step)
	place := &d.ring[uint64(step)%uint64(len(d.ring))]
	for {
		old := place.Load()
		if old != nil && old.step == step {
			return old
		}
		fresh := d.make(step)
		if place.CompareAndSwap(old, fresh) {
			return fresh
		}
		fresh.cancel()
	}
}

func (d *deadlines) make(step int64) *deadline {
	end := d.start.Add(time.Duration(step) * d.step)
	if d.ran != nil {
		p := newPatient(d.parent, time.Until(end), d.after, d.ran)
		return &deadline{Context: p, cancel: p.cancel, step: step, tasks: d.tasks}
	}
	ctx, cancel := context.WithDeadline(d.parent, end)
	return &deadline{Context: ctx, cancel: cancel, step: step, tasks: d.tasks}
}

// within is a context that ends with deadline and has the values of another one.
type within struct {
	context.Context // of the deadline
	values          context.Context
}

// Value asks the deadline first: it answers the context package, which would otherwise start a goroutine for each
// context derived from this one.
func (w within) Value(key any) any {
	if v := w.Context.Value(key); v != nil {
		return v
	}
	return context.WithoutCancel(w.values).Value(key)
}
