// Package hotkeys finds the keys that are read most, in little memory and at almost no cost to who reads them.
//
// It is the space-saving algorithm (Metwally, Agrawal, El Abbadi 2005) with two changes. A key that is not among those
// that are kept takes the place of the least with a probability that falls with that one's count (Ben Basat and others:
// randomized admission), so that a long tail of keys read once does not wash out the hot ones. And all counts decay, so
// that what was hot a minute ago makes room.
package hotkeys

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	kept   = 64          // keys
	maxKey = 512         // bytes of the longest key that is kept: a longer one is nothing that a list could show
	memory = time.Minute // in which a count decays to 1/e

	// Sample is how many reads one that was chosen stands for.
	Sample = 32
)

// Key is a key and how often it was read.
type Key struct {
	Key   string
	Reads uint64
}

// Recorder keeps the hottest keys of one cache. It is safe for concurrent use; the zero value is ready.
type Recorder struct {
	mu    sync.Mutex // guards all below
	at    map[string]int
	keys  [kept]entry
	n     int       // of keys
	taken time.Time // when counts last decayed
}

type entry struct {
	key   string
	count float64 // what its place among the others is; decays, and includes what it took over
	reads uint64  // that were seen since Take
}

// Chosen reports whether the n-th read of a counter is one of those that are recorded: one of Sample, spread without any
// pattern that a loop over some keys could have too.
func Chosen(n uint64) bool {
	n *= 0x9e3779b97f4a7c15
	n ^= n >> 32
	n *= 0xd6e8feb86659fd93
	return n>>(64-5) == 0
}

// Record counts weight reads of a key.
func (r *Recorder) Record(key string, weight uint64) {
	if len(key) > maxKey {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if i, ok := r.at[key]; ok {
		e := &r.keys[i]
		e.count += float64(weight)
		e.reads += weight
		return
	}
	i, base := r.n, 0.0
	switch {
	case r.at == nil:
		r.at = make(map[string]int, kept)
		r.taken = time.Now()
	case r.n == kept:
		if time.Since(r.taken) > memory { // nobody takes
			r.decay()
		}
		i = r.least()
		base = r.keys[i].count
		if rand.Float64()*(base+float64(weight)) >= float64(weight) {
			return
		}
		delete(r.at, r.keys[i].key)
	}
	if r.n < kept {
		r.n++
	}
	key = strings.Clone(key) // the caller's may be a part of something large, or of a buffer
	r.keys[i] = entry{key, base + float64(weight), weight}
	r.at[key] = i
}

func (r *Recorder) least() (least int) {
	for i := 1; i < r.n; i++ {
		if r.keys[i].count < r.keys[least].count {
			least = i
		}
	}
	return least
}

// Take returns the n keys that were read most since it was last called, the hottest first. The numbers are what was seen:
// never too high, and too low for a key that was not kept all the time.
func (r *Recorder) Take(n int) []Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.decay()
	out := make([]Key, 0, r.n)
	for i := range r.keys[:r.n] {
		e := &r.keys[i]
		if e.reads > 0 {
			out = append(out, Key{e.key, e.reads})
		}
		e.reads = 0
	}
	slices.SortFunc(out, func(a, b Key) int { return cmp.Or(cmp.Compare(b.Reads, a.Reads), strings.Compare(a.Key, b.Key)) })
	return out[:min(n, len(out))]
}

// decay makes room: what was hot a while ago counts less.
func (r *Recorder) decay() {
	now := time.Now()
	left := math.Exp(-now.Sub(r.taken).Seconds() / memory.Seconds())
	r.taken = now
	for i := range r.keys[:r.n] {
		r.keys[i].count *= left
	}
}
