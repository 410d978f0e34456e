// Package tally has the words for what a cache counts, and what one can do with the numbers: add, subtract, and take
// quantiles. The library, the fleet's statistics, the metrics, the page and the commands all use these words.
package tally

import (
	"iter"
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// Count is one of the things that are counted.
type Count int

const (
	// Reads, by where their answer came from; nearside.Source has the same words.
	Near Count = iota
	Store
	Load
	Stale
	Negative
	Error

	// Calls of the loader, by how they ended.
	LoadOK
	LoadNotFound
	LoadError
	LoadTimeout
	Early // of those, begun because a value was about to be stale

	// Reads that shared somebody's load instead of asking the database.
	CoalescedProcess // of this process
	CoalescedFleet   // of another process

	SavedMicros // time of the loader that was not spent, in microseconds: for each read from near or the store, what a load takes

	// Keys that were invalidated, by what did it.
	ByInvalidate
	ByUpdate // Update, and writes of members
	ByMutate
	BySet
	ByPush // dropped from the near tier, since another process has changed them
	ByLost // dropped from the near tier, since pushes may have been missed

	BytesRead    // from the store
	BytesWritten // to the store
	Unfilled     // values that were loaded and served, but not stored
	TooLarge     // values above MaxValue
	CodecError   // values that did not decode, or could not be encoded
	StoreError   // reads of the store without an answer
	Deferred     // writes whose invalidation the store did not take at once
	Dropped      // collections dropped by a write whose order among others was not known
	Reread       // members read again, since others wrote them too
	InDoubt      // keys of writes that failed without saying whether they were committed

	Counts // how many there are
)

// names are the words, in the order of the constants.
var names = [Counts]string{
	"near", "store", "load", "stale", "negative", "error",
	"load_ok", "load_notfound", "load_error", "load_timeout", "load_early",
	"coalesced_process", "coalesced_fleet", "saved_us",
	"by_invalidate", "by_update", "by_mutate", "by_set", "by_push", "by_lost",
	"bytes_read", "bytes_written", "unfilled", "too_large", "codec_error", "store_error", "deferred", "dropped", "reread", "in_doubt",
}

func (c Count) String() string { return names[c] }

// Named returns the Count of a word.
func Named(word string) (Count, bool) {
	for i, n := range names {
		if n == word {
			return Count(i), true
		}
	}
	return 0, false
}

// Tier is what a latency is measured of.
type Tier int

const (
	NearTier  Tier = iota // a hit in this process; one in 256 is measured
	StoreTier             // a read of the store
	LoadTier              // a call of the loader
	Tiers
)

var tierNames = [Tiers]string{"near", "store", "load"}

func (t Tier) String() string { return tierNames[t] }

// Buckets is how many a histogram has: of four to a doubling, from 64 ns to two minutes. A quantile is within 9 % of the
// exact one: a bucket is 19 % wide, and its middle stands for it.
const Buckets = 124

const firstExponent = 6 // of nanoseconds: what is below 64 ns is in the first bucket

// BucketOf returns the bucket of a duration.
func BucketOf(d time.Duration) int {
	n := uint64(max(d, 1))
	e := bits.Len64(n) - 1
	if e < firstExponent {
		return 0
	}
	f := float64(n) / float64(uint64(1)<<e) // 1 <= f < 2
	quarter := 0
	for _, edge := range [...]float64{1.189207115002721, 1.4142135623730951, 1.681792830507429} { // 2^¼, 2^½, 2^¾
		if f >= edge {
			quarter++
		}
	}
	return min((e-firstExponent)*4+quarter, Buckets-1)
}

// Middle returns the duration that stands for a bucket: the geometric middle of its edges.
func Middle(bucket int) time.Duration {
	return time.Duration(math.Exp2(firstExponent + float64(bucket)/4 + 0.125))
}

// edge returns the upper end of a bucket.
func edge(bucket int) time.Duration {
	return time.Duration(math.Exp2(firstExponent + float64(bucket+1)/4))
}

// Histogram counts durations by bucket. Sums of histograms are those of all that was counted in them.
type Histogram [Buckets]uint64

// N returns how many were counted.
func (h *Histogram) N() (n uint64) {
	for _, b := range h {
		n += b
	}
	return n
}

// Filled returns the buckets that are not empty, rising: the upper end of each, and how many are in it. A bucket begins at
// 2^-¼ of its end, the first one at zero.
func (h *Histogram) Filled() iter.Seq2[time.Duration, uint64] {
	return func(yield func(time.Duration, uint64) bool) {
		for i, n := range h {
			if n > 0 && !yield(edge(i), n) {
				return
			}
		}
	}
}

// Quantile returns the duration below which a share q of all is; zero if there is none.
func (h *Histogram) Quantile(q float64) time.Duration {
	n := h.N()
	if n == 0 {
		return 0
	}
	rank := uint64(math.Ceil(q * float64(n)))
	for i, b := range h {
		if rank <= b {
			return Middle(i)
		}
		rank -= b
	}
	return Middle(Buckets - 1)
}

// Recorder is a histogram that goroutines count in at once.
type Recorder [Buckets]atomic.Uint64

// Record counts a duration.
func (r *Recorder) Record(d time.Duration) { r[BucketOf(d)].Add(1) }

// Histogram returns what was counted so far.
func (r *Recorder) Histogram() (h Histogram) {
	for i := range r {
		h[i] = r[i].Load()
	}
	return h
}

// Tally is the numbers of one cache.
type Tally struct {
	Counts  [Counts]uint64
	Latency [Tiers]Histogram
}

// Add adds the numbers of another process, or of another time.
func (t *Tally) Add(o *Tally) { t.each(o, func(a *uint64, b uint64) { *a += b }) }

// Sub takes away what was counted before.
func (t *Tally) Sub(o *Tally) { t.each(o, func(a *uint64, b uint64) { *a -= min(*a, b) }) }

func (t *Tally) each(o *Tally, f func(*uint64, uint64)) {
	for i := range t.Counts {
		f(&t.Counts[i], o.Counts[i])
	}
	for i := range t.Latency {
		for j := range t.Latency[i] {
			f(&t.Latency[i][j], o.Latency[i][j])
		}
	}
}

// Reads is how many reads were answered.
func (t *Tally) Reads() (n uint64) {
	for c := Near; c <= Error; c++ {
		n += t.Counts[c]
	}
	return n
}

// HitRatio is the share of reads for which the database was not asked: near, store, stale and negative of all. Zero if
// there were none.
func (t *Tally) HitRatio() float64 {
	all := t.Reads()
	if all == 0 {
		return 0
	}
	return float64(all-t.Counts[Load]-t.Counts[Error]) / float64(all)
}

// Saved is the time of the loader that was not spent.
func (t *Tally) Saved() time.Duration { return time.Duration(t.Counts[SavedMicros]) * time.Microsecond }
