// Package stall measures for how long this process did not run: it was stopped, its container used up its share of the
// processors, or other programs kept them busy. A time limit that passed meanwhile says nothing about the server that was
// waited for.
//
// A goroutine wakes every 10 ms. What it wakes late by is time in which nothing else of this process ran either. It passes
// through the scheduler's queue once more at each beat, so that too many runnable goroutines show as well.
package stall

import (
	"context"
	"math"
	"runtime"
	"sync/atomic"
	"time"
)

const (
	beat  = 10 * time.Millisecond // between two beats
	slack = 2 * time.Millisecond  // by which timers are late on an idle machine
	idle  = time.Second           // after the last call of Now the beats end, until the next one

	window  = 100                   // beats that Pressed looks back, about
	pressed = 30 * time.Millisecond // lost within them
)

// never is the time of the next beat while there are none.
const never = math.MaxInt64

// Clock counts the time during which this process ran. It is safe for concurrent use.
type Clock struct {
	start   time.Time
	lost    atomic.Int64 // nanoseconds in which the process did not run
	recent  atomic.Int64 // of lost, what was lost about a second ago or later
	next    atomic.Int64 // when the next beat is due, nanoseconds since start; or never
	used    atomic.Bool  // Now was called since the last check, or the beats have not begun
	resumed chan struct{}
}

// New returns a clock that shows 0. It runs once Run is called.
func New() *Clock {
	c := &Clock{start: time.Now(), resumed: make(chan struct{}, 1)}
	c.next.Store(never)
	return c
}

// Run keeps the clock until ctx ends.
func (c *Clock) Run(ctx context.Context) {
	timer := time.NewTimer(beat)
	defer timer.Stop()
	defer c.next.Store(never)
	for beats := 1; ; beats++ {
		if time.Duration(beats)*beat >= idle {
			if beats = 0; !c.used.Swap(false) && !c.rest(ctx) {
				return
			}
		}
		c.next.Store(int64(time.Since(c.start) + beat))
		timer.Reset(beat)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		runtime.Gosched()
		c.count(time.Since(c.start))
	}
}

// rest waits until the clock is used again. It returns false if ctx has ended.
func (c *Clock) rest(ctx context.Context) bool {
	c.next.Store(never)
	select {
	case <-c.resumed:
		return true
	case <-ctx.Done():
		return false
	}
}

// count ends a beat that was due at next.
func (c *Clock) count(now time.Duration) {
	late := int64(lateness(now, c.next.Load()))
	c.lost.Add(late)
	recent := c.recent.Load()
	c.recent.Store(recent - recent/window + late)
	c.next.Store(never)
}

// lateness returns how late a beat is, zero if that is usual.
func lateness(now time.Duration, next int64) time.Duration {
	if next == never || now <= time.Duration(next)+slack {
		return 0
	}
	return now - time.Duration(next)
}

// Now returns how long the process has run since New. It does not move while the process does not run, but for stalls of less
// than 2 ms, and up to 10 ms of longer ones.
func (c *Clock) Now() time.Duration { return c.At(time.Now()) }

// At is Now for a time that was read just before.
func (c *Clock) At(now time.Time) time.Duration {
	since := now.Sub(c.start)
	if !c.used.Load() && !c.used.Swap(true) {
		c.next.CompareAndSwap(never, int64(since+beat)) // the goroutine may be late for its first beat, too
		select {
		case c.resumed <- struct{}{}:
		default:
		}
	}
	return since - time.Duration(c.lost.Load()) - lateness(since, c.next.Load())
}

// Pressed reports whether the process was kept from running for at least 30 ms of the last second. The servers on the same machine
// are short of processors then as well.
func (c *Clock) Pressed() bool {
	return time.Duration(c.recent.Load())+lateness(time.Since(c.start), c.next.Load()) >= pressed
}
