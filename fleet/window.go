package fleet

import (
	"time"

	"github.com/nearside/nearside/internal/tally"
)

// Window is what was counted and measured in a time.
type Window struct {
	Counts

	// Span is how long the time is. It is shorter than its name says where no process reported before.
	Span time.Duration

	NearLatency  Histogram // of reads that the in-process cache answered; one in 256 is measured
	StoreLatency Histogram // of reads of Redis
	LoadLatency  Histogram // of loads
}

// Rate returns n per second of the window: Rate(w.Reads()) is the reads per second.
func (w *Window) Rate(n uint64) float64 {
	if w.Span <= 0 {
		return 0
	}
	return float64(n) / w.Span.Seconds()
}

// SavedPerSecond returns how many seconds of loader time were saved in each second. It is about the number of connections that
// the database was spared.
func (w *Window) SavedPerSecond() float64 { return w.Rate(savedMicros(&w.Counts)) / 1e6 }

// Quantile estimates the duration below which a share q of all reads was answered: 0.99 for the 99th percentile. Reads of the
// in-process cache and of Redis are counted as they took, and reads that needed the loader as its calls took. It returns 0 if
// nothing was measured.
func (w *Window) Quantile(q float64) time.Duration {
	loaded := w.Load + w.Errors
	var weights [tally.Buckets]float64
	all := 0.0
	for _, tier := range [...]struct {
		reads    uint64
		measured *Histogram
	}{{w.Near, &w.NearLatency}, {w.Reads() - w.Near - loaded, &w.StoreLatency}, {loaded, &w.LoadLatency}} {
		n := tier.measured.N()
		if n == 0 || tier.reads == 0 {
			continue
		}
		each := float64(tier.reads) / float64(n) // reads that one measurement stands for
		for i, b := range tier.measured.counts {
			weights[i] += each * float64(b)
		}
		all += float64(tier.reads)
	}
	rank, last := q*all, time.Duration(0)
	for i, weight := range weights {
		if weight == 0 {
			continue
		}
		last = tally.Middle(i)
		if rank -= weight; rank <= 0 {
			break
		}
	}
	return last
}

// Add adds the window of another cache in the same time: the counts and latencies add up, and Span is the longer one.
func (w *Window) Add(o *Window) {
	w.Counts.Add(&o.Counts)
	w.NearLatency.Merge(&o.NearLatency)
	w.StoreLatency.Merge(&o.StoreLatency)
	w.LoadLatency.Merge(&o.LoadLatency)
	w.Span = max(w.Span, o.Span)
}

// Point is one step of a chart.
type Point struct {
	Start time.Time
	Span  time.Duration // how much of the step has passed
	Counts

	NearLatency  Quantiles // of reads that the in-process cache answered
	StoreLatency Quantiles // of reads of Redis
	LoadLatency  Quantiles // of loads
}

// Quantiles are the median and the 99th percentile of durations. They are zero if nothing was measured.
type Quantiles struct{ P50, P99 time.Duration }
