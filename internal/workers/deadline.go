package workers

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Deadlines hands out contexts that end after a fixed time, shared by all callers who ask within a sixteenth of it: a context
// with a deadline of its own costs a timer and an entry in its parent, a tenth of a hit on Redis. They end up to a
// sixteenth early, never late.
type Deadlines struct {
	parent context.Context
	after  time.Duration
	step   time.Duration
	pool   *Pool                // whose Wait waits for what watchers do; nil: there are no watchers
	ran    func() time.Duration // for how long this process has run; nil: the deadlines are those of the wall clock
	start  time.Time            // steps are counted from here, by the monotonic clock
	ring   [32]atomic.Pointer[Deadline]
}

// Deadline is a context that ends by itself.
type Deadline struct {
	context.Context
	cancel context.CancelFunc // never called: it ends by itself
	step   int64
	pool   *Pool

	mu       sync.Mutex // guards all below, and the links of the watchers
	watched  bool       // when it passes, pass is called
	passed   bool       // the watchers have been called
	watchers *Watcher   // the first of a list
}

// Watcher has its Task called, in a goroutine of its own, when a deadline passes. It is a link of the deadline's list: a map of
// watchers cost a twentieth of a load.
type Watcher struct {
	Task       interface{ DeadlinePassed() }
	prev, next *Watcher
}

// Watch has w called when d passes, until Unwatch: what context.AfterFunc does, for many at the price of one.
func (d *Deadline) Watch(w *Watcher) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed {
		d.pool.tasks.Go(w.Task.DeadlinePassed)
		return
	}
	if !d.watched {
		d.watched = true
		context.AfterFunc(d, d.pass)
	}
	if w.next = d.watchers; w.next != nil {
		w.next.prev = w
	}
	d.watchers = w
}

// Unwatch ends Watch.
func (d *Deadline) Unwatch(w *Watcher) {
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

func (d *Deadline) pass() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.passed = true
	for w := d.watchers; w != nil; w = w.next {
		d.pool.tasks.Go(w.Task.DeadlinePassed) // its task has not ended, since that ends with Unwatch: so the group is not waited for in vain
	}
	d.watchers = nil
}

// NewDeadlines returns deadlines that end after a time, and with parent. pool may be nil if nothing watches them.
func NewDeadlines(parent context.Context, after time.Duration, pool *Pool) *Deadlines {
	return &Deadlines{parent: parent, pool: pool, after: after, step: max(after/16, 1), start: time.Now()}
}

// NewPatientDeadlines returns deadlines that count only time in which this process ran, as ran says. Nothing watches them.
func NewPatientDeadlines(after time.Duration, ran func() time.Duration) *Deadlines {
	d := NewDeadlines(context.Background(), after, nil)
	d.ran = ran
	return d
}

// After returns the time after which the contexts end.
func (d *Deadlines) After() time.Duration { return d.after }

// From returns the context that ends after the whole time, which began at a time that is not later than now.
func (d *Deadlines) From(began time.Time) *Deadline { return d.until(began.Sub(d.start) + d.after) }

// At returns the context that ends at a time, which must not be later than what From returns.
func (d *Deadlines) At(end time.Time) *Deadline { return d.until(end.Sub(d.start)) }

// until is At for a time since the start.
func (d *Deadlines) until(end time.Duration) *Deadline {
	step := int64(end / d.step)
	place := &d.ring[uint64(step)%uint64(len(d.ring))]
	for {
		old := place.Load()
		if old != nil && old.step == step {
			return old
		}
		fresh := &Deadline{step: step, pool: d.pool}
		if at := d.start.Add(time.Duration(step) * d.step); d.ran != nil {
			fresh.Context, fresh.cancel = Patient(d.parent, time.Until(at), d.after, d.ran)
		} else {
			fresh.Context, fresh.cancel = context.WithDeadline(d.parent, at)
		}
		if place.CompareAndSwap(old, fresh) {
			return fresh
		}
		fresh.cancel()
	}
}

// Within is a context that ends with a deadline and has the values of another one.
type Within struct {
	context.Context // of the deadline
	Values          context.Context
}

// Value asks the deadline first: it answers the context package, which would otherwise start a goroutine for each
// context derived from this one.
func (w Within) Value(key any) any {
	if v := w.Context.Value(key); v != nil {
		return v
	}
	return context.WithoutCancel(w.Values).Value(key)
}
