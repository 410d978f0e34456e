package e2e

import (
	"fmt"
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
	FirstFailure, FirstBroken string
	WhyUnconfirmed            map[string]int
	Broken                    int       // reads and writes that failed since the database did
	Added                     histogram // what Gets took beyond the load that they waited for
	GetTook                   histogram
	InvalidateTook            histogram
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
	r.Broken += o.Broken
	r.Added.merge(&o.Added)
	r.GetTook.merge(&o.GetTook)
	r.InvalidateTook.merge(&o.InvalidateTook)
	r.SlowestWrite = max(r.SlowestWrite, o.SlowestWrite)
	for why, n := range o.WhyUnconfirmed {
		r.unconfirmed(why, n)
	}
	if r.FirstFailure == "" {
		r.FirstFailure = o.FirstFailure
	}
	if r.FirstBroken == "" {
		r.FirstBroken = o.FirstBroken
	}
}

// unconfirmed counts writes by why Redis was not told of them, without ports and the like.
func (r *report) unconfirmed(why string, n int) {
	if r.WhyUnconfirmed == nil {
		r.WhyUnconfirmed = make(map[string]int)
	}
	r.WhyUnconfirmed[why] += n
}

// broken counts what failed with the database.
func (r *report) broken(what string, err error) {
	r.Broken++
	if r.FirstBroken == "" {
		r.FirstBroken = what + ": " + err.Error()
	}
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
		r.Gets, r.Failed, r.GetTook.part(0.5), r.GetTook.part(0.99), r.GetTook.part(1), r.Peeks, r.Deaf, r.Loads,
		r.Writes, r.Unconfirmed, r.SlowestWrite.Round(time.Millisecond), r.InvalidateTook.part(0.5), r.InvalidateTook.part(0.99), len(r.Stale))
}

// taken returns what was seen since the last time, and begins anew.
func (r *report) taken() *report {
	out := new(report)
	r.locked(func(r *report) {
		out.add(r)
		r.Gets, r.Failed, r.Peeks, r.Deaf, r.Loads, r.Writes, r.Unconfirmed, r.Broken = 0, 0, 0, 0, 0, 0, 0, 0
		r.Stale, r.FirstFailure, r.FirstBroken, r.WhyUnconfirmed, r.SlowestWrite = nil, "", "", nil, 0
		r.Added, r.GetTook, r.InvalidateTook = histogram{}, histogram{}, histogram{}
	})
	return out
}
