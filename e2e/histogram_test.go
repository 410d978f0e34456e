package e2e

import (
	"math"
	"time"
)

// histogram counts durations by size, to a twentieth, so that traffic of any length takes the same memory.
type histogram struct {
	Counts []int // by bucket, up to the largest one
	N      int
	Max    time.Duration
}

const (
	least  = time.Microsecond // what is less is counted as this
	growth = 1.05
)

func (h *histogram) add(d time.Duration) {
	h.Max = max(h.Max, d)
	h.count(int(math.Log(float64(max(d, least))/float64(least))/math.Log(growth)), 1)
}

func (h *histogram) count(bucket, n int) {
	for len(h.Counts) <= bucket {
		h.Counts = append(h.Counts, 0)
	}
	h.Counts[bucket] += n
	h.N += n
}

func (h *histogram) merge(o *histogram) {
	h.Max = max(h.Max, o.Max)
	for bucket, n := range o.Counts {
		h.count(bucket, n)
	}
}

// part returns a quantile.
func (h *histogram) part(q float64) time.Duration {
	if q >= 1 {
		return rounded(h.Max)
	}
	left := int(q * float64(h.N))
	for bucket, n := range h.Counts {
		if left -= n; left < 0 {
			return rounded(min(h.Max, time.Duration(float64(least)*math.Pow(growth, float64(bucket)+0.5))))
		}
	}
	return 0
}

// above counts what is larger, to a twentieth.
func (h *histogram) above(d time.Duration) (n int) {
	for bucket, k := range h.Counts {
		if float64(least)*math.Pow(growth, float64(bucket)) > float64(d) {
			n += k
		}
	}
	return n
}

// rounded leaves three digits or so.
func rounded(d time.Duration) time.Duration {
	switch {
	case d < 100*time.Microsecond:
		return d.Round(time.Microsecond)
	case d < 10*time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Millisecond)
}
