package e2e

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// report is what traffic saw. Its exported fields go from process to process.
type report struct {
	mu sync.Mutex

	Gets, Failed, Peeks, Deaf int // reads by Get and GetMany, those that failed, Peeks, those without an answer
	Loads                     int
	Writes, Unconfirmed       int // writes that the database has; those of which the layer said that Redis was not told
	Stale                     []staleRead
	FirstFailure              string
	WhyUnconfirmed            map[string]int
	GetTook                   []time.Duration
	InvalidateTook            []time.Duration
	SlowestWrite              time.Duration
}

// staleRead is a read of less than what was acknowledged when it began.
type staleRead struct {
	Key        string
	Got, Floor int
	Began      time.Time
	By         string
}

func (r *report) locked(f func(r *report)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

// count returns one figure of a report that is still being written.
func (r *report) count(f func(r *report) int) (n int) {
	r.locked(func(r *report) { n = f(r) })
	return n
}

func (r *report) add(o *report) {
	r.Gets, r.Failed, r.Peeks, r.Deaf = r.Gets+o.Gets, r.Failed+o.Failed, r.Peeks+o.Peeks, r.Deaf+o.Deaf
	r.Loads, r.Writes, r.Unconfirmed = r.Loads+o.Loads, r.Writes+o.Writes, r.Unconfirmed+o.Unconfirmed
	r.Stale = append(r.Stale, o.Stale...)
	r.GetTook = append(r.GetTook, o.GetTook...)
	r.InvalidateTook = append(r.InvalidateTook, o.InvalidateTook...)
	r.SlowestWrite = max(r.SlowestWrite, o.SlowestWrite)
	for why, n := range o.WhyUnconfirmed {
		r.unconfirmed(why, n)
	}
	if r.FirstFailure == "" {
		r.FirstFailure = o.FirstFailure
	}
}

// unconfirmed counts writes by why Redis was not told of them, without ports and the like.
func (r *report) unconfirmed(why string, n int) {
	if r.WhyUnconfirmed == nil {
		r.WhyUnconfirmed = make(map[string]int)
	}
	r.WhyUnconfirmed[why] += n
}

// staleAfter returns the stale reads that began later.
func (r *report) staleAfter(at time.Time) (out []staleRead) {
	for _, s := range r.Stale {
		if s.Began.After(at) {
			out = append(out, s)
		}
	}
	return out
}

func (r *report) String() string {
	return fmt.Sprintf("%d gets, %d failed, p50 %v, p99 %v, max %v; %d peeks, %d without an answer; %d loads; %d writes, %d not confirmed, slowest %v; invalidate p50 %v, p99 %v; %d stale",
		r.Gets, r.Failed, part(r.GetTook, 0.5), part(r.GetTook, 0.99), part(r.GetTook, 1), r.Peeks, r.Deaf, r.Loads,
		r.Writes, r.Unconfirmed, r.SlowestWrite.Round(time.Millisecond), part(r.InvalidateTook, 0.5), part(r.InvalidateTook, 0.99), len(r.Stale))
}

// part returns a quantile.
func part(ds []time.Duration, q float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	ds = slices.Sorted(slices.Values(ds))
	return ds[min(int(q*float64(len(ds))), len(ds)-1)].Round(10 * time.Microsecond)
}
