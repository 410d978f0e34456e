package prom

import (
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/nearside/nearside"
)

// The bounds of the classic buckets, in seconds: short is for what takes no trip.
var (
	usual = []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 500e-3, 1, 2.5, 5, 10}
	short = []float64{100e-9, 250e-9, 500e-9, 1e-6, 2.5e-6, 5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 1e-3}
)

// schema is that of native histograms with four buckets to a doubling, as ours have.
const schema = 2

// both is a classic histogram, for the text format and whoever wants no other, and a native one.
type both struct {
	prometheus.Metric // the native one
	classic           prometheus.Metric
}

// Write writes the native histogram, and the buckets of the classic one.
func (b both) Write(out *dto.Metric) error {
	var classic dto.Metric
	if err := b.classic.Write(&classic); err != nil {
		return err
	}
	if err := b.Metric.Write(out); err != nil {
		return err
	}
	out.Histogram.Bucket = classic.Histogram.Bucket
	return nil
}

// histogram shows a histogram with classic buckets that end at bounds. What lies across a bound is divided, as if its logarithms
// were spread evenly.
func histogram(desc *prometheus.Desc, h *nearside.Histogram, bounds []float64, labels ...string) prometheus.Metric {
	classic := make(map[float64]uint64, len(bounds))
	for _, b := range bounds {
		classic[b] = 0
	}
	native := make(map[int]int64)
	var n uint64
	var sum float64
	for end, count := range h.Buckets() {
		last := end.Seconds()
		middle := last * math.Exp2(-1./8)
		n += count
		sum += float64(count) * middle
		native[int(math.Ceil(4*math.Log2(middle)))] += int64(count)
		for _, b := range bounds {
			share := 1 + 4*math.Log2(b/last)
			classic[b] += uint64(float64(count) * min(max(share, 0), 1))
		}
	}
	return both{
		prometheus.MustNewConstNativeHistogram(desc, n, sum, native, nil, 0, schema, prometheus.DefNativeHistogramZeroThreshold, time.Time{}, labels...),
		prometheus.MustNewConstHistogram(desc, n, sum, classic, labels...),
	}
}
