package hotkeys

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The ten hottest of 100,000 keys are found, in their order but for neighbours, by what one of 32 reads shows.
func TestTheHottestOfAZipfStream(t *testing.T) {
	for _, sampled := range []bool{false, true} {
		t.Run(fmt.Sprintf("sampled=%v", sampled), func(t *testing.T) {
			var r Recorder
			rng := rand.New(rand.NewPCG(7, 8))
			zipf := rand.NewZipf(rng, 1.2, 1, 99_999)
			var truth [100_000]uint64
			const reads = 2_000_000
			for i := range uint64(reads) {
				k := zipf.Uint64()
				truth[k]++
				switch {
				case !sampled:
					r.Record(fmt.Sprint(k), 1)
				case Chosen(i):
					r.Record(fmt.Sprint(k), Sample)
				}
			}
			top := r.Take(20)
			for want := range uint64(10) {
				i := slices.IndexFunc(top, func(k Key) bool { return k.Key == fmt.Sprint(want) })
				if i < 0 || i > 12 {
					t.Errorf("key %d, with %d reads, is at place %d of %v", want, truth[want], i, top)
					continue
				}
				if off := float64(top[i].Reads)/float64(truth[want]) - 1; off > 0.1 || off < -0.15 {
					t.Errorf("key %d was read %d times, and %d are told", want, truth[want], top[i].Reads)
				}
			}
		})
	}
}

func TestWhatWasHotMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r Recorder
		for i := range kept {
			r.Record(fmt.Sprint("old", i), 10_000)
		}
		for range 30 { // five minutes
			time.Sleep(10 * time.Second)
			for range 1000 {
				r.Record("new", 1)
			}
			r.Take(20)
		}
		for range 1000 {
			r.Record("new", 1)
		}
		if top := r.Take(20); len(top) != 1 || top[0] != (Key{"new", 1000}) {
			t.Errorf("found %v, want the new key alone", top)
		}
	})
}

// Chosen must not follow the rhythm of a loop over a few keys.
func TestChosenHasNoRhythm(t *testing.T) {
	for _, period := range []uint64{2, 8, 32, 34, 55, 64} {
		seen := make([]int, period)
		all := 0
		for n := range uint64(1_000_000) {
			if Chosen(n) {
				seen[n%period]++
				all++
			}
		}
		if all < 1_000_000/Sample*9/10 || all > 1_000_000/Sample*11/10 {
			t.Errorf("%d of a million are chosen, want one of %d", all, Sample)
		}
		mean := all / int(period)
		for i, n := range seen {
			if n < mean*7/10 || n > mean*13/10 {
				t.Errorf("of a loop over %d keys, key %d is chosen %d times, the mean is %d", period, i, n, mean)
			}
		}
	}
}

func TestLongKeysAndManyGoroutines(t *testing.T) {
	var r Recorder
	r.Record(strings.Repeat("x", maxKey+1), 1)
	if top := r.Take(1); len(top) != 0 {
		t.Errorf("found %v, want nothing", top)
	}
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 10_000 {
				r.Record(fmt.Sprint("k", i%(g+40)), 1)
			}
		})
	}
	all.Wait()
	var sum uint64
	for _, k := range r.Take(kept) {
		sum += k.Reads
	}
	if sum != 80_000 {
		t.Errorf("%d reads were seen of fewer keys than are kept, want 80000", sum)
	}
}

func BenchmarkRecordOfTheTail(b *testing.B) {
	var r Recorder
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprint("user:", i)
	}
	for i := 0; b.Loop(); i++ {
		r.Record(keys[i&(len(keys)-1)], 1)
	}
}
