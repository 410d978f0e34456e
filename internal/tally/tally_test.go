package tally

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	last := 0
	for d := time.Duration(1); d < time.Hour; d += d/50 + 1 {
		b := BucketOf(d)
		if b < last || b > last+1 {
			t.Fatalf("%v is in bucket %d, what is a little less in %d", d, b, last)
		}
		last = b
		if d >= 64 && b < Buckets-1 {
			if off := math.Abs(float64(Middle(b))/float64(d) - 1); off > 0.095 {
				t.Fatalf("%v stands for %v", Middle(b), d)
			}
			if d > edge(b)+1 {
				t.Fatalf("%v is above the edge %v of its bucket", d, edge(b))
			}
		}
	}
	if top := edge(Buckets - 1); top < time.Minute {
		t.Errorf("the last bucket ends at %v", top)
	}
}

func TestQuantileIsCloseToTheExactOne(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var r Recorder
	var all []time.Duration
	for range 100_000 {
		d := time.Duration(50_000 * math.Exp(rng.NormFloat64()*2))
		r.Record(d)
		all = append(all, d)
	}
	slices.Sort(all)
	h := r.Histogram()
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 0.999} {
		exact := all[int(q*float64(len(all)))]
		if off := math.Abs(float64(h.Quantile(q))/float64(exact) - 1); off > 0.095 {
			t.Errorf("the quantile %v is %v, and exactly %v", q, h.Quantile(q), exact)
		}
	}
	if none := new(Histogram); none.Quantile(0.5) != 0 {
		t.Error("a quantile of nothing")
	}
}

func TestSums(t *testing.T) {
	var a, b Tally
	a.Counts[Near], a.Counts[Load], a.Latency[StoreTier][7] = 3, 1, 5
	b.Counts[Near], b.Latency[StoreTier][7] = 2, 1
	a.Add(&b)
	if a.Counts[Near] != 5 || a.Latency[StoreTier].N() != 6 || a.Reads() != 6 || a.HitRatio() != 5.0/6 {
		t.Errorf("%v", a.Counts)
	}
	a.Sub(&b)
	if a.Counts[Near] != 3 || a.Latency[StoreTier].N() != 5 {
		t.Errorf("%v", a.Counts)
	}
	for c := range Counts {
		if named, ok := Named(c.String()); !ok || named != c {
			t.Errorf("the word %q of %d means %d", c, c, named)
		}
	}
}
