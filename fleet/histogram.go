package fleet

import (
	"iter"
	"time"

	"github.com/nearside/nearside/internal/tally"
)

// Histogram counts durations in buckets, of which four make a doubling, from 64 ns to two minutes. The zero value is empty.
type Histogram struct{ counts tally.Histogram }

// Add counts n durations d.
func (h *Histogram) Add(d time.Duration, n uint64) { h.counts[tally.BucketOf(d)] += n }

// Merge adds what another histogram counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
}

// N returns how many durations were counted.
func (h *Histogram) N() uint64 { return h.counts.N() }

// Quantile returns the duration below which a share q of all is, within 9 %: 0.99 for the 99th percentile. It returns 0 if the
// histogram is empty.
func (h *Histogram) Quantile(q float64) time.Duration { return h.counts.Quantile(q) }

// Buckets returns the buckets that are not empty, from the shortest: the upper end of each, and how many durations are in it. A
// bucket begins at 2^-¼ of its end, the first one at zero.
func (h *Histogram) Buckets() iter.Seq2[time.Duration, uint64] { return h.counts.Filled() }
